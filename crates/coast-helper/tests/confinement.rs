//! The program itself: that it confines itself before it listens to its peer, in each of the things that it does.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use coast_engine::{BatchPath, Cancel, EngineError, FollowSender, SenderConfig, Source, VoidMonitor, send};
use coast_tree::RelPath;
use coast_wire::{Answer, Delete, GREETING};
use coast_workspace::take_answer;

/// A helper that has greeted, and its two streams.
fn start(command: &str, root: &Path, paths: &[&str]) -> (Child, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let helper = Command::new(env!("CARGO_BIN_EXE_coast-helper"))
        .args([command, "--root"])
        .arg(root)
        .args(paths)
        .stdin(Stdio::from(OwnedFd::from(far.try_clone().unwrap())))
        .stdout(Stdio::from(OwnedFd::from(far)))
        .spawn()
        .unwrap();
    let mut greeting = [0; GREETING.len()];
    (&near).read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, GREETING.as_bytes());
    (helper, near)
}

fn end(mut helper: Child, stream: &UnixStream) {
    stream.shutdown(Shutdown::Both).unwrap();
    assert!(helper.wait().unwrap().success());
}

fn push(source: &Path, root: &Path) -> bool {
    let (helper, stream) = start("receive", root, &[]);
    let mut config = SenderConfig::new(Source::Contents(source.to_owned()));
    config.options.recursive = true;
    config.options.delete = Some(Delete::default());
    config.options.trash = true;
    let (reader, writer) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    let report = send(config, reader, writer, &VoidMonitor, &Cancel::new()).unwrap();
    end(helper, &stream);
    report.ready.confined
}

/// Sends two batches to one helper.
fn follow(source: &Path, root: &Path) -> bool {
    let (helper, stream) = start("follow", root, &[]);
    let mut sender = FollowSender::new(stream.try_clone().unwrap(), stream.try_clone().unwrap());
    let mut send = |paths| {
        let mut config = SenderConfig::new(Source::Contents(source.to_owned()));
        config.options.recursive = true;
        config.paths = paths;
        sender.run(config, &VoidMonitor, &Cancel::new()).unwrap()
    };
    send(None);
    fs::write(source.join("sub/file"), "content").unwrap();
    let path = RelPath::new(b"sub/file").unwrap();
    let report = send(Some(vec![BatchPath { path, deep: false }]));
    end(helper, &stream);
    report.ready.confined
}

/// Whether the helper that answers was confined, as it says itself.
fn ask(command: &str, root: &Path, paths: &[&str]) -> bool {
    let (helper, stream) = start(command, root, paths);
    let confined = take_answer(&stream, |answer| match answer {
        Answer::Probe(probe) => Ok(ControlFlow::Break(probe.confined)),
        Answer::Removal(removal) => {
            assert!(removal.existed && removal.kept_entries == 0, "{removal:?}");
            Ok(ControlFlow::Break(removal.confined))
        }
        Answer::Trashed(entry) => {
            assert_eq!(entry.path, b"sub/made");
            Ok(ControlFlow::Continue(()))
        }
        Answer::Trash(totals) => {
            assert_eq!((totals.entries, totals.bytes), (1, 4));
            Ok(ControlFlow::Break(totals.confined))
        }
        Answer::Restoration(restored) => {
            assert_eq!((restored.restored_entries, restored.left_entries), (1, 0));
            Ok(ControlFlow::Break(restored.confined))
        }
        _ => Err(EngineError::Protocol("it answered something else")),
    });
    end(helper, &stream);
    confined.unwrap()
}

#[test]
fn a_helper_is_confined_in_all_that_it_does_and_does_it_all_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, root) = (scratch.path().join("source"), scratch.path().join("data/p/i"));
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::create_dir_all(root.parent().unwrap()).unwrap();

    assert!(ask("probe", &root, &[]), "needs a kernel with landlock, from Linux 5.19");
    fs::write(source.join("sub/file"), "before").unwrap();
    assert!(follow(&source, &root));
    assert_eq!(fs::read_to_string(root.join("sub/file")).unwrap(), "content");
    assert!(push(&source, &root));
    assert_eq!(fs::read_to_string(root.join("sub/file")).unwrap(), "content");
    fs::write(root.join("sub/made"), "made").unwrap();
    assert!(push(&source, &root));
    assert!(ask("trash", &root, &[]));
    assert!(ask("restore", &root, &["--", "sub/made"]));
    assert_eq!(fs::read_to_string(root.join("sub/made")).unwrap(), "made");
    assert!(ask("remove", &root, &[]));
    assert_eq!(fs::read_dir(root.parent().unwrap()).unwrap().count(), 0);
}
