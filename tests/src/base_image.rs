//! A Debian base for images, from the archive that the test kit makes.

use coast_testkit::{DockerEngine, debian_archive};

/// Makes the image if the engine lacks it, and returns its name.
///
/// # Panics
/// When the image cannot be made.
pub(crate) fn base_image(engine: &DockerEngine) -> String {
    let archive = debian_archive();
    let name = archive.file_stem().expect("an archive has a name").to_str().expect("its name is text");
    let tag = format!("coast-tests-{}", name.replace("base-", "base:"));
    if !has(engine, &tag) {
        engine.run(["import", archive.to_str().expect("target directories are text"), &tag]);
    }
    tag
}

/// Whether the engine has an image.
pub(crate) fn has(engine: &DockerEngine, tag: &str) -> bool {
    engine.command(["image", "inspect", tag]).output().expect("docker starts").status.success()
}
