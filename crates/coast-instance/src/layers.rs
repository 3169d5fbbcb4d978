//! The continuous layers, and which of them carries the edits of an instance.

use serde::{Deserialize, Serialize};

use crate::continuous::{self, Continuous};
use crate::{Addressed, mutagen_layer};

/// A continuous layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Mutagen in a shell container: [`MutagenLayer`](crate::MutagenLayer). Records without a layer mean this one.
    #[default]
    Mutagen,
    /// A follower in coastd: [`NativeLayer`](crate::NativeLayer).
    Native,
}

impl Layer {
    /// The word in Coastfiles and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutagen => "mutagen",
            Self::Native => "native",
        }
    }

    /// Whether the layer carries only what changes while its session runs, so that a transfer has to close the gap before that, to carry
    /// private files, and to mend conflicts.
    pub(crate) fn needs_transfers(self) -> bool {
        self == Self::Mutagen
    }

    /// What to do in an instance of this layer about a part that failed.
    pub(crate) fn remedy(self, part: &str, instance: &Addressed) -> String {
        let own = match self {
            Self::Mutagen => mutagen_layer::remedy(part, instance),
            Self::Native => None,
        };
        own.unwrap_or_else(|| continuous::remedy(part, instance))
    }
}

/// All continuous layers.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// Mutagen in a shell container.
    pub mutagen: &'a dyn Continuous,
    /// A follower in coastd.
    pub native: &'a dyn Continuous,
}

impl<'a> Layers<'a> {
    /// The layer `layer`.
    pub fn get(&self, layer: Layer) -> &'a dyn Continuous {
        match layer {
            Layer::Mutagen => self.mutagen,
            Layer::Native => self.native,
        }
    }
}
