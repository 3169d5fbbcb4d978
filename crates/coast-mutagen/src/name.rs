//! What sessions are called: a name that mutagen takes, and the labels that carry the exact names.

use std::fmt::Write;

/// The label of a session that holds the project's name.
pub const PROJECT_LABEL: &str = "coast-project";
/// The label of a session that holds the instance's name.
pub const INSTANCE_LABEL: &str = "coast-instance";

/// The name of the session of an instance: `coast-{project}-{instance}` where that is valid and can mean nothing else.
///
/// mutagen takes letters, digits and `-` only, so other characters become `-`; and since a `-` in a project's name would
/// leave open where it ends, such a name gets eight hexadecimal digits of a hash of the exact pair.
///
/// ```
/// assert_eq!(coast_mutagen::session_name("p", "dev-1"), "coast-p-dev-1");
/// assert_eq!(coast_mutagen::session_name("my_app", "dev.1"), "coast-my-app-dev-1-34afbd0a");
/// assert_ne!(coast_mutagen::session_name("a-b", "c"), coast_mutagen::session_name("a", "b-c"));
/// ```
pub fn session_name(project: &str, instance: &str) -> String {
    let plain = |name: &str, also: &[u8]| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
    };
    if plain(project, b"") && plain(instance, b"-") {
        return format!("coast-{project}-{instance}");
    }
    let mapped = |name: &str| name.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
    let mut hasher = blake3::Hasher::new();
    hasher.update(project.as_bytes()).update(&[0]).update(instance.as_bytes());
    let mut name = format!("coast-{}-{}-", mapped(project), mapped(instance));
    for byte in &hasher.finalize().as_bytes()[..4] {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// What selects the sessions of an instance.
pub(crate) fn selector(project: &str, instance: &str) -> String {
    format!("{PROJECT_LABEL}={project},{INSTANCE_LABEL}={instance}")
}

/// Whether mutagen takes this as the value of a label: 1 to 63 bytes, letters, digits, `-`, `_` and `.`, the first and
/// last one a letter or digit. The names of Docker's containers, which are made of these, allow no less.
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
