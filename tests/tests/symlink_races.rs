//! Symlinks that another user plants in the way of a run by root, before the run or while it goes on. Each test that rsync's
//! own test suite has for this is named in the comment above ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use coast_tests::{Account, Aspects, Outcome, Remote, Sandbox, Shell, Snapshot, Sudo, Tree};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// How often a run is repeated while a directory is being swapped.
const RUNS: usize = 12;

/// How many files a swapped directory holds.
const FILES: usize = 60;

/// A place with an attacker, who owns the directory `shared`, and with what is `precious`, which belongs to root. The names in
/// `precious` are those of `src/sub`.
struct Scene {
    attacker: Account,
    place: Sandbox,
    before: Snapshot,
}

impl Scene {
    fn new() -> Self {
        // Built before anything is swapped.
        coast_tests::coast();
        let place = Sandbox::new();
        let attacker = Account::create(&place.path(""), &Shell::Bash, Sudo::Never);
        let (mut source, mut precious) =
            (Tree::new().file("top", "sent"), Tree::new().file("extraneous", "precious"));
        for number in 0..FILES {
            source = source.file(format!("sub/f{number}"), format!("sent {number}"));
            precious = precious.file(format!("f{number}"), "precious").mode(0o600);
        }
        source.build(place.path("src"));
        precious.build(place.path("precious"));
        fs::create_dir(place.path("shared")).expect("the place is new");
        attacker.own(place.path("shared"));
        let before = Snapshot::of(place.path("precious"));
        Self { attacker, place, before }
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.place.path(below)
    }

    /// Makes a symlink of the attacker's.
    fn plant(&self, link: &str, target: impl AsRef<Path>) {
        symlink(target, self.path(link)).expect("nothing has that name");
        self.attacker.own(self.path(link));
    }

    /// Makes a directory of the attacker's.
    fn make(&self, directory: &str) {
        fs::create_dir(self.path(directory)).expect("nothing has that name");
        self.attacker.own(self.path(directory));
    }

    fn run(&self, line: &str) -> Outcome {
        self.place.coast(line.split(' ')).run()
    }

    /// Runs `coast` again and again while two names are exchanged all the time.
    fn run_while_swapped(&self, one: &str, other: &str, line: &str, mut check: impl FnMut(&Outcome)) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Fails while a run has one of the names taken away.
                    let _ = renameat_with(CWD, self.path(one), CWD, self.path(other), RenameFlags::EXCHANGE);
                }
            });
            let stop = Stop(&done);
            for _ in 0..RUNS {
                check(&self.run(line));
            }
            drop(stop);
        });
    }

    #[track_caller]
    fn assert_precious(&self) {
        self.before.assert_same(&Snapshot::of(self.path("precious")), Aspects::CONTENT.with_modes());
        for path in ["precious", "precious/f0", "precious/extraneous"] {
            assert_eq!(fs::metadata(self.path(path)).expect("it is there").uid(), 0, "{path}");
        }
    }

    #[track_caller]
    fn assert_refused(&self, outcome: &Outcome, code: i32) {
        outcome.assert_code(code).assert_says("symlink").assert_says(&self.attacker.uid().to_string());
        self.assert_precious();
    }
}

/// Ends the swapping, also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// rsync: symlink-race-dest
#[test]
fn a_destination_that_is_another_users_symlink_is_refused() {
    let scene = Scene::new();
    scene.plant("shared/dst", "../precious");
    scene.plant("shared/dangling", "../precious/new");
    let at = |below: &str| scene.path("shared").join(below).display().to_string();
    // The client's own cache lies in the home directory.
    let all = || Snapshot::of(scene.path("")).without(|path| path == Path::new("home"));
    let before = all();
    for line in [
        format!("sync -r --delete-after src/ {}", at("dst")),
        format!("sync -r --delete-after src/ {}/", at("dst")),
        format!("sync -rn --delete-after src/ {}", at("dst")),
        format!("sync -r src/ {}", at("dst/new")),
        format!("sync src/top {}", at("dst")),
        format!("sync src/top {}", at("dst/f0")),
        format!("sync -r src/ {}", at("dangling/below")),
        format!("push src {}", at("dst")),
        format!("push -n src {}", at("dst")),
        format!("push src {}", at("dst/new/newer")),
        format!("push -n src {}", at("dst/new/newer")),
    ] {
        scene.assert_refused(&scene.run(&line), 3);
    }
    // Neither a state directory nor anything else was made.
    before.assert_same(&all(), Aspects::CONTENT.with_modes());
}

#[test]
fn a_destination_behind_roots_own_symlink_is_written() {
    let scene = Scene::new();
    fs::create_dir(scene.path("disk")).expect("the place is new");
    symlink("disk", scene.path("backup")).expect("the place is new");
    symlink("backup/..", scene.path("detour")).expect("the place is new");
    for destination in ["backup", "detour/backup/"] {
        scene.run(&format!("sync -r --delete-after src/ {destination}")).assert_code(0);
        Snapshot::of(scene.path("src")).assert_same(&Snapshot::of(scene.path("disk")), Aspects::CONTENT);
    }
    assert!(scene.path(".disk.coast").is_dir(), "the state directory lies beside the directory itself");
}

#[test]
fn roots_own_symlink_is_not_followed_where_another_user_could_replace_it() {
    let scene = Scene::new();
    symlink("../precious", scene.path("shared/dst")).expect("nothing has that name");
    let refused = scene.run("sync -r --delete-after src/ shared/dst");
    refused.assert_code(3).assert_says("other users can replace it");
    scene.assert_precious();
    fs::create_dir(scene.path("open")).expect("the place is new");
    fs::create_dir(scene.path("disk")).expect("the place is new");
    symlink("../disk", scene.path("open/dst")).expect("nothing has that name");
    // Only the sticky bit keeps others from replacing it.
    for (mode, code) in [(0o777, 3), (0o775, 3), (0o1777, 0), (0o755, 0)] {
        fs::set_permissions(scene.path("open"), fs::Permissions::from_mode(mode)).expect("root may");
        scene.run("sync -r src/ open/dst").assert_code(code);
    }
}

#[test]
fn a_single_file_replaces_another_users_symlink_to_a_file() {
    let scene = Scene::new();
    scene.plant("shared/to-file", "../precious/f0");
    scene.plant("shared/dangling", "../precious/new");
    for name in ["to-file", "dangling"] {
        scene.run(&format!("sync src/top shared/{name}")).assert_code(0);
        assert_eq!(fs::read(scene.path("shared").join(name)).expect("a file arrived"), b"sent");
        assert!(!scene.path("shared").join(name).is_symlink());
    }
    scene.assert_precious();
}

/// rsync: symlink-race-relative-dest
#[test]
fn a_relative_destination_through_another_users_symlink_is_refused() {
    let scene = Scene::new();
    scene.plant("shared/dst", "../precious");
    scene.plant("shared/up", "..");
    // A symlink of root's that leads through the attacker's.
    symlink("shared/dst", scene.path("chain")).expect("the place is new");
    symlink("shared/up/precious", scene.path("climbing")).expect("the place is new");
    for destination in ["shared/dst", "./shared/../shared/dst/", "shared/up/precious", "chain", "climbing"] {
        for line in [
            format!("sync -r --delete-after src/ {destination}"),
            format!("sync -rn src/ {destination}"),
            format!("push src {destination}"),
        ] {
            scene.assert_refused(&scene.run(&line), 3);
        }
    }
    let below = scene.place.coast(["sync", "-r", "../src/", "dst/"]).directory(&scene.path("shared")).run();
    scene.assert_refused(&below, 3);
}

#[test]
fn a_destination_swapped_for_a_symlink_all_the_time_leads_nowhere_else() {
    let scene = Scene::new();
    scene.make("shared/dst");
    scene.plant("shared/evil", "../precious");
    let line = "sync -r --delete-after src/ shared/dst";
    scene.run_while_swapped("shared/dst", "shared/evil", line, |_| scene.assert_precious());
}

/// rsync: symlink-race-source
#[test]
fn a_source_directory_swapped_for_a_symlink_discloses_nothing() {
    let scene = Scene::new();
    scene.plant("src/evil", "../precious");
    scene.run_while_swapped("src/sub", "src/evil", "sync -rl --delete-after src/ dst/", |_| {
        for number in 0..FILES {
            for directory in ["dst/sub", "dst/evil"] {
                let content = match scene.path(directory).is_symlink() {
                    true => Ok(Vec::new()),
                    false => fs::read(scene.path(format!("{directory}/f{number}"))),
                };
                assert_ne!(content.ok().as_deref(), Some(&b"precious"[..]), "{directory}/f{number}");
            }
        }
    });
}

/// rsync: sender-scan-dir-escape
#[test]
fn a_source_directory_swapped_for_a_symlink_is_not_listed() {
    let scene = Scene::new();
    symlink("told to nobody", scene.path("precious/link")).expect("nothing has that name");
    scene.plant("src/evil", "../precious");
    scene.run_while_swapped("src/sub", "src/evil", "sync -rl src/ dst/", |_| {
        for directory in ["dst/sub", "dst/evil"] {
            if scene.path(directory).is_symlink() {
                continue;
            }
            for name in ["extraneous", "link"] {
                let leaked = scene.path(directory).join(name);
                assert!(leaked.symlink_metadata().is_err(), "{}", leaked.display());
            }
        }
    });
}

/// rsync: nondaemon-symlink-race
#[test]
fn a_symlink_planted_in_the_destination_is_replaced_and_not_followed() {
    let scene = Scene::new();
    for line in ["sync -r --delete-after src/ shared/dst", "sync -rpog --delay-updates src/ shared/dst"] {
        scene.make("shared/dst");
        scene.plant("shared/dst/sub", "../../precious");
        scene.plant("shared/dst/top", "../../precious/f0");
        scene.run(line).assert_code(0);
        scene.assert_precious();
        Snapshot::of(scene.path("src"))
            .assert_same(&Snapshot::of(scene.path("shared/dst")), Aspects::CONTENT);
        fs::remove_dir_all(scene.path("shared/dst")).expect("root may");
    }
}

/// rsync: rename-mixed-parent-symlink-race
#[test]
fn files_are_moved_into_a_swapped_directory_or_nowhere() {
    for options in ["-r", "-r --delay-updates"] {
        let scene = Scene::new();
        scene.make("shared/dst");
        scene.make("shared/dst/sub");
        scene.plant("shared/dst/evil", "../../precious");
        // Without --delete: it would soon remove one of the two that are swapped.
        let line = format!("sync {options} src/ shared/dst");
        scene.run_while_swapped("shared/dst/sub", "shared/dst/evil", &line, |_| scene.assert_precious());
    }
}

/// rsync: rename-fullpath-symlink-race
#[test]
fn a_single_file_named_by_its_whole_path_lands_in_a_swapped_directory_or_nowhere() {
    let scene = Scene::new();
    scene.make("shared/dst");
    scene.plant("shared/evil", "../precious");
    let line = format!("sync src/top {}", scene.path("shared/dst/f0").display());
    scene.run_while_swapped("shared/dst", "shared/evil", &line, |_| scene.assert_precious());
}

/// rsync: chmod-symlink-race
#[test]
fn modes_and_owners_are_set_in_a_swapped_directory_or_nowhere() {
    let scene = Scene::new();
    for number in 0..FILES {
        let file = scene.path(format!("src/sub/f{number}"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("root may");
        scene.attacker.own(&file);
    }
    scene.make("shared/dst");
    scene.make("shared/dst/sub");
    scene.plant("shared/dst/evil", "../../precious");
    let line = "sync -rpogt src/ shared/dst";
    scene.run_while_swapped("shared/dst/sub", "shared/dst/evil", line, |_| {
        scene.assert_precious();
        for number in 0..FILES {
            let file = fs::metadata(scene.path(format!("precious/f{number}"))).expect("it is still there");
            assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, 0), "f{number}");
        }
    });
}

/// rsync: temp-dir-symlink-injection
#[test]
fn what_another_user_puts_in_place_of_the_staging_area_does_not_arrive() {
    let scene = Scene::new();
    scene.plant("shared/.dst.coast", "../precious");
    scene.run("sync -r src/ shared/dst").assert_code(3).assert_says(".dst.coast");
    scene.assert_precious();
    // While the run goes on its state directory is taken away again and again, and another one is in its place.
    fs::remove_file(scene.path("shared/.dst.coast")).expect("root may");
    scene.plant("shared/evil", "injected");
    scene.make("shared/injected");
    scene.make("shared/injected/staging");
    scene.run_while_swapped("shared/.dst.coast", "shared/evil", "sync -r src/ shared/dst", |_| {
        let Ok(arrived) = fs::read_dir(scene.path("shared/dst")) else { return };
        for entry in arrived {
            let path = entry.expect("root may").path();
            if path.is_file() {
                assert_eq!(fs::read(&path).expect("root may"), b"sent", "{}", path.display());
            }
        }
        assert_eq!(fs::read_dir(scene.path("shared/injected/staging")).expect("it stays").count(), 0);
        scene.assert_precious();
    });
}

/// rsync: filter-merge-symlink
#[test]
fn rules_behind_another_users_symlink_are_not_read() {
    let scene = Scene::new();
    fs::write(scene.path("precious/rules"), "- *\n").expect("root may");
    scene.plant("shared/rules", "../precious/rules");
    scene.plant("shared/dir", "../precious");
    for option in [
        "--exclude-from=shared/rules",
        "--include-from=shared/rules",
        "--filter=merge\u{20}shared/rules",
        "--exclude-from=shared/dir/rules",
    ] {
        let refused = scene.place.coast(["sync", "-r", option, "src/", "dst/"]).run();
        refused.assert_code(11).assert_says("symlink").assert_says(&scene.attacker.uid().to_string());
        assert!(!scene.path("dst").exists());
    }
    // The rules in the rule file of `sub` are unknown. A problem is reported, and nothing is deleted in `sub`.
    Tree::new().file("sub/kept", "kept").build(scene.path("dst"));
    scene.plant("src/sub/.rules", "../../precious/rules");
    let told = scene
        .place
        .coast(["sync", "-r", "--delete-after", "--filter=dir-merge\u{20}.rules", "src/", "dst/"])
        .run();
    told.assert_code(23).assert_says("sub").assert_says(&scene.attacker.uid().to_string());
    assert_eq!(fs::read(scene.path("dst/top")).expect("the rest arrives"), b"sent");
    assert!(scene.path("dst/sub/kept").exists());

    // Root's own is followed.
    fs::remove_file(scene.path("src/sub/.rules")).expect("root may");
    symlink("../../precious/rules", scene.path("src/sub/.rules")).expect("nothing has that name");
    scene.place.coast(["sync", "-r", "--filter=dir-merge\u{20}.rules", "src/", "new/"]).run().assert_code(0);
    assert!(scene.path("new/top").exists() && !scene.path("new/sub/f0").exists());
}

#[test]
fn over_ssh_root_refuses_the_users_symlink_and_the_user_follows_it() {
    for (sudo, code) in [(Sudo::WithoutPassword, 3), (Sudo::Never, 0)] {
        let remote = Remote::with(&Shell::Bash, sudo);
        Tree::new().file("file", "sent").build(remote.path("src"));
        Tree::new().file("precious", "precious").build(remote.path("elsewhere"));
        let account = remote.account();
        let link = account.home().join("link");
        symlink(remote.path("elsewhere"), &link).expect("a new home is empty");
        account.own(&link);
        if code == 0 {
            account.own(remote.path("elsewhere"));
            account.own(remote.path("elsewhere/precious"));
        }
        for arguments in [&[][..], &["-n"]] {
            let outcome = remote.push(arguments, remote.path("src"), &link).run();
            outcome.assert_code(code);
            let untouched = code != 0 || !arguments.is_empty();
            assert_eq!(remote.path("elsewhere/precious").exists(), untouched || arguments == ["-n"]);
            if code != 0 {
                outcome.assert_says("symlink");
                assert_eq!(fs::read_dir(remote.path("elsewhere")).expect("it stays").count(), 1);
            }
            if code == 0 {
                break;
            }
        }
    }
}

#[test]
fn a_user_follows_own_symlinks_and_not_those_of_others() {
    let place = Sandbox::new().open_to_all();
    let me = Account::create(&place.path(""), &Shell::Bash, Sudo::Never);
    let other = Account::create(&place.path(""), &Shell::Bash, Sudo::Never);
    Tree::new().file("file", "sent").build(place.path("src"));
    fs::create_dir(place.path("disk")).expect("the place is new");
    me.own(place.path("disk"));
    for (link, owner) in [("mine", Some(&me)), ("theirs", Some(&other)), ("roots", None)] {
        symlink("disk", place.path(link)).expect("the place is new");
        if let Some(owner) = owner {
            owner.own(place.path(link));
        }
        let outcome = place.coast(["sync", "-r", "src/", link]).as_account(&me).run();
        outcome.assert_code(if link == "theirs" { 3 } else { 0 });
    }
}
