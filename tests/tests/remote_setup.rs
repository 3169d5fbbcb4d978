//! `coast remote sudoers` and `coast remote setup`, with the real sudo and the real OpenSSH.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use coast_sync::WORKSPACE_COMMANDS;
use coast_tests::{Outcome, Remote, Shell, Sudo, Tree};

/// A machine named `box`, whose user may not write to the service home and has these rights.
fn remote(sudo: Sudo) -> Remote {
    let remote = Remote::with(&Shell::Bash, sudo);
    let address = format!("{}@127.0.0.1:{}", remote.account().name(), remote.sshd().port());
    fs::create_dir_all(remote.path("service")).unwrap();
    let add = remote.sandbox().coast(["remote", "add", "box", &address, "--key"]).arg(remote.key());
    add.arg("--service-home").arg(remote.path("service")).run().assert_code(0);
    remote
}

fn coast(remote: &Remote, arguments: &[&str]) -> Outcome {
    remote.sandbox().coast(arguments).run()
}

/// Whether the account may run these words as root.
fn may_run(remote: &Remote, words: &[&str]) -> bool {
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "-u", remote.account().name(), "--", "sudo", "-n", "--"]).args(words);
    let output = sudo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // A helper that was started greets, and may then miss its input.
    let has_greeted = output.stdout.starts_with(b"coast-helper ");
    assert!(has_greeted || said.contains("password is required") || said.contains("coast-helper"), "{said}");
    has_greeted
}

#[test]
fn the_lines_of_sudoers_grant_the_helper_in_workspaces_and_nothing_else() {
    let remote = remote(Sudo::Never);
    coast(&remote, &["remote", "test"]).assert_code(3).assert_says("coast remote sudoers box | ssh ");
    let printed = coast(&remote, &["remote", "sudoers", "box"]);
    printed
        .assert_code(0)
        .assert_says("visudo -f /etc/sudoers.d/coast")
        .assert_says("only to a user whom you would give root");
    let file = remote.path("coast.sudoers");
    fs::write(&file, &printed.stdout).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
    let checked = Command::new("visudo").arg("-cf").arg(&file).output().expect("visudo is part of sudo");
    assert!(checked.status.success(), "{}{}", String::from_utf8_lossy(&checked.stderr), printed);
    remote.account().set_sudoers(&String::from_utf8_lossy(&printed.stdout));

    coast(&remote, &["remote", "test"]).assert_code(0).assert_says("the helper runs as root");
    let source = remote.path("source");
    Tree::new().file("a", "1").build(&source);
    let workspace = remote.path("service/workspaces/shop/dev-1");
    remote.push(["--quiet"], &source, &workspace).run().assert_code(0);
    assert_eq!(fs::read(workspace.join("a")).unwrap(), b"1");
    assert_eq!(
        fs::metadata(workspace.parent().unwrap()).unwrap().uid(),
        0,
        "root made the directories above"
    );

    let helpers = remote.account().home().join(".cache/coast");
    let helper = fs::read_dir(&helpers).unwrap().next().unwrap().unwrap().path();
    let program = helper.to_str().unwrap();
    let service = remote.path("service");
    let at = |path: &str| service.join(path).to_str().unwrap().to_owned();
    assert!(may_run(&remote, &[program, "probe", "--root", &at("workspaces/shop")]));
    for command in WORKSPACE_COMMANDS {
        assert!(may_run(&remote, &[program, command, "--root", &at("workspaces/none")]), "{command}");
    }
    assert!(may_run(
        &remote,
        &[program, "follow", "--claim=existing-workspace", "--root", &at("workspaces/none")]
    ));
    let refused: &[&[&str]] = &[
        &[program, "probe", "--root", "/etc"],
        &[program, "receive", "--root", service.to_str().unwrap()],
        &[program, "remove", "--root", &at("workspaces/../../home")],
        &[program, "receive", "--root", "/etc", "--root", &at("workspaces/shop")],
        &[program, "probe", "--root", &at("workspaces/shop"), "--root", "/etc"],
        &[program, "receive", "--root", &format!("{} -- /../../../etc", at("workspaces/shop"))],
        &[program, "restore", "--root", &at("workspaces/shop"), "--", "../../../etc"],
        &[program, "leftovers", "--root", &at("workspaces/shop")],
        &["sh", "-c", "echo coast-helper"],
    ];
    for words in refused {
        assert!(!may_run(&remote, words), "{words:?}");
    }
    // The user owns the file, and can put another program there.
    fs::copy("/bin/echo", &helper).unwrap();
    assert!(!may_run(&remote, &[program, "probe", "--root", &at("workspaces/shop")]));
}

#[test]
fn setup_names_a_command_for_each_fault_and_runs_none() {
    let machine = remote(Sudo::Never);
    let setup = coast(&machine, &["remote", "setup", "box"]);
    setup.assert_code(3).assert_says("coast remote sudoers box | ssh ").assert_says("sudo install -d -o ");
    for check in
        ["connect", "host key", "helper", "architecture", "workspaces", "entries", "watches", "server"]
    {
        setup.assert_says(check);
    }
    assert_eq!(fs::read_dir(machine.path("service")).unwrap().count(), 0);

    let machine = remote(Sudo::WithoutPassword);
    let setup = coast(&machine, &["remote", "setup", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&setup.stdout).unwrap();
    let verdict = |what: &str| {
        let findings = told["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["what"] == what);
        finding.unwrap_or_else(|| panic!("{what} is not told: {told}"))["verdict"].clone()
    };
    for what in ["sudo", "helper", "workspaces", "space", "architecture"] {
        assert_eq!(verdict(what), "ok", "{told}");
    }
    let watches = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap();
    let few = watches.trim().parse::<u64>().unwrap() < 65_536;
    assert_eq!(verdict("watches"), if few { "warning" } else { "ok" }, "{told}");
    let all_well = told["findings"].as_array().unwrap().iter().all(|finding| finding["verdict"] == "ok");
    setup.assert_code(if all_well { 0 } else { 3 });
    assert!(!Path::new(&machine.path("service/workspaces")).exists());
}

#[test]
fn a_workspace_that_root_has_written_is_left_to_root() {
    let remote = remote(Sudo::WithoutPassword);
    let project = remote.path("project");
    Tree::new().file("Coastfile", "[coast]\nname = \"shop\"\n").file("a", "1").build(&project);
    for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "first"]] {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let done = Command::new("git").current_dir(&project).args(identity).args(arguments).status().unwrap();
        assert!(done.success());
    }
    let coast = |arguments: &[&str]| remote.sandbox().coast(arguments).directory(&project).run();
    coast(&["run", "dev-1"]).assert_code(0);
    let there = remote.path("service/workspaces/shop/dev-1/a");
    fs::write(project.join("a"), "2").unwrap();
    remote.account().set_sudoers("");
    for command in [&["start", "dev-1"][..], &["rm", "-y", "dev-1"]] {
        coast(command).assert_code(255).assert_says("coast remote sudoers box");
        assert_eq!(fs::read(&there).unwrap(), b"1");
    }
    remote.account().set_sudoers(&format!("{} ALL=(root) NOPASSWD: ALL\n", remote.account().name()));
    coast(&["start", "dev-1"]).assert_code(0);
    assert_eq!(fs::read(&there).unwrap(), b"2");
}
