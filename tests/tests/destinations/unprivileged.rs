//! Destinations that belong to an ordinary user, with directories and files that the user may not read or write.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use coast_tests::{Aspects, Mount, Outcome, Sandbox, Snapshot, Tree, noise, require_root};

use super::assert_nothing_staged;

/// A destination that belongs to an ordinary user, and coast and rsync run as that user.
struct Unprivileged {
    place: Sandbox,
}

const USER: u32 = 4242;

impl Unprivileged {
    fn new(source: &Tree, destination: &Tree) -> Self {
        require_root();
        let place = Sandbox::new().open_to_all();
        source.build(place.path("source"));
        for side in ["by-rsync", "by-coast"] {
            destination.build(place.path(side));
        }
        let unprivileged = Self { place };
        unprivileged.give(&unprivileged.place.path(""));
        unprivileged
    }

    fn give(&self, path: &Path) {
        let stat = fs::symlink_metadata(path).unwrap();
        if stat.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.give(&entry.unwrap().path());
            }
        }
        std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
        if !stat.is_symlink() && stat.mode() & 0o6000 != 0 {
            fs::set_permissions(path, Permissions::from_mode(stat.mode() & 0o7777)).unwrap();
        }
    }

    fn chmod(&self, below: &str, mode: u32) {
        for side in ["by-rsync", "by-coast"] {
            fs::set_permissions(self.place.path(side).join(below), Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Runs both, and compares what they leave.
    fn assert_agree(&self, options: &[&str]) -> (Outcome, Outcome) {
        let all = |side: &str| {
            let mut all: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            all.extend(["source/".to_owned(), format!("{side}/")]);
            all
        };
        let theirs = self.place.rsync(all("by-rsync")).as_user(USER, USER).run();
        let mut sync = vec!["sync".to_owned()];
        sync.extend(all("by-coast"));
        let ours = self.place.coast(sync).as_user(USER, USER).run();
        assert_eq!(ours.code(), theirs.code(), "coast: {ours}\nrsync: {theirs}");
        let aspects = Aspects::CONTENT.with_modes();
        Snapshot::of(self.place.path("by-coast"))
            .assert_same(&Snapshot::of(self.place.path("by-rsync")), aspects);
        (ours, theirs)
    }
}

#[test]
fn directory_that_made_way_gets_no_mode_back() {
    let run = Unprivileged::new(&Tree::new().file("g", "new"), &Tree::new().file("g/x", "old"));
    run.chmod("g", 0o500);
    for options in [&["-rlt", "--delete-after", "-n"][..], &["-rlt", "--delete-after"]] {
        run.assert_agree(options);
    }
}

#[test]
fn dry_run_predicts_what_stays_in_the_way_of_an_entry() {
    let rules = "- *.o\n";
    for (source, destination, option) in [
        (
            Tree::new().file("f", "new").file(".rules", rules),
            Tree::new().file("f/keep.o", "").file(".rules", rules),
            "--filter=dir-merge /.rules",
        ),
        (
            Tree::new().file("e", "new"),
            Tree::new().file("e/1", "").file("e/2", "").file("z/9", ""),
            "--max-delete=1",
        ),
    ] {
        let run = Unprivileged::new(&source, &destination);
        for more in [&["-n"][..], &[]] {
            let options = [&["-rl", "--delete-after", option][..], more].concat();
            run.place
                .rsync(options.iter().chain(&["source/", "by-rsync/"]))
                .as_user(USER, USER)
                .run()
                .assert_code(23);
            let sync = ["sync"].iter().chain(&options).chain(&["source/", "by-coast/"]);
            run.place.coast(sync).as_user(USER, USER).run().assert_code(23);
        }
    }
}

#[test]
fn dry_run_predicts_that_a_file_of_another_user_is_replaced() {
    let tree = |time| Tree::new().file("a", "same").mtime(time);
    let run = Unprivileged::new(&tree(1_600_000_000), &tree(1_600_000_005));
    for side in ["by-rsync", "by-coast"] {
        chown(run.place.path(side).join("a"), Some(0), Some(0)).unwrap();
    }
    for options in [&["-rti", "-n"][..], &["-rti"]] {
        let (ours, theirs) = run.assert_agree(options);
        let line = |outcome: &Outcome| outcome.lines().into_iter().find(|line| line.ends_with(" a"));
        assert_eq!(line(&ours), line(&theirs), "{options:?}");
    }
}

#[test]
fn directory_gets_its_mode_back_when_the_run_fails_at_its_end() {
    let source = Tree::new().file("sub/new", "new");
    // The rules of an extraneous directory are read when the deletion begins.
    let destination = Tree::new().dir("sub").file("old/.rules", "nonsense\n").file("old/x", "x");
    let run = Unprivileged::new(&source, &destination);
    run.chmod("sub", 0o500);
    let sync = ["sync", "-r", "--delete", "--filter=: .rules", "source/", "by-coast/"];
    run.place.coast(sync).as_user(USER, USER).run().assert_code(1);
    let left = Snapshot::of(run.place.path("by-coast"));
    assert_eq!((left.entry("sub").mode, left.holds("old/x")), (0o500, true), "{}", left.listing());
}

#[test]
fn unreadable_file_of_other_content_is_replaced() {
    let trees = (Tree::new().file("f", "new!"), Tree::new().file("f", "old!"));
    let run = Unprivileged::new(&trees.0, &trees.1);
    run.chmod("f", 0);
    run.assert_agree(&["-rlt", "-c"]);
}

#[test]
fn directories_that_their_owner_may_not_read_are_brought() {
    for mode in [0o300, 0o100, 0o500, 0o000, 0o600] {
        let source = Tree::new().file("dir/sub/new", "new").file("dir/sub/changed", "the new content");
        let destination = Tree::new().file("dir/sub/changed", "old").file("dir/sub/extraneous", "goes");
        let run = Unprivileged::new(&source, &destination);
        run.chmod("dir/sub", mode);
        // rsync cannot list the directory, so only the entries that it sends are compared.
        let ours = run
            .place
            .coast(["sync", "-rl", "--delete-after", "source/", "by-coast/"])
            .as_user(USER, USER)
            .run();
        ours.assert_code(0);
        let sub = run.place.path("by-coast/dir/sub");
        assert_eq!(fs::metadata(&sub).unwrap().mode() & 0o7777, mode, "{mode:o}");
        fs::set_permissions(&sub, Permissions::from_mode(0o700)).unwrap();
        Snapshot::of(run.place.path("source")).assert_same_content(&Snapshot::of(run.place.path("by-coast")));
    }
}

#[test]
fn destination_that_its_owner_may_not_read_is_brought() {
    for mode in [0o300, 0o000] {
        let run = Unprivileged::new(&Tree::new().file("new", "new"), &Tree::new().file("old", "old"));
        run.chmod("", mode);
        run.place.coast(["sync", "-rl", "source/", "by-coast/"]).as_user(USER, USER).run().assert_code(0);
        assert_eq!(fs::metadata(run.place.path("by-coast")).unwrap().mode() & 0o7777, mode);
        assert_eq!(fs::read(run.place.path("by-coast/new")).unwrap(), b"new");
    }
}

#[test]
fn mode_of_the_source_wins_over_the_one_that_shut_the_destination() {
    let run = Unprivileged::new(&Tree::new().file("new", "new"), &Tree::new());
    run.chmod("", 0o300);
    run.place.coast(["sync", "-rlp", "source/", "by-coast/"]).as_user(USER, USER).run().assert_code(0);
    let mode = |of: &str| fs::metadata(run.place.path(of)).unwrap().mode() & 0o7777;
    assert_eq!(mode("by-coast"), mode("source"));
}

#[test]
fn shut_destination_is_shut_again_after_a_run_that_never_began() {
    let run = Unprivileged::new(&Tree::new().file("new", "new"), &Tree::new());
    run.chmod("", 0o300);
    let outcome = run
        .place
        .coast(["sync", "-rl", "--chown=nobody-here", "source/", "by-coast/"])
        .as_user(USER, USER)
        .run();
    outcome.assert_code(1);
    assert_eq!(fs::metadata(run.place.path("by-coast")).unwrap().mode() & 0o7777, 0o300);
}

#[test]
fn read_only_directories_of_ours_hold_staging_and_state_for_the_time_of_the_run() {
    let run = Unprivileged::new(&Tree::new().file("m/f", "f").file("g", "g"), &Tree::new().dir("m"));
    let options = format!("size=1m,uid={USER},gid={USER},mode=555");
    let _mount = Mount::tmpfs(run.place.path("by-coast/m"), &options);
    run.chmod("", 0o555);
    run.place.coast(["sync", "-rl", "source/", "by-coast/"]).as_user(USER, USER).run().assert_code(0);
    assert_nothing_staged(&run.place.path("by-coast"));
    assert_eq!(fs::read(run.place.path("by-coast/m/f")).unwrap(), b"f");
    for shut in ["by-coast", "by-coast/m"] {
        assert_eq!(fs::metadata(run.place.path(shut)).unwrap().mode() & 0o7777, 0o555, "{shut}");
    }
}

#[test]
fn set_id_bits_arrive_with_the_first_run() {
    let source = Tree::new()
        .file("both", noise(1, 100_000))
        .mode(0o6755)
        .file("group", "g")
        .mode(0o2755)
        .file("large", noise(2, 3 << 20))
        .mode(0o4755);
    let run = Unprivileged::new(&source, &Tree::new());
    run.assert_agree(&["-rlp"]);
}

#[test]
fn full_directory_in_the_way_of_a_file_is_told_before_and_sends_nothing() {
    let source = Tree::new().file("entry", "a file").file("other", "o");
    let run = Unprivileged::new(&source, &Tree::new().file("entry/inner", "stays"));
    for options in [&["-rlt", "-n", "-i"][..], &["-rlt", "-i", "--stats"]] {
        let (ours, _) = run.assert_agree(options);
        ours.assert_code(23).assert_says("entry");
        assert!(!ours.text().contains(">f+++++++++ entry\n"), "{ours}");
    }
    assert_eq!(fs::read(run.place.path("by-coast/entry/inner")).unwrap(), b"stays");
}
