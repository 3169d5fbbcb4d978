//! The names and labels of mutagen's sessions. A session's name uses only the characters that mutagen allows; its labels hold
//! the exact names of project and instance.

use data_encoding::HEXLOWER;

/// The session label that holds the name of the project.
pub(crate) const PROJECT_LABEL: &str = "coast-project";
/// The session label that holds the name of the instance.
pub(crate) const INSTANCE_LABEL: &str = "coast-instance";
/// The session label that holds the number of private files. Their patterns are the session's last ones.
pub(crate) const PRIVATE_LABEL: &str = "coast-private";

/// The name of the session of an instance: `coast-{project}-{instance}` where mutagen allows that and no other pair has it.
///
/// Mutagen allows only letters, digits and `-`. In other names each forbidden character becomes `-`, and eight hexadecimal
/// digits of a hash of the exact pair follow. So do they if the project's name has a `-`: its end could not be told.
pub(crate) fn session_name(project: &str, instance: &str) -> String {
    let plain = |name: &str, also: &[u8]| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
    };
    if plain(project, b"") && plain(instance, b"-") {
        return format!("coast-{project}-{instance}");
    }
    let mapped = |name: &str| name.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
    let mut hasher = blake3::Hasher::new();
    hasher.update(project.as_bytes()).update(&[0]).update(instance.as_bytes());
    let digits = HEXLOWER.encode(&hasher.finalize().as_bytes()[..4]);
    format!("coast-{}-{}-{digits}", mapped(project), mapped(instance))
}

/// The label selector of an instance's sessions.
pub(crate) fn selector(project: &str, instance: &str) -> String {
    format!("{PROJECT_LABEL}={project},{INSTANCE_LABEL}={instance}")
}

/// Whether mutagen allows this as the value of a label: 1 to 63 bytes, letters, digits, `-`, `_` and `.`, the first and the
/// last a letter or digit.
pub(crate) fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ends = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_instance_may_hold_a_dash_in_a_plain_name() {
        assert_eq!(session_name("p", "dev-1"), "coast-p-dev-1");
        assert_eq!(session_name("Shop2", "a-b-c"), "coast-Shop2-a-b-c");
        assert!(session_name("my-app", "dev").starts_with("coast-my-app-dev-"));
        assert_eq!(session_name("my_app", "dev.1"), "coast-my-app-dev-1-34afbd0a");
    }

    #[test]
    fn names_that_look_alike_once_mapped_stay_apart() {
        let pairs = [("a-b", "c"), ("a", "b-c"), ("a_b", "c"), ("a.b", "c"), ("a", "b_c"), ("a", "b.c")];
        let names: std::collections::BTreeSet<_> =
            pairs.iter().map(|(project, instance)| session_name(project, instance)).collect();
        assert_eq!(names.len(), pairs.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        }
    }

    #[test]
    fn label_values_are_those_that_mutagen_takes() {
        for value in ["p", "dev-1", "a.b_c", &"x".repeat(63)] {
            assert!(is_label_value(value), "{value}");
        }
        for value in ["", "-a", "a-", "a b", "a,b=c", "ü", &"x".repeat(64)] {
            assert!(!is_label_value(value), "{value}");
        }
    }
}
