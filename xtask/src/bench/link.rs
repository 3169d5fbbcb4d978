//! The links that pushes are measured over, by their names on the command line.

use super::inputs::Extent;
use clap::ValueEnum;
use coast_benches::Link;
use serde::Serialize;

/// A link by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LinkName {
    /// This machine: no delay and no rate.
    Loopback,
    /// 1 ms round trip, 1 Gbit/s.
    Lan,
    /// 20 ms round trip, 100 Mbit/s.
    Office,
    /// 120 ms round trip, 20 Mbit/s.
    Far,
    /// 100 ms round trip, 1 Gbit/s.
    Fat,
}

impl LinkName {
    pub(crate) fn link(self) -> Link {
        match self {
            Self::Loopback => Link::LOOPBACK,
            Self::Lan => Link::LAN,
            Self::Office => Link::OFFICE,
            Self::Far => Link::FAR,
            Self::Fat => Link::FAT,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Lan => "lan",
            Self::Office => "office",
            Self::Far => "far",
            Self::Fat => "fat",
        }
    }

    /// How much of a tree is pushed. A whole one takes minutes over a slow link.
    pub(crate) fn extent(self) -> Extent {
        match self {
            Self::Loopback | Self::Lan | Self::Fat => Extent::Whole,
            Self::Office | Self::Far => Extent::Part,
        }
    }
}
