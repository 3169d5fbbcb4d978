//! `assign --explain`: what `assign` would do, without doing it.

use std::fs;

use super::running;
use super::stage::{Stage, dev_1, files};
use crate::lifecycle::{Explanation, FollowOptions, Insist, LifecycleError};

impl Stage {
    fn explain(&self) -> Result<Explanation, LifecycleError> {
        self.command(|coast| coast.explain(&dev_1(), &self.feature(), &FollowOptions::default()))
    }
}

#[test]
fn an_explanation_is_what_assign_then_does_and_changes_nothing() {
    let stage = running();
    let workspace = stage.workspace();
    fs::write(stage.root().join("carried"), "by the session").unwrap();
    stage.fake.look();
    for path in ["made-there", "kept/upload", "node_modules/x"] {
        fs::create_dir_all(workspace.join(path).parent().unwrap()).unwrap();
        fs::write(workspace.join(path), "by a service").unwrap();
    }
    let beside = || {
        let directory = stage.places.instances(&stage.project.name);
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut entries: Vec<_> = entries.map(|path| (fs::read(&path).unwrap(), path)).collect();
        entries.sort();
        entries
    };
    let before = (files(&workspace), beside());

    let explained = stage.explain().unwrap();
    assert_eq!((files(&workspace), beside()), before);
    assert!(stage.log().iter().all(|line| !line.starts_with("step")), "{:?}", stage.log());
    // The session still runs.
    fs::write(stage.root().join("src/a"), "edited").unwrap();
    stage.fake.look();
    assert_eq!(fs::read_to_string(workspace.join("src/a")).unwrap(), "edited");

    let text = |paths: &[Vec<u8>]| {
        let mut paths: Vec<_> = paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        paths.sort();
        paths
    };
    assert_eq!(text(&explained.sent), ["only-feature", "src/a"]);
    let deletions = &explained.report.deletions;
    assert_eq!(text(&deletions.made_there.first), ["made-there"]);
    // Nothing tells whether it was changed there after the session carried it.
    assert_eq!(text(&deletions.changed.first), ["carried"]);
    assert_eq!(text(&deletions.placed.first), ["only-main"]);
    assert!(deletions.to_trash);
    // `kept/upload`, which is protected, and `node_modules`.
    assert_eq!(explained.report.run.receiver.protected, 2);
    assert!(explained.ends_session && explained.begins_session && explained.question.is_none());

    let record = stage.command(|coast| coast.assign(&dev_1(), &stage.feature(), Insist::No)).unwrap();
    let (done, counts) = (record.last_transfer.unwrap(), explained.report.run.receiver);
    let told = (counts.transferred_files, counts.transferred_bytes, counts.deleted);
    assert_eq!((done.sent_files, done.sent_bytes, done.deleted), told);
}

#[test]
fn an_explanation_is_refused_where_assign_would_be_and_tells_what_would_be_asked() {
    let mut stage = Stage::new("");
    stage.command(|coast| coast.run(&dev_1(), Default::default())).unwrap();
    stage.rewrite_coastfile("[remote]\nown = \"all\"\n");
    let explained = stage.explain().unwrap();
    assert!(!explained.ends_session && !explained.begins_session);
    assert!(explained.question.is_some(), "the settings are not trusted, and were not trusted by this");
    assert!(stage.explain().unwrap().question.is_some());
    for path in ["Coastfile", "src/a", "src/deep/b", "only-feature"] {
        fs::remove_file(stage.feature().join(path)).unwrap();
    }
    fs::remove_dir_all(stage.feature().join("src")).unwrap();
    assert!(matches!(stage.explain().unwrap_err(), LifecycleError::EmptyWorktree { .. }));
    stage.command(|coast| coast.stop(&dev_1())).unwrap();
    assert!(matches!(stage.explain().unwrap_err(), LifecycleError::Stopped(_)));
    let other = "dev-2".parse().unwrap();
    let unknown = stage
        .command(|coast| coast.explain(&other, &stage.feature(), &FollowOptions::default()))
        .unwrap_err();
    assert!(matches!(unknown, LifecycleError::NoInstance { .. }));
}
