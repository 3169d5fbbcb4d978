//! Words of messages: the valid word that somebody most likely meant, and a path as a word of a command.

use std::path::Path;

/// The least similarity, from 0 to 1, of a word that a message suggests: `rsnc` and `rsync` have 0.94, `mutagen` and
/// `rsync` 0.0.
const LIKE_ENOUGH: f64 = 0.7;

/// The word of `valid` that is most similar to `word`, if one is similar enough.
pub(crate) fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_above(LIKE_ENOUGH, word, valid)
}

/// The word of `valid` that is most similar to `word`, if its similarity is at least `least`.
pub(crate) fn most_similar(word: &str, valid: &[&'static str], least: f64) -> Option<&'static str> {
    nearest_above(least, word, valid.iter().copied())
}

fn nearest_above<'a>(least: f64, word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likeness = |candidate: &str| strsim::jaro_winkler(&word, &candidate.to_lowercase());
    let scored = valid.into_iter().map(|candidate| (likeness(candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= least).then_some(best.1)
}

/// `; did you mean "X"?`, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, valid).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// A path as one word of a shell's command line, for a command that a message suggests. It is quoted only where a shell would not read
/// it as it is.
pub fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+,@:%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        String::from_utf8_lossy(&coast_ssh::quote(text.as_bytes())).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_a_stranger_finds_none() {
        let strategies = ["rsync", "mutagen"];
        for (word, near) in [
            ("rsnc", Some("rsync")),
            ("RSYNC", Some("rsync")),
            ("mutgen", Some("mutagen")),
            ("unison", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, strategies), near, "{word:?}");
        }
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_would_split_or_expand_it() {
        for (path, word) in [
            ("/wt/feature-1", "/wt/feature-1"),
            ("/wt/a b", "'/wt/a b'"),
            ("/wt/it's", "'/wt/it'\\''s'"),
            ("/wt/$HOME", "'/wt/$HOME'"),
            ("/wt/a\\b", "'/wt/a'\\\\'b'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
