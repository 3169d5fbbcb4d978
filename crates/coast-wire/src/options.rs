//! What a run shall do, as one message.

use serde::{Deserialize, Serialize};

/// The options of a run that the receiver must know; named after rsync's options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Filter rules, one canonical line each.
    pub rules: Vec<serde_bytes::ByteBuf>,
    /// `-r`
    pub recursive: bool,
    /// `-l`
    pub links: bool,
    /// `--devices`
    pub devices: bool,
    /// `--specials`
    pub specials: bool,
    /// `-p`
    pub perms: bool,
    /// `-E`
    pub executability: bool,
    /// `-t`
    pub times: bool,
    /// `-o`
    pub owner: bool,
    /// `-g`
    pub group: bool,
    /// `-c`: content decides even when size and time are equal.
    pub checksum: bool,
    /// Who the entries shall belong to, where `owner` and `group` do not say.
    pub ownership: Ownership,
    /// Whether extraneous entries are deleted.
    pub delete: Option<Delete>,
    /// `-n`
    pub dry_run: bool,
    /// `-S`: sequences of zeros are written as holes.
    pub sparse: bool,
    /// `--partial`: what arrived of a large file is kept (outside of the workspace) for the next run.
    pub partial: bool,
    /// Replaced files move into place together, at the end.
    pub delay_updates: bool,
    /// Which changes are told.
    pub itemize: Itemize,
    /// `-v`, or anything else that wants [`Notice`](crate::Event::Notice)s about skipped entries.
    pub verbose: bool,
}

/// Who the entries at the destination shall belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// To whoever the receiver runs as.
    #[default]
    Receiver,
    /// To the user who logged in, every entry of the workspace, also those that are excluded or protected.
    LoginUser,
    /// `--chown=USER:GROUP`, names or numbers.
    Fixed {
        /// User, if it is to be set.
        user: Option<serde_bytes::ByteBuf>,
        /// Group, if it is to be set.
        group: Option<serde_bytes::ByteBuf>,
    },
}

/// How extraneous entries are deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// `--max-delete=N`
    pub max: Option<u64>,
}

/// Which changes the receiver tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Itemize {
    /// None.
    #[default]
    Nothing,
    /// Each entry that changes.
    Changes,
}
