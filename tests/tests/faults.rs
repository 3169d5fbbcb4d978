//! Files that change, vanish, cannot be read or cannot be written during a run, and symlinks planted in its way. The output
//! names them, the other files arrive, and nothing outside of the destination is touched.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use coast_tests::{Account, Aspects, Remote, Sandbox, Shell, Snapshot, Sudo, Tree, Watch, noise};

/// A sandbox that every user can enter, and a user who is not root.
struct Unprivileged {
    account: Account,
    place: Sandbox,
}

impl Unprivileged {
    fn new() -> Self {
        let place = Sandbox::new().open_to_all();
        let account = Account::create(&place.path(""), &Shell::Bash, Sudo::Never);
        Self { account, place }
    }

    /// Runs `coast sync` and, on a copy of the destination, rsync. Both run as the user.
    fn sync(&self, source: &Tree, destination: &Tree, options: &str) -> coast_tests::Outcome {
        source.build(self.place.path("src"));
        for side in ["coast", "rsync"] {
            destination.build(self.place.path(side).join("dst"));
            self.account.own(self.place.path(side));
            self.account.own(self.place.path(side).join("dst"));
        }
        let options: Vec<_> = options.split(' ').chain(["src/"]).collect();
        let theirs = self.place.rsync(&options).arg("rsync/dst/").as_account(&self.account).run();
        let ours =
            self.place.coast(["sync"]).args(&options).arg("coast/dst/").as_account(&self.account).run();
        assert_eq!(ours.code(), theirs.code(), "{ours}{theirs}");
        self.found("coast").assert_same(&self.found("rsync"), Aspects::CONTENT);
        ours
    }

    fn found(&self, side: &str) -> Snapshot {
        Snapshot::of(self.place.path(side).join("dst"))
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_rest_arrives() {
    let user = Unprivileged::new();
    let source = Tree::new().file("a", "a").file("secret", "hidden").mode(0o600).file("z/z", "z");
    let outcome = user.sync(&source, &Tree::new().file("secret", "old"), "-r");
    outcome.assert_code(23).assert_says("secret").assert_says("permission denied");
    assert!(user.found("coast").holds("z/z"));
}

#[test]
fn a_file_that_cannot_be_read_prevents_no_deletion_but_of_itself() {
    let user = Unprivileged::new();
    let source = Tree::new().file("a", "a").file("secret", "hidden").mode(0o600);
    let destination = Tree::new().file("secret", "old").file("extraneous", "x");
    user.sync(&source, &destination, "-r --delete-after").assert_code(23).assert_says("secret");
    assert!(user.found("coast").holds("secret"));
}

#[test]
fn a_directory_that_cannot_be_read_deletes_nothing() {
    let user = Unprivileged::new();
    let source = Tree::new().file("a", "a").dir("secret").mode(0o700).file("secret/s", "s").file("z/z", "z");
    let destination = Tree::new().file("extraneous", "x").file("secret/old", "old").file("z/old", "old");
    let outcome = user.sync(&source, &destination, "-r --delete-after");
    outcome.assert_code(23).assert_says("secret").assert_says("permission denied");
    let found = user.found("coast");
    for kept in ["extraneous", "secret/old", "z/old", "a"] {
        assert!(found.holds(kept), "{kept} is missing from\n{}", found.listing());
    }
}

#[test]
fn a_source_that_cannot_be_read_at_all_deletes_nothing() {
    let user = Unprivileged::new();
    Tree::new().file("a", "a").build(user.place.path("src"));
    fs::set_permissions(user.place.path("src"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("ours");
    Tree::new().file("kept", "kept").build(user.place.path("dst"));
    user.account.own(user.place.path("dst"));
    let sync = user.place.coast(["sync", "-r", "--delete-after", "src/", "dst/"]).as_account(&user.account);
    let outcome = sync.run();
    assert!([3, 23].contains(&outcome.code()), "{outcome}");
    assert!(user.place.path("dst/kept").exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named_and_the_rest_arrives() {
    let user = Unprivileged::new();
    let source = Tree::new().file("locked/f", "new").file("locked/g/h", "new").file("open/f", "new");
    let outcome = user.sync(&source, &Tree::new().file("locked/f", "old"), "-r");
    outcome.assert_code(23).assert_says("locked").assert_says("permission denied");
    assert!(user.found("coast").holds("open/f"));
}

#[test]
fn what_cannot_be_deleted_is_named_and_the_rest_is() {
    let user = Unprivileged::new();
    let destination = Tree::new().file("locked/f", "old").file("extraneous", "x");
    let outcome = user.sync(&Tree::new().file("a", "a"), &destination, "-r --delete-after");
    outcome.assert_code(23).assert_says("locked/f");
    assert!(!user.found("coast").holds("extraneous"));
}

#[test]
fn directories_that_their_owner_may_not_write_are_opened_for_the_time() {
    for options in ["-r", "-rp", "-rl --delete-after", "-rlp --delete-after"] {
        let user = Unprivileged::new();
        let (uid, gid) = (user.account.uid(), user.account.gid());
        let own = |tree: Tree| tree.owner(uid, gid);
        let source = Tree::new().dir("ro").mode(0o555).file("ro/new", "new").file("ro/sub/f", "f");
        let destination = own(Tree::new().dir("ro").mode(0o555));
        let destination = own(destination.symlink("ro/sub", "elsewhere").file("ro/old", "old"));
        let destination = own(own(destination.dir("gone").mode(0o500)).file("gone/f", "f"));
        user.sync(&source, &destination, options).assert_code(0);
        let mode = |side: &str| user.found(side).get("ro").map(|seen| seen.mode);
        assert_eq!((mode("coast"), mode("rsync")), (Some(0o555), Some(0o555)), "{options}");
    }
}

#[test]
fn owners_that_may_not_be_given_are_as_with_rsync() {
    let user = Unprivileged::new();
    user.sync(&Tree::new().file("a", "a").owner(1, 1), &Tree::new(), "-rog");
}

#[test]
fn devices_that_may_not_be_made_stop_nothing_else() {
    let user = Unprivileged::new();
    let source = Tree::new().char_device("null", 1, 3).fifo("pipe").file("a", "a");
    user.sync(&source, &Tree::new(), "-rD");
    assert!(user.found("coast").holds("pipe"));
}

#[test]
fn a_file_that_changes_while_it_is_read_never_arrives_in_parts() {
    let place = Sandbox::new();
    Tree::new().file("changing", noise(1, 48 << 20)).file("still", "still").build(place.path("src"));
    Tree::new().file("changing", "the old version").file("extraneous", "x").build(place.path("dst"));
    let file = OpenOptions::new().write(true).open(place.path("src/changing")).expect("it was just made");
    let done = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0u64.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                file.write_all_at(&number.to_le_bytes(), number % (48 << 20)).expect("the disk has space");
            }
        });
        let outcome = place.coast(["sync", "-r", "--delete-after", "src/", "dst/"]).run();
        done.store(true, Ordering::Relaxed);
        outcome
    });
    outcome.assert_code(23).assert_says("changing").assert_says("changed");
    assert_eq!(fs::read(place.path("dst/still")).expect("the rest arrives"), b"still");
    assert_eq!(fs::read(place.path("dst/changing")).expect("the old version stays"), b"the old version");
    // The directory can be read, so an entry that it does not list does not exist.
    assert!(!place.path("dst/extraneous").exists());
}

#[test]
fn a_log_that_never_stops_growing_arrives_as_it_was_when_it_was_read() {
    let place = Sandbox::new();
    let begins = noise(1, 8 << 20);
    Tree::new().file("log", begins.clone()).file("still", "still").build(place.path("src"));
    Tree::new().file("log", "the old version").file("extraneous", "x").build(place.path("dst"));
    let mut log = OpenOptions::new().append(true).open(place.path("src/log")).expect("it was just made");
    let done = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::io::Write::write_all(&mut log, b"line\n").expect("the disk has space");
            }
        });
        let outcome = place.coast(["sync", "-r", "--delete-after", "src/", "dst/"]).run();
        done.store(true, Ordering::Relaxed);
        outcome
    });
    outcome.assert_code(0);
    let arrived = fs::read(place.path("dst/log")).expect("it arrives");
    let lines = arrived.strip_prefix(&begins[..]).expect("it begins as it did");
    assert!(lines.chunks(5).all(|line| b"line\n".starts_with(line)));
    assert!(!place.path("dst/extraneous").exists());
}

#[test]
fn a_file_that_grows_and_is_rewritten_never_arrives_in_parts() {
    const BEGINS: u64 = 48 << 20;
    let place = Sandbox::new();
    let content = noise(1, usize::try_from(BEGINS).expect("a size fits"));
    Tree::new().file("output", content).build(place.path("src"));
    Tree::new().file("output", "the old version").build(place.path("dst"));
    let file = OpenOptions::new().write(true).open(place.path("src/output")).expect("it was just made");
    let done = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0u64.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let bytes = number.to_le_bytes();
                file.write_all_at(&bytes, number * 4099 % BEGINS).expect("the disk has space");
                file.write_all_at(&bytes, BEGINS + 8 * number).expect("the disk has space");
            }
        });
        let outcome = place.coast(["sync", "-r", "src/", "dst/"]).run();
        done.store(true, Ordering::Relaxed);
        outcome
    });
    outcome.assert_code(23).assert_says("output").assert_says("changed");
    assert_eq!(fs::read(place.path("dst/output")).expect("the old version stays"), b"the old version");
}

#[test]
fn a_file_that_has_grown_by_much_since_it_was_listed_arrives() {
    let place = Sandbox::new();
    let tree = Tree::new().file("a", noise(1, 40 << 20)).file("z", "small").file("zz", "last");
    tree.build(place.path("src"));
    fs::create_dir(place.path("dst")).expect("the sandbox is ours");
    let watch = Watch::below(place.path(""));
    let running = place.coast(["sync", "-r", "--bwlimit=60m", "src/", "dst/"]).start();
    let staged = place.path(".dst.coast/staging/0");
    watch.until("the first piece to arrive", || fs::metadata(&staged).is_ok_and(|staged| staged.len() > 0));
    let grown = OpenOptions::new().write(true).open(place.path("src/z")).expect("it was just made");
    grown.set_len(70 << 20).expect("it is sparse");
    running.wait().assert_code(0);
    assert!(fs::metadata(place.path("dst/z")).is_ok_and(|found| found.len() == 70 << 20));
    assert!(place.path("dst/zz").exists());
}

#[test]
fn a_file_that_grows_once_while_it_is_read_is_read_again() {
    let place = Sandbox::new();
    // The bandwidth limit keeps the sender at most some 12 MiB ahead of the receiver.
    let mut content = noise(1, 40 << 20);
    Tree::new().file("log", content.clone()).build(place.path("src"));
    fs::create_dir(place.path("dst")).expect("the sandbox is ours");
    let watch = Watch::below(place.path(""));
    let running = place.coast(["sync", "-r", "--bwlimit=20m", "src/", "dst/"]).start();
    let staged = place.path(".dst.coast/staging/0");
    watch.until("the first piece to arrive", || fs::metadata(&staged).is_ok_and(|staged| staged.len() > 0));
    let mut log = OpenOptions::new().append(true).open(place.path("src/log")).expect("it was just made");
    std::io::Write::write_all(&mut log, b"another line").expect("the disk has space");
    running.wait().assert_code(0);
    content.extend_from_slice(b"another line");
    assert!(fs::read(place.path("dst/log")).expect("it arrived") == content);
}

#[test]
fn a_destination_that_is_removed_meanwhile_ends_the_run() {
    for removed in ["dst", ".dst.coast"] {
        let place = Sandbox::new();
        let tree = Tree::new().file("a", noise(1, 8 << 20));
        (0..50).fold(tree, |tree, number| tree.file(format!("d/{number}"), "x")).build(place.path("src"));
        fs::create_dir(place.path("dst")).expect("the sandbox is ours");
        let watch = Watch::below(place.path(""));
        let running = place.coast(["sync", "-r", "--bwlimit=8m", "src/", "dst/"]).start();
        let staged = place.path(".dst.coast/staging");
        let has_content = |entry: std::io::Result<fs::DirEntry>| {
            entry.and_then(|entry| entry.metadata()).is_ok_and(|file| file.len() > 0)
        };
        watch.until("content to arrive", || {
            fs::read_dir(&staged).is_ok_and(|mut files| files.any(has_content))
        });
        let elsewhere = place.path("elsewhere");
        fs::rename(place.path(removed), &elsewhere).expect("it is there");
        // The run may still write files.
        watch.until("it to be removed", || fs::remove_dir_all(&elsewhere).is_ok() || !elsewhere.exists());
        running.wait().assert_code(11).assert_says("was removed while the run went on");
    }
}

#[test]
fn files_that_vanish_are_named_and_the_rest_arrives() {
    let place = Sandbox::new();
    // All sizes differ, so that no file is taken for a copy of another file.
    let name = |number: u64| format!("{number:03}");
    let count = 300u64;
    let size = |number| usize::try_from(300_000 + number).expect("a size fits");
    let tree =
        (0..count).fold(Tree::new(), |tree, number| tree.file(name(number), noise(number, size(number))));
    tree.build(place.path("src"));
    Tree::new().file("extraneous", "x").file(name(0), "old").build(place.path("dst"));
    let watch = Watch::below(place.path("dst"));
    let running = place.coast(["sync", "-r", "--delete-after", "--bwlimit=8m", "src/", "dst/"]).start();
    let arrived =
        |number: &u64| place.path("dst").join(name(*number)).metadata().is_ok_and(|found| found.len() > 3);
    watch.until("the first file to arrive", || (0..count).any(|number| arrived(&number)));
    // Most files have not been read yet. The files that have not arrived are removed.
    let gone: Vec<u64> = (0..count).filter(|number| number % 2 == 0 && !arrived(number)).collect();
    for number in &gone {
        fs::remove_file(place.path("src").join(name(*number))).expect("it was just made");
    }
    let outcome = running.wait();
    outcome.assert_code(24).assert_says("vanished");
    let missing: Vec<_> = gone.into_iter().filter(|number| !arrived(number)).collect();
    assert!(!missing.is_empty(), "nothing vanished in time\n{outcome}");
    for number in missing {
        outcome.assert_says(&name(number));
    }
    for number in (0..count).filter(|number| number % 2 == 1) {
        assert!(arrived(&number), "{} did not arrive\n{outcome}", name(number));
    }
    // A vanished file is no read error: rsync deletes then, and so does coast.
    assert!(!place.path("dst/extraneous").exists());
}

/// Files of root beside the destination. They must never change.
fn outside() -> Tree {
    Tree::new().file("f", "outside").mode(0o600).file("sub/deep", "outside").dir("empty").mode(0o700)
}

#[test]
fn a_planted_symlink_is_replaced_and_never_followed() {
    let place = Sandbox::new();
    outside().build(place.path("outside"));
    let before = Snapshot::of(place.path("outside"));
    Tree::new()
        .file("dir/f", "new")
        .file("dir/sub/deep", "new")
        .file("f", "new")
        .dir("empty")
        .build(place.path("src"));
    let target = place.path("outside");
    Tree::new()
        .symlink("dir", &target)
        .symlink("f", target.join("f"))
        .symlink("empty", target.join("empty"))
        .symlink("extraneous", &target)
        .dir("more")
        .symlink("more/extraneous", &target)
        .build(place.path("dst"));
    place.coast(["sync", "-rlp", "--delete-after", "src/", "dst/"]).run().assert_code(0);
    Snapshot::of(place.path("outside")).assert_untouched_since(&before);
    Snapshot::of(place.path("dst")).assert_same_content(&Snapshot::of(place.path("src")));
}

#[test]
fn a_planted_symlink_does_not_steer_a_push_as_root() {
    let remote = Remote::start();
    outside().build(remote.path("outside"));
    let before = Snapshot::of(remote.path("outside"));
    Tree::new().file("dir/f", "new").file("f", "new").build(remote.path("src"));
    let target = remote.path("outside");
    let planted = Tree::new()
        .symlink("dir", &target)
        .symlink("f", target.join("f"))
        .symlink("extraneous", &target)
        // Excluded and protected symlinks stay, and the user gets the symlinks and not their targets.
        .symlink("node_modules", &target)
        .symlink("generated/link", target.join("sub"))
        .symlink("app/generated/link", target.join("f"));
    planted.build(remote.path("data"));
    remote.push([""; 0], remote.path("src"), remote.path("data")).run().assert_code(0);
    Snapshot::of(&target).assert_untouched_since(&before);
    let data = Snapshot::of(remote.path("data"));
    assert!(data.entry("dir").is_dir() && data.holds("dir/f"));
    for kept in ["node_modules", "generated/link", "app/generated/link"] {
        assert_eq!(data.entry(kept).uid, remote.account().uid(), "{kept}");
    }
}

#[test]
fn a_directory_swapped_for_a_symlink_during_the_run_steers_nothing_outside() {
    let place = Sandbox::in_memory();
    outside().build(place.path("outside"));
    let before = Snapshot::of(place.path("outside"));
    let names = (0..300).map(|number| format!("dir/{number}"));
    let source = names
        .fold(Tree::new(), |tree, name| tree.file(name, "new"))
        .file("dir/f", "new")
        .file("dir/sub/deep", "new");
    source.build(place.path("src"));
    let (dir, aside, target) = (place.path("dst/dir"), place.path("aside"), place.path("outside"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A step that fails because the other process was faster is part of the race.
            while !done.load(Ordering::Relaxed) {
                let _ = fs::rename(&dir, &aside);
                let _ = symlink(&target, &dir);
                let _ = fs::remove_file(&dir);
                let _ = fs::remove_dir_all(&dir);
                let _ = fs::rename(&aside, &dir);
            }
        });
        for _ in 0..10 {
            // The run may end with any exit code. Only files outside of the destination count.
            let _ = place.coast(["sync", "-rlp", "--delete-after", "src/", "dst/"]).run();
        }
        done.store(true, Ordering::Relaxed);
    });
    Snapshot::of(place.path("outside")).assert_untouched_since(&before);
}

#[test]
fn a_destination_that_appears_during_the_run_is_not_deleted() {
    let place = Sandbox::new();
    let slow =
        (0..60).fold(Tree::new(), |tree, number| tree.file(format!("{number:02}"), noise(number, 200_000)));
    slow.build(place.path("src"));
    Tree::new().file("extraneous", "x").build(place.path("dst"));
    let watch = Watch::below(place.path("dst"));
    let running = place.coast(["sync", "-r", "--delete-after", "--bwlimit=8m", "src/", "dst/"]).start();
    let arrived = || fs::read_dir(place.path("dst")).expect("it is there").count() > 1;
    watch.until("the first file to arrive", arrived);
    File::create(place.path("dst/appeared")).expect("the sandbox is ours");
    running.wait().assert_code(0);
    assert!(place.path("dst/appeared").exists());
    assert!(!place.path("dst/extraneous").exists());
}
