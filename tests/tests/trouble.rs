//! Trouble on a remote machine during a push: no space, no directory for the helper, an interruption, two pushes at once.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use coast_tests::{Mount, Remote, Shell, Snapshot, Sudo, Tree, Watch, noise};
use rustix::process::Signal;

#[test]
fn a_home_that_runs_no_programs_does_not_stop_a_push() {
    let remote = Remote::start();
    let cache = remote.account().home().join(".cache");
    fs::create_dir(&cache).expect("a new home has no cache");
    let _mount = Mount::tmpfs(&cache, "noexec,mode=0777");
    Tree::sample().build(remote.path("main"));
    remote.push([""; 0], remote.path("main"), remote.path("data")).run().assert_code(0);
    assert!(Snapshot::of(remote.path("data")).holds("app/root.tsx"));
}

#[test]
fn a_cache_that_cannot_be_written_does_not_stop_a_push() {
    let remote = Remote::start();
    // A file takes the place of the directory, so not even root can write below it.
    fs::write(remote.account().home().join(".cache"), "").expect("a new home has no cache");
    Tree::sample().build(remote.path("main"));
    remote.push([""; 0], remote.path("main"), remote.path("data")).run().assert_code(0);
    assert!(Snapshot::of(remote.path("data")).holds("app/root.tsx"));
}

#[test]
fn a_helper_of_the_image_is_used_in_place() {
    let remote = Remote::with(&Shell::Bash, Sudo::Never);
    Tree::sample().build(remote.path("main"));
    // The user may not be able to enter the directory that programs are built in.
    let helper = remote.path("helper");
    fs::copy(coast_tests::coast().with_file_name("coast-helper"), &helper).expect("the helper was built");
    let mut option = OsString::from("--helper=");
    option.push(&helper);
    remote.push([option], remote.path("main"), "space").run().assert_code(0);
    assert!(remote.account().home().join("space/package.json").exists());
    assert!(!remote.account().home().join(".cache/coast").exists(), "nothing had to be uploaded");
}

#[test]
fn a_helper_that_is_none_is_refused() {
    let remote = Remote::with(&Shell::Bash, Sudo::Never);
    Tree::sample().build(remote.path("main"));
    let outcome = remote.push(["--helper=/bin/true"], remote.path("main"), "space").run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("/bin/true");
    assert!(!remote.account().home().join("space").exists());
}

#[test]
fn a_full_disk_is_named_and_leaves_old_files_whole() {
    let remote = Remote::start();
    fs::create_dir(remote.path("small")).expect("the sandbox is ours");
    let _mount = Mount::tmpfs(remote.path("small"), "size=2m");
    Tree::new().file("big", "the old content").file("kept", "kept").build(remote.path("small/data"));
    let new = Tree::new().file("big", noise(1, 8 << 20)).file("kept", "kept");
    new.build(remote.path("src"));
    let outcome = remote.push(["--no-delete"], remote.path("src"), remote.path("small/data")).run();
    assert!([11, 23].contains(&outcome.code()), "{outcome}");
    outcome.assert_says("no space").assert_says("big");
    assert_eq!(fs::read(remote.path("small/data/big")).expect("it is still there"), b"the old content");
    let left = Snapshot::of(remote.path("small"));
    let staged: Vec<_> =
        left.iter().filter(|(_, seen)| !seen.is_dir() && seen.size > 1 << 20).map(|(path, _)| path).collect();
    assert!(staged.is_empty(), "left behind: {staged:?}");
}

/// A tree of small files and, last by name, a file that takes long to send.
fn slow_tree(seed: u64) -> Tree {
    let small = (0..20)
        .fold(Tree::new(), |tree, number| tree.file(format!("a/{number}"), format!("{seed} {number}")));
    small.file("z", noise(seed, 24 << 20))
}

#[test]
fn an_interrupted_push_leaves_whole_files_and_no_staging() {
    let remote = Remote::start();
    slow_tree(1).build(remote.path("old"));
    slow_tree(1).build(remote.path("data/p/i"));
    slow_tree(2).build(remote.path("new"));
    let mut source = remote.path("new").into_os_string();
    source.push("/");
    let sync = remote.sandbox().coast([
        "sync",
        "-rl",
        "--delete-after",
        "--bwlimit=1000",
        "--rsync-path=sudo rsync",
    ]);
    let sync =
        sync.arg("-e").arg(remote.remote_shell()).arg(source).arg(remote.target(remote.path("data/p/i")));

    let watch = Watch::below(remote.path("data/p"));
    let running = sync.start();
    watch.until("the transfer to be under way", || staged_bytes(&remote) > 1 << 20);
    running.signal(Signal::INT);
    running.wait().assert_code(20);

    watch.until("staged files to go", || staged_bytes(&remote) < 1 << 20);
    let (old, new) = (Snapshot::of(remote.path("old")), Snapshot::of(remote.path("new")));
    for (path, seen) in Snapshot::of(remote.path("data/p/i")).iter() {
        let whole =
            [&old, &new].iter().any(|tree| tree.get(path).is_some_and(|known| known.kind == seen.kind));
        assert!(whole, "{} is neither old nor new: {}", path.display(), seen.describe());
    }
    assert_eq!(Snapshot::of(remote.path("data/p/i")).len(), old.len());
}

fn state_directory(remote: &Remote) -> std::path::PathBuf {
    remote.path("data/p/.i.coast")
}

/// The size of the state directory with the cache, in bytes. The run may change it at the same time.
fn staged_bytes(remote: &Remote) -> u64 {
    fn below(directory: &Path) -> u64 {
        let children = fs::read_dir(directory).into_iter().flatten().flatten();
        let size = |child: fs::DirEntry| match child.metadata() {
            Ok(metadata) if metadata.is_dir() => below(&child.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        };
        children.map(size).sum()
    }
    below(&state_directory(remote))
}

#[test]
fn after_an_interruption_the_next_push_finishes_the_work() {
    let remote = Remote::start();
    slow_tree(2).build(remote.path("new"));
    let mut source = remote.path("new").into_os_string();
    source.push("/");
    fs::create_dir_all(remote.path("data/p")).expect("the sandbox is ours");
    let sync = remote.sandbox().coast(["sync", "-rl", "--bwlimit=1000", "--rsync-path=sudo rsync", "-e"]);
    let sync = sync.arg(remote.remote_shell()).arg(source).arg(remote.target(remote.path("data/p/i")));
    let watch = Watch::below(remote.path("data/p"));
    let running = sync.start();
    watch.until("the receiver to start", || state_directory(&remote).exists());
    running.signal(Signal::INT);
    running.wait().assert_code(20);
    remote.push([""; 0], remote.path("new"), remote.path("data/p/i")).run().assert_code(0);
    Snapshot::of(remote.path("data/p/i")).assert_same_content(&Snapshot::of(remote.path("new")));
}

#[test]
fn two_pushes_into_one_workspace_never_interleave() {
    let remote = Remote::start();
    let tree = |text: &str| {
        (0..400).fold(Tree::new(), |tree, number| tree.file(format!("{}/{number}", number % 7), text))
    };
    tree("from one").file("one", "").build(remote.path("one"));
    tree("from the other").file("other", "").build(remote.path("other"));
    // The helper is uploaded before, so that both pushes start at once.
    remote.push([""; 0], remote.path("one"), remote.path("data/p/i")).run().assert_code(0);
    for _ in 0..3 {
        let pushes = ["one", "other"]
            .map(|name| (name, remote.push([""; 0], remote.path(name), remote.path("data/p/i")).start()));
        let ended = pushes.map(|(name, running)| (name, running.wait()));
        let done: Vec<_> =
            ended.iter().filter(|(_, outcome)| outcome.code() == 0).map(|(name, _)| *name).collect();
        assert!(!done.is_empty(), "{}\n{}", ended[0].1, ended[1].1);
        let found = Snapshot::of(remote.path("data/p/i"));
        let whole = |name: &&str| {
            found.differences(&Snapshot::of(remote.path(name)), coast_tests::Aspects::CONTENT).is_empty()
        };
        assert!(done.iter().any(whole), "the workspace is a mixture\n{}", found.listing());
    }
}

#[test]
fn a_push_into_a_file_is_refused() {
    let remote = Remote::start();
    Tree::sample().build(remote.path("main"));
    fs::write(remote.path("file"), "a file").expect("the sandbox is ours");
    let outcome = remote.push([""; 0], remote.path("main"), remote.path("file")).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    assert_eq!(fs::read(remote.path("file")).expect("it is still there"), b"a file");
    assert!(outcome.text().contains(Path::new("file").to_str().expect("text")));
}

/// A slow `coast sync` of the tree `new` into a workspace, as root.
fn slow_sync(remote: &Remote, timeout: &str) -> coast_tests::Program {
    let mut source = remote.path("new").into_os_string();
    source.push("/");
    let words = ["sync", "-rl", "--bwlimit=1000", timeout, "--rsync-path=sudo rsync", "-e"];
    let sync = remote.sandbox().coast(words).arg(remote.remote_shell());
    sync.arg(source).arg(remote.target(remote.path("data/p/i")))
}

#[test]
fn a_client_that_was_stopped_does_not_keep_the_workspace_locked() {
    let remote = Remote::start();
    slow_tree(2).build(remote.path("new"));
    Tree::new().file("f", "other").build(remote.path("other"));
    fs::create_dir_all(remote.path("data/p")).expect("the sandbox is ours");
    let watch = Watch::below(remote.path("data/p"));
    let stopped = slow_sync(&remote, "--timeout=2").start();
    watch.until("the transfer to be under way", || staged_bytes(&remote) > 0);
    stopped.signal(Signal::STOP);
    remote.push([""; 0], remote.path("other"), remote.path("data/p/i")).run().assert_code(0);
    stopped.signal(Signal::CONT);
    assert_ne!(stopped.wait().code(), 0);
    Snapshot::of(remote.path("data/p/i")).assert_same_content(&Snapshot::of(remote.path("other")));
}

#[test]
fn waiting_for_another_run_has_the_limit_that_was_asked_for() {
    let remote = Remote::start();
    slow_tree(2).build(remote.path("new"));
    fs::create_dir_all(remote.path("data/p")).expect("the sandbox is ours");
    let watch = Watch::below(remote.path("data/p"));
    let running = slow_sync(&remote, "--timeout=60").start();
    watch.until("the transfer to be under way", || staged_bytes(&remote) > 0);
    slow_sync(&remote, "--timeout=1")
        .run()
        .assert_code(30)
        .assert_says("another run works on this workspace");
    running.signal(Signal::INT);
    running.wait().assert_code(20);
}
