//! Coastfiles: wrong ones, those that need trust, and those of a type.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use super::{coast, project, refuses, remember, status_of, succeeds, text};

#[test]
fn a_wrong_coastfile_is_named_with_its_line() {
    let scratch = project();
    fs::write(scratch.path().join("shop/Coastfile"), "[remote]\nworkspace_sync = \"mutagn\"\n").unwrap();
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
    for command in [
        &["run", "dev-2"][..],
        &["start", "dev-1"],
        &["assign", "dev-1", "-w", "src"],
        &["unassign", "dev-1"],
    ] {
        let said = refuses(&coast(scratch.path(), command), 1);
        assert!(said.contains("Coastfile:2: [remote] workspace_sync is \"mutagn\""), "{said}");
        assert!(said.contains("did you mean \"mutagen\"?"), "{said}");
    }
}

/// The warning of a command that goes on although the Coastfile is wrong.
#[track_caller]
fn warns(output: &Output, of: &str) -> String {
    let said = text(&output.stderr);
    assert_eq!(said.matches("warning").count(), 1, "{said}");
    assert!(said.contains(of) && said.contains("needs only the records of the project \"shop\""), "{said}");
    text(&output.stdout)
}

#[test]
fn a_wrong_coastfile_does_not_keep_from_what_needs_only_the_record() {
    for (coastfile, of) in [
        (
            &b"[remote]\nworkspace_sync = \"mutagn\"\n"[..],
            "Coastfile:2: [remote] workspace_sync is \"mutagn\"",
        ),
        (b"[remote\n", "Coastfile:1: "),
        (b"\xff\xfe", "stream did not contain valid UTF-8"),
        (b"[coast]\nname = \"store\"\n", "is called \"store\" now"),
    ] {
        let scratch = project();
        let run = |arguments: &[&str]| coast(scratch.path(), arguments);
        remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
        fs::write(scratch.path().join("shop/Coastfile"), coastfile).unwrap();
        let listed = succeeds(&run(&["ls"]));
        assert!(listed.contains("dev-1"), "{listed}");
        assert!(warns(&run(&["status", "dev-1"]), of).contains("state       running"));
        let json: Value = serde_json::from_str(&warns(&run(&["status", "dev-1", "--json"]), of)).unwrap();
        assert_eq!(json["instance"], "dev-1");
        warns(&run(&["flush", "dev-1"]), of);
        assert!(warns(&run(&["stop", "dev-1"]), of).contains("stopped"));
        let json = text(&run(&["stop", "dev-1", "--json"]).stdout);
        assert_eq!(json.matches("{\"event\":\"without_settings\",\"text\":").count(), 1, "{json}");
        warns(&run(&["rm", "dev-1", "--keep-workspace"]), of);
        assert!(
            !scratch.path().join("home/.local/state/coast").exists(),
            "nothing is left of the last instance"
        );
    }
}

#[test]
fn settings_that_could_do_harm_are_used_only_when_they_are_trusted() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    let coastfile = |image: &str| {
        let text = format!("[remote]\nworkspace_sync = \"mutagen\"\nshell_image = \"{image}\"\n");
        fs::write(scratch.path().join("shop/Coastfile"), text).unwrap();
    };
    coastfile("theirs");
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    remember(scratch.path(), "dev-1", json!({ "following": { "is": "bulk_only" } }));
    // With `--json` the command asks no question.
    let commands =
        [&["run", "dev-2"][..], &["start", "dev-1"], &["assign", "dev-1", "-w", "."], &["unassign", "dev-1"]];
    for command in commands {
        let said = refuses(&run(&[command, &["--json"]].concat()), 3);
        assert!(
            said.contains("[remote] shell_image = \\\"theirs\\\"") && said.contains("coast trust"),
            "{said}"
        );
    }
    // An image that the user names is the user's word. Nobody listens at the remote.
    refuses(&run(&["run", "dev-2", "--image", "mine", "--json"]), 10);
    refuses(&run(&["run", "dev-2", "--trust", "--json"]), 10);
    for command in commands {
        refuses(&run(&[command, &["--json"]].concat()), 10);
    }
    let directory = scratch.path().join("home/.local/state/coast/.trust");
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);

    coastfile("another");
    let said = refuses(&run(&["start", "dev-1", "--json"]), 3);
    assert!(said.contains("+ [remote] shell_image = \\\"another\\\""), "{said}");
    assert!(said.contains("- [remote] shell_image = \\\"theirs\\\""), "{said}");
    // What needs no settings works.
    succeeds(&run(&["ls"]));
    succeeds(&run(&["stop", "dev-1"]));

    let trusted = succeeds(&run(&["trust"]));
    assert!(trusted.contains("+ [remote] shell_image = \"another\"\n"), "{trusted}");
    refuses(&run(&["start", "dev-1", "--json"]), 10);
    let list = succeeds(&run(&["trust", "--list"]));
    assert!(list.ends_with("/shop\"\n  [remote] shell_image = \"another\"\n"), "{list}");
    let list: Value = serde_json::from_str(&succeeds(&run(&["trust", "--list", "--json"]))).unwrap();
    assert_eq!(list["projects"][0]["settings"][0]["setting"], "[remote] shell_image = \"another\"");
    assert!(succeeds(&run(&["trust", "--revoke"])).contains("do not trust"));
    refuses(&run(&["start", "dev-1", "--json"]), 3);
    assert!(succeeds(&run(&["trust", "--list"])).contains("no settings"));
    // The directory of answers is not taken for a project.
    succeeds(&run(&["trust"]));
    assert!(succeeds(&run(&["ls", "--all"])).contains("shop/dev-1"));
}

#[test]
fn init_writes_a_coastfile_once() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    fs::write(scratch.path().join("shop/.gitignore"), "*.log\nfile?\n").unwrap();
    let printed = succeeds(&run(&["init", "--print"]));
    let file = scratch.path().join("shop/Coastfile");
    assert!(!file.exists());
    assert!(succeeds(&run(&["init"])).contains("/shop/Coastfile is written"));
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    for part in ["name = \"shop\"\n", "workspace_sync = \"native\"\n", "  '*.log',\n", "#   file?\n"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    fs::write(&file, "# mine\n").unwrap();
    let said = refuses(&run(&["init"]), 3);
    assert!(said.contains("has a Coastfile already") && said.contains("coast init --print"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    assert_eq!(succeeds(&run(&["init", "--print"])), printed);
}

#[test]
fn a_coastfile_that_is_no_regular_file_is_refused_and_never_waited_for() {
    for extends in [false, true] {
        for (is, said) in
            [("pipe", "it is a pipe"), ("device", "it is a device"), ("directory", "it is a directory")]
        {
            let scratch = project();
            let run = |arguments: &[&str]| coast(scratch.path(), arguments);
            remember(scratch.path(), "dev-1", json!({}));
            let mut file = scratch.path().join("shop/Coastfile");
            if extends {
                fs::write(&file, "extends = \"base\"\n").unwrap();
                file = scratch.path().join("shop/base");
            }
            match is {
                "pipe" => mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
                "device" => std::os::unix::fs::symlink("/dev/zero", &file).unwrap(),
                _ => fs::create_dir(&file).unwrap(),
            }
            for command in [&["run", "dev-2"][..], &["start", "dev-1"], &["trust"]] {
                let refused = refuses(&run(command), 1);
                assert!(refused.contains(said) && refused.contains("shop/Coastfile"), "{refused}");
            }
            warns(&run(&["status", "dev-1"]), said);
            warns(&run(&["stop", "dev-1"]), said);
        }
    }
}

#[test]
fn a_typed_coastfile_is_chosen_trusted_on_its_own_and_remembered() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@127.0.0.1:1"]));
    let write = |name: &str, text: &str| fs::write(scratch.path().join("shop").join(name), text).unwrap();
    write("Coastfile", "[remote]\n");
    write("Coastfile.remote.light", "[remote]\nown = \"all\"\n");
    for bad in ["../x", "a/b", "", "toml"] {
        assert!(refuses(&run(&["run", "dev-1", "--type", bad]), 1).contains("is not a type of a Coastfile"));
    }
    let missing = refuses(&run(&["run", "dev-1", "--type", "full"]), 1);
    assert!(missing.contains("Coastfile.remote.full.toml or Coastfile.remote.full"), "{missing}");
    assert!(missing.contains("it has the types light"), "{missing}");

    let refused = refuses(&run(&["run", "dev-1", "--type", "light"]), 3);
    assert!(refused.contains("coast trust --type light"), "{refused}");
    assert!(succeeds(&run(&["trust"])).contains("need no trust"), "the other Coastfile asks for nothing");
    refuses(&run(&["run", "dev-1", "--type", "light"]), 3);
    succeeds(&run(&["trust", "--type", "light"]));
    assert!(succeeds(&run(&["trust", "--list"])).contains("(type light)"));
    // It is trusted, and nobody listens there.
    refuses(&run(&["run", "dev-1", "--type", "light"]), 10);

    remember(scratch.path(), "dev-1", json!({ "coastfile_type": "light" }));
    refuses(&run(&["start", "dev-1"]), 10);
    succeeds(&run(&["trust", "--type", "light", "--revoke"]));
    for command in [&["start", "dev-1"][..], &["start", "--all"], &["start", "dev-1", "--project", "shop"]] {
        assert!(refuses(&run(command), 3).contains("coast trust --type light"), "{command:?}");
    }
    refuses(&run(&["start", "dev-1", "--type", "default"]), 10);
    assert_eq!(status_of(&run, "dev-1")["coastfile_type"], "light", "nothing was changed");

    fs::remove_file(scratch.path().join("shop/Coastfile.remote.light")).unwrap();
    assert!(refuses(&run(&["start", "dev-1"]), 1).contains("there is no Coastfile.remote.light"));
    warns(&run(&["stop", "dev-1"]), "there is no Coastfile.remote.light");
}
