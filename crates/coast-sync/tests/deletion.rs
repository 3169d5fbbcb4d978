//! What a run deletes, by who had put it at the destination: a repair takes only what runs placed, and what others made goes to the
//! trash.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use coast_sync::{
    CachePlace, Cancel, Delete, Destination, Monitor, NoPrompt, Ready, RestoreReport, RestoreRequest,
    RuleList, SyncError, SyncReport, SyncRequest, TrashRequest, VoidMonitor, profile,
};

/// A source and a destination, and the state directory beside that.
struct Place(tempfile::TempDir);

impl Place {
    /// A destination to which these files were pushed.
    fn pushed(files: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("source")).unwrap();
        place.make("source", files);
        place.push(Delete::default());
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// Makes files whose content is their path.
    fn make(&self, top: &str, files: &[&str]) {
        for file in files {
            let path = self.path(top).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }

    fn remove_from_source(&self, entries: &[&str]) {
        for entry in entries {
            let path = self.path("source").join(entry);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }

    /// A run with a trash if it is a repair, and without one otherwise.
    fn request(&self, delete: Delete) -> SyncRequest {
        let trash = delete.only_placed;
        self.request_with(coast_sync::Options { delete: Some(delete), trash, ..profile::options() })
    }

    fn request_with(&self, options: coast_sync::Options) -> SyncRequest {
        let destination = Destination::local(self.path("destination"));
        SyncRequest::push(self.path("source"), destination)
            .unwrap()
            .options(options)
            .cache(CachePlace::Nowhere)
    }

    fn push(&self, delete: Delete) -> SyncReport {
        run(self.request(delete)).unwrap()
    }

    fn push_with_trash(&self) -> SyncReport {
        run(self.request_with(profile::options())).unwrap()
    }

    fn restore(&self, paths: &[&str]) -> RestoreReport {
        let request = RestoreRequest::new(Destination::local(self.path("destination")), paths).unwrap();
        request.run(&NoPrompt, &Cancel::new()).unwrap()
    }

    fn repair(&self) -> SyncReport {
        self.push(repairing())
    }

    /// The files of a directory, at any depth.
    fn files(&self, top: &str) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.path(top), &self.path(top), &mut files);
        files.sort();
        files
    }

    /// The files in the trash, without the directories of the runs.
    fn trash(&self) -> Vec<String> {
        let all = self.files(".destination.coast/trash");
        all.iter().map(|path| path.split_once('/').unwrap().1.to_owned()).collect()
    }

    fn state(&self, name: &str) -> PathBuf {
        self.path(".destination.coast").join(name)
    }
}

fn collect(top: &Path, directory: &Path, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            collect(top, &path, files);
        } else {
            files.push(path.strip_prefix(top).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn repairing() -> Delete {
    Delete { only_placed: true, ..Delete::default() }
}

fn run(request: SyncRequest) -> Result<SyncReport, SyncError> {
    request.run(&VoidMonitor, &NoPrompt, &Cancel::new())
}

fn names(paths: &[Vec<u8>]) -> Vec<String> {
    paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

#[test]
fn a_repair_deletes_what_was_placed_and_is_gone() {
    let place = Place::pushed(&["kept", "gone", "dir/gone", "dir/kept", "whole/a", "mixed/a"]);
    place.make("destination", &[".env", "uploads/1", "dir/made", "mixed/made"]);
    place.remove_from_source(&["gone", "dir/gone", "whole", "mixed"]);
    let report = place.repair();
    assert_eq!(
        place.files("destination"),
        [".env", "dir/kept", "dir/made", "kept", "mixed/made", "uploads/1"]
    );
    let receiver = report.run.receiver;
    assert_eq!((receiver.deleted, receiver.left_made_there), (5, 4), "{receiver:?}");
    assert!(!place.path("destination/whole").exists());
}

#[test]
fn a_replaced_file_that_was_made_or_changed_there_is_kept_in_the_trash() {
    for delay_updates in [false, true] {
        let place = Place::pushed(&["dir/changed", "run", "same"]);
        let write = |path: &str, content: &str| fs::write(place.path(path), content).unwrap();
        let read = |path: &str| fs::read_to_string(place.path(path)).unwrap();
        write("destination/dir/changed", "by a service");
        write("destination/made", "by a service, too");
        for (path, content) in
            [("dir/changed", "new here"), ("made", "new here"), ("run", "new"), ("large", "new")]
        {
            write(&format!("source/{path}"), content);
        }
        let options = coast_sync::Options { delay_updates, ..profile::options() };
        let told = |report: &SyncReport| {
            let mut replaced = names(&report.deletions.replaced.first);
            replaced.sort();
            assert_eq!(report.run.receiver.replaced_trashed, report.deletions.replaced.count);
            replaced
        };
        let dry = coast_sync::Options { dry_run: true, ..options.clone() };
        let dry = run(place.request_with(dry)).unwrap();
        assert_eq!((told(&dry), place.trash()), (vec!["dir/changed".to_owned(), "made".to_owned()], vec![]));

        let report = run(place.request_with(options)).unwrap();
        assert_eq!(told(&report), ["dir/changed", "made"]);
        assert_eq!((report.run.receiver.deleted, report.run.receiver.trashed), (0, 0));
        assert_eq!(place.trash(), ["dir/changed", "made"]);
        assert_eq!(
            ["dir/changed", "made", "run"].map(|path| read(&format!("destination/{path}"))),
            ["new here", "new here", "new"]
        );
        fs::remove_file(place.path("destination/made")).unwrap();
        place.restore(&["made"]);
        assert_eq!(read("destination/made"), "by a service, too");

        // Without a trash it is as with rsync.
        write("source/made", "once more");
        assert_eq!(told(&place.push(Delete::default())), Vec::<String>::new());
        assert_eq!(read("destination/made"), "once more");
    }
}

#[test]
fn the_ledger_outlives_the_cache_and_every_kind_of_run() {
    let place = Place::pushed(&["a", "dir/b", "dir/c", "protected"]);
    place.make("destination", &["made"]);
    let _ = fs::remove_file(place.state("cache"));
    place.remove_from_source(&["a", "dir/b", "protected"]);
    // None of these runs deletes anything; each examines another part of the tree.
    let nothing = || Delete { max: Some(0), ..Delete::default() };
    place.push(nothing());
    run(place.request(nothing()).only(["dir/c"]).unwrap()).unwrap();
    let mut undeleting = place.request(nothing());
    undeleting = undeleting.options(coast_sync::Options { delete: None, ..profile::options() });
    run(undeleting).unwrap();
    let mut rules = RuleList::new();
    rules.filter(b"P a", &coast_sync::NoMergeFiles).unwrap();
    rules.filter(b"P dir/b", &coast_sync::NoMergeFiles).unwrap();
    rules.filter(b"P protected", &coast_sync::NoMergeFiles).unwrap();
    run(place.request(repairing()).rules(rules)).unwrap();
    run(SyncRequest::new(place.path("source/dir"), Destination::local(place.path("destination")))
        .options(coast_sync::Options { delete: Some(nothing()), ..profile::options() }))
    .unwrap();
    assert_eq!(place.files("destination"), ["a", "dir/b", "dir/c", "made", "protected"]);
    place.repair();
    assert_eq!(place.files("destination"), ["dir/c", "made"]);
}

#[test]
fn a_killed_run_leaves_a_ledger_that_counts() {
    let place = Place::pushed(&["old"]);
    // As if a run had been killed before it put its own ledger in the place of the old one.
    let old = fs::read(place.state("ledger")).unwrap();
    place.make("source", &["new"]);
    place.push(Delete::default());
    fs::rename(place.state("ledger"), place.state("ledger.new")).unwrap();
    fs::write(place.state("ledger"), old).unwrap();
    place.make("destination", &["made"]);
    place.remove_from_source(&["old", "new"]);
    place.make("source", &["other"]);
    place.repair();
    assert_eq!(place.files("destination"), ["made", "other"]);
    assert!(!place.state("ledger.new").exists());
}

#[test]
fn a_name_that_was_offered_and_not_placed_stays_the_remotes_own() {
    let place = Place::pushed(&["kept"]);
    std::os::unix::fs::symlink("here", place.path("source/link")).unwrap();
    place.make("destination", &["link"]);
    let without_links = coast_sync::Options { links: false, delete: None, ..profile::options() };
    run(place.request(repairing()).options(without_links)).unwrap();
    place.remove_from_source(&["link"]);
    assert_eq!(place.repair().run.receiver.left_made_there, 1);
    assert_eq!(place.files("destination"), ["kept", "link"]);
}

#[test]
fn without_a_ledger_a_repair_deletes_nothing() {
    let place = Place::pushed(&["kept", "gone"]);
    fs::remove_file(place.state("ledger")).unwrap();
    place.remove_from_source(&["gone"]);
    place.repair();
    assert_eq!(place.files("destination"), ["gone", "kept"]);
    fs::write(place.state("ledger"), "nonsense").unwrap();
    place.repair();
    assert_eq!(place.files("destination"), ["gone", "kept"]);
}

#[test]
fn what_was_placed_and_made_again_there_counts_as_made_there() {
    let place = Place::pushed(&["kept", "again"]);
    place.remove_from_source(&["again"]);
    place.push(Delete::default());
    assert_eq!(place.files("destination"), ["kept"]);
    place.make("destination", &["again"]);
    place.repair();
    assert_eq!(place.files("destination"), ["again", "kept"]);
}

#[test]
fn paths_that_the_caller_names_count_as_placed() {
    let place = Place::pushed(&["kept"]);
    place.make("destination", &["carried", "dir/carried", "dir/made"]);
    let placed = [&b"carried"[..], b"dir", b"dir/carried"].map(<[u8]>::to_vec).to_vec();
    place.push(Delete { placed, ..repairing() });
    assert_eq!(place.files("destination"), ["dir/made", "kept"]);
    let placed = vec![b"../x".to_vec()];
    let error = run(place.request(Delete { placed, ..repairing() })).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
}

#[test]
fn entries_that_others_made_or_changed_move_to_the_trash() {
    let place = Place::pushed(&["kept", "gone", "changed", "dir/gone"]);
    place.make("destination", &[".env", "dir/made", "uploads/deep/1"]);
    fs::create_dir(place.path("destination/empty")).unwrap();
    std::os::unix::fs::symlink("target", place.path("destination/link")).unwrap();
    fs::write(place.path("destination/changed"), "by hand").unwrap();
    place.remove_from_source(&["gone", "changed", "dir"]);
    let report = place.push_with_trash();
    assert_eq!(place.files("destination"), ["kept"]);
    assert!(!place.path("destination/empty").exists());
    assert_eq!(place.trash(), [".env", "changed", "dir/made", "link", "uploads/deep/1"]);
    let batch = fs::read_dir(place.state("trash")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(batch.join("changed")).unwrap(), "by hand");
    assert!(batch.join("empty").is_dir());
    let deletions = &report.deletions;
    assert_eq!(names(&deletions.placed.first), ["dir/gone", "dir/", "gone"]);
    assert_eq!((deletions.placed.count, deletions.made_there.count), (3, 7));
    assert_eq!(names(&deletions.changed.first), ["changed"]);
    assert_eq!(report.run.receiver.deleted_made_there, 7);
    assert_eq!(report.run.receiver.trashed, 8);
}

#[test]
fn what_a_run_moved_to_the_trash_is_listed_and_comes_back() {
    let place = Place::pushed(&["kept", "dir/changed"]);
    place.make("destination", &[".env", "uploads/1", "uploads/2", "dir/made"]);
    fs::write(place.path("destination/dir/changed"), "by hand").unwrap();
    place.remove_from_source(&["dir"]);
    place.push_with_trash();
    let list = || {
        let request = TrashRequest::new(Destination::local(place.path("destination")));
        request.run(&NoPrompt, &Cancel::new()).unwrap()
    };
    let report = list();
    let listed: Vec<_> = report.first.iter().map(|entry| String::from_utf8_lossy(&entry.path)).collect();
    assert_eq!(listed, [".env", "dir/changed", "dir/made", "uploads/1", "uploads/2"]);
    assert_eq!((report.entries, report.bytes), (5, 4 + 7 + 8 + 9 + 9));
    let restored = place.restore(&["uploads", "uploads/1", "./dir/changed"]);
    assert_eq!((restored.restored_entries, restored.exit_code()), (3, 0), "{restored:?}");
    assert_eq!(fs::read_to_string(place.path("destination/dir/changed")).unwrap(), "by hand");
    assert_eq!(place.files("destination"), ["dir/changed", "kept", "uploads/1", "uploads/2"]);
    assert_eq!(place.restore(&["nothing"]).exit_code(), 23);
    // A restored entry counts as made there: a repair leaves it, and the next run that deletes moves it to the trash again.
    assert_eq!(place.repair().run.receiver.deleted, 0);
    place.push_with_trash();
    assert_eq!(place.files("destination"), ["kept"]);
    let again = list();
    assert_eq!(again.entries, 5);
    assert!(again.first[0].at >= again.first[4].at);
}

#[test]
fn without_a_trash_everything_is_gone() {
    let place = Place::pushed(&["kept"]);
    place.make("destination", &["made"]);
    place.push(Delete::default());
    assert_eq!(place.files("destination"), ["kept"]);
    assert!(!place.state("trash").exists());
}

#[test]
fn entries_that_make_way_move_to_the_trash_too() {
    let place = Place::pushed(&["kept"]);
    place.make("destination", &["was-directory/made", "was-file"]);
    place.make("source", &["was-directory", "was-file/new"]);
    place.push_with_trash();
    assert_eq!(place.files("destination"), ["kept", "was-directory", "was-file/new"]);
    assert_eq!(place.trash(), ["was-directory/made", "was-file"]);
}

/// A tree in which entries of the remote's own are in the way of entries of another kind.
fn in_the_way() -> Place {
    let place = Place::pushed(&["kept", "placed"]);
    place.make("destination", &["to-directory", "to-link", "full/made"]);
    std::os::unix::fs::symlink("target", place.path("destination/to-file")).unwrap();
    fs::create_dir(place.path("destination/empty")).unwrap();
    place.remove_from_source(&["placed"]);
    place.make("source", &["to-directory/new", "placed/new", "to-file", "empty", "full"]);
    std::os::unix::fs::symlink("target", place.path("source/to-link")).unwrap();
    place
}

#[test]
fn entries_that_make_way_move_to_the_trash_also_without_deletion() {
    for delay_updates in [false, true] {
        let place = in_the_way();
        let undeleting =
            |dry_run| coast_sync::Options { delete: None, delay_updates, dry_run, ..profile::options() };
        let foretold = run(place.request_with(undeleting(true))).unwrap();
        let report = run(place.request_with(undeleting(false))).unwrap();
        assert_eq!(
            place.files("destination"),
            ["empty", "full/made", "kept", "placed/new", "to-directory/new", "to-file", "to-link"]
        );
        assert_eq!(report.exit_code(), 23, "a directory that is not empty stays");
        assert!(
            place.path("destination/to-link").is_symlink() && place.path("destination/to-file").is_file()
        );
        assert_eq!(
            place.trash(),
            ["to-directory", "to-file", "to-link"],
            "what a run has put there is not kept"
        );
        let mut made_there = names(&report.deletions.made_there.first);
        made_there.sort();
        assert_eq!(made_there, ["empty/", "to-directory", "to-file", "to-link"]);
        let receiver = report.run.receiver;
        assert_eq!((receiver.deleted, receiver.deleted_made_there, receiver.trashed), (3, 4, 4));
        assert_eq!(foretold.deletions.made_there.count, 4);
        assert!(report.deletions.to_trash);
    }
}

#[test]
fn without_a_trash_entries_that_make_way_are_gone() {
    let place = in_the_way();
    let undeleting = coast_sync::Options { delete: None, trash: false, ..profile::options() };
    let report = run(place.request_with(undeleting)).unwrap();
    assert!(!place.state("trash").exists() && report.deletions.is_empty());
    assert!(place.path("destination/to-directory").is_dir());
}

#[test]
fn a_repair_never_unlinks_what_it_cannot_claim() {
    let place = Place::pushed(&["kept", "again", "dir/again"]);
    // The continuous layer deletes the entries, and a service makes them anew.
    for file in ["again", "dir/again"] {
        place.remove_from_source(&[file]);
        fs::remove_file(place.path("destination").join(file)).unwrap();
    }
    fs::write(place.path("destination/again"), "made anew").unwrap();
    fs::write(place.path("destination/dir/again"), "made anew").unwrap();
    let untrashed = coast_sync::Options { delete: Some(repairing()), trash: false, ..profile::options() };
    let report = run(place.request_with(untrashed)).unwrap();
    assert_eq!(place.files("destination"), ["again", "dir/again", "kept"]);
    assert_eq!((report.run.receiver.deleted, report.run.receiver.left_made_there), (0, 2));
    place.repair();
    assert_eq!(place.files("destination"), ["kept"]);
    assert_eq!(place.trash(), ["again", "dir/again"]);
}

#[test]
fn a_name_that_a_run_saw_missing_is_no_longer_the_runs() {
    let place = Place::pushed(&["kept", "again", "gone/again"]);
    place.remove_from_source(&["again", "gone"]);
    fs::remove_file(place.path("destination/again")).unwrap();
    fs::remove_dir_all(place.path("destination/gone")).unwrap();
    place.repair();
    place.make("destination", &["again", "gone/again"]);
    assert_eq!(place.repair().run.receiver.left_made_there, 2);
    assert_eq!(place.files("destination"), ["again", "gone/again", "kept"]);
}

#[test]
fn the_trash_survives_further_runs_and_stays_out_of_the_tree() {
    let place = Place::pushed(&["kept"]);
    for round in ["one", "two"] {
        place.make("destination", &[round]);
        place.push_with_trash();
        place.push_with_trash();
    }
    assert_eq!(place.trash(), ["one", "two"]);
    assert_eq!(place.files("destination"), ["kept"]);
}

#[test]
fn most_of_what_was_placed_is_not_deleted_by_mistake() {
    let files: Vec<String> = (0..250).map(|number| format!("{number}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let place = Place::pushed(&files);
    let careful = || Delete { no_mass_deletion: true, ..repairing() };
    // Not more than half.
    place.remove_from_source(&files[..125]);
    place.push(careful());
    assert_eq!(place.files("destination").len(), 125);
    // More than half, and more than a hundred.
    place.remove_from_source(&files[125..249]);
    let error = run(place.request(careful())).unwrap_err();
    assert!(error.is_mass_deletion() && error.exit_code() == 25, "{error}");
    assert!(error.to_string().contains("124 of the 125 entries"), "{error}");
    assert_eq!(place.files("destination").len(), 125);
    let error = run(place.request(careful())).unwrap_err();
    assert!(error.to_string().contains("124 of the 125 entries"), "the ledger is as it was: {error}");
    place.push(repairing());
    assert_eq!(place.files("destination"), ["249"]);
}

#[test]
fn the_limit_counts_each_entry_once_and_only_what_is_there() {
    let files: Vec<String> = (0..110).map(|number| format!("dir/{number}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let place = Place::pushed(&[&files[..], &["changed"]].concat());
    // An interrupted switch: its ledger names most of these once more, and hundreds that are gone again.
    let old = fs::read(place.state("ledger")).unwrap();
    let others: Vec<String> = (0..300).map(|number| format!("other/{number}")).collect();
    place.make("source", &others.iter().map(String::as_str).collect::<Vec<_>>());
    place.push(Delete::default());
    fs::rename(place.state("ledger"), place.state("ledger.new")).unwrap();
    fs::write(place.state("ledger"), old).unwrap();
    fs::remove_dir_all(place.path("destination/other")).unwrap();
    place.remove_from_source(&["other", "dir"]);
    fs::write(place.path("source/changed"), "a new content").unwrap();
    place.make("destination", &["carried"]);
    let careful = Delete { no_mass_deletion: true, placed: vec![b"carried".to_vec()], ..repairing() };
    let delayed =
        coast_sync::Options { delete: Some(careful.clone()), delay_updates: true, ..profile::options() };
    let error = run(place.request(careful).options(delayed)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("112 of the 113 entries") && text.contains("no existing file was replaced"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(place.path("destination/changed")).unwrap(), "changed");
}

#[test]
fn a_dry_run_foretells_what_a_repair_leaves() {
    let place = Place::pushed(&["kept", "gone", "changed"]);
    place.make("destination", &["made"]);
    fs::write(place.path("destination/changed"), "by hand").unwrap();
    place.remove_from_source(&["gone", "changed"]);
    let options = coast_sync::Options { dry_run: true, delete: Some(repairing()), ..profile::options() };
    let report = run(place.request(repairing()).options(options)).unwrap();
    assert_eq!(names(&report.deletions.placed.first), ["gone"]);
    assert_eq!(names(&report.deletions.changed.first), ["changed"]);
    assert_eq!((report.run.receiver.deleted, report.run.receiver.left_made_there), (2, 1));
    assert_eq!(place.files("destination"), ["changed", "gone", "kept", "made"]);
}

/// The steps after which a placed entry is no longer known by the cache.
#[test]
fn what_cannot_be_told_from_a_changed_entry_goes_to_the_trash() {
    let place = Place::pushed(&["kept", "edited", "remade/x", "was-directory/x"]);
    std::os::unix::fs::symlink("here", place.path("source/link")).unwrap();
    place.push_with_trash();
    place.remove_from_source(&["edited", "remade", "was-directory", "link"]);
    // A run that deletes nothing leaves these entries out of the cache.
    let undeleting = coast_sync::Options { delete: None, ..profile::options() };
    run(place.request(Delete::default()).options(undeleting)).unwrap();
    fs::write(place.path("destination/edited"), "by hand").unwrap();
    fs::remove_file(place.path("destination/remade/x")).unwrap();
    place.make("destination", &["remade/x"]);
    fs::remove_dir_all(place.path("destination/was-directory")).unwrap();
    place.make("destination", &["was-directory"]);
    fs::remove_file(place.path("destination/link")).unwrap();
    std::os::unix::fs::symlink("there", place.path("destination/link")).unwrap();
    place.push_with_trash();
    assert_eq!(place.files("destination"), ["kept"]);
    assert_eq!(place.trash(), ["edited", "link", "remade/x", "was-directory"]);
}

/// Ends a run that has begun its ledger and was offered nothing.
struct CancelAtReady<'a>(&'a Cancel);

impl Monitor for CancelAtReady<'_> {
    fn ready(&self, _: &Ready) {
        self.0.cancel();
    }
}

#[test]
fn two_failed_runs_forget_nothing() {
    let place = Place::pushed(&["kept"]);
    let old = fs::read(place.state("ledger")).unwrap();
    place.make("source", &["new"]);
    place.push(Delete::default());
    // As if that run had been killed before it put its ledger in the place of the old one.
    fs::rename(place.state("ledger"), place.state("ledger.new")).unwrap();
    fs::write(place.state("ledger"), old).unwrap();
    let cancel = Cancel::new();
    let request = place.request(repairing()).await_ready(true);
    let error = request.run(&CancelAtReady(&cancel), &NoPrompt, &cancel).unwrap_err();
    assert!(matches!(error, SyncError::Interrupted), "{error}");
    place.remove_from_source(&["new"]);
    place.repair();
    assert_eq!(place.files("destination"), ["kept"]);
}
