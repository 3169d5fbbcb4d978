//! The command line of `coast`: its output, the arguments that it refuses, and its exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use coast_tests::{Outcome, Program, Sandbox, Snapshot, Tree, require};
use serde_json::Value;

/// A sandbox with a source and a destination that differ in every way that the output tells apart.
fn two_trees() -> Sandbox {
    let place = Sandbox::new();
    Tree::new()
        .file("same", "same")
        .file("changed", "new content")
        .file("new", "new")
        .file("dir/new", "new")
        .file("dir/changed", "new")
        .symlink("link", "new-target")
        .symlink("new-link", "target")
        .dir("new-dir")
        .file("new-dir/inside", "inside")
        .fifo("pipe")
        .file("left out", "excluded")
        .build(place.path("src"));
    Tree::new()
        .file("same", "same")
        .file("changed", "old")
        .file("dir/changed", "old")
        .file("dir/extraneous", "x")
        .symlink("link", "old-target")
        .dir("extraneous-dir")
        .file("extraneous-dir/inside", "x")
        .file("extraneous", "x")
        .build(place.path("dst"));
    place
}

fn sync(place: &Sandbox, arguments: &[&str]) -> Program {
    place.coast(["sync"]).args(arguments)
}

fn lines(outcome: &Outcome) -> BTreeSet<String> {
    outcome.lines().into_iter().filter(|line| !line.is_empty()).collect()
}

// Output.

#[test]
fn itemized_changes_are_those_of_rsync() {
    let place = two_trees();
    let options = ["-rlDtcin", "--delete-after", "--exclude=left out", "src/", "dst/"];
    let theirs = lines(place.rsync(options).run().assert_code(0));
    let ours = lines(sync(&place, &options).run().assert_code(0));
    assert_eq!(ours, theirs);
}

#[test]
fn itemized_changes_of_a_first_copy_are_those_of_rsync() {
    let place = two_trees();
    let theirs = lines(place.rsync(["-rlDi", "src/", "theirs/"]).run().assert_code(0));
    let ours = lines(sync(&place, &["-rlDi", "src/", "ours/"]).run().assert_code(0));
    // rsync reports in a line of its own that it made the destination.
    let theirs: BTreeSet<_> = theirs.into_iter().filter(|line| !line.starts_with("created ")).collect();
    let ours: BTreeSet<_> = ours.into_iter().filter(|line| !line.starts_with("created ")).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn names_of_what_changes_are_those_of_rsync() {
    let place = two_trees();
    let options = ["-rlDcvn", "--delete-after", "src/", "dst/"];
    // The lines after the names hold figures, which differ, and the lines before are a heading.
    let names = |outcome: &Outcome| -> BTreeSet<String> {
        let figures = |line: &String| {
            line.starts_with("sent ") || line.starts_with("total size is ") || line.contains("file list")
        };
        lines(outcome).into_iter().filter(|line| !figures(line)).collect()
    };
    let theirs = names(place.rsync(options).run().assert_code(0));
    let ours = names(sync(&place, &options).run().assert_code(0));
    assert_eq!(ours, theirs);
}

#[test]
fn a_second_run_has_nothing_to_say() {
    let place = two_trees();
    sync(&place, &["-rlDp", "--delete", "src/", "dst/"]).run().assert_code(0);
    let again = sync(&place, &["-rlDpi", "--delete", "src/", "dst/"]).run();
    again.assert_code(0);
    assert_eq!(again.text(), "");
}

#[test]
fn a_plain_run_is_silent_as_that_of_rsync() {
    let place = two_trees();
    let outcome = sync(&place, &["-rlD", "--delete", "src/", "dst/"]).run();
    outcome.assert_code(0);
    assert_eq!(outcome.text(), "");
}

#[test]
fn a_dry_run_changes_nothing_and_leaves_nothing_behind() {
    let place = two_trees();
    let before = Snapshot::of(place.path(""));
    sync(&place, &["-rlDn", "--delete", "src/", "dst/"]).run().assert_code(0);
    let after = Snapshot::of(place.path(""));
    let unwanted = |path: &std::path::Path| path.starts_with("home") || path == std::path::Path::new(".");
    after.without(unwanted).assert_untouched_since(&before.without(unwanted));
}

#[test]
fn statistics_are_told_on_request() {
    let place = two_trees();
    let outcome = sync(&place, &["-rlD", "--delete", "--stats", "src/", "dst/"]).run();
    outcome
        .assert_code(0)
        .assert_says("Number of files")
        .assert_says("Total bytes sent")
        .assert_says("deleted files: 4");
}

/// The object of every line.
fn records(outcome: &Outcome) -> Vec<Value> {
    let parse = |line: String| {
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}\n{outcome}"))
    };
    outcome.lines().into_iter().map(parse).collect()
}

fn paths<'a>(records: &'a [Value], event: &str) -> BTreeSet<&'a str> {
    let of_kind = records.iter().filter(|record| record["event"] == event);
    of_kind.map(|record| record["path"].as_str().expect("a change has a path")).collect()
}

#[test]
fn json_tells_every_change_and_ends_with_all_counts() {
    let place = two_trees();
    let outcome = sync(&place, &["-rlDv", "--delete", "--json", "src/", "dst/"]).run();
    outcome.assert_code(0);
    let records = records(&outcome);
    assert_eq!(
        paths(&records, "deleted"),
        ["dir/extraneous", "extraneous", "extraneous-dir", "extraneous-dir/inside"].into()
    );
    let changed = paths(&records, "changed");
    for path in
        ["changed", "new", "dir/new", "dir/changed", "link", "new-link", "new-dir", "new-dir/inside", "pipe"]
    {
        assert!(changed.contains(path), "{path} is missing\n{outcome}");
    }
    assert!(!changed.contains("same"), "{outcome}");
    let done = records.last().expect("something was printed");
    assert_eq!(done["event"], "done");
    assert_eq!(done["exit_code"], 0);
    assert!(done["wire_sent_bytes"].is_u64() && done["seconds"].is_f64(), "{outcome}");
}

#[test]
fn json_has_the_exact_bytes_of_every_name() {
    let place = Sandbox::new();
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"a\nb\xff");
    Tree::new().entry(name, coast_tests::Node::File(b"x".to_vec())).build(place.path("src"));
    let outcome = sync(&place, &["-rv", "--json", "src/", "dst/"]).run();
    let records = records(outcome.assert_code(0));
    assert!(records.iter().any(|record| record["path_bytes"] == "610a62ff"), "{outcome}");
}

#[test]
fn json_of_a_failure_has_its_exit_code() {
    let place = two_trees();
    let outcome = sync(&place, &["-r", "--json", "src/", "dst/no/such/place/"]).run();
    let records = records(&outcome);
    let failed = records.last().unwrap_or_else(|| panic!("nothing was printed\n{outcome}"));
    assert_eq!(failed["event"], "failed");
    assert_eq!(failed["exit_code"], outcome.code());
    assert!(failed["text"].as_str().is_some_and(|text| text.contains("dst/no")), "{outcome}");
}

// Refused arguments.

#[track_caller]
fn assert_refused(arguments: &[&str], words: &[&str]) {
    let place = two_trees();
    let before = Snapshot::of(place.path("dst"));
    let outcome = place.coast(arguments).run();
    outcome.assert_code(1);
    for word in words {
        outcome.assert_says(word);
    }
    Snapshot::of(place.path("dst")).assert_untouched_since(&before);
}

#[test]
fn options_of_rsync_that_are_not_taken_are_named_with_what_to_use_instead() {
    assert_refused(&["sync", "-r", "--inplace", "src/", "dst/"], &["--inplace"]);
    assert_refused(&["sync", "-rH", "src/", "dst/"], &["-H"]);
    assert_refused(&["sync", "-r", "--delete-before", "src/", "dst/"], &["--delete-before", "--delete"]);
    assert_refused(&["sync", "-r", "--size-only", "src/", "dst/"], &["--size-only"]);
    assert_refused(&["sync", "-r", "--backup-dir=x", "src/", "dst/"], &["--backup-dir"]);
    assert_refused(&["sync", "-ru", "src/", "dst/"], &["-u", "content"]);
}

#[test]
fn an_option_that_nobody_has_is_named() {
    assert_refused(&["sync", "-r", "--frobnicate", "src/", "dst/"], &["--frobnicate"]);
}

#[test]
fn a_remote_source_is_refused_for_now() {
    assert_refused(&["sync", "-r", "host:src/", "dst/"], &["from a remote"]);
    assert_refused(&["sync", "-r", "host:src/", "other:dst/"], &["remote"]);
    assert_refused(&["push", "host:src/", "other:dst/"], &[]);
}

#[test]
fn a_daemon_is_refused() {
    assert_refused(&["sync", "-r", "src/", "host::module/dst/"], &["daemon"]);
    assert_refused(&["sync", "-r", "src/", "rsync://host/module/dst/"], &["daemon"]);
}

#[test]
fn options_of_ssh_that_do_not_apply_are_named() {
    assert_refused(&["sync", "-r", "-e", "ssh -X -p 22", "src/", "me@host:dst/"], &["-X"]);
    assert_refused(&["sync", "-r", "-e", "ssh -o Frobnicate=yes", "src/", "me@host:dst/"], &["Frobnicate"]);
    assert_refused(&["sync", "-r", "-e", "rsh", "src/", "me@host:dst/"], &["rsh"]);
}

#[test]
fn a_rule_that_is_none_is_named() {
    assert_refused(&["sync", "-r", "--filter=what is this", "src/", "dst/"], &["what is this"]);
    assert_refused(&["push", "--filter=what is this", "src/", "host:dst/"], &["what is this"]);
}

#[test]
fn too_few_and_too_many_arguments_are_refused() {
    assert_refused(&["sync", "-r", "src/"], &[]);
    assert_refused(&["sync", "-r"], &[]);
    assert_refused(&["push", "src/"], &[]);
    assert_refused(&[], &["usage"]);
}

#[test]
fn a_source_that_is_missing_is_named() {
    let place = two_trees();
    let before = Snapshot::of(place.path("dst"));
    let outcome = sync(&place, &["-r", "--delete", "missing/", "dst/"]).run();
    assert!([3, 23].contains(&outcome.code()), "{outcome}");
    outcome.assert_says("missing");
    Snapshot::of(place.path("dst")).assert_untouched_since(&before);
}

#[test]
fn help_states_the_two_promises() {
    let place = Sandbox::new();
    let help = place.coast(["sync", "--help"]).run();
    help.assert_code(0).assert_says("not touched").assert_says("appears");
    place.coast(["--version"]).run().assert_code(0).assert_says("coast");
    place
        .coast(["push", "--help"])
        .run()
        .assert_code(0)
        .assert_says("--protect")
        .assert_says("generated/***");
}

#[test]
fn completions_and_manual_come_from_the_same_definitions() {
    let place = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        place.coast(["completions", shell]).run().assert_code(0).assert_says("push");
    }
    place.coast(["man"]).run().assert_code(0).assert_says(".TH").assert_says("push");
}

// Promises.

#[test]
fn what_is_right_is_not_touched_whatever_its_times() {
    let place = Sandbox::new();
    Tree::new()
        .file("f", "same")
        .mtime(1)
        .file("d/g", "same")
        .dir("d")
        .symlink("l", "f")
        .fifo("p")
        .build(place.path("src"));
    Tree::new()
        .file("f", "same")
        .mtime(2)
        .file("d/g", "same")
        .dir("d")
        .symlink("l", "f")
        .fifo("p")
        .build(place.path("dst"));
    let before = Snapshot::of(place.path("dst"));
    sync(&place, &["-rlDpE", "--delete", "src/", "dst/"]).run().assert_code(0);
    Snapshot::of(place.path("dst")).assert_untouched_since(&before);
}

#[test]
fn equal_size_and_time_do_not_make_equal_content() {
    let place = Sandbox::new();
    Tree::new().file("f", "new").mtime(1_700_000_000).build(place.path("src"));
    Tree::new().file("f", "old").mtime(1_700_000_000).build(place.path("dst"));
    sync(&place, &["-r", "src/", "dst/"]).run().assert_code(0);
    assert_eq!(fs::read(place.path("dst/f")).expect("it is there"), b"new");
}

#[test]
fn a_change_that_keeps_size_and_time_is_noticed_by_a_second_run() {
    let place = Sandbox::new();
    let version = |content: &str| Tree::new().file("f", content).mtime(1_700_000_000);
    for content in ["one", "two", "six", "ten"] {
        version(content).build(place.path("src"));
        sync(&place, &["-r", "src/", "dst/"]).run().assert_code(0);
        assert_eq!(fs::read_to_string(place.path("dst/f")).expect("it is there"), content);
    }
}

#[test]
fn a_change_on_the_other_side_that_keeps_size_and_time_is_undone() {
    let place = Sandbox::new();
    let version = |content: &str| Tree::new().file("f", content).mtime(1_700_000_000);
    version("right").build(place.path("src"));
    for content in ["wrong", "WRONG", "Wrong"] {
        sync(&place, &["-r", "src/", "dst/"]).run().assert_code(0);
        version(content).build(place.path("dst"));
        sync(&place, &["-r", "src/", "dst/"]).run().assert_code(0);
        assert_eq!(fs::read_to_string(place.path("dst/f")).expect("it is there"), "right");
    }
}

#[test]
fn a_moved_file_is_not_sent_again() {
    let place = Sandbox::new();
    Tree::new().file("old/name", coast_tests::noise(1, 4 << 20)).build(place.path("src"));
    sync(&place, &["-r", "src/", "dst/"]).run().assert_code(0);
    fs::rename(place.path("src/old"), place.path("src/new")).expect("the sandbox is ours");
    let outcome = sync(&place, &["-r", "--delete", "--json", "src/", "dst/"]).run();
    let records = records(outcome.assert_code(0));
    let sent =
        records.last().and_then(|done| done["wire_sent_bytes"].as_u64()).expect("the last line has counts");
    assert!(sent < 100_000, "{sent} bytes were sent\n{outcome}");
    Snapshot::of(place.path("dst")).assert_same_content(&Snapshot::of(place.path("src")));
}

#[test]
fn a_new_worktree_is_pushed_without_reading_what_another_one_has() {
    let place = Sandbox::new();
    let mut tree = Tree::new();
    for number in 0..1000 {
        tree = tree.file(format!("d{}/f{number}", number % 7), format!("content {number}"));
    }
    tree.build(place.path("main"));
    let git = |directory: &str, arguments: &[&str]| {
        let user = ["-c", "user.name=a", "-c", "user.email=a@b"];
        place
            .program(require("git", "git"))
            .args(["-C", directory])
            .args(user)
            .args(arguments)
            .run()
            .assert_code(0);
    };
    git("main", &["init", "--quiet"]);
    git("main", &["add", "--all"]);
    git("main", &["commit", "--quiet", "--message=one"]);
    let add_worktree = |name: &str| {
        git("main", &["worktree", "add", "--quiet", "--detach", &format!("../{name}")]);
        // Git's word is taken only for files that are older than the index by more than a clock may jump.
        let written = Instant::now();
        while written.elapsed() < Duration::from_millis(25) {
            std::thread::yield_now();
        }
        git(name, &["update-index", "--force-write-index"]);
    };
    let hashed_files = |name: &str, options: &[&str]| {
        let outcome = place.coast(["push", "--json", name, "dst"]).args(options).run();
        let records = records(outcome.assert_code(0));
        assert_eq!(
            Snapshot::of(place.path("dst")).len(),
            Snapshot::of(place.path("main")).without(|path| path.starts_with(".git")).len()
        );
        records
            .last()
            .and_then(|done| done["sender"]["hashed_files"].as_u64())
            .expect("the last line has counts")
    };
    add_worktree("first");
    hashed_files("first", &[]);
    // Neither run asks git for its first 256 files.
    add_worktree("second");
    let hashed = hashed_files("second", &[]);
    assert!(hashed <= 512, "{hashed} files were read only to be hashed");
    for (name, option) in [("third", "--no-git"), ("fourth", "--no-cache")] {
        add_worktree(name);
        assert_eq!(hashed_files(name, &[option]), 1000, "{option}");
    }
}

#[test]
fn a_small_run_is_never_held_up() {
    let place = Sandbox::in_memory();
    Tree::new().file("f", "x").build(place.path("src"));
    for number in 0..50 {
        let outcome = sync(&place, &["-r", "src/", &format!("dst-{number}/")]).run();
        outcome.assert_code(0);
        // A message whose reader is not woken would be sent with the next sign of life, after five seconds.
        assert!(outcome.elapsed < Duration::from_secs(4), "run {number}: {outcome}");
    }
}

#[test]
fn a_source_that_cannot_be_read_is_said_once_to_delete_nothing() {
    let place = Sandbox::new();
    Tree::new().file("a", "1").dir("secret").mode(0o700).owner(65534, 65534).build(place.path("src"));
    Tree::new().file("left", "1").build(place.path("dst"));
    // Root may read everything, unless a capability is taken away.
    let denied = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    let push = place.coast(["push", "src", "dst"]).by(denied).run();
    push.assert_code(23);
    assert_eq!(push.text().matches("deleted, because the source").count(), 1, "{push}");
    assert!(place.path("dst/left").exists());
}

// The demo.

#[test]
fn the_demo_shows_what_a_push_does_and_leaves_nothing_behind() {
    let place = Sandbox::new();
    fs::create_dir(place.path("tmp")).expect("the sandbox is ours");
    let outcome = place.coast(["demo"]).env("TMPDIR", place.path("tmp")).run();
    outcome.assert_code(0);
    for word in ["sent", "untouched", "protected", "deleted"] {
        outcome.assert_says(word);
    }
    let left = Snapshot::of(place.path("tmp"));
    assert_eq!(left.len(), 1, "left behind: {}", left.listing());
}

#[test]
fn the_demo_leaves_the_directory_it_is_given_alone() {
    let place = Sandbox::new();
    Tree::sample().build(place.path("mine"));
    let before = Snapshot::of(place.path("mine"));
    place.coast(["demo", "mine"]).run().assert_code(0).assert_says("sent");
    Snapshot::of(place.path("mine")).assert_untouched_since(&before);
}
