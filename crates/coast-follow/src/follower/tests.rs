use std::fs;
use std::path::Path;
use std::sync::mpsc;

use coast_sync::{
    CachePlace, Delete, Destination, Monitor, NoPrompt, Options, Ready, SyncRequest, VoidMonitor, profile,
};
use tempfile::TempDir;

use super::*;
use crate::LostRoot;

/// A worktree that is followed into a copy.
struct Followed {
    scratch: TempDir,
    follower: Follower,
}

impl Followed {
    /// Watches a worktree with these files.
    fn holding(files: &[&str]) -> Self {
        Self::at(files, "copy")
    }

    /// Carries everything, and what changes later.
    fn new(files: &[&str]) -> Self {
        let followed = Self::holding(files);
        followed.follower.follow(First::Everything);
        followed.arrive();
        followed
    }

    fn at(files: &[&str], copy: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let worktree = scratch.path().join("worktree");
        fs::create_dir(&worktree).unwrap();
        for file in files {
            fs::create_dir_all(worktree.join(file).parent().unwrap()).unwrap();
            fs::write(worktree.join(file), file).unwrap();
        }
        let mut rules = RuleList::new();
        profile::add_default_rules(&mut rules).unwrap();
        let delete = Delete { only_placed: true, no_mass_deletion: true, ..Delete::default() };
        let options = Options { delete: Some(delete), ..profile::options() };
        let request = FollowRequest::push(&worktree, Destination::local(scratch.path().join(copy)))
            .unwrap()
            .options(options)
            .rules(rules.clone())
            .cache(CachePlace::File(scratch.path().join("cache")));
        let settings = FollowerSettings::new(&worktree, request, rules, Arc::new(NoPrompt));
        Self { follower: Follower::start(settings).unwrap(), scratch }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join("worktree").join(path)
    }

    fn copy(&self, path: &str) -> PathBuf {
        self.scratch.path().join("copy").join(path)
    }

    fn flush(&self) -> FlushOutcome {
        self.follower.flush(None, &Cancel::new()).unwrap()
    }

    fn arrive(&self) {
        assert_eq!(self.flush(), FlushOutcome::Arrived);
    }

    fn halt(&self) -> Halt {
        match self.flush() {
            FlushOutcome::Halted(halt) => halt,
            other => panic!("{other:?}"),
        }
    }

    fn files_there(&self) -> usize {
        fs::read_dir(self.copy("")).unwrap().count()
    }

    /// Waits for a state.
    fn await_state(&self, is_meant: impl Fn(&FollowerStatus) -> bool) -> FollowerStatus {
        let mut subscription = self.follower.subscribe();
        loop {
            match subscription.next(None) {
                Update::Status(status) if is_meant(&status) => return *status,
                Update::Status(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Cuts the connection. The follower finds out with the next batch.
    fn cut(&self) {
        let cancel = self.follower.shared.enter().connection.cancel.clone();
        cancel.cancel();
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number}")).collect()
}

#[test]
fn changes_are_held_until_they_are_to_be_carried() {
    let followed = Followed::holding(&["old"]);
    fs::write(followed.path("new"), "new").unwrap();
    assert_eq!(followed.follower.status().state, FollowerState::Holding);
    let timeout = Some(Duration::ZERO);
    assert_eq!(followed.follower.flush(timeout, &Cancel::new()).unwrap(), FlushOutcome::TimedOut);
    assert!(!followed.copy("").exists());

    followed.follower.follow(First::Collected);
    followed.arrive();
    assert!(followed.copy("new").exists() && !followed.copy("old").exists());

    followed.follower.follow(First::Everything);
    followed.arrive();
    assert!(followed.copy("old").exists());
    assert_eq!(followed.await_state(|status| status.state == FollowerState::Watching).size.unwrap().files, 2);
}

#[test]
fn each_kind_of_change_is_carried() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let followed = Followed::new(&["changed", "deleted", "dir/renamed", "script"]);
    fs::write(followed.path("changed"), "twice").unwrap();
    fs::remove_file(followed.path("deleted")).unwrap();
    fs::rename(followed.path("dir"), followed.path("other")).unwrap();
    fs::set_permissions(followed.path("script"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("changed", followed.path("link")).unwrap();
    fs::create_dir_all(followed.path("a/b")).unwrap();
    fs::write(followed.path("a/b/c"), "deep").unwrap();
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("changed")).unwrap(), "twice");
    assert_eq!(fs::read_to_string(followed.copy("other/renamed")).unwrap(), "dir/renamed");
    assert_eq!(fs::read_to_string(followed.copy("a/b/c")).unwrap(), "deep");
    assert_eq!(fs::read_link(followed.copy("link")).unwrap(), Path::new("changed"));
    assert!(!followed.copy("deleted").exists() && !followed.copy("dir").exists());
    assert_eq!(followed.copy("script").metadata().unwrap().permissions().mode() & 0o111, 0o111);
}

#[test]
fn the_last_batch_is_told() {
    let followed = Followed::new(&["file"]);
    fs::write(followed.path("file"), "12345").unwrap();
    followed.arrive();
    let last = followed.follower.status().last_batch.unwrap();
    assert_eq!((last.files, last.bytes, last.deleted), (1, 5, 0));
}

#[test]
fn large_files_arrive_before_the_barrier_that_follows_them() {
    let followed = Followed::new(&["file"]);
    for name in ["large", "larger", "small"] {
        let size = if name == "small" { 1 } else { 9 << 20 };
        fs::write(followed.path(name), vec![b'x'; size]).unwrap();
    }
    followed.arrive();
    for name in ["large", "larger", "small"] {
        assert_eq!(
            followed.copy(name).metadata().unwrap().len(),
            followed.path(name).metadata().unwrap().len()
        );
    }
    assert_eq!(followed.follower.status().waiting_files, 0);
}

/// A follower whose large files cannot be staged while the file in the result is open.
fn with_a_large_file_that_waits() -> (Followed, fs::File) {
    let followed = Followed::new(&["file"]);
    fs::write(followed.path("large"), vec![b'x'; 9 << 20]).unwrap();
    followed.arrive();
    let ahead = fs::File::open(followed.scratch.path().join(".copy.coast/ahead")).unwrap();
    ahead.lock().unwrap();
    // In one step: while it is written it may be taken for a small file.
    let prepared = followed.scratch.path().join("prepared");
    fs::write(&prepared, vec![b'y'; 9 << 20]).unwrap();
    fs::rename(prepared, followed.path("large")).unwrap();
    followed.await_state(|status| status.waiting_files >= 1 && status.watch.pending_paths == Some(0));
    (followed, ahead)
}

#[test]
fn edits_and_deletions_do_not_wait_for_a_large_file() {
    let (followed, ahead) = with_a_large_file_that_waits();
    fs::write(followed.path("file"), "edited").unwrap();
    fs::write(followed.path("gone"), "soon").unwrap();
    followed.await_state(|_| fs::read(followed.copy("file")).is_ok_and(|content| content == b"edited"));
    followed.await_state(|_| followed.copy("gone").exists());
    fs::remove_file(followed.path("gone")).unwrap();
    followed.await_state(|_| !followed.copy("gone").exists());
    assert_eq!(fs::read(followed.copy("large")).unwrap()[0], b'x');
    assert_eq!(followed.follower.status().state, FollowerState::Sending);
    drop(ahead);
    followed.arrive();
    assert_eq!(fs::read(followed.copy("large")).unwrap(), fs::read(followed.path("large")).unwrap());
}

#[test]
fn edits_do_not_wait_for_a_large_file_in_a_new_directory() {
    let (followed, ahead) = with_a_large_file_that_waits();
    let prepared = followed.scratch.path().join("prepared");
    fs::create_dir(&prepared).unwrap();
    fs::write(prepared.join("large"), vec![b'z'; 9 << 20]).unwrap();
    fs::write(prepared.join("small"), "small").unwrap();
    fs::rename(&prepared, followed.path("new")).unwrap();
    followed.await_state(|status| status.waiting_files >= 2 && followed.copy("new/small").exists());
    assert!(!followed.copy("new/large").exists());
    drop(ahead);
    followed.arrive();
    for path in ["large", "new/large"] {
        assert_eq!(fs::read(followed.copy(path)).unwrap(), fs::read(followed.path(path)).unwrap());
    }
}

#[test]
fn edits_do_not_wait_for_a_large_file_after_the_connection_was_lost() {
    let (followed, ahead) = with_a_large_file_that_waits();
    followed.cut();
    fs::write(followed.path("file"), "edited").unwrap();
    followed.await_state(|_| fs::read(followed.copy("file")).is_ok_and(|content| content == b"edited"));
    followed.await_state(|status| status.waiting_files >= 1);
    assert_eq!(fs::read(followed.copy("large")).unwrap()[0], b'x');
    drop(ahead);
    followed.arrive();
    assert_eq!(fs::read(followed.copy("large")).unwrap()[0], b'y');
}

#[test]
fn a_large_file_that_is_deleted_while_it_waits_does_not_come_back() {
    let (followed, ahead) = with_a_large_file_that_waits();
    fs::remove_file(followed.path("large")).unwrap();
    followed.await_state(|_| !followed.copy("large").exists());
    drop(ahead);
    followed.arrive();
    assert!(!followed.copy("large").exists());
}

#[test]
fn a_pause_gives_a_large_file_up_and_it_comes_afterwards() {
    let (followed, ahead) = with_a_large_file_that_waits();
    followed.follower.pause();
    assert_eq!(followed.follower.status().state, FollowerState::Paused);
    drop(ahead);
    assert_eq!(fs::read(followed.copy("large")).unwrap()[0], b'x');
    followed.follower.follow(First::Collected);
    followed.arrive();
    assert_eq!(fs::read(followed.copy("large")).unwrap()[0], b'y');
}

#[test]
fn few_deletions_and_those_of_less_than_half_are_carried() {
    let all = names(400);
    let followed = Followed::new(&all.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &all[..150] {
        fs::remove_file(followed.path(name)).unwrap();
    }
    followed.arrive();
    assert_eq!(followed.files_there(), 250);
}

#[test]
fn deletions_of_most_of_the_worktree_halt() {
    for in_directory in [false, true] {
        let all: Vec<String> = names(300)
            .into_iter()
            .map(|name| if in_directory { format!("d/{name}") } else { name })
            .collect();
        let all: Vec<&str> = all.iter().map(String::as_str).chain(["stays"]).collect();
        let followed = Followed::new(&all);
        if in_directory {
            fs::rename(followed.path("d"), followed.scratch.path().join("d")).unwrap();
        } else {
            followed.follower.pause();
            for name in &all[..300] {
                fs::remove_file(followed.path(name)).unwrap();
            }
            while followed.follower.status().watch.pending_paths != Some(300) {
                thread::yield_now();
            }
            followed.follower.follow(First::Collected);
        }
        let halt = followed.halt();
        assert!(matches!(&halt, Halt::MassDeletion(_)), "{halt}");
        assert!(halt.to_string().contains("and the source has only"), "{halt}");
        let gone = all.iter().filter(|name| !followed.copy(name).exists()).count();
        // The first ones may be due a little earlier than the others.
        assert!(gone <= if in_directory { 0 } else { 100 }, "{gone}");
    }
}

#[test]
fn a_worktree_that_gets_its_files_back_is_followed_again() {
    let all: Vec<String> = names(300).into_iter().map(|name| format!("d/{name}")).collect();
    let followed = Followed::new(&all.iter().map(String::as_str).chain(["stays"]).collect::<Vec<_>>());
    let aside = followed.scratch.path().join("aside");
    // The flushes race with the attempt that the first change begins.
    for round in 0..8 {
        let flushes = round > 0;
        fs::rename(followed.path("d"), &aside).unwrap();
        assert!(matches!(followed.halt(), Halt::MassDeletion(_)));
        fs::write(followed.path("stays"), "edited").unwrap();
        fs::write(aside.join("0"), format!("edited {round}")).unwrap();
        fs::rename(&aside, followed.path("d")).unwrap();
        if flushes {
            followed.arrive();
        } else {
            followed.await_state(|status| status.state == FollowerState::Watching);
            followed.arrive();
        }
        for file in ["stays", "d/0"] {
            assert_eq!(fs::read(followed.copy(file)).unwrap(), fs::read(followed.path(file)).unwrap());
        }
    }
}

#[test]
fn what_was_made_while_edits_follow_may_go_again() {
    let kept: Vec<String> = names(150).into_iter().map(|name| format!("src/{name}")).collect();
    let followed = Followed::new(&kept.iter().map(String::as_str).collect::<Vec<_>>());
    fs::create_dir(followed.path("made")).unwrap();
    for name in names(500) {
        fs::write(followed.path("made").join(name), "made").unwrap();
    }
    followed.arrive();
    fs::rename(followed.path("made"), followed.scratch.path().join("aside")).unwrap();
    followed.arrive();
    assert!(!followed.copy("made").exists());
    fs::rename(followed.path("src"), followed.scratch.path().join("lost")).unwrap();
    fs::write(followed.path("one"), "").unwrap();
    assert!(matches!(followed.halt(), Halt::MassDeletion(_)));
    assert_eq!(fs::read_dir(followed.copy("src")).unwrap().count(), 150);
}

#[test]
fn a_checkout_that_moves_most_files_is_carried() {
    let all = names(300);
    let followed = Followed::new(&all.iter().map(String::as_str).collect::<Vec<_>>());
    fs::create_dir(followed.path("app")).unwrap();
    for name in &all {
        fs::remove_file(followed.path(name)).unwrap();
        fs::write(followed.path("app").join(name), "another").unwrap();
    }
    followed.arrive();
    assert_eq!((followed.files_there(), fs::read_dir(followed.copy("app")).unwrap().count()), (1, 300));
}

#[test]
fn a_directory_with_a_few_files_is_deleted_without_comparing_everything() {
    let followed = Followed::new(&["d/a", "d/b", "d/e/c", "f"]);
    // Only a run over everything would bring it again.
    fs::remove_file(followed.copy("f")).unwrap();
    fs::remove_dir_all(followed.path("d")).unwrap();
    followed.arrive();
    assert!(!followed.copy("d").exists() && !followed.copy("f").exists());
}

#[test]
fn a_lost_worktree_halts_and_nothing_is_deleted() {
    let followed = Followed::new(&["file"]);
    fs::remove_file(followed.path("file")).unwrap();
    assert!(matches!(followed.halt(), Halt::Root(LostRoot::Emptied { .. })));
    assert!(followed.copy("file").exists());

    let followed = Followed::new(&["file"]);
    fs::rename(followed.path(""), followed.scratch.path().join("aside")).unwrap();
    fs::create_dir(followed.path("")).unwrap();
    assert!(matches!(followed.halt(), Halt::Root(LostRoot::Replaced { .. } | LostRoot::Missing { .. })));
    assert!(followed.copy("file").exists());
    // It stays so.
    followed.follower.follow(First::Everything);
    followed.await_state(|status| matches!(status.state, FollowerState::Halted(_)));
    assert!(followed.copy("file").exists());
}

#[test]
fn a_worktree_that_cannot_be_opened_for_the_moment_is_tried_again() {
    use rustix::io::Errno;
    let path = Path::new("worktree");
    let of = |errno: Errno| LostRoot::of(path, &errno.into());
    for errno in [Errno::MFILE, Errno::NFILE, Errno::ACCESS, Errno::NOMEM, Errno::IO, Errno::TIMEDOUT] {
        assert!(matches!(of(errno), LostRoot::Unreadable { .. }), "{errno}");
        assert!(matches!(carrier::Break::from(of(errno)), carrier::Break::Lost(_)));
    }
    for errno in [Errno::NOENT, Errno::NOTDIR, Errno::LOOP] {
        assert!(matches!(of(errno), LostRoot::Missing { .. }), "{errno}");
        assert!(matches!(carrier::Break::from(of(errno)), carrier::Break::Halt(_)));
    }
}

#[test]
fn a_flush_tries_again_what_failed() {
    let followed = Followed::new(&["dir/file", "other"]);
    fs::create_dir(followed.copy("in-the-way")).unwrap();
    fs::write(followed.copy("in-the-way/made-there"), "").unwrap();
    fs::write(followed.path("in-the-way"), "here").unwrap();
    assert!(matches!(followed.flush(), FlushOutcome::Left { .. }));
    fs::remove_dir_all(followed.copy("in-the-way")).unwrap();
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("in-the-way")).unwrap(), "here");
}

#[test]
fn a_lost_session_is_made_again() {
    let followed = Followed::new(&["file"]);
    followed.cut();
    fs::write(followed.path("file"), "again").unwrap();
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("file")).unwrap(), "again");
}

#[test]
fn a_destination_out_of_reach_is_tried_again() {
    let followed = Followed::at(&["file"], "parent/copy");
    followed.follower.follow(First::Everything);
    let is_second = |status: &FollowerStatus| {
        matches!(&status.state, FollowerState::Connecting(connecting)
            if connecting.attempt > 1 && connecting.error.is_some())
    };
    followed.await_state(is_second);
    fs::create_dir(followed.scratch.path().join("parent")).unwrap();
    followed.follower.retry_now();
    followed.arrive();
    assert!(followed.scratch.path().join("parent/copy/file").exists());
}

#[test]
fn a_paused_follower_carries_nothing_and_forgets_nothing() {
    let followed = Followed::new(&["file"]);
    followed.follower.pause();
    assert_eq!(followed.follower.status().state, FollowerState::Paused);
    fs::write(followed.path("file"), "later").unwrap();
    assert_eq!(followed.halt(), Halt::Paused);
    assert_eq!(fs::read_to_string(followed.copy("file")).unwrap(), "file");
    followed.follower.follow(First::Collected);
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("file")).unwrap(), "later");
}

#[test]
fn a_path_in_conflict_is_left_and_told_and_the_others_arrive() {
    let followed = Followed::new(&["file"]);
    fs::write(followed.copy("mine"), "made there").unwrap();
    fs::write(followed.path("mine"), "").unwrap();
    fs::write(followed.path("file"), "more").unwrap();
    let FlushOutcome::Left { conflicts, .. } = followed.flush() else { panic!() };
    let conflicts: Vec<&[u8]> = conflicts.iter().map(|conflict| conflict.path.as_slice()).collect();
    assert_eq!(conflicts, [b"mine"]);
    assert_eq!(fs::read_to_string(followed.copy("file")).unwrap(), "more");
    assert_eq!(fs::read_to_string(followed.copy("mine")).unwrap(), "made there");
    // It stays so while other batches go on.
    fs::write(followed.path("file"), "even more").unwrap();
    assert!(matches!(followed.flush(), FlushOutcome::Left { .. }));

    fs::write(followed.path("mine"), "made there").unwrap();
    followed.arrive();
    assert!(followed.follower.status().conflicts.is_empty());
}

#[test]
fn a_conflict_is_settled_when_the_other_side_becomes_equal() {
    let followed = Followed::new(&["file"]);
    fs::write(followed.copy("mine"), "made there").unwrap();
    fs::write(followed.path("mine"), "made here").unwrap();
    assert!(matches!(followed.flush(), FlushOutcome::Left { .. }));
    fs::write(followed.copy("mine"), "made here").unwrap();
    followed.await_state(|status| status.conflicts.is_empty());
    fs::write(followed.path("mine"), "changed here").unwrap();
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("mine")).unwrap(), "changed here");
}

#[test]
fn a_conflict_ends_when_a_file_takes_the_place_of_its_directory() {
    let followed = Followed::new(&["d/e/mine", "file"]);
    fs::write(followed.copy("d/e/mine"), "changed there").unwrap();
    fs::remove_dir_all(followed.path("d")).unwrap();
    assert!(matches!(followed.flush(), FlushOutcome::Left { .. }));
    assert_eq!(followed.conflicts(), ["d/e/mine"]);
    fs::remove_file(followed.copy("d/e/mine")).unwrap();
    fs::write(followed.path("d"), "a file").unwrap();
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("d")).unwrap(), "a file");
}

/// A run that holds the lock of the workspace until it is told to go on.
struct Holding {
    began: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Monitor for Holding {
    fn ready(&self, _: &Ready) {
        self.began.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
    }
}

#[test]
fn a_batch_waits_for_another_run_in_the_workspace() {
    let followed = Followed::new(&["file"]);
    let ((began, has_begun), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    thread::scope(|scope| {
        let holding = Holding { began, go_on: Mutex::new(may_go_on) };
        let request = SyncRequest::push(
            format!("{}/", followed.path("").display()),
            Destination::local(followed.copy("")),
        )
        .unwrap()
        .options(Options { delete: None, ..profile::options() })
        .cache(CachePlace::Nowhere);
        let run = scope.spawn(move || request.run(&holding, &NoPrompt, &Cancel::new()));
        has_begun.recv().unwrap();
        fs::write(followed.path("file"), "waits").unwrap();
        let notice = followed.await_state(|status| status.notice.is_some()).notice.unwrap();
        assert!(notice.contains("another run"), "{notice}");
        go_on.send(()).unwrap();
        run.join().unwrap().unwrap();
        followed.arrive();
    });
    assert_eq!(fs::read_to_string(followed.copy("file")).unwrap(), "waits");
}

#[test]
fn a_flush_can_be_cancelled_and_ends_with_the_follower() {
    let followed = Followed::holding(&["file"]);
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(followed.follower.flush(None, &cancel).unwrap(), FlushOutcome::Cancelled);

    let mut subscription = followed.follower.subscribe();
    assert!(matches!(subscription.next(None), Update::Status(_)));
    assert!(matches!(subscription.next(Some(Instant::now())), Update::TimedOut));
    let Followed { follower, scratch: _scratch } = followed;
    follower.stop();
    assert!(matches!(subscription.next(None), Update::Ended));
}

#[test]
fn a_push_by_hand_in_between_is_no_conflict() {
    let followed = Followed::new(&["file"]);
    let source = format!("{}/", followed.path("").display());
    let request = SyncRequest::push(source, Destination::local(followed.copy(""))).unwrap();
    followed.follower.pause();
    fs::write(followed.path("file"), "pushed").unwrap();
    request.cache(CachePlace::Nowhere).run(&VoidMonitor, &NoPrompt, &Cancel::new()).unwrap();
    assert_eq!(fs::read_to_string(followed.copy("file")).unwrap(), "pushed");
    fs::write(followed.path("file"), "followed").unwrap();
    followed.follower.follow(First::Collected);
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("file")).unwrap(), "followed");
}

impl Followed {
    fn resolve(&self, paths: &[&str], take: Side) -> Result<FlushOutcome, ResolveError> {
        let paths: Vec<_> = paths.iter().map(|path| RelPath::new(path.as_bytes()).unwrap()).collect();
        self.follower.resolve(&paths, take, &Cancel::new())
    }

    /// Files that were changed on both sides, and one that was deleted here.
    fn in_conflict() -> Self {
        let followed = Self::new(&["d/a", "d/b", "e/deleted", "f"]);
        for path in ["d/a", "d/b", "e/deleted", "f"] {
            fs::write(followed.copy(path), format!("{path} there")).unwrap();
            fs::write(followed.path(path), format!("{path} here")).unwrap();
        }
        fs::remove_dir_all(followed.path("e")).unwrap();
        assert!(matches!(followed.flush(), FlushOutcome::Left { .. }));
        assert_eq!(followed.conflicts(), ["d/a", "d/b", "e/deleted", "f"]);
        followed
    }

    fn conflicts(&self) -> Vec<String> {
        let conflicts = self.follower.status().conflicts.into_iter();
        conflicts.map(|conflict| String::from_utf8(conflict.path).unwrap()).collect()
    }

    fn both(&self, path: &str) -> [Option<String>; 2] {
        [self.path(path), self.copy(path)].map(|path| fs::read_to_string(path).ok())
    }
}

#[test]
fn the_worktree_wins_where_that_is_asked_for() {
    let followed = Followed::in_conflict();
    assert!(matches!(followed.resolve(&["d"], Side::Local).unwrap(), FlushOutcome::Left { .. }));
    assert_eq!(followed.conflicts(), ["e/deleted", "f"]);
    let here = |path: &str| Some(format!("{path} here"));
    assert_eq!(followed.both("d/a"), [here("d/a"), here("d/a")]);
    assert_eq!(followed.both("f"), [here("f"), Some("f there".to_owned())]);

    assert_eq!(followed.resolve(&[], Side::Local).unwrap(), FlushOutcome::Arrived);
    assert_eq!(followed.both("f"), [here("f"), here("f")]);
    assert!(!followed.copy("e").exists());
    // It was for once.
    fs::write(followed.copy("f"), "again there").unwrap();
    fs::write(followed.path("f"), "again here").unwrap();
    assert!(matches!(followed.flush(), FlushOutcome::Left { .. }));
}

#[test]
fn the_destination_wins_where_that_is_asked_for() {
    let followed = Followed::in_conflict();
    assert!(matches!(followed.resolve(&["d/a", "e"], Side::Remote).unwrap(), FlushOutcome::Left { .. }));
    assert_eq!(followed.conflicts(), ["d/b", "f"]);
    let there = |path: &str| Some(format!("{path} there"));
    for path in ["d/a", "e/deleted"] {
        assert_eq!(followed.both(path), [there(path), there(path)]);
    }
    assert_eq!(followed.both("d/b"), [Some("d/b here".to_owned()), there("d/b")]);

    assert_eq!(followed.resolve(&[""], Side::Remote).unwrap(), FlushOutcome::Arrived);
    assert_eq!(followed.both("f"), [there("f"), there("f")]);
    // From now on it is the worktree's.
    fs::write(followed.path("d/a"), "later").unwrap();
    followed.arrive();
    assert_eq!(fs::read_to_string(followed.copy("d/a")).unwrap(), "later");
}

#[test]
fn what_cannot_be_settled_is_told_and_the_rest_goes_on() {
    let followed = Followed::in_conflict();
    let error = followed.resolve(&["f", "none"], Side::Local).unwrap_err().to_string();
    assert!(error.contains("below none is in conflict"), "{error}");
    assert_eq!(followed.conflicts().len(), 4);

    fs::remove_file(followed.copy("f")).unwrap();
    fs::create_dir(followed.copy("f")).unwrap();
    fs::write(followed.copy("f/there"), "").unwrap();
    let error = followed.resolve(&["d", "f"], Side::Remote).unwrap_err().to_string();
    assert!(error.contains("f from the destination") && error.contains("directory"), "{error}");
    assert_eq!(followed.both("f")[0].as_deref(), Some("f here"));
    assert!(matches!(followed.flush(), FlushOutcome::Left { .. }));
    assert!(!followed.conflicts().contains(&"d/a".to_owned()));

    followed.follower.pause();
    assert_eq!(followed.resolve(&["f"], Side::Remote).unwrap(), FlushOutcome::Halted(Halt::Paused));
    assert_eq!(followed.resolve(&["f"], Side::Local).unwrap(), FlushOutcome::Halted(Halt::Paused));
    followed.follower.follow(First::Collected);
    assert!(matches!(followed.flush(), FlushOutcome::Left { .. }), "the call has ended");
    assert!(followed.copy("f/there").exists());
}

#[test]
fn a_conflict_at_an_excluded_path_is_not_taken_over() {
    let followed = Followed::in_conflict();
    fs::create_dir_all(followed.copy(".git/hooks")).unwrap();
    fs::write(followed.copy(".git/hooks/pre-commit"), "rm -rf ~").unwrap();
    // What the destination could say.
    followed.follower.shared.change(|state| {
        for conflict in &mut state.told.conflicts.0 {
            conflict.path = b".git/hooks/pre-commit".to_vec();
        }
    });
    let error = followed.resolve(&[], Side::Remote).unwrap_err().to_string();
    assert!(error.contains(".git/hooks/pre-commit") && error.contains("excluded"), "{error}");
    assert!(!followed.path(".git").exists());
}
