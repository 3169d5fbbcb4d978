//! Destinations that are not one plain directory of one file system: mounts, access control lists, directories without rights,
//! holes. Real rsync is the judge wherever it can do the same.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use coast_tests::{Aspects, Mount, Outcome, Sandbox, Snapshot, Tree, Watch, noise, require, require_root};

/// The name of a staging directory in the workspace. None may be left.
const STAGING: &str = ".coast-staging";

/// Runs a program of the system and gives what it prints.
fn system(program: &str, package: &str, arguments: &[&Path]) -> String {
    let output =
        Command::new(require(program, package)).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program prints text")
}

fn assert_nothing_staged(destination: &Path) {
    let left: Vec<_> = Snapshot::of(destination)
        .iter()
        .filter(|(path, _)| path.iter().any(|name| name == STAGING))
        .map(|(path, _)| path.to_owned())
        .collect();
    assert!(left.is_empty(), "left in the workspace: {left:?}");
}

/// A tree that needs every way into place: new files, replaced ones, links, a FIFO, a directory that makes way, a deletion.
fn old_tree() -> Tree {
    Tree::new()
        .file("vol/changed", "the old content")
        .file("vol/deep/large", noise(1, 3 << 20))
        .file("vol/extraneous", "goes")
        .file("vol/was-a-directory/inner", "goes")
        .symlink("vol/link", "old")
        .file("top", "the older one")
}

fn new_tree() -> Tree {
    let mut large = noise(1, 3 << 20);
    large.splice(1 << 20..(1 << 20) + 10, noise(2, 5000));
    Tree::new()
        .file("vol/changed", "the new content, longer")
        .file("vol/deep/large", large)
        .file("vol/deep/new", noise(3, 200_000))
        .file("vol/was-a-directory", "a file now")
        .symlink("vol/link", "new")
        .symlink("vol/new-link", "anywhere")
        .fifo("vol/fifo")
        .file("top", "new")
}

/// Syncs the new tree into a destination, and again, and checks that it arrived and that nothing is sent twice.
fn assert_arrives(place: &Sandbox, options: &[&str], destination: &Path) {
    new_tree().build(place.path("source"));
    let sync = |extra: &[&str]| -> Outcome {
        let mut arguments: Vec<String> =
            vec!["sync".into(), "-rlD".into(), "--delete-after".into(), "-i".into()];
        arguments.extend(options.iter().chain(extra).map(|option| (*option).to_owned()));
        arguments.push(format!("{}/", place.path("source").display()));
        arguments.push(format!("{}/", destination.display()));
        place.coast(arguments).run()
    };
    sync(&[]).assert_code(0);
    Snapshot::of(place.path("source")).assert_same_content(&Snapshot::of(destination));
    assert_nothing_staged(destination);
    let again = sync(&[]);
    again.assert_code(0);
    assert!(!again.text().contains(">f"), "a second run sends nothing: {again}");
}

#[test]
fn bind_mount_inside_the_destination_is_written_to() {
    for options in [&[][..], &["--delay-updates"], &["-p", "-t", "-o", "-g"]] {
        let place = Sandbox::new();
        old_tree().build(place.path("data"));
        fs::rename(place.path("data/vol"), place.path("elsewhere")).unwrap();
        fs::create_dir(place.path("data/vol")).unwrap();
        let _mount = Mount::bind(place.path("elsewhere"), place.path("data/vol"));
        assert_arrives(&place, options, &place.path("data"));
    }
}

#[test]
fn what_the_trash_cannot_take_stays_and_a_dry_run_says_so() {
    let place = Sandbox::new();
    Tree::new().file("kept", "kept").file("vol/taken", "a file").build(place.path("source"));
    fs::create_dir_all(place.path("data/vol")).unwrap();
    fs::create_dir(place.path("elsewhere")).unwrap();
    let _mount = Mount::bind(place.path("elsewhere"), place.path("data/vol"));
    Tree::new()
        .file("vol/made", "made there")
        .file("vol/deep/made", "made there")
        .symlink("vol/taken", "made there")
        .file("made", "made there")
        .build(place.path("data"));
    let push = |extra: &[&str]| {
        let (source, destination) = (place.path("source"), place.path("data"));
        let paths = [source.to_str().unwrap(), destination.to_str().unwrap()];
        place.coast([&["push"], extra, &paths].concat()).run()
    };
    let lines = |outcome: &Outcome| {
        let mut lines: Vec<String> = outcome
            .text()
            .lines()
            .filter(|line| line.contains("the trash") && line.contains("vol/"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let (foretold, done) = (push(&["-n"]), push(&[]));
    done.assert_code(23);
    assert!(lines(&done).len() >= 3, "{done}");
    assert_eq!(lines(&foretold), lines(&done), "{foretold}");
    for stays in ["vol/made", "vol/deep/made"] {
        assert!(place.path("data").join(stays).exists(), "{stays}: {done}");
    }
    assert!(place.path("data/vol/taken").is_symlink() && !place.path("data/made").exists(), "{done}");
}

#[test]
fn memory_file_system_inside_the_destination_is_written_to() {
    for options in [&[][..], &["--delay-updates"]] {
        let place = Sandbox::new();
        fs::create_dir_all(place.path("data/vol")).unwrap();
        let _mount = Mount::tmpfs(place.path("data/vol"), "size=64m");
        old_tree().build(place.path("old"));
        place.rsync(["-a", "old/", "data/"]).run().assert_code(0);
        assert_arrives(&place, options, &place.path("data"));
    }
}

#[test]
fn destination_that_is_a_bind_mount_of_the_same_file_system_is_written_to() {
    for options in [&[][..], &["--delay-updates"]] {
        let place = Sandbox::new();
        old_tree().build(place.path("elsewhere"));
        fs::create_dir(place.path("data")).unwrap();
        let _mount = Mount::bind(place.path("elsewhere"), place.path("data"));
        assert_arrives(&place, options, &place.path("data"));
    }
}

#[test]
fn subvolumes_inside_the_destination_are_written_to() {
    for options in [&[][..], &["--delay-updates"]] {
        let place = Sandbox::new();
        let _mount = Mount::image(place.path("disk"), "btrfs", "btrfs-progs", 256 << 20);
        fs::create_dir(place.path("disk/data")).unwrap();
        for subvolume in ["disk/data/vol", "disk/data/vol/deep"] {
            let path = place.path(subvolume);
            system("btrfs", "btrfs-progs", &["subvolume".as_ref(), "create".as_ref(), &path]);
        }
        old_tree().build(place.path("old"));
        place.rsync(["-a", "old/", "disk/data/"]).run().assert_code(0);
        assert_arrives(&place, options, &place.path("disk/data"));
    }
}

#[test]
fn quota_projects_inside_the_destination_are_written_to() {
    let place = Sandbox::new();
    let _mount = Mount::image(place.path("disk"), "xfs", "xfsprogs", 400 << 20);
    fs::create_dir_all(place.path("disk/data/vol")).unwrap();
    system("xfs_io", "xfsprogs", &["-c".as_ref(), "chproj -R 42".as_ref(), &place.path("disk/data/vol")]);
    system("xfs_io", "xfsprogs", &["-c".as_ref(), "chattr -R +P".as_ref(), &place.path("disk/data/vol")]);
    old_tree().build(place.path("old"));
    place.rsync(["-a", "old/", "disk/data/"]).run().assert_code(0);
    assert_arrives(&place, &[], &place.path("disk/data"));
}

#[test]
fn staging_directory_that_an_interrupted_run_left_is_swept_and_never_content() {
    let place = Sandbox::new();
    new_tree().build(place.path("source"));
    for at in ["source", "data", "data/vol", "data/extraneous"] {
        let staging = place.path(at).join(STAGING);
        fs::create_dir_all(staging.join("run-0")).unwrap();
        fs::write(staging.join("run-0/7"), "half a file").unwrap();
        for private in [staging.join("run-0"), staging] {
            fs::set_permissions(&private, Permissions::from_mode(0o700)).unwrap();
        }
    }
    place.coast(["sync", "-rlD", "--delete-after", "source/", "data/"]).run().assert_code(0);
    assert_nothing_staged(&place.path("data"));
    assert!(!place.path("data/extraneous").exists());
    assert!(place.path("source").join(STAGING).join("run-0/7").exists(), "a source is only read");
}

#[test]
fn directory_of_the_reserved_name_that_no_run_made_is_kept_and_told() {
    let place = Sandbox::new();
    Tree::new().file("x/f", "f").build(place.path("source"));
    for (number, inner) in ["precious", "1/1259", "run-0/name", "run-0/1/2"].iter().enumerate() {
        let destination = place.path(format!("data{number}"));
        for at in ["x", "extraneous"] {
            let staging = destination.join(at).join(STAGING);
            let file = staging.join(inner);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "precious").unwrap();
            for private in [file.parent().unwrap(), &staging] {
                fs::set_permissions(private, Permissions::from_mode(0o700)).unwrap();
            }
        }
        let to = format!("{}/", destination.display());
        let outcome = place.coast(["sync", "-r", "-v", "--delete", "source/", &to]).run();
        outcome.assert_says(".coast-staging");
        for at in ["x", "extraneous"] {
            let file = destination.join(at).join(STAGING).join(inner);
            assert_eq!(fs::read(file).unwrap(), b"precious", "{outcome}");
        }
    }
}

#[test]
fn top_of_a_mount_gets_its_time_although_files_were_staged_there() {
    let place = Sandbox::new();
    Tree::new().file("vol/f", "f").with_default_mtime(1_000_000_000).build(place.path("source"));
    fs::create_dir_all(place.path("data/vol")).unwrap();
    let _mount = Mount::tmpfs(place.path("data/vol"), "size=1m");
    place.coast(["sync", "-rlt", "source/", "data/"]).run().assert_code(0);
    let times = |of: &str| fs::metadata(place.path(of)).unwrap().mtime();
    assert_eq!(times("data/vol"), times("source/vol"));
}

#[test]
fn read_only_mount_fails_its_own_entries_and_no_others() {
    let place = Sandbox::new();
    Tree::new().file("vol/a", "a").file("vol/b", "b").file("z", "z").build(place.path("source"));
    fs::create_dir_all(place.path("data/vol")).unwrap();
    let _mount = Mount::tmpfs(place.path("data/vol"), "ro");
    let outcome = place.coast(["push", "source", "data"]).run();
    outcome.assert_code(23).assert_says("vol/a").assert_says("vol/b");
    assert_eq!(fs::read(place.path("data/z")).unwrap(), b"z");
}

/// The access control lists of everything in a directory, as text.
fn lists(of: &Path) -> String {
    let output = Command::new(require("getfacl", "acl"))
        .args(["--recursive", "--numeric", "--omit-header", "--absolute-names", "."])
        .current_dir(of)
        .output()
        .expect("getfacl starts");
    let mut lists: Vec<String> =
        String::from_utf8_lossy(&output.stdout).split("\n\n").map(str::to_owned).collect();
    lists.sort();
    lists.join("\n\n")
}

#[test]
fn default_list_of_a_directory_reaches_new_and_replaced_entries_as_with_rsync() {
    for options in [&["-rlD"][..], &["-rlptD"], &["-a"], &["-rlD", "--delay-updates"]] {
        let place = Sandbox::new();
        let tree = Tree::new()
            .file("shared/new", "new")
            .file("shared/run.sh", "#!/bin/sh")
            .mode(0o755)
            .file("shared/private", "p")
            .mode(0o600)
            .file("shared/old", "the new content")
            .file("shared/sub/deeper", "d")
            .fifo("shared/fifo")
            .file("plain/file", "f");
        tree.build(place.path("source"));
        for side in ["by-rsync", "by-coast"] {
            Tree::new().file("shared/old", "old").file("plain/old", "o").build(place.path(side));
            let shared = place.path(side).join("shared");
            system(
                "setfacl",
                "acl",
                &["-d".as_ref(), "-m".as_ref(), "u:1234:rwx,g:4321:r-x,m:rwx".as_ref(), &shared],
            );
        }
        let arguments = |side: &str| {
            let mut all: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            all.extend(["source/".to_owned(), format!("{side}/")]);
            all
        };
        place.rsync(arguments("by-rsync")).run().assert_code(0);
        let mut sync = vec!["sync".to_owned()];
        sync.extend(arguments("by-coast"));
        place.coast(sync).run().assert_code(0);
        assert_eq!(lists(&place.path("by-coast")), lists(&place.path("by-rsync")), "{options:?}");
    }
}

#[test]
fn list_of_the_directory_around_the_destination_reaches_nothing_in_it() {
    let place = Sandbox::new();
    Tree::new().file("dir/file", "f").build(place.path("source"));
    for side in ["by-rsync", "by-coast"] {
        fs::create_dir_all(place.path(side).join("data")).unwrap();
        system("setfacl", "acl", &["-d".as_ref(), "-m".as_ref(), "u:1234:rwx".as_ref(), &place.path(side)]);
    }
    place.rsync(["-rlD", "source/", "by-rsync/data/"]).run().assert_code(0);
    place.coast(["sync", "-rlD", "source/", "by-coast/data/"]).run().assert_code(0);
    assert_eq!(lists(&place.path("by-coast/data")), lists(&place.path("by-rsync/data")));
}

#[test]
fn flags_of_a_directory_reach_new_files() {
    let place = Sandbox::new();
    let _mount = Mount::image(place.path("disk"), "ext4", "e2fsprogs", 64 << 20);
    fs::create_dir_all(place.path("disk/data/dir")).unwrap();
    system("chattr", "e2fsprogs", &["+A".as_ref(), &place.path("disk/data/dir")]);
    Tree::new().file("dir/file", "f").build(place.path("source"));
    place.coast(["sync", "-rlD", "source/", "disk/data/"]).run().assert_code(0);
    let shown = system("lsattr", "e2fsprogs", &[&place.path("disk/data/dir/file")]);
    let flags = shown.split_whitespace().next().unwrap();
    assert!(flags.contains('A'), "{shown}");
}

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
fn signal_to_the_whole_process_group_keeps_the_part_that_arrived() {
    let place = Sandbox::new();
    Tree::new().file("large", noise(1, 60_000_000)).build(place.path("source"));
    let sync = ["sync", "-r", "--partial", "--bwlimit=4m", "source/", "copy/"];
    // `timeout` signals its child, and then the process group of the child.
    let group = ["timeout", "--preserve-status", "--signal=INT", "3"];
    place.coast(sync).by(group.map(PathBuf::from)).run().assert_code(20);
    let state = Snapshot::of(place.path(".copy.coast"));
    assert_eq!(
        state.iter().filter(|(path, _)| path.parent() == Some(Path::new("partial"))).count(),
        1,
        "{}",
        state.listing()
    );
    assert!(!state.holds("staging"), "{}", state.listing());
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
fn directory_that_becomes_private_is_private_before_its_files_arrive() {
    for mode in [0o700, 0o500] {
        let place = Sandbox::new();
        Tree::new().file("sub/secret", noise(1, 8 << 20)).build(place.path("source"));
        fs::set_permissions(place.path("source/sub"), Permissions::from_mode(mode)).unwrap();
        fs::create_dir_all(place.path("data/sub")).unwrap();
        fs::set_permissions(place.path("data/sub"), Permissions::from_mode(0o777)).unwrap();
        let secret = place.path("data/sub/secret");
        let seen = std::thread::scope(|scope| {
            let run = place.coast(["sync", "-rp", "source/", "data/"]).start();
            let watcher = scope.spawn(|| {
                Watch::below(place.path("data")).until("the file", || secret.exists());
                fs::metadata(place.path("data/sub")).unwrap().mode() & 0o077
            });
            run.wait().assert_code(0);
            watcher.join().unwrap()
        });
        assert_eq!(seen, 0, "{mode:o}");
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

#[test]
fn group_of_a_set_group_directory_reaches_new_and_replaced_files_as_with_rsync() {
    for options in [&["-rlD"][..], &["-rlptD"], &["-rltD", "--delay-updates"]] {
        let place = Sandbox::new();
        Tree::new()
            .file("dir/new", "n")
            .file("dir/old", "the new one")
            .file("dir/sub/x", "x")
            .build(place.path("source"));
        for side in ["by-rsync", "by-coast"] {
            Tree::new().file("dir/old", "old").build(place.path(side));
            chown(place.path(side).join("dir"), None, Some(4321)).unwrap();
            fs::set_permissions(place.path(side).join("dir"), Permissions::from_mode(0o2775)).unwrap();
        }
        let arguments = |side: &str| -> Vec<String> {
            options
                .iter()
                .map(|option| (*option).to_owned())
                .chain(["source/".to_owned(), format!("{side}/")])
                .collect()
        };
        place.rsync(arguments("by-rsync")).run().assert_code(0);
        place.coast(["sync".to_owned()].into_iter().chain(arguments("by-coast"))).run().assert_code(0);
        let aspects = Aspects::CONTENT.with_modes().with_users().with_groups();
        Snapshot::of(place.path("by-coast")).assert_same(&Snapshot::of(place.path("by-rsync")), aspects);
    }
}
