//! After `run` every edit follows, and no other change is sent.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use coast_tests::{Aspects, Layer, Project, ShellImage, Snapshot, Tree, noise, on_both_layers};

/// The patterns that are never sent: the defaults, those of these tests' Coastfile, and version control.
const IGNORED: [&str; 12] = [
    ".git",
    ".svn",
    ".hg",
    ".bzr",
    "_darcs",
    "node_modules",
    "target",
    "__pycache__",
    ".next",
    ".react-router",
    "notes.log",
    "dist",
];

fn without_ignored(snapshot: Snapshot) -> Snapshot {
    snapshot
        .without(|path| path.file_name().is_some_and(|name| IGNORED.iter().any(|ignored| name == *ignored)))
}

on_both_layers!(
    edits_creations_deletions_and_renames_follow,
    what_follows_can_be_read_by_services_as_what_was_sent_at_first,
    what_is_made_on_the_remote_stays_there,
    the_ignored_and_version_control_never_travel,
    what_the_transfer_sends_is_followed_and_nothing_else,
    a_file_saved_ten_times_in_a_second_ends_as_the_last_version,
    a_large_binary_follows,
);

fn edits_creations_deletions_and_renames_follow(layer: Layer) {
    let project = Project::on(layer, &Tree::sample());
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let root = project.root();
    let whole = |project: &Project| {
        let (here, there) = (Snapshot::of(project.root()), Snapshot::of(project.workspace("dev-1")));
        without_ignored(here).assert_same_content(&without_ignored(there));
    };
    whole(&project);

    fs::write(root.join("app/root.tsx"), "edited\n").expect("the repository is ours");
    project.follows_with("dev-1", "app/root.tsx", b"edited\n");

    fs::create_dir_all(root.join("app/new dir")).expect("the repository is ours");
    fs::write(root.join("app/new dir/ä file.ts"), "created\n").expect("the repository is ours");
    project.follows_with("dev-1", "app/new dir/ä file.ts", b"created\n");

    fs::remove_file(root.join("tsconfig.json")).expect("the sample has it");
    project.follows("dev-1", "a deletion", |workspace| !workspace.join("tsconfig.json").exists());

    fs::rename(root.join("db"), root.join("database")).expect("the sample has it");
    project.follows("dev-1", "a rename", |workspace| {
        !workspace.join("db").exists() && workspace.join("database/migrations/0001_stations.sql").exists()
    });

    fs::set_permissions(root.join("scripts/serve-api.sh"), Permissions::from_mode(0o755))
        .expect("it is ours");
    fs::write(root.join("run.sh"), "#!/bin/sh\n").expect("the repository is ours");
    fs::set_permissions(root.join("run.sh"), Permissions::from_mode(0o755)).expect("it is ours");
    project.follows("dev-1", "an executable file", |workspace| {
        fs::metadata(workspace.join("run.sh")).is_ok_and(|metadata| metadata.mode() & 0o111 != 0)
    });
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    whole(&project);
}

fn what_follows_can_be_read_by_services_as_what_was_sent_at_first(layer: Layer) {
    let project = Project::on(layer, &Tree::new().file("first/sent", "1"));
    project.coast(["run", "dev-1"]).run().assert_code(0);
    Tree::new().file("second/followed", "2").mode(0o600).build(project.root());
    project.follows_with("dev-1", "second/followed", b"2");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    let workspace = project.workspace("dev-1");
    let seen = |path: &str| {
        let metadata = fs::metadata(workspace.join(path)).expect("it arrived");
        (metadata.mode() & 0o777, metadata.uid())
    };
    let user = project.remote().account().uid();
    assert_eq!(seen("first/sent"), (0o644, user));
    // mutagen gives every file one mode.
    let mode = if layer == Layer::Native { 0o600 } else { 0o644 };
    assert_eq!(seen("second/followed"), (mode, user));
    assert_eq!(seen("first"), (0o755, user));
    assert_eq!(seen("second"), (0o755, user));
}

fn what_is_made_on_the_remote_stays_there(layer: Layer) {
    let project =
        Project::on(layer, &Tree::new().file("src/main.rs", "fn main() {}\n").file("README", "read"));
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let before = Snapshot::of(project.root());
    let workspace = project.workspace("dev-1");
    Tree::new().file("made/there", "by a service").file("src/generated.rs", "x").build(&workspace);
    for path in ["made", "made/there", "src/generated.rs"] {
        project.remote().account().own(workspace.join(path));
    }
    fs::write(project.root().join("README"), "read again").expect("the repository is ours");
    project.follows_with("dev-1", "README", b"read again");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    let after = Snapshot::of(project.root());
    let changed = before.differences(&after, Aspects::CONTENT);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(fs::read(workspace.join("made/there")).expect("it stays"), b"by a service");
    assert!(workspace.join("src/generated.rs").exists());
}

fn the_ignored_and_version_control_never_travel(layer: Layer) {
    let mut project = Project::on(layer, &Tree::new().file("src/main.rs", "fn main() {}\n"));
    project.set("exclude", "[\"*.log\", \"/dist\"]");
    let worktree = project.worktree("feature");
    let mut tree = Tree::new();
    for name in IGNORED.iter().filter(|name| **name != ".git") {
        let path = if name.ends_with(".log") { format!("src/{name}") } else { format!("{name}/inside") };
        tree = tree.file(path, "before");
    }
    tree.build(&worktree);
    // In a worktree `.git` is a file, and mutagen's own rule for version control names directories only.
    assert!(worktree.join(".git").is_file());
    let run = project.coast(["run", "dev-1", "--worktree"]).arg(&worktree).run();
    run.assert_code(0);
    let mut tree = Tree::new();
    for name in IGNORED.iter().filter(|name| **name != ".git" && **name != "dist") {
        let path =
            if name.ends_with(".log") { format!("deep/{name}") } else { format!("deep/{name}/inside") };
        tree = tree.file(path, "after");
    }
    tree.file("dist/later", "after").file("deep/dist/travels", "after").build(&worktree);
    project.follows_with("dev-1", "deep/dist/travels", b"after");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    let there = Snapshot::of(project.workspace("dev-1"));
    let wanted = Tree::new()
        .file("src/main.rs", "fn main() {}\n")
        .file("deep/dist/travels", "after")
        .file("Coastfile", fs::read(worktree.join("Coastfile")).expect("it was committed"));
    wanted.build(project.remote().path("wanted"));
    there.assert_same_content(&Snapshot::of(project.remote().path("wanted")));
}

fn what_the_transfer_sends_is_followed_and_nothing_else(layer: Layer) {
    let tree = Tree::new().file("a/b.txt", "1").file("a/x/b.txt", "1").file("r/c", "1").file("top", "1");
    let mut project = Project::on(layer, &tree);
    // In mutagen's own syntax two stars may match no directory.
    project.set("exclude", "[\"a/**/b.txt\", \"/r/**/c\", \"/**/top\"]");
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let workspace = project.workspace("dev-1");
    assert!(workspace.join("a/b.txt").exists() && !workspace.join("a/x/b.txt").exists());
    for path in ["r/x/c", "r/x/y/c", "x/top", "a/x/y/b.txt"] {
        Tree::new().file(path, "2").build(project.root());
    }
    for path in ["a/b.txt", "r/c", "top"] {
        fs::write(project.root().join(path), "2").expect("the repository is ours");
        project.follows_with("dev-1", path, b"2");
    }
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    for path in ["r/x/c", "r/x/y/c", "x/top", "a/x/y/b.txt", "a/x/b.txt"] {
        assert!(!workspace.join(path).exists(), "{path}");
    }
}

fn a_file_saved_ten_times_in_a_second_ends_as_the_last_version(layer: Layer) {
    let project = Project::on(layer, &Tree::new().file("src/main.rs", "version 0\n"));
    project.coast(["run", "dev-1"]).run().assert_code(0);
    for version in 1..=10 {
        fs::write(project.root().join("src/main.rs"), format!("version {version}\n")).expect("it is ours");
        // The pause between the saves is part of the test. Nothing is waited for.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    project.follows_with("dev-1", "src/main.rs", b"version 10\n");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    assert_eq!(
        fs::read(project.workspace("dev-1").join("src/main.rs")).expect("it is there"),
        b"version 10\n"
    );
}

fn a_large_binary_follows(layer: Layer) {
    let project = Project::on(layer, &Tree::new().file("src/main.rs", "fn main() {}\n"));
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let content = noise(4, 50 << 20);
    fs::write(project.root().join("model.bin"), &content).expect("the repository is ours");
    let size = content.len() as u64;
    // The size is compared first, because the content of an unfinished file need not be read.
    project.follows("dev-1", "50 MiB", |workspace| {
        fs::metadata(workspace.join("model.bin")).is_ok_and(|metadata| metadata.len() == size)
    });
    assert!(fs::read(project.workspace("dev-1").join("model.bin")).expect("it is there") == content);
}

#[test]
fn an_image_whose_user_is_not_root_follows_too() {
    let project = Project::with_image(&Tree::new().file("src/main.rs", "1"), ShellImage::OfAUser);
    // The user in the container has another id than the user here.
    fs::set_permissions(project.remote().path(""), Permissions::from_mode(0o755)).expect("it is ours");
    project.coast(["run", "dev-1"]).run().assert_code(0).assert_does_not_say("warning");
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    project.follows_with("dev-1", "src/main.rs", b"2");
    project.coast(["stop", "dev-1"]).run().assert_code(0);
    assert!(!project.holds_key("dev-1"));
}

#[test]
fn a_file_that_others_may_not_read_keeps_its_mode_and_is_named() {
    let project = Project::of(&Tree::new().file("src/main.rs", "1").file("conf/.env", "secret 1"));
    let private = project.root().join("conf/.env");
    fs::set_permissions(&private, Permissions::from_mode(0o600)).expect("the repository is ours");
    project.coast(["run", "dev-1"]).run().assert_code(0);
    let there = project.workspace("dev-1").join("conf/.env");
    let mode = || fs::metadata(&there).expect("it was transferred").mode() & 0o777;
    assert_eq!(mode(), 0o600);

    fs::write(&private, "secret 2").expect("the repository is ours");
    fs::write(project.root().join("src/main.rs"), "2").expect("the repository is ours");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    project.follows_with("dev-1", "src/main.rs", b"2");
    let says = "private     conf/.env: others may not read it";
    project.coast(["status", "dev-1"]).run().assert_code(0).assert_says(says);
    assert_eq!((mode(), fs::read(&there).expect("it is there")), (0o600, b"secret 2".to_vec()));

    // The session carries a file that becomes private while it runs, and opens it.
    let later = project.root().join("later");
    fs::write(&later, "open").expect("the repository is ours");
    project.coast(["flush", "dev-1"]).run().assert_code(0);
    fs::write(&private, "secret 3").expect("the repository is ours");
    fs::set_permissions(&later, Permissions::from_mode(0o600)).expect("the repository is ours");
    project.coast(["start", "dev-1"]).run().assert_code(0);
    assert_eq!((mode(), fs::read(&there).expect("it is there")), (0o600, b"secret 3".to_vec()));
    let later = fs::metadata(project.workspace("dev-1").join("later")).expect("it was carried");
    assert_eq!(later.mode() & 0o777, 0o600);
}
