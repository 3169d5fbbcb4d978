//! The grammar of one rule, in its three dialects: the full syntax of `--filter` and of merge files, the old
//! syntax of `--exclude` and `--include`, and the canonical text in which a list travels.

use crate::error::RuleFault;
use crate::rule::{DirMerge, Flags, MatchRule};

/// Which prefixes a rule may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `--filter`: every rule has a prefix, unless its merge file says that none has.
    Filter,
    /// `--exclude` and its like: a pattern, perhaps after "- " or "+ ", or "!" alone.
    OldPrefixes,
    /// The text that [`Rule::to_line`](crate::rule::Rule::to_line) makes.
    Canonical,
}

/// One rule, before what it stands for is read or expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Match(MatchRule),
    Clear,
    /// `-C`: CVS's default patterns, parsed with these flags as template.
    CvsDefaults(Flags),
    /// A static merge file, its content parsed with these flags as template.
    Merge {
        flags: Flags,
        name: Vec<u8>,
        exclude_self: bool,
    },
    DirMerge {
        rule: DirMerge,
        exclude_self: bool,
    },
}

/// The kind of rule that a prefix announces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Pattern,
    Merge,
    DirMerge,
}

/// Parses one rule that is not empty. `template` holds the flags of the merge rule around it.
pub(crate) fn parse_rule(text: &[u8], template: Flags, syntax: Syntax) -> Result<Parsed, RuleFault> {
    if text.contains(&0) {
        return Err(RuleFault::Nul);
    }
    let mut flags = template.only(Flags::FROM_CONTAINER);
    let mut head = Head { prefix: Prefix::Pattern, flags, exclude_self: false };
    let mut rest = text;

    if template.has(Flags::NO_PREFIXES) {
        if text == b"!" && template.has(Flags::CVS) {
            return Ok(Parsed::Clear);
        }
    } else if syntax == Syntax::OldPrefixes {
        match text {
            b"!" => return Ok(Parsed::Clear),
            [b'-', b' ', pattern @ ..] => {
                flags = flags.without(Flags::INCLUDE);
                rest = pattern;
            }
            [b'+', b' ', pattern @ ..] => {
                flags = flags.with(Flags::INCLUDE);
                rest = pattern;
            }
            _ => {}
        }
        head.flags = flags;
    } else {
        let (letter, after) = split_prefix(text).ok_or(RuleFault::UnknownRule)?;
        if letter == b'!' {
            return match after {
                [] if syntax == Syntax::Canonical => Err(RuleFault::NotCanonical),
                [] => Ok(Parsed::Clear),
                _ => Err(RuleFault::TrailingCharacters),
            };
        }
        (head, rest) = parse_head(letter, after, flags, syntax)?;
    }

    head.flags = merge_sides(head.flags, template)?;
    finish(&head, rest, syntax)
}

/// Splits a rule into the letter of its prefix and what follows, beginning with the modifiers. A long name must
/// be followed by a comma, a space, an underscore, or the end.
fn split_prefix(text: &[u8]) -> Option<(u8, &[u8])> {
    const NAMES: [(&[u8], u8); 9] = [
        (b"clear", b'!'),
        (b"dir-merge", b':'),
        (b"exclude", b'-'),
        (b"hide", b'H'),
        (b"include", b'+'),
        (b"merge", b'.'),
        (b"protect", b'P'),
        (b"risk", b'R'),
        (b"show", b'S'),
    ];
    let (&first, after) = text.split_first()?;
    if NAMES.iter().any(|(name, _)| name[0] == first) {
        let (after, letter) =
            NAMES.iter().find_map(|(name, letter)| Some((text.strip_prefix(*name)?, *letter)))?;
        return match after {
            [b',', modifiers @ ..] => Some((letter, modifiers)),
            [] => Some((letter, after)),
            [next, ..] if crate::merge::is_space(*next) || *next == b'_' => Some((letter, after)),
            _ => None,
        };
    }
    Some((first, after.strip_prefix(b",").unwrap_or(after)))
}

/// Prefix and modifiers of a rule.
struct Head {
    prefix: Prefix,
    flags: Flags,
    exclude_self: bool,
}

/// Reads the modifiers after the prefix `letter`; returns with them the pattern or name, which starts behind one
/// space or underscore.
fn parse_head(letter: u8, text: &[u8], inherited: Flags, syntax: Syntax) -> Result<(Head, &[u8]), RuleFault> {
    let (prefix, flags, names_side) = match letter {
        b':' => (Prefix::DirMerge, Flags::NONE, false),
        b'.' => (Prefix::Merge, Flags::NONE, false),
        b'+' => (Prefix::Pattern, Flags::INCLUDE, false),
        b'-' => (Prefix::Pattern, Flags::NONE, false),
        b'S' => (Prefix::Pattern, Flags::INCLUDE.with(Flags::SENDER), true),
        b'H' => (Prefix::Pattern, Flags::SENDER, true),
        b'R' => (Prefix::Pattern, Flags::INCLUDE.with(Flags::RECEIVER), true),
        b'P' => (Prefix::Pattern, Flags::RECEIVER, true),
        _ => return Err(RuleFault::UnknownRule),
    };
    let mut head = Head { prefix, flags: inherited.with(flags), exclude_self: false };
    let merges = prefix != Prefix::Pattern;

    let end = text.iter().position(|&byte| byte == b' ' || byte == b'_').unwrap_or(text.len());
    for &modifier in &text[..end] {
        let allowed = match modifier {
            b'-' | b'+' => merges && !head.flags.has(Flags::NO_PREFIXES),
            b'!' => !merges,
            b'C' => !head.flags.has(Flags::NO_PREFIXES) && !names_side,
            b'e' | b'n' | b'w' => merges,
            b'r' | b's' => !names_side,
            b'/' | b'p' | b'x' => true,
            b'h' => prefix == Prefix::DirMerge && syntax == Syntax::Canonical,
            _ => false,
        };
        if !allowed {
            return Err(RuleFault::InvalidModifier { modifier });
        }
        head.flags = head.flags.with(match modifier {
            b'-' => Flags::NO_PREFIXES,
            b'+' => Flags::NO_PREFIXES.with(Flags::INCLUDE),
            b'!' => Flags::NEGATE,
            b'C' => Flags::CVS.with(Flags::NO_PREFIXES).with(Flags::WORD_SPLIT).with(Flags::NO_INHERIT),
            b'n' => Flags::NO_INHERIT,
            b'w' => Flags::WORD_SPLIT,
            b'r' => Flags::RECEIVER,
            b's' => Flags::SENDER,
            b'/' => Flags::ABSOLUTE,
            b'p' => Flags::PERISHABLE,
            // Attribute names are a matter of single patterns, not of a merge file's template.
            b'x' if !merges => Flags::XATTR,
            b'h' => Flags::HIDE_ONLY,
            _ => Flags::NONE,
        });
        head.exclude_self |= modifier == b'e';
    }
    Ok((head, text.get(end + 1..).unwrap_or_default()))
}

/// The sides of a rule are its own or its merge file's, never both.
fn merge_sides(flags: Flags, template: Flags) -> Result<Flags, RuleFault> {
    if flags.has(Flags::SIDES) && template.has(Flags::SIDES) {
        return Err(RuleFault::SideTwice);
    }
    Ok(flags.with(template.only(Flags::SIDES)))
}

fn finish(head: &Head, text: &[u8], syntax: Syntax) -> Result<Parsed, RuleFault> {
    let Head { prefix, flags, exclude_self } = *head;
    let canonical = syntax == Syntax::Canonical;
    if text.is_empty() && !flags.has(Flags::CVS) {
        return Err(RuleFault::UnexpectedEnd);
    }
    if text.len() > crate::MAX_PATTERN_BYTES {
        return Err(RuleFault::TooLong);
    }
    let name = if text.is_empty() { b".cvsignore" } else { text };
    match prefix {
        Prefix::Merge if canonical => Err(RuleFault::NotCanonical),
        Prefix::Merge => Ok(Parsed::Merge { flags, name: name.to_vec(), exclude_self }),
        Prefix::DirMerge => Ok(Parsed::DirMerge { rule: DirMerge::new(flags, name), exclude_self }),
        Prefix::Pattern if flags.has(Flags::CVS) && canonical => Err(RuleFault::NotCanonical),
        Prefix::Pattern if flags.has(Flags::CVS) => Ok(Parsed::CvsDefaults(hide_if_unmarked(flags))),
        Prefix::Pattern => Ok(Parsed::Match(MatchRule::new(hide_if_unmarked(flags), text))),
    }
}

/// Under `--delete-excluded` a pattern that names no side holds on the sending side only.
fn hide_if_unmarked(flags: Flags) -> Flags {
    let side =
        if flags.has(Flags::HIDE_ONLY) && !flags.has(Flags::SIDES) { Flags::SENDER } else { Flags::NONE };
    flags.with(side).without(Flags::HIDE_ONLY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    fn line(text: &str) -> Result<String, RuleFault> {
        let rule = match parse_rule(text.as_bytes(), Flags::NONE, Syntax::Filter)? {
            Parsed::Match(rule) => Rule::Match(rule),
            Parsed::DirMerge { rule, .. } => Rule::DirMerge(rule),
            other => return Ok(format!("{other:?}")),
        };
        Ok(String::from_utf8_lossy(&rule.to_line()).into_owned())
    }

    #[test]
    fn every_spelling_of_a_rule_means_the_same() {
        for (spelling, canonical) in [
            ("- foo", "- foo"),
            ("-_foo", "- foo"),
            ("-,_foo", "- foo"),
            ("exclude foo", "- foo"),
            ("exclude, foo", "- foo"),
            ("exclude_foo", "- foo"),
            ("exclude,!/ foo/", "-/! foo/"),
            ("+/p foo", "+/p foo"),
            ("include  two", "+  two"),
            ("H x", "-s x"),
            ("hide x", "-s x"),
            ("S x", "+s x"),
            ("show,p x", "+sp x"),
            ("P x/***", "-r x/***"),
            ("protect x", "-r x"),
            ("R x", "+r x"),
            ("risk x", "+r x"),
            ("-sr x", "-sr x"),
            ("-x user.*", "-x user.*"),
            (": .rules", ": .rules"),
            ("dir-merge,n- .rules", ":n- .rules"),
            (":sC", ":Cs .cvsignore"),
            (":w+p .rules", ":w+p .rules"),
            ("- /", "- /"),
            ("- a//", "- a//"),
        ] {
            assert_eq!(line(spelling).as_deref(), Ok(canonical), "{spelling}");
        }
    }

    #[test]
    fn malformed_rules_are_refused() {
        use RuleFault::*;
        for (text, fault) in [
            ("foo", UnknownRule),
            ("excluded foo", UnknownRule),
            ("pfoo", UnknownRule),
            ("=foo", UnknownRule),
            ("-", UnexpectedEnd),
            ("- ", UnexpectedEnd),
            ("merge", UnexpectedEnd),
            ("-foo", InvalidModifier { modifier: b'f' }),
            ("-\tfoo", InvalidModifier { modifier: b'\t' }),
            ("-e foo", InvalidModifier { modifier: b'e' }),
            ("-- foo", InvalidModifier { modifier: b'-' }),
            ("Ps foo", InvalidModifier { modifier: b's' }),
            ("HC", InvalidModifier { modifier: b'C' }),
            (":! foo", InvalidModifier { modifier: b'!' }),
            (":-+ foo", InvalidModifier { modifier: b'+' }),
            (":h foo", InvalidModifier { modifier: b'h' }),
            ("! foo", TrailingCharacters),
            ("clear foo", TrailingCharacters),
            ("- a\0b", Nul),
        ] {
            assert_eq!(line(text), Err(fault), "{text}");
        }
        let long = format!("- {}", "x".repeat(crate::MAX_PATTERN_BYTES + 1));
        assert_eq!(line(&long), Err(TooLong));
    }

    #[test]
    fn a_clear_rule_stands_alone() {
        for text in ["!", "!,", "clear", "clear,"] {
            assert_eq!(parse_rule(text.as_bytes(), Flags::NONE, Syntax::Filter), Ok(Parsed::Clear), "{text}");
        }
    }

    #[test]
    fn old_syntax_knows_only_three_prefixes() {
        let parse = |text: &str| match parse_rule(text.as_bytes(), Flags::INCLUDE, Syntax::OldPrefixes) {
            Ok(Parsed::Match(rule)) => String::from_utf8_lossy(&Rule::Match(rule).to_line()).into_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(parse("- a"), "- a");
        assert_eq!(parse("+ a"), "+ a");
        assert_eq!(parse("-_a"), "+ -_a");
        assert_eq!(parse("P a"), "+ P a");
        assert_eq!(parse("!"), "Ok(Clear)");
        assert_eq!(parse("!a"), "+ !a");
        assert_eq!(parse("-"), "+ -");
        assert_eq!(parse("- "), "Err(UnexpectedEnd)");
    }

    #[test]
    fn a_side_comes_from_the_rule_or_from_its_merge_file() {
        let sided = Flags::SENDER;
        let own = parse_rule(b"P a", sided, Syntax::Filter);
        assert_eq!(own, Err(RuleFault::SideTwice));
        let inherited = parse_rule(b"- a", sided, Syntax::Filter);
        assert_eq!(inherited, Ok(Parsed::Match(MatchRule::new(Flags::SENDER, b"a"))));
    }
}
