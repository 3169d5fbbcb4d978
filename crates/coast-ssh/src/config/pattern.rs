//! The patterns of `Host` and `Match` lines and of `known_hosts` files: `*` stands for any bytes, `?` for one byte, and
//! a leading `!` negates a pattern.

/// Whether upper and lower case letters are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    Insensitive,
}

/// Whether `text` matches at least one of `patterns` and none of the negated ones.
pub(crate) fn list_matches<'p>(patterns: impl IntoIterator<Item = &'p str>, text: &str, case: Case) -> bool {
    let mut matched = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated, text, case) => return false,
            Some(_) => {}
            None => matched |= matches(pattern, text, case),
        }
    }
    matched
}

/// After a mismatch only the last `*` is tried again with one more byte, so the time is at most the product of the two
/// lengths.
fn matches(pattern: &str, text: &str, case: Case) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let same = |a: u8, b: u8| a == b || case == Case::Insensitive && a.eq_ignore_ascii_case(&b);
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || same(c, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    p = star_p + 1;
                    t = star_t + 1;
                    star = Some((star_p, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(patterns: &str, text: &str) -> bool {
        list_matches(patterns.split(','), text, Case::Sensitive)
    }

    #[test]
    fn wildcards_stand_for_bytes() {
        for pattern in ["web1", "web?", "w*", "*", "*1", "w*b*1", "**web1**", "w*e?1"] {
            assert!(matching(pattern, "web1"), "{pattern}");
        }
        for pattern in ["web", "web1?", "?", "w*2", "eb1", "WEB1", "[w]eb1", ""] {
            assert!(!matching(pattern, "web1"), "{pattern}");
        }
        assert!(matching("*", "") && matching("", ""));
        assert!(!matching("?", ""));
    }

    #[test]
    fn a_negated_pattern_wins_wherever_it_stands() {
        assert!(matching("*.example,!secret.example", "a.example"));
        assert!(!matching("*.example,!secret.example", "secret.example"));
        assert!(!matching("!secret.example,*.example", "secret.example"));
        assert!(!matching("!other", "host"));
    }

    #[test]
    fn case_counts_only_when_it_is_to() {
        assert!(list_matches(["*.Example"], "A.eXAMPLE", Case::Insensitive));
        assert!(!list_matches(["*.Example"], "a.example", Case::Sensitive));
    }

    #[test]
    fn many_wildcards_do_not_take_exponential_time() {
        assert!(!matching(&"*a".repeat(60), &"a".repeat(5_000).replacen('a', "b", 4_990)));
    }
}
