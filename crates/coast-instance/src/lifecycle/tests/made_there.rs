//! What was made on the remote: `start` and the closing of gaps leave it, and a switch moves it to the trash.

use std::fs;
use std::path::Path;

use super::stage::{Stage, dev_1, files};
use super::{position, running};
use crate::continuous::Conflict;
use crate::lifecycle::{Check, FollowOptions, Insist, RunOptions};
use crate::record::Step;

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Makes what a service makes in the workspace.
fn make(stage: &Stage) {
    for file in [".env", "dev.sqlite", "uploads/1", "src/generated"] {
        write(&stage.workspace().join(file), "made there");
    }
}

#[track_caller]
fn assert_made_things_are_there(stage: &Stage) {
    let there = files(&stage.workspace());
    for file in [".env", "dev.sqlite", "uploads/1", "src/generated"] {
        assert_eq!(there.get(Path::new(file)).map(String::as_str), Some("made there"), "{file}: {there:?}");
    }
}

/// The files in the trash, without the directories of the runs.
fn trash(stage: &Stage) -> Vec<String> {
    let trash = stage.workspace().with_file_name(".dev-1.coast").join("trash");
    let mut all: Vec<String> = files(&trash)
        .keys()
        .map(|path| path.to_str().unwrap().split_once('/').unwrap().1.to_owned())
        .collect();
    all.sort();
    all
}

#[test]
fn start_leaves_it_and_deletes_what_was_deleted_here() {
    for settings in ["workspace_sync = \"mutagen\"\n", ""] {
        let stage = Stage::new(&format!("[remote]\n{settings}"));
        stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
        make(&stage);
        stage.command(|coast| coast.stop(&dev_1())).unwrap();
        fs::remove_file(stage.root().join("only-main")).unwrap();
        fs::remove_dir_all(stage.root().join("src/deep")).unwrap();
        for _ in 0..2 {
            stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
            assert_made_things_are_there(&stage);
            let there = files(&stage.workspace());
            assert!(
                !there.contains_key(Path::new("only-main")) && !there.contains_key(Path::new("src/deep/b"))
            );
        }
        assert_eq!(trash(&stage), Vec::<String>::new());
    }
}

#[test]
fn start_deletes_what_a_session_carried_and_was_deleted_while_none_ran() {
    let stage = running();
    write(&stage.root().join("carried/deep/file"), "x");
    write(&stage.root().join("carried/kept"), "x");
    stage.command(|coast| coast.flush(&dev_1())).unwrap();
    make(&stage);
    write(&stage.workspace().join("carried/made"), "made there");
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    fs::remove_dir_all(stage.root().join("carried/deep")).unwrap();
    stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_made_things_are_there(&stage);
    let carried = files(&stage.workspace().join("carried"));
    assert_eq!(carried.keys().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(), ["kept", "made"]);

    // A session that is replaced, not stopped, is asked as well.
    write(&stage.root().join("later"), "x");
    stage.command(|coast| coast.flush(&dev_1())).unwrap();
    stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    let made: Vec<u8> = b"carried/made".to_vec();
    let later = b"later".to_vec();
    let deleted = stage.log().into_iter().find(|line| line.starts_with("told Transferred")).unwrap();
    let (made_there, others) = deleted.split_once(", changed: ").unwrap();
    assert!(
        made_there.contains(&format!("{made:?}")) && !made_there.contains(&format!("{later:?}")),
        "{deleted}"
    );
    assert!(others.contains(&format!("{later:?}")), "{deleted}");
    stage.assert_follows(&stage.feature());
}

/// The file at a path where a conflict keeps the session from carrying anything was made on the remote.
#[test]
fn start_leaves_what_a_conflict_kept_the_session_from_carrying() {
    let stage = running();
    write(&stage.workspace().join("both/file"), "made there");
    write(&stage.root().join("both/file"), "made here");
    write(&stage.root().join("carried"), "x");
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    for path in ["both", "carried"] {
        let path = stage.root().join(path);
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
    }
    stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_eq!(fs::read(stage.workspace().join("both/file")).unwrap(), b"made there");
    assert!(!stage.workspace().join("carried").exists());
}

/// A directory that took the worktree's place was carried by nobody.
#[test]
fn start_leaves_what_only_a_directory_in_the_worktrees_place_had() {
    let stage = running();
    write(&stage.workspace().join("other"), "made there");
    let root = stage.root();
    let away = root.with_extension("away");
    fs::rename(&root, &away).unwrap();
    write(&root.join("other"), "made elsewhere");
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    fs::remove_dir_all(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    assert_eq!(fs::read(stage.workspace().join("other")).unwrap(), b"made there");
}

#[test]
fn a_switch_moves_it_to_the_trash_unless_there_shall_be_none() {
    let stage = running();
    make(&stage);
    stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    assert_eq!(trash(&stage), [".env", "dev.sqlite", "src/generated", "uploads/1"]);
    stage.assert_follows(&stage.feature());
    make(&stage);
    let options = FollowOptions { no_trash: true, ..FollowOptions::default() };
    stage.command(|coast| coast.unassign(&dev_1(), options)).unwrap();
    assert_eq!(trash(&stage).len(), 4);
    stage.assert_follows(&stage.root());
}

#[test]
fn closing_the_gap_leaves_it() {
    let stage = Stage::following();
    let (root, workspace) = (stage.root(), stage.workspace());
    *stage.fake.in_the_gap.lock().unwrap() = Some(Box::new(move || {
        fs::remove_dir_all(root.join("src")).unwrap();
        write(&workspace.join("src/generated"), "made there");
    }));
    stage.command(|coast| coast.run(&dev_1(), RunOptions::default())).unwrap();
    let there = files(&stage.workspace().join("src"));
    assert_eq!(there.keys().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(), ["generated"]);
}

#[test]
fn a_start_that_would_delete_most_of_what_was_placed_is_refused() {
    let stage = running();
    for number in 0..150 {
        write(&stage.root().join(format!("many/{number}")), "x");
    }
    stage.command(|coast| coast.assign(&dev_1(), &stage.root(), Insist::No)).unwrap();
    let before = files(&stage.workspace());
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    fs::remove_dir_all(stage.root().join("many")).unwrap();
    let error = stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap_err();
    assert_eq!(error.exit_code(), 25);
    let text = error.to_string();
    assert!(text.contains("many/") && text.contains("coast start dev-1 --allow-mass-deletion"), "{text}");
    assert_eq!(files(&stage.workspace()), before);
    stage.assert_quiet();
    let options = FollowOptions { allow_mass_deletion: true, ..FollowOptions::default() };
    stage.command(|coast| coast.start(&dev_1(), options)).unwrap();
    stage.assert_follows(&stage.root());
    // A switch is what was asked for.
    for number in 0..150 {
        write(&stage.feature().join(format!("many/{number}")), "x");
    }
    stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    stage.command(|coast| coast.unassign(&dev_1(), Insist::No)).unwrap();
    stage.assert_follows(&stage.root());
}

#[test]
fn start_undoes_or_finishes_a_switch_and_leaves_it() {
    let stage = running();
    for number in 0..150 {
        write(&stage.feature().join(format!("many/{number}")), "x");
    }
    make(&stage);
    stage.kill_at(Step::Runner, |coast| coast.assign(&dev_1(), &stage.feature(), Insist::No));
    make(&stage);
    fs::remove_dir_all(stage.feature().join("many")).unwrap();
    stage.command(|coast| coast.start(&dev_1(), Insist::No)).unwrap();
    position(&stage.log(), "transfer all");
    assert_made_things_are_there(&stage);
    for file in files(&stage.workspace()).keys() {
        assert!(
            stage.feature().join(file).exists()
                || fs::read(stage.workspace().join(file)).unwrap() == b"made there"
        );
    }
}

#[test]
fn what_a_switch_moved_to_the_trash_is_restored_also_while_the_instance_is_stopped() {
    let stage = running();
    make(&stage);
    let feature = stage.feature();
    stage.command(|coast| coast.assign(&dev_1(), &feature, Insist::No)).unwrap();
    assert_eq!(trash(&stage), [".env", "dev.sqlite", "src/generated", "uploads/1"]);
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    let before = stage.record();
    let report = stage.command(|coast| coast.trash(&dev_1())).unwrap();
    let listed: Vec<&[u8]> = report.first.iter().map(|entry| &*entry.path).collect();
    assert_eq!(listed, [&b".env"[..], b"dev.sqlite", b"src/generated", b"uploads/1"]);
    let all = [b".".to_vec()];
    let report = stage.command(|coast| coast.restore(&dev_1(), &all)).unwrap();
    assert_eq!((report.restored_entries, report.exit_code()), (4, 0), "{report:?}");
    assert_made_things_are_there(&stage);
    assert_eq!(stage.record(), before);
    let again = stage.command(|coast| coast.restore(&dev_1(), &[b".env".to_vec()])).unwrap();
    assert_eq!(again.exit_code(), 23);
    let wrong = stage.command(|coast| coast.restore(&dev_1(), &[b"../x".to_vec()])).unwrap_err();
    assert_eq!(wrong.exit_code(), 1, "{wrong}");
    let unknown = "unknown".parse().unwrap();
    let none = stage.command(|coast| coast.restore(&unknown, &all)).unwrap_err();
    assert_eq!(none.exit_code(), 3, "{none}");
}

/// An instance whose session carried `pkg/tracked`, after `pkg` was deleted here. On the remote it also holds `ignored`, and what was
/// made there.
fn with_a_deleted_directory(made_there: &[&str]) -> Stage {
    let stage = running();
    write(&stage.root().join("pkg/deep/tracked"), "x");
    stage.command(|coast| coast.flush(&dev_1())).unwrap();
    for file in ["pkg/node_modules/x", "pkg/deep/__pycache__/y"].iter().chain(made_there) {
        write(&stage.workspace().join(file), "made there");
    }
    fs::remove_dir_all(stage.root().join("pkg")).unwrap();
    let paths = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    *stage.fake.left.lock().unwrap() = Some(Conflict {
        path: b"pkg".to_vec(),
        made_there: paths(made_there),
        kept_by_ignored: made_there.is_empty(),
    });
    stage
}

fn left_in(stage: &Stage, directory: &str) -> Vec<String> {
    files(&stage.workspace().join(directory)).keys().map(|path| path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_directory_that_was_deleted_here_loses_all_but_what_is_ignored() {
    let stage = with_a_deleted_directory(&[]);
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(left_in(&stage, "pkg"), ["deep/__pycache__/y", "node_modules/x"]);
    let told = stage.log().into_iter().find(|line| line.starts_with("told MendDeleted")).unwrap();
    assert!(told.contains("made_there: DeletedEntries { count: 0"), "the session brought it: {told}");
    assert_eq!(status.conflicts, [], "it is mended, although the session still has it");
    let shown = stage.command(|coast| coast.status(&dev_1(), Check::No)).unwrap();
    assert_eq!(shown.continuous.unwrap().unwrap().conflicts, []);
    assert_eq!(trash(&stage), ["pkg/deep/tracked"]);
}

#[test]
fn what_was_made_in_such_a_directory_stays_and_is_told() {
    let stage = with_a_deleted_directory(&["pkg/made", "pkg/deep/made"]);
    let status = stage.command(|coast| coast.flush(&dev_1())).unwrap();
    assert_eq!(left_in(&stage, "pkg"), ["deep/__pycache__/y", "deep/made", "made", "node_modules/x"]);
    assert_eq!(status.conflicts.len(), 1);
}
