//! `coast image build`: images for shell containers, from the archive of a release of mutagen.

use std::fs;
use std::path::PathBuf;

use coast_tests::{Mutagen, Program, Project, ShellImage, Tree};

/// The name of an image, removed when it is dropped.
struct Built<'a> {
    project: &'a Project,
    tag: String,
}

impl<'a> Built<'a> {
    fn new(project: &'a Project) -> Self {
        Self { project, tag: format!("coast-tests-built:{}", project.name()) }
    }

    /// `coast image build` for this name, without a network.
    fn build(&self, archive: &PathBuf) -> Program {
        let program = self.project.coast(["image", "build", "--network", "none", "--tag", &self.tag]);
        program.arg("--mutagen").arg(archive)
    }
}

impl Drop for Built<'_> {
    fn drop(&mut self) {
        // A failure here must not hide the failure of the test.
        let _ = self.project.engine().command(["rmi", "--force", &self.tag]).output();
    }
}

#[test]
fn edits_follow_through_a_container_of_an_image_that_coast_built() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1"));
    let archive = Mutagen::shared().release(&project.remote().path("home"));
    let built = Built::new(&project);
    let base = ShellImage::WithoutMutagen.build(project.engine());
    built.build(&archive).arg("--base").arg(&base).run().assert_code(0).assert_says("is ready");
    project
        .coast(["run", "dev-1", "--image", &built.tag])
        .run()
        .assert_code(0)
        .assert_does_not_say("warning");
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");
    project.coast(["rm", "dev-1", "-y"]).run().assert_code(0);
}

#[test]
fn the_archive_of_a_root_file_system_is_a_base_too() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1"));
    let archive = Mutagen::shared().release(&project.remote().path("home"));
    let built = Built::new(&project);
    let engine = project.engine();
    let container = format!("{}-root", project.name());
    engine.run(["create", "--name", &container, &ShellImage::WithoutMutagen.build(engine), "true"]);
    let root = project.remote().path("home/root.tar");
    engine.run(["export", "--output", root.to_str().expect("paths of tests are text"), &container]);
    engine.run(["rm", &container]);
    built
        .build(&archive)
        .arg("--json")
        .arg("--rootfs")
        .arg(root)
        .run()
        .assert_code(0)
        .assert_says(&built.tag);
    let version =
        engine.run(["run", "--rm", "--network=none", "--entrypoint=mutagen", &built.tag, "version"]);
    assert_eq!(version, "0.18.1");
}

#[test]
fn a_base_or_an_archive_that_will_not_do_is_named_with_the_remedy() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1"));
    let built = Built::new(&project);
    let base = ShellImage::WithoutMutagen.build(project.engine());
    let archive = project.remote().path("home/page.tar.gz");
    fs::write(&archive, "<html>Not found</html>").expect("the sandbox is ours");
    let wrong = built.build(&archive).arg("--base").arg(&base).run();
    wrong.assert_code(3).assert_says("--mutagen takes the archive of a release of mutagen");
    let missing = built.build(&archive).arg("--base").arg("coast-tests-no-such-image").run();
    missing.assert_code(3).assert_says("get it with: docker pull coast-tests-no-such-image");
    let without_ssh = ShellImage::WithoutSsh.build(project.engine());
    let without = built.build(&archive).arg("--base").arg(&without_ssh).run();
    without.assert_code(3).assert_says("the base needs a shell, and either ssh and scp");
    let nowhere = built.build(&project.remote().path("home/nowhere")).arg("--base").arg(&base).run();
    nowhere.assert_code(3).assert_says("home/nowhere: No such file");
}
