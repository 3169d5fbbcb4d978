//! Images for shell containers, by the recipe of `fixtures/images/shell`: an image with everything that coast needs, and
//! images that lack one thing each.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use coast_testkit::DockerEngine;
use coast_tree::LockExt;

use crate::base_image::{base_image, has};
use crate::mutagen::Mutagen;

const RECIPE: &str = include_str!("../../fixtures/images/shell/Dockerfile");

/// An image: a stage of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShellImage {
    /// Everything that coast needs.
    Whole,
    /// No mutagen.
    WithoutMutagen,
    /// mutagen without agents that it could install.
    WithoutAgents,
    /// No ssh and no scp.
    WithoutSsh,
    /// Everything that coast needs, for a user who is not root.
    OfAUser,
}

impl ShellImage {
    fn stage(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::WithoutMutagen => "without-mutagen",
            Self::WithoutAgents => "without-agents",
            Self::WithoutSsh => "without-ssh",
            Self::OfAUser => "of-a-user",
        }
    }

    /// Builds the image if the engine lacks it, and returns its name.
    ///
    /// # Panics
    /// When the image cannot be built.
    #[must_use]
    pub fn build(self, engine: &DockerEngine) -> String {
        static TURN: Mutex<()> = Mutex::new(());
        // A test that panicked while it held the lock has left nothing half done.
        let _turn = TURN.enter();
        let context = tempfile::tempdir().expect("the temporary directory can be written");
        Mutagen::shared().put_into(context.path());
        let base = base_image(engine);
        let tag = format!("coast-tests-shell:{}-{}", self.stage(), hash(context.path(), &base));
        if !has(engine, &tag) {
            let recipe = context.path().join("Dockerfile");
            fs::write(&recipe, RECIPE).expect("the temporary directory can be written");
            let base = format!("BASE={base}");
            let mut build = engine.command(["build", "--quiet", "--network=none", "--tag", &tag]);
            build.args(["--target", self.stage(), "--build-arg", &base]).arg(context.path());
            // The builder inside the engine. The other builder is a plugin, which may be missing.
            let output = build.env("DOCKER_BUILDKIT", "0").output().expect("docker starts");
            assert!(output.status.success(), "{build:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        tag
    }
}

/// A hash of the ingredients. It is part of the image's name, so an image of other ingredients has another name.
fn hash(context: &Path, base: &str) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(RECIPE.as_bytes()).update(base.as_bytes());
    for file in ["mutagen", "mutagen-agents.tar.gz"] {
        hash.update(&fs::read(context.join(file)).expect("it was put there"));
    }
    hash.finalize().to_hex()[..12].to_owned()
}
