//! Pushes to a real OpenSSH server, as a user with `sudo`, compared with the documented rsync command line.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use coast_tests::{Aspects, Outcome, Remote, Seen, Shell, Snapshot, Sudo, Tree};

/// The rules of the documented profile, for rsync.
const PROFILE: [&str; 14] = [
    "-rlDzPE",
    "--delete-after",
    "--rsync-path=sudo rsync",
    "--filter=P generated/***",
    "--filter=P .react-router/***",
    "--filter=P internal/generated/***",
    "--filter=P app/generated/***",
    "--exclude=.git",
    "--exclude=node_modules",
    "--exclude=target",
    "--exclude=__pycache__",
    "--exclude=.react-router",
    "--exclude=.next",
    "--quiet",
];

/// The entries that root left in the workspace before the first push: protected, excluded and outdated ones.
fn left_by_root() -> Tree {
    Tree::new()
        .file("generated/kept by the service", "kept")
        .mode(0o600)
        .file(".react-router/types/kept.ts", "kept")
        .file("node_modules/react/index.js", "kept")
        .file("services/api/__pycache__/old.pyc", "kept")
        .file("internal/generated/deep/down.go", "kept")
        .file("old/app/generated/kept.ts", "kept")
        .file("old/stale.ts", "stale")
        .file("app/routes/stale.tsx", "stale")
        .file("package.json", "{}")
        .mode(0o640)
        .dir("tsconfig.json")
        .symlink("vite.config.ts", "/etc/passwd")
        .fifo("stale.pipe")
}

/// The sample workspace with the edits of another branch.
fn other_branch() -> Tree {
    Tree::sample()
        .without("app/routes/home.tsx")
        .without("docs")
        .without("public/docs")
        .without("scripts/serve-api.sh")
        .file("app/routes/start.tsx", "export default function Start() { return <h1>Start</h1>; }\n")
        .file("app/root.tsx", "export { default } from './routes/start';\n")
        .file("docs", "no longer a directory\n")
        .dir("public/docs")
        .file("public/docs/index.html", "<h1>Docs</h1>\n")
        .file("scripts/serve-api.sh", "#!/bin/sh\nexec true\n")
        .mode(0o644)
        .file("scripts/new tool", "#!/bin/sh\n")
        .mode(0o755)
}

/// A remote with the two trees to push, and a workspace that root owns.
struct Workspace {
    remote: Remote,
}

impl Workspace {
    fn new() -> Self {
        Self::on(Remote::start())
    }

    fn on(remote: Remote) -> Self {
        Tree::sample().build(remote.path("main"));
        other_branch().build(remote.path("branch"));
        left_by_root().build(remote.path("data/p/i"));
        Self { remote }
    }

    fn path(&self) -> PathBuf {
        self.remote.path("data/p/i")
    }

    fn push(&self, tree: &str) -> Outcome {
        let outcome = self.remote.push([""; 0], self.remote.path(tree), self.path()).run();
        outcome.assert_code(0);
        outcome
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.path())
    }

    /// Runs the documented rsync command line on another copy of the workspace.
    fn rsync(&self, tree: &str) -> Snapshot {
        let (remote, copy) = (&self.remote, self.remote.path("data/by-rsync"));
        if !copy.exists() {
            left_by_root().build(&copy);
        }
        let mut source = remote.path(tree).into_os_string();
        source.push("/");
        let rsync = remote.sandbox().rsync(PROFILE).arg("-e").arg(remote.remote_shell());
        let _ = rsync.arg(source).arg(remote.target(&copy)).run().assert_code(0);
        Snapshot::of(copy)
    }

    #[track_caller]
    fn assert_owned_by_user(&self) {
        let others: Vec<_> = self
            .snapshot()
            .iter()
            .filter(|(_, seen)| seen.uid != self.remote.account().uid())
            .map(|(path, seen)| format!("{} belongs to {}", path.display(), seen.uid))
            .collect();
        assert!(others.is_empty(), "{}", others.join("\n"));
    }
}

#[test]
fn a_push_leaves_what_the_documented_command_leaves() {
    let workspace = Workspace::new();
    workspace.push("main");
    let expected = workspace.rsync("main");
    workspace.snapshot().assert_same(&expected, Aspects::CONTENT.with_modes());
    for kept in ["generated/kept by the service", "old/app/generated/kept.ts", "node_modules/react/index.js"]
    {
        assert!(workspace.snapshot().holds(kept), "{kept} should have survived");
    }
    assert!(!workspace.snapshot().holds("old/stale.ts"));
}

#[test]
fn after_a_push_the_user_owns_everything_of_root_the_protected_and_excluded_too() {
    let workspace = Workspace::new();
    workspace.push("main");
    workspace.assert_owned_by_user();
    workspace.push("branch");
    workspace.assert_owned_by_user();
}

#[test]
fn service_that_runs_as_a_user_of_its_own_keeps_its_files() {
    let workspace = Workspace::new();
    let (service, user) = ((999, 998), workspace.remote.account().uid());
    let of_service = |tree: Tree| tree.owner(service.0, service.1);
    let database =
        of_service(of_service(Tree::new().dir("generated/db").mode(0o700)).file("generated/db/base", "1"));
    let database = of_service(database.mode(0o600)).file("generated/db/by root", "2").owner(0, 0);
    // An entry that is sent gets the user, whoever had it.
    of_service(database.file("scripts/serve-api.sh", "old")).build(workspace.path());
    let push = |own: &[&str]| {
        let (remote, path) = (&workspace.remote, workspace.path());
        remote.push(own.iter().copied(), remote.path("main"), path).run().assert_code(0);
        let left = workspace.snapshot();
        ["generated/db", "generated/db/base", "generated/db/by root", "scripts/serve-api.sh"]
            .map(|path| left.entry(path).uid)
    };
    assert_eq!(push(&["--own=none"]), [service.0, service.0, 0, user]);
    assert_eq!(push(&[]), [service.0, service.0, user, user]);
    let group = workspace.snapshot().entry("generated/db/base").gid;
    assert_eq!(group, service.1);
    assert_eq!(push(&["--own=all"]), [user; 4]);
}

#[test]
fn what_services_made_comes_back_from_the_trash_as_it_was() {
    let workspace = Workspace::new();
    workspace.push("main");
    let odd = OsStr::from_bytes(b"it's \\ odd \xff");
    let odd_file = Path::new("scripts").join(odd);
    Tree::new()
        .dir("uploads")
        .mode(0o2750)
        .owner(999, 998)
        .file("uploads/1", "uploaded")
        .mode(0o640)
        .owner(999, 998)
        .file(&odd_file, "odd")
        .file(".env", "SECRET=1")
        .mode(0o600)
        .owner(0, 0)
        .build(workspace.path());
    // Nothing is restored through a symlink, although the helper is root.
    Tree::new().file("private/file", "theirs").build(workspace.remote.path("elsewhere"));
    let made = workspace.snapshot();
    workspace.push("main");
    let deleted = workspace.snapshot();
    assert!(!deleted.holds("uploads") && !deleted.holds(&odd_file) && !deleted.holds(".env"));

    let remote = &workspace.remote;
    let restore = |paths: &[&OsStr]| {
        let program = remote.sandbox().coast(["restore"]).args(remote.connection());
        program.arg(remote.target(workspace.path())).args(paths).run()
    };
    let listed = restore(&[]);
    listed.assert_code(0);
    for listing in ["uploads/1", "it's \\ odd \\#377", ".env", "9 entries (31 B)", "coast restore"] {
        assert!(listed.text().contains(listing), "{listing}: {listed}");
    }
    symlink(remote.path("elsewhere/private"), workspace.path().join("uploads"))
        .expect("a symlink can be made");
    let refused = restore(&[OsStr::new("uploads/1")]);
    refused.assert_code(23);
    assert_eq!(fs::read_dir(remote.path("elsewhere/private")).expect("the directory is there").count(), 1);
    fs::remove_file(workspace.path().join("uploads")).expect("the symlink is there");

    restore(&[odd_file.as_os_str(), OsStr::new("uploads/1"), OsStr::new(".env")]).assert_code(0);
    let back = workspace.snapshot();
    back.assert_same(&made, Aspects::CONTENT.with_modes());
    for path in [Path::new("uploads"), Path::new("uploads/1"), &odd_file, Path::new(".env")] {
        let (was, is) = (made.entry(path), back.entry(path));
        assert_eq!((is.uid, is.gid, is.mode), (was.uid, was.gid, was.mode), "{}", path.display());
    }
    // What the first push deleted is still there.
    let left = restore(&[]);
    left.assert_code(0);
    assert!(left.text().contains("6 entries (12 B)") && !left.text().contains(".env"), "{left}");
    restore(&[OsStr::new(".env")]).assert_code(23);
}

#[test]
fn a_switch_leaves_what_the_documented_command_leaves() {
    let workspace = Workspace::new();
    workspace.push("main");
    workspace.rsync("main");
    for tree in ["branch", "main", "branch"] {
        workspace.push(tree);
        workspace.snapshot().assert_same(&workspace.rsync(tree), Aspects::CONTENT.with_modes());
    }
}

#[test]
fn a_second_push_touches_nothing_in_the_whole_tree() {
    let workspace = Workspace::new();
    workspace.push("main");
    let before = workspace.snapshot();
    workspace.push("main");
    workspace.snapshot().assert_untouched_since(&before);
}

#[test]
fn a_switch_touches_only_what_differs() {
    let workspace = Workspace::new();
    workspace.push("main");
    let before = workspace.snapshot();
    workspace.push("branch");
    let after = workspace.snapshot();
    let touched =
        |path: &Path, seen: &Seen| before.get(path).is_some_and(|old| old != seen) && !seen.is_dir();
    let touched: Vec<_> =
        after.iter().filter(|(path, seen)| touched(path, seen)).map(|(path, _)| path).collect();
    assert_eq!(touched, ["app/root.tsx", "docs", "scripts/serve-api.sh"].map(Path::new));
}

#[test]
fn a_push_after_new_times_on_every_file_touches_nothing() {
    let workspace = Workspace::new();
    workspace.push("main");
    let before = workspace.snapshot();
    // A checkout of another branch and back leaves the same content in new files with new times.
    fs::remove_dir_all(workspace.remote.path("main")).expect("the tree is there");
    Tree::sample().build(workspace.remote.path("main"));
    workspace.push("main");
    workspace.snapshot().assert_untouched_since(&before);
}

#[test]
fn missing_parents_of_the_workspace_are_made() {
    let workspace = Workspace::new();
    let target = workspace.remote.path("data/new/project/instance");
    let push = workspace.remote.push([""; 0], workspace.remote.path("main"), &target);
    push.run().assert_code(0);
    assert!(Snapshot::of(&target).holds("app/root.tsx"));
    assert_eq!(fs::metadata(&target).expect("it was made").uid(), workspace.remote.account().uid());
}

#[test]
fn a_relative_remote_path_starts_at_the_users_home() {
    let remote = Remote::start();
    Tree::sample().build(remote.path("main"));
    remote.push([""; 0], remote.path("main"), "work/space").run().assert_code(0);
    assert!(remote.account().home().join("work/space/package.json").exists());
}

#[test]
fn a_dry_run_over_ssh_changes_nothing_and_says_what_it_would_do() {
    let workspace = Workspace::new();
    let before = workspace.snapshot();
    let push = workspace.remote.push(["-n", "-v"], workspace.remote.path("main"), workspace.path());
    push.run().assert_code(0).assert_says("app/root.tsx").assert_says("old/stale.ts");
    workspace.snapshot().assert_untouched_since(&before);
}

#[test]
fn without_deletion_nothing_is_deleted() {
    let workspace = Workspace::new();
    let before = workspace.snapshot();
    let push = workspace.remote.push(["--no-delete"], workspace.remote.path("main"), workspace.path());
    let _ = push.run();
    let after = workspace.snapshot();
    let gone: Vec<_> = before.iter().filter(|(path, _)| !after.holds(path)).map(|(path, _)| path).collect();
    assert!(gone.is_empty(), "deleted: {gone:?}");
    assert!(after.holds("app/root.tsx"));
}

#[test]
fn rules_on_the_command_line_come_before_the_defaults() {
    let workspace = Workspace::new();
    let rules =
        ["--include=node_modules", "--exclude=docs", "--protect=stale.pipe", "--filter=P old/stale.ts"];
    workspace.remote.push(rules, workspace.remote.path("main"), workspace.path()).run().assert_code(0);
    let after = workspace.snapshot();
    assert!(after.holds("node_modules/isbot/index.js"), "{}", after.listing());
    assert!(!after.holds("node_modules/react"), "an included directory is no longer protected");
    assert!(!after.holds("docs"));
    assert!(after.holds("stale.pipe") && after.holds("old/stale.ts"));
}

#[test]
fn without_the_default_rules_everything_is_pushed_and_nothing_protected() {
    let workspace = Workspace::new();
    let push = workspace.remote.push(["--no-default-rules"], workspace.remote.path("main"), workspace.path());
    push.run().assert_code(0);
    workspace.snapshot().assert_same(&Snapshot::of(workspace.remote.path("main")), Aspects::CONTENT);
}

#[test]
fn the_helper_is_uploaded_once() {
    let workspace = Workspace::new();
    let cache = workspace.remote.account().home().join(".cache/coast");
    assert!(!cache.exists());
    workspace.push("main");
    let first = Snapshot::of(&cache);
    let helpers: Vec<_> =
        first.iter().filter(|(path, _)| path.to_string_lossy().starts_with("helper-")).collect();
    let [(_, helper)] = helpers[..] else { panic!("one helper was expected:\n{}", first.listing()) };
    assert_eq!(helper.mode, 0o700, "the helper is the user's alone");
    assert_eq!(helper.uid, workspace.remote.account().uid());
    workspace.push("branch");
    Snapshot::of(&cache).assert_untouched_since(&first);
}

#[test]
fn a_helper_that_was_cut_short_is_uploaded_again() {
    let workspace = Workspace::new();
    workspace.push("main");
    let cache = workspace.remote.account().home().join(".cache/coast");
    let listing = Snapshot::of(&cache);
    let (name, _) = listing.iter().find(|(path, _)| *path != Path::new(".")).expect("a helper was uploaded");
    // The helper is removed, not overwritten: a process may still run it.
    fs::remove_file(cache.join(name)).expect("it was just listed");
    fs::write(cache.join(name), "").expect("root writes anywhere");
    fs::set_permissions(cache.join(name), fs::Permissions::from_mode(0o755)).expect("root changes modes");
    workspace.push("branch");
    assert!(fs::metadata(cache.join(name)).expect("it is there again").len() > 0);
}

#[test]
fn the_command_line_of_rsync_leaves_what_rsync_leaves() {
    let workspace = Workspace::new();
    let expected = workspace.rsync("main");
    let remote = &workspace.remote;
    let mut source = remote.path("main").into_os_string();
    source.push("/");
    let arguments = PROFILE.map(|word| if word == "-rlDzPE" { "-rlDzP" } else { word });
    let sync = remote.sandbox().coast(["sync"]).args(arguments).arg("-e").arg(remote.remote_shell());
    sync.arg(source).arg(remote.target(workspace.path())).run().assert_code(0);
    // Without -E an existing file keeps its mode. All executable files here are new.
    workspace.snapshot().assert_same(&expected, Aspects::CONTENT.with_modes());
    let root = workspace.snapshot().iter().filter(|(_, seen)| seen.uid == 0).count();
    assert!(root > 20, "`coast sync` gives nothing to the user, as rsync does not");
}

#[test]
fn the_address_may_be_a_url() {
    let remote = Remote::with(&Shell::Bash, Sudo::Never);
    Tree::sample().build(remote.path("main"));
    let (user, port) = (remote.account().name(), remote.sshd().port());
    let url = format!("ssh://{user}@127.0.0.1:{port}{}/space", remote.account().home().display());
    let push = remote.sandbox().coast(["push", "-i"]).arg(remote.key()).arg(remote.path("main")).arg(url);
    push.run().assert_code(0);
    assert!(remote.account().home().join("space/package.json").exists());
}

/// A push by a user who may not become root, into the user's own home.
fn push_home(remote: &Remote, arguments: &[&str]) -> Outcome {
    Tree::sample().build(remote.path("main"));
    remote.push(arguments, remote.path("main"), "space").run()
}

#[test]
fn a_user_without_sudo_pushes_what_is_theirs_and_is_told() {
    let remote = Remote::with(&Shell::Bash, Sudo::Never);
    push_home(&remote, &[]).assert_code(0).assert_says("sudo");
    assert!(remote.account().home().join("space/package.json").exists());
}

#[test]
fn a_user_whose_sudo_wants_a_password_pushes_what_is_theirs_and_is_told() {
    let remote = Remote::with(&Shell::Bash, Sudo::WithPassword);
    push_home(&remote, &[]).assert_code(0).assert_says("sudo");
    assert!(remote.account().home().join("space/package.json").exists());
}

#[test]
fn sudo_that_wants_a_password_is_an_error_where_sudo_is_asked_for() {
    let remote = Remote::with(&Shell::Bash, Sudo::WithPassword);
    let outcome = push_home(&remote, &["--sudo=always"]);
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.assert_says("sudo").assert_says("password");
    assert!(!remote.account().home().join("space").exists());
}

#[test]
fn sudo_is_left_alone_where_it_is_not_wanted() {
    let workspace = Workspace::new();
    let push = workspace.remote.push(["--sudo=never"], workspace.remote.path("main"), workspace.path()).run();
    assert_ne!(push.code(), 0, "root's workspace cannot be written without sudo\n{push}");
    push.assert_says("permission denied");
    workspace.remote.push(["--sudo=never"], workspace.remote.path("main"), "space").run().assert_code(0);
}

/// Pushes with another login shell.
fn push_through(shell: &Shell) {
    let workspace = Workspace::on(Remote::with(shell, Sudo::WithoutPassword));
    workspace.push("main");
    workspace.push("branch");
    workspace.snapshot().assert_same(
        &{
            workspace.rsync("main");
            workspace.rsync("branch")
        },
        Aspects::CONTENT.with_modes(),
    );
    workspace.assert_owned_by_user();
}

#[test]
fn bash_is_a_good_login_shell() {
    push_through(&Shell::Bash);
}

#[test]
fn dash_is_a_good_login_shell() {
    push_through(&Shell::Dash);
}

#[test]
fn the_ash_of_busybox_is_a_good_login_shell() {
    push_through(&Shell::BusyboxAsh);
}

#[test]
fn fish_is_a_good_login_shell() {
    push_through(&Shell::Fish);
}

#[test]
fn a_push_does_not_delete_in_a_home() {
    let remote = Remote::start();
    Tree::new().file("f", "f").build(remote.path("source"));
    let home = remote.account().home();
    fs::write(home.join("letters"), "precious").expect("root may");
    let state =
        home.with_file_name(format!(".{}.coast", home.file_name().expect("a home has one").display()));
    for destination in [home.to_owned(), Path::new("").to_owned()] {
        let push = remote.push([""; 0], remote.path("source"), destination).run();
        push.assert_code(3).assert_says("home directory");
    }
    assert!(home.join("letters").exists());
    assert!(!state.exists(), "nothing is put beside what is refused");
    let kept = remote.push(["--no-delete"], remote.path("source"), home).run();
    kept.assert_code(0);
    assert!(state.exists(), "what is not refused has its state beside it");
    assert!(home.join("letters").exists() && home.join("f").exists());
    remote.push([""; 0], remote.path("source"), home.join("workspace")).run().assert_code(0);
}
