//! One rule after parsing: a pattern with its flags, or a per-directory merge file with the flags its content
//! inherits. Both know their canonical text, the form in which a rule list travels to the other side.

use std::fmt;

/// A rule's prefix and modifiers. The flags of a merge rule are also the template for the rules in its file.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    /// An include (show, risk) and not an exclude (hide, protect).
    pub(crate) const INCLUDE: Self = Self(1);
    /// `/`: the pattern is matched against the absolute path.
    pub(crate) const ABSOLUTE: Self = Self(1 << 1);
    /// `!`: the rule takes effect where its pattern does not match.
    pub(crate) const NEGATE: Self = Self(1 << 2);
    /// `p`: the rule is ignored inside a directory that is being removed.
    pub(crate) const PERISHABLE: Self = Self(1 << 3);
    /// `x`: the rule is about names of extended attributes, never about files.
    pub(crate) const XATTR: Self = Self(1 << 4);
    /// A trailing slash: the pattern matches directories only.
    pub(crate) const DIRECTORY: Self = Self(1 << 5);
    /// `s`: the rule holds on the sending side.
    pub(crate) const SENDER: Self = Self(1 << 6);
    /// `r`: the rule holds on the receiving side.
    pub(crate) const RECEIVER: Self = Self(1 << 7);
    /// `w`: the file is split on whitespace instead of lines, and has no comments.
    pub(crate) const WORD_SPLIT: Self = Self(1 << 8);
    /// `n`: subdirectories do not inherit the file's rules.
    pub(crate) const NO_INHERIT: Self = Self(1 << 9);
    /// `-` or `+` on a merge rule: the file holds patterns without prefixes.
    pub(crate) const NO_PREFIXES: Self = Self(1 << 10);
    /// `C`: the file is read as CVS reads a `.cvsignore`.
    pub(crate) const CVS: Self = Self(1 << 11);
    /// `--delete-excluded` was given: rules of the file that name no side hold on the sending side only.
    pub(crate) const HIDE_ONLY: Self = Self(1 << 12);

    /// Both side flags. A rule with neither holds on both sides, as one with both does; they differ in what
    /// `--delete-excluded` does to them.
    pub(crate) const SIDES: Self = Self(Self::SENDER.0 | Self::RECEIVER.0);
    /// The flags that a rule inherits from the merge rule whose file it stands in.
    pub(crate) const FROM_CONTAINER: Self = Self(
        Self::ABSOLUTE.0
            | Self::INCLUDE.0
            | Self::DIRECTORY.0
            | Self::NEGATE.0
            | Self::PERISHABLE.0
            | Self::HIDE_ONLY.0,
    );

    /// Whether any of `flags` is set.
    pub(crate) const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    pub(crate) const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    pub(crate) const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    pub(crate) const fn only(self, flags: Self) -> Self {
        Self(self.0 & flags.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#x})", self.0)
    }
}

/// A parsed rule; static merge files and `-C` have already been replaced by what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Match(MatchRule),
    DirMerge(DirMerge),
}

/// An include or exclude pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MatchRule {
    pub(crate) flags: Flags,
    /// The pattern without the trailing slash that [`Flags::DIRECTORY`] stands for.
    pub(crate) pattern: Vec<u8>,
}

impl MatchRule {
    pub(crate) fn new(flags: Flags, text: &[u8]) -> Self {
        let (pattern, slash) = split_trailing_slash(text);
        Self { flags: flags.with(slash), pattern: pattern.to_vec() }
    }
}

/// A merge file that is looked for in every directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirMerge {
    /// The template of the rules in the file.
    pub(crate) flags: Flags,
    /// The name as given. A path selects the directory where the search begins; the file's own name is the last
    /// component.
    pub(crate) name: Vec<u8>,
}

impl DirMerge {
    pub(crate) fn new(flags: Flags, text: &[u8]) -> Self {
        let (name, slash) = split_trailing_slash(text);
        Self { flags: flags.with(slash), name: name.to_vec() }
    }

    /// The last component of the name. Two merge rules with the same one are the same rule.
    pub(crate) fn base_name(&self) -> &[u8] {
        self.name.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

impl Rule {
    pub(crate) fn flags_mut(&mut self) -> &mut Flags {
        match self {
            Self::Match(rule) => &mut rule.flags,
            Self::DirMerge(rule) => &mut rule.flags,
        }
    }

    /// Bytes of the pattern or name.
    pub(crate) fn text_len(&self) -> usize {
        match self {
            Self::Match(rule) => rule.pattern.len(),
            Self::DirMerge(rule) => rule.name.len(),
        }
    }

    /// The rule in the short syntax of `--filter`, with one modifier of our own, `h`, for
    /// [`Flags::HIDE_ONLY`].
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let (flags, text) = match self {
            Self::Match(rule) => (rule.flags, &rule.pattern),
            Self::DirMerge(rule) => (rule.flags, &rule.name),
        };
        let mut line = Vec::with_capacity(text.len() + 8);
        line.push(match self {
            Self::DirMerge(_) => b':',
            Self::Match(_) if flags.has(Flags::INCLUDE) => b'+',
            Self::Match(_) => b'-',
        });
        let mut modifier = |flag, letter| {
            if flags.has(flag) {
                line.push(letter);
            }
        };
        match self {
            Self::DirMerge(_) => {
                modifier(Flags::ABSOLUTE, b'/');
                if flags.has(Flags::CVS) {
                    modifier(Flags::CVS, b'C');
                } else {
                    modifier(Flags::NO_INHERIT, b'n');
                    modifier(Flags::WORD_SPLIT, b'w');
                    modifier(Flags::NO_PREFIXES, if flags.has(Flags::INCLUDE) { b'+' } else { b'-' });
                }
                modifier(Flags::HIDE_ONLY, b'h');
            }
            Self::Match(_) => {
                modifier(Flags::ABSOLUTE, b'/');
                modifier(Flags::NEGATE, b'!');
                modifier(Flags::XATTR, b'x');
            }
        }
        modifier(Flags::SENDER, b's');
        modifier(Flags::RECEIVER, b'r');
        modifier(Flags::PERISHABLE, b'p');
        line.push(b' ');
        line.extend_from_slice(text);
        if flags.has(Flags::DIRECTORY) {
            line.push(b'/');
        }
        line
    }
}

/// A trailing slash is a flag and not a part of the pattern, unless it is all of it.
fn split_trailing_slash(text: &[u8]) -> (&[u8], Flags) {
    match text {
        [pattern @ .., b'/'] if !pattern.is_empty() => (pattern, Flags::DIRECTORY),
        _ => (text, Flags::NONE),
    }
}
