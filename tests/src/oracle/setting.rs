//! The settings of random cases: each adds circumstances of one kind.

use std::str::FromStr;

use coast_testkit::Tree;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::circumstances::{Circumstances, Link, Mount};

/// A kind of circumstances that random cases can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Root runs both programs on plain directories.
    Plain,
    /// The directories of the destination have a default ACL.
    DefaultAcl,
    /// The directories of the destination have the set-group-id bit and a group that is not root's.
    SetGroupId,
    /// Files have holes.
    Holes,
    /// The destination or its parent is a symlink, of root or of another user.
    Symlink,
    /// The destination holds a mount, or is a mount.
    Mount,
    /// A user without rights runs both programs.
    Unprivileged,
}

/// The user and the group of [`Setting::Unprivileged`]. Some entries of random trees belong to them.
const USER: (u32, u32) = (12345, 54321);

impl Setting {
    /// All settings.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::DefaultAcl,
        Self::SetGroupId,
        Self::Holes,
        Self::Symlink,
        Self::Mount,
        Self::Unprivileged,
    ];

    /// The name of the setting, as `COAST_SETTINGS` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::DefaultAcl => "acl",
            Self::SetGroupId => "setgid",
            Self::Holes => "holes",
            Self::Symlink => "symlink",
            Self::Mount => "mount",
            Self::Unprivileged => "unprivileged",
        }
    }

    /// Random circumstances of this kind, for a destination tree.
    pub(super) fn circumstances(self, destination: Option<&Tree>) -> BoxedStrategy<Circumstances> {
        let none = Circumstances::default();
        match self {
            Self::Plain => Just(none).boxed(),
            Self::DefaultAcl => {
                select(vec!["u:12345:rwx", "u::rwx,g::rwx,o::-", "g:54321:rw,o::-", "u::rwx,u:1:r,g::r,o::r"])
                    .prop_map(|acl| Circumstances {
                        default_acl: Some(acl.into()),
                        ..Circumstances::default()
                    })
                    .boxed()
            }
            Self::SetGroupId => Just(Circumstances { set_group_id: Some(54321), ..none }).boxed(),
            Self::Holes => Just(Circumstances { holes: true, ..none }).boxed(),
            Self::Symlink => (select(vec![Link::Destination, Link::Parent]), select(vec![0, 0, 12345]))
                .prop_map(|link| Circumstances { link: Some(link), ..Circumstances::default() })
                .boxed(),
            Self::Mount => {
                let Some(tree) = destination else { return Just(none).boxed() };
                let mut points: Vec<_> = tree.directories().map(ToOwned::to_owned).collect();
                points.push(".".into());
                (any::<Index>(), any::<bool>())
                    .prop_map(move |(index, other_file_system)| {
                        let at = index.get(&points).clone();
                        Circumstances {
                            mount: Some(Mount { at, other_file_system }),
                            ..Circumstances::default()
                        }
                    })
                    .boxed()
            }
            Self::Unprivileged => Just(Circumstances { user: Some(USER), ..none }).boxed(),
        }
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|setting| setting.name() == name);
        found.ok_or_else(|| format!("there is no setting {name:?}; there are {known}"))
    }
}
