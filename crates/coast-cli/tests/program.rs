//! The program without another machine: its output, its exit codes, and the files that it leaves.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// The program, with a home directory of its own.
fn coast(scratch: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coast"));
    command.current_dir(scratch).env("HOME", scratch).env_remove("XDG_CACHE_HOME").env_remove("RSYNC_RSH");
    command.stdin(Stdio::null());
    command
}

fn run(scratch: &Path, arguments: &[&str]) -> Output {
    coast(scratch).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A directory with a small source in `src`.
fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("src");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("a"), "alpha").unwrap();
    fs::write(source.join("sub/b"), "beta").unwrap();
    std::os::unix::fs::symlink("a", source.join("link")).unwrap();
    scratch
}

/// The lines of standard output, sorted: entries come in no particular order.
fn sorted_lines(output: &Output) -> Vec<String> {
    let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_demo_proves_itself_and_leaves_nothing() {
    let scratch = scratch();
    let temporary = scratch.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    for arguments in [&["demo"][..], &["demo", "src"]] {
        let before = fs::read_to_string(scratch.path().join("src/sub/b")).unwrap();
        let output = coast(scratch.path()).args(arguments).env("TMPDIR", &temporary).output().unwrap();
        let told = text(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", text(&output.stderr));
        for part in
            ["1. First push", "uploaded", "2. Second push", "3. Third push", "equal on both sides", "removed"]
        {
            assert!(told.contains(part), "{part:?} is missing:\n{told}");
        }
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(scratch.path().join("src/sub/b")).unwrap(), before);
    }
}

#[test]
fn itemized_changes_are_those_of_rsync() {
    let scratch = scratch();
    let output = run(scratch.path(), &["sync", "-rli", "src/", "dst"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = sorted_lines(&output);
    for expected in [">f+++++++++ a", ">f+++++++++ sub/b", "cL+++++++++ link -> a", "cd+++++++++ sub/"] {
        assert!(lines.iter().any(|line| line == expected), "{expected:?} is missing: {lines:?}");
    }

    fs::write(scratch.path().join("src/a"), "alpha, longer").unwrap();
    // The time differs from that of the copy by more than a second, because rsync compares whole seconds.
    let source = fs::File::options().write(true).open(scratch.path().join("src/a")).unwrap();
    source.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    fs::remove_file(scratch.path().join("src/sub/b")).unwrap();
    let output = run(scratch.path(), &["sync", "-rlti", "--delete", "src/", "dst"]);
    let lines = sorted_lines(&output);
    for expected in ["*deleting   sub/b", ">f.st...... a"] {
        assert!(lines.iter().any(|line| line == expected), "{expected:?} is missing: {lines:?}");
    }
}

#[test]
fn a_directory_that_is_not_sent_without_recursion_names_the_option() {
    let scratch = scratch();
    for (source, destination) in [("src", "dst"), ("src/", "dst"), ("src/", "dst/"), ("src", "dst/")] {
        let output = run(scratch.path(), &["sync", "-v", source, destination]);
        assert!(output.status.success(), "{source} {destination}");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(said.contains("add -r"), "{source} {destination}: {said}");
    }
    let output = run(scratch.path(), &["sync", "-rv", "--exclude=src", "src", "dst"]);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(said.contains("the rules exclude the source") && !said.contains("-r "), "{said}");
}

#[test]
fn what_is_untouched_and_all_there_is_are_counted_in_the_same_entries() {
    let scratch = scratch();
    assert!(run(scratch.path(), &["push", "src", "dst"]).status.success());
    let summary = text(&run(scratch.path(), &["push", "src", "dst"]).stdout);
    // Two files, a symlink and a directory. The source itself is not counted.
    assert!(
        summary.contains(" 4 entries untouched")
            && summary.contains("\n4 entries in all, of them 2 files (9 B); "),
        "{summary}"
    );
}

#[test]
fn sync_is_silent_unless_asked_and_push_sums_up() {
    let scratch = scratch();
    let output = run(scratch.path(), &["sync", "-rl", "src/", "dst"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));

    let output = run(scratch.path(), &["push", "src", "made/on/the/way"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("2 files sent (9 B)"), "{}", text(&output.stdout));
    assert_eq!(fs::read_to_string(scratch.path().join("made/on/the/way/sub/b")).unwrap(), "beta");

    let output = run(scratch.path(), &["push", "-q", "src", "made/on/the/way"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
}

#[test]
fn names_are_printed_so_that_they_cannot_steer_the_terminal() {
    let scratch = scratch();
    fs::write(scratch.path().join("src/evil\x1b[2J\nname"), "").unwrap();
    let output = run(scratch.path(), &["sync", "-rv", "src/", "dst"]);
    assert!(text(&output.stdout).contains("evil\\#033[2J\\#012name\n"), "{}", text(&output.stdout));
}

#[test]
fn json_is_one_object_a_line_and_ends_with_the_exit_code() {
    let scratch = scratch();
    let output = run(scratch.path(), &["push", "--json", "-v", "src", "dst"]);
    let records: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done = records.last().unwrap();
    assert_eq!((&done["event"], &done["exit_code"]), (&"done".into(), &0.into()));
    assert_eq!(done["receiver"]["transferred_files"], 2);
    let changed = records.iter().filter(|record| record["event"] == "changed");
    assert!(
        changed.clone().any(|record| record["path"] == "sub/b" && record["kind"] == "file"),
        "{records:?}"
    );

    let output = run(scratch.path(), &["push", "--json", "missing", "dst"]);
    let failed: serde_json::Value =
        serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!((&failed["event"], &failed["exit_code"]), (&"failed".into(), &3.into()));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn exit_codes_are_those_of_rsync() {
    let scratch = scratch();
    fs::write(scratch.path().join("file"), "").unwrap();
    for (arguments, code, said) in [
        (&["frobnicate"][..], 1, "frobnicate"),
        (&["sync", "-rb", "src/", "dst"], 1, "rsync's option -b is not supported"),
        (&["sync", "-r", "host:src/", "dst"], 1, "not supported yet"),
        (&["sync", "-r", "a:src/", "b:dst"], 1, "remote to remote"),
        (&["sync", "-r", "-e", "rsh", "src/", "h:dst"], 1, "\"rsh\""),
        (&["sync", "-r", "-e", "ssh -A", "src/", "h:dst"], 1, "\"-A\""),
        (&["sync", "-r", "--filter", "frobnicate x", "src/", "dst"], 1, "frobnicate"),
        (&["sync", "-r", "--bwlimit=fast", "src/", "dst"], 1, "fast"),
        (&["sync", "-r", "missing/", "dst"], 3, "missing"),
        (&["push", "missing", "dst"], 3, "missing"),
        (&["push", "src", "file"], 3, "file"),
        // Nothing listens on port 1 of the loopback interface.
        (&["push", "-p", "1", "src", "dev@127.0.0.1:dst"], 10, "refused"),
        (&["sync", "-r", "-e", "ssh -o Frobnicate=1", "src/", "127.0.0.1:dst"], 1, "Frobnicate"),
    ] {
        let output = run(scratch.path(), arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?} does not say {said:?}: {stderr}");
    }
    assert!(!scratch.path().join("dst").exists());
}

#[test]
fn a_push_that_could_not_write_everything_exits_with_23_and_names_the_entries_last() {
    let scratch = scratch();
    for number in 0..12 {
        let name = format!("f{number:02}");
        fs::write(scratch.path().join("src").join(&name), "x").unwrap();
        // Without deletion a file cannot replace a directory that is not empty.
        fs::create_dir_all(scratch.path().join("dst").join(&name).join("kept")).unwrap();
    }
    let output = run(scratch.path(), &["push", "--no-delete", "src", "dst"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(23), "{stderr}");
    let last: Vec<&str> = stderr.lines().skip_while(|line| !line.contains("brought up to date")).collect();
    assert_eq!(last.len(), 12, "{stderr}");
    assert_eq!(last[0], "coast: error: 12 entries could not be brought up to date (code 23):");
    assert!(last[1..11].iter().all(|line| line.starts_with("  f") && line.contains(": ")), "{stderr}");
    assert_eq!(last[11], "  and 2 more");
    assert_eq!(fs::read_to_string(scratch.path().join("dst/a")).unwrap(), "alpha");

    let output = run(scratch.path(), &["push", "--no-delete", "--json", "src", "dst"]);
    assert_eq!(output.status.code(), Some(23));
    let done: serde_json::Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!((&done["exit_code"], &done["failures"]["count"]), (&23.into(), &12.into()));
    assert_eq!(done["failures"]["first"].as_array().unwrap().len(), 12);
    assert_eq!(done["failures"]["first"][0]["problem"], "destination_failed");
}

#[test]
fn sparse_is_taken() {
    let scratch = scratch();
    let output = run(scratch.path(), &["sync", "-rS", "src/", "dst"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn max_delete_stops_with_its_own_code() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("dst")).unwrap();
    for name in ["x", "y", "z"] {
        fs::write(scratch.path().join("dst").join(name), "").unwrap();
    }
    let output = run(scratch.path(), &["sync", "-r", "--delete", "--max-delete=1", "src/", "dst"]);
    assert_eq!(output.status.code(), Some(25), "{}", text(&output.stderr));
    let left = ["x", "y", "z"].iter().filter(|name| scratch.path().join("dst").join(name).exists()).count();
    assert_eq!(left, 2);
}

#[test]
fn a_reader_that_has_seen_enough_does_not_stop_the_run() {
    let scratch = scratch();
    for number in 0..2000 {
        fs::write(scratch.path().join(format!("src/file-{number:04}")), "x").unwrap();
    }
    let mut command = coast(scratch.path());
    let mut child = command.args(["sync", "-rlv", "src/", "dst"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_dir(scratch.path().join("dst")).unwrap().count(), 2003);
}

#[test]
fn a_signal_ends_a_run_cleanly() {
    let scratch = scratch();
    // At the allowed rate this takes a minute, compressed or not.
    fs::write(scratch.path().join("src/large"), vec![7; 32 << 20]).unwrap();
    let mut command = coast(scratch.path());
    let arguments = ["sync", "-r", "--json", "--progress", "--bwlimit=512", "src/", "dst"];
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut progress = String::new();
    lines.read_line(&mut progress).unwrap();
    assert!(progress.contains("\"progress\""), "{progress}");

    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(20), "{rest}");
    assert!(rest.lines().last().unwrap().contains("\"exit_code\":20"), "{rest}");
    assert!(!scratch.path().join("dst/large").exists());
}

#[test]
fn the_program_is_its_own_helper() {
    let scratch = scratch();
    let output = run(scratch.path(), &["__helper", "--version"]);
    assert!(output.status.success() && text(&output.stdout).starts_with("coast-helper "), "{output:?}");
    let output = run(scratch.path(), &["receive"]);
    assert!(text(&output.stderr).contains("--root"), "{output:?}");
    assert!(!matches!(output.status.code(), Some(0 | 1)), "{output:?}");
}

#[test]
fn a_push_that_was_meant_for_another_machine_is_refused() {
    let scratch = scratch();
    for (arguments, word) in [
        (&["push", "-p", "22", "src", "dev@host"][..], "HOST:PATH"),
        (&["push", "src", "dev@host"], "dev@host:PATH"),
        (&["push", "src", "src/sub/deeper"], "copied into itself"),
        (&["push", "src", "./src"], "copied into itself"),
    ] {
        let output = run(scratch.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
    assert!(!scratch.path().join("dev@host").exists() && !scratch.path().join("src/sub/deeper").exists());
    // The message proposes this spelling for a local directory.
    for destination in ["./dev@host", "there/me@work"] {
        assert_eq!(
            run(scratch.path(), &["push", "src", destination]).status.code(),
            Some(0),
            "{destination}"
        );
        assert!(scratch.path().join(destination).join("a").exists());
    }
}

#[test]
fn what_a_push_moved_to_the_trash_is_listed_and_restored() {
    let scratch = scratch();
    let path = |below: &str| scratch.path().join(below);
    run(scratch.path(), &["push", "src", "copy"]);
    for (file, content) in [("made", "made there"), ("-odd\n", "odd")] {
        fs::write(path("copy").join(file), content).unwrap();
    }
    fs::create_dir_all(path("copy/up/deep")).unwrap();
    fs::write(path("copy/up/deep/1"), "upload").unwrap();
    let pushed = run(scratch.path(), &["push", "src", "copy"]);
    assert!(text(&pushed.stdout).contains("coast restore ./copy"), "{pushed:?}");

    let listed = run(scratch.path(), &["restore", "./copy"]);
    let lines: Vec<String> = text(&listed.stdout).lines().map(str::to_owned).collect();
    assert_eq!(listed.status.code(), Some(0));
    assert!(lines[0].starts_with("DELETED") && lines.len() == 5, "{lines:?}");
    assert!(
        lines[1].contains("less than a minute ago")
            && lines[1].contains("  3 B ")
            && lines[1].ends_with("  -odd\\#012"),
        "{lines:?}"
    );
    assert!(lines[4].contains("3 entries (19 B)") && lines[4].ends_with("coast restore ./copy PATH..."));
    let json = run(scratch.path(), &["restore", "./copy", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["event"], &json["entries"], &json["bytes"]), (&"trash".into(), &3.into(), &19.into()));
    assert_eq!((&json["first"][2]["path"], &json["first"][2]["size"]), (&"up/deep/1".into(), &6.into()));

    fs::write(path("copy/made"), "made again").unwrap();
    let restored = run(scratch.path(), &["restore", "./copy", "up", "made", "nothing"]);
    assert_eq!(
        (restored.status.code(), text(&restored.stdout)),
        (Some(23), "1 entry restored (6 B)\n".into())
    );
    let told = text(&restored.stderr);
    assert!(
        told.contains("made: it exists in the workspace") && told.contains("nothing: it is not in"),
        "{told}"
    );
    assert_eq!(fs::read_to_string(path("copy/made")).unwrap(), "made again");
    assert_eq!(fs::read_to_string(path("copy/up/deep/1")).unwrap(), "upload");
    let restored = run(scratch.path(), &["restore", "./copy", "--json", "--", "-odd\n"]);
    let json: serde_json::Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!((&json["entries"], &json["exit_code"]), (&1.into(), &0.into()));

    for (operand, words) in [("./nothing", "no such directory"), ("./src/a", "not a directory")] {
        let refused = run(scratch.path(), &["restore", operand]);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        let told = text(&refused.stderr);
        assert!(told.contains(words) && !told.contains("removed"), "{told}");
    }
    let empty = run(scratch.path(), &["restore", "src/"]);
    assert_eq!(text(&empty.stdout), "the trash of src/ is empty\n");
    let wrong = run(scratch.path(), &["restore", "./copy", "../x"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
}
