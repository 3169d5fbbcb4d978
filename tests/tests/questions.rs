//! Requests to another machine besides transfers, over a real sshd and as root by a real sudo: the probe of a destination,
//! and the removal of a workspace.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use coast_sync::{
    Cancel, ConnectOptions, Environment, HelperStore, IdentityUsed, NoPrompt, Platform, ProbeReport,
    ProbeRequest, RemoteDestination, RemoteHelper, RemoveReport, RemoveRequest, RunsAs, SyncError, Target,
};
use coast_tests::{Account, Mount, Remote, Shell, Sudo, Tree, coast};

/// A destination on the server, with the helper for remotes.
fn destination(remote: &Remote, path: impl AsRef<Path>) -> RemoteDestination {
    let mut helpers = HelperStore::empty();
    let platform = Platform::of_this_program().expect("tests run where helpers do");
    helpers.add_file(platform, coast().with_file_name("coast-helper"));
    let target = Target {
        user: Some(remote.account().name().to_owned()),
        host: "127.0.0.1".to_owned(),
        port: Some(remote.sshd().port()),
    };
    RemoteDestination::new(target, path.as_ref())
        .connect(ConnectOptions {
            identities: vec![remote.key()],
            environment: Environment::isolated(remote.path("home"), "nobody"),
            ..ConnectOptions::default()
        })
        .helper(RemoteHelper::Deployed(helpers))
}

fn probe(remote: &Remote, path: impl AsRef<Path>) -> Result<ProbeReport, SyncError> {
    ProbeRequest::new(destination(remote, path)).run(&NoPrompt, &Cancel::new())
}

fn remove(remote: &Remote, path: impl AsRef<Path>) -> Result<RemoveReport, SyncError> {
    RemoveRequest::new(destination(remote, path)).run(&NoPrompt, &|_| {}, &Cancel::new())
}

/// The entries that stay, by path, with a word of each reason.
fn kept(report: &RemoveReport) -> Vec<(String, String)> {
    let kept = report.kept.iter();
    let mut kept: Vec<_> =
        kept.map(|entry| (String::from_utf8_lossy(&entry.path).into_owned(), entry.reason.clone())).collect();
    kept.sort();
    kept
}

/// Pushes a small workspace to `data/w/p/i` beside the server, and writes a file beside it that must stay.
fn pushed(remote: &Remote) -> PathBuf {
    Tree::new().file("src/main.rs", "fn main() {}").file("top", "x").build(remote.path("source"));
    Tree::new().file("file", "precious").build(remote.path("precious"));
    let workspace = remote.path("data/w/p/i");
    remote.push([""; 0], remote.path("source"), &workspace).run().assert_code(0);
    workspace
}

fn state_of(workspace: &Path) -> PathBuf {
    workspace.with_file_name(".i.coast")
}

fn assert_gone(workspace: &Path) {
    assert!(!workspace.exists() && !state_of(workspace).exists());
}

#[test]
fn a_probe_tells_what_logged_in_and_what_there_is() {
    let remote = Remote::start();
    let report = probe(&remote, "/data/no/such/workspace").expect("it answers");
    assert_eq!(report.connection.runs_as, RunsAs::Root);
    assert_eq!((report.uid, report.os.as_str()), (0, "linux"));
    assert_eq!(report.connection.peer.user, remote.account().name());
    assert_eq!(report.connection.peer.host_key.openssh, remote.sshd().host_key());
    assert_eq!(report.connection.peer.identity, IdentityUsed::File { path: remote.key(), encrypted: false });
    assert!(report.writable && report.total_bytes > 0 && !report.exists);
}

#[test]
fn a_probe_says_why_nothing_can_be_written() {
    let remote = Remote::start();
    let read_only = remote.path("read-only");
    fs::create_dir(&read_only).expect("the sandbox is ours");
    let _mount = Mount::tmpfs(&read_only, "ro,size=1m");
    let report = probe(&remote, read_only.join("w/p/i")).expect("it answers");
    assert_eq!((report.directory, report.writable), (read_only, false));
    assert!(report.unwritable_because.expect("it is told").contains("Read-only"));
    assert_eq!(report.total_bytes, 1 << 20);

    let user = Remote::with(&Shell::Bash, Sudo::Never);
    let report = probe(&user, user.path("w/p/i")).expect("it answers");
    assert!(matches!(report.connection.runs_as, RunsAs::UserAfter(_)), "{:?}", report.connection.runs_as);
    assert_eq!((report.uid, report.writable), (user.account().uid(), false));
    assert!(report.unwritable_because.expect("it is told").contains("denied"));
    assert!(probe(&user, "w/p/i").expect("it answers").writable, "its home");
}

#[test]
fn a_workspace_of_root_and_of_others_is_removed_whole() {
    let remote = Remote::start();
    let workspace = pushed(&remote);
    let confined = probe(&remote, &workspace).expect("it answers").confined;
    fs::create_dir_all(workspace.join("made/by/root")).expect("root writes anywhere");
    fs::write(workspace.join("made/by/root/file"), "").expect("root writes anywhere");
    fs::set_permissions(workspace.join("made/by"), fs::Permissions::from_mode(0o000)).expect("it is ours");
    symlink(remote.path("precious"), workspace.join("link")).expect("root writes anywhere");
    let report = remove(&remote, &workspace).expect("it is removed");
    assert_eq!((report.existed, report.removed_entries, report.is_complete()), (true, 4 + 5, true));
    assert_eq!(report.confined, confined);
    assert_gone(&workspace);
    assert_eq!(fs::read_to_string(remote.path("precious/file")).expect("it stays"), "precious");
    assert!(!remove(&remote, &workspace).expect("nothing to do").existed);
}

#[test]
fn what_is_mounted_in_a_workspace_is_told_and_left_alone() {
    let remote = Remote::start();
    let workspace = pushed(&remote);
    for directory in ["src/memory", "bound", "other"] {
        fs::create_dir(workspace.join(directory)).expect("root writes anywhere");
    }
    fs::write(workspace.join("bound-file"), "").expect("root writes anywhere");
    let mounts = [
        Mount::tmpfs(workspace.join("src/memory"), "size=1m"),
        // The mount has the same file system, so it has the same device number.
        Mount::bind(remote.path("precious"), workspace.join("bound")),
        Mount::bind(remote.path("precious/file"), workspace.join("bound-file")),
    ];
    fs::write(workspace.join("src/memory/file"), "in memory").expect("root writes anywhere");
    let report = remove(&remote, &workspace).expect("it comes to its end");
    assert_eq!(report.kept_entries, 3);
    let kept = kept(&report);
    let paths: Vec<_> = kept.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["bound", "bound-file", "src/memory"]);
    assert!(kept.iter().all(|(_, reason)| reason.contains("mounted")), "{kept:?}");
    assert_eq!(fs::read_to_string(workspace.join("src/memory/file")).expect("it stays"), "in memory");
    assert_eq!(fs::read_to_string(remote.path("precious/file")).expect("it stays"), "precious");
    assert!(!workspace.join("other").exists() && !workspace.join("src/main.rs").exists());

    drop(mounts);
    assert!(remove(&remote, &workspace).expect("it is removed").is_complete());
    assert_gone(&workspace);
    assert_eq!(fs::read_to_string(remote.path("precious/file")).expect("it stays"), "precious");
}

#[test]
fn what_is_mounted_over_a_workspace_is_refused() {
    let remote = Remote::start();
    let workspace = pushed(&remote);
    let mount = Mount::bind(remote.path("precious"), &workspace);
    let error = remove(&remote, &workspace).expect_err("it is refused");
    assert!(error.is_refused() && error.to_string().contains("mounted"), "{error}");
    drop(mount);
    assert_eq!(fs::read_to_string(remote.path("precious/file")).expect("it stays"), "precious");
    assert!(remove(&remote, &workspace).expect("it is removed").is_complete());
}

#[test]
fn a_user_removes_what_is_theirs_and_is_told_what_is_not() {
    let remote = Remote::with(&Shell::Bash, Sudo::Never);
    Tree::new().file("mod/cache/file", "x").mode(0o444).file("top", "x").build(remote.path("source"));
    remote.push([""; 0], remote.path("source"), "w/p/i").run().assert_code(0);
    let workspace = remote.account().home().join("w/p/i");
    // Directories of a module cache, which are not writable, and a directory that not even its owner may enter.
    for (directory, mode) in [("mod/cache", 0o555), ("mod", 0o000)] {
        fs::set_permissions(workspace.join(directory), fs::Permissions::from_mode(mode)).expect("root may");
    }
    fs::create_dir(workspace.join("of-root")).expect("root writes anywhere");
    fs::write(workspace.join("of-root/file"), "").expect("root writes anywhere");
    let report = remove(&remote, "w/p/i").expect("it comes to its end");
    let kept = kept(&report);
    assert!(kept.len() == 1 && kept[0].0 == "of-root/file" && kept[0].1.contains("denied"), "{kept:?}");
    fs::remove_dir_all(workspace.join("of-root")).expect("root may");
    assert!(remove(&remote, "w/p/i").expect("it is removed").is_complete());
    assert_gone(&workspace);
    // The home itself is not removed, although a push may have it as its destination.
    let error = remove(&remote, "").expect_err("it is refused");
    assert!(error.is_refused() && error.to_string().contains("home"), "{error}");
    assert!(remote.account().home().exists());
}

#[test]
fn a_symlink_of_a_user_on_the_way_does_not_lead_root_anywhere() {
    let remote = Remote::start();
    let workspace = pushed(&remote);
    let link = remote.account().home().join("w");
    symlink(remote.path("data/w"), &link).expect("root writes homes");
    remote.account().own(&link);
    let error = remove(&remote, "w/p/i").expect_err("it is refused");
    assert!(error.is_refused() && error.to_string().contains(link.to_str().expect("text")), "{error}");
    assert!(workspace.join("top").exists());
    // Homes of other users are not removed either.
    let other = Account::create(&remote.path("server"), &Shell::Bash, Sudo::Never);
    let error = remove(&remote, other.home()).expect_err("it is refused");
    assert!(error.is_refused() && error.to_string().contains("home"), "{error}");
    assert!(other.home().exists());
}

/// The process of the helper that removes this workspace, if it runs. The process of sudo, which has the same words among
/// its own, does not count.
fn helper_removing(workspace: &Path) -> Option<u32> {
    let words = |pid: &Path| fs::read(pid.join("cmdline")).unwrap_or_default();
    let is_helper = |cmdline: &[u8]| {
        let words: Vec<&[u8]> = cmdline.split(|&byte| byte == 0).collect();
        let named = words.first().is_some_and(|program| program.windows(7).any(|part| part == b"helper-"));
        named && words.get(3).is_some_and(|root| *root == workspace.as_os_str().as_encoded_bytes())
    };
    let processes = fs::read_dir("/proc").expect("there is a /proc").filter_map(Result::ok);
    let found = processes.map(|entry| entry.path()).find(|pid| is_helper(&words(pid)))?;
    found.file_name()?.to_str()?.parse().ok()
}

#[test]
fn a_removal_whose_helper_is_killed_is_finished_by_the_next() {
    let remote = Remote::start();
    let workspace = pushed(&remote);
    for number in 0..30_000 {
        fs::write(workspace.join(format!("src/{number}")), "").expect("root writes anywhere");
    }
    std::thread::scope(|scope| {
        let removing = scope.spawn(|| remove(&remote, &workspace));
        while workspace.join("top").exists()
            && workspace.join("src/main.rs").exists()
            && !removing.is_finished()
        {
            std::thread::yield_now();
        }
        let pid = loop {
            match helper_removing(&workspace) {
                Some(pid) => break pid,
                None => assert!(!removing.is_finished(), "it was too fast to be killed"),
            }
        };
        let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a process number")).expect("not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
        let error = removing.join().expect("it does not panic").expect_err("it was killed");
        assert_eq!(error.exit_code(), 12, "{error}");
    });
    assert!(state_of(&workspace).exists(), "what says that this was a workspace goes last");
    assert!(remove(&remote, &workspace).expect("it is removed").is_complete());
    assert_gone(&workspace);
}
