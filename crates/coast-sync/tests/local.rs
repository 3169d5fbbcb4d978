//! Runs into a local destination: with a thread as receiver, and with child processes that are not helpers.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use coast_sync::{
    CachePlace, Cancel, Destination, LocalDestination, LocalReceiver, NoPrompt, Options, SyncError,
    SyncReport, SyncRequest, VoidMonitor,
};
use coast_wire::GREETING;

/// A source with one file, and a destination beside it.
fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("source/sub")).unwrap();
    fs::write(scratch.path().join("source/sub/file"), "content").unwrap();
    scratch
}

fn request(scratch: &Path, destination: impl Into<Destination>) -> SyncRequest {
    SyncRequest::push(scratch.join("source"), destination).unwrap().cache(CachePlace::Nowhere)
}

fn run(request: SyncRequest) -> Result<SyncReport, SyncError> {
    request.run(&VoidMonitor, &NoPrompt, &Cancel::new())
}

/// A destination whose receiver is a shell script. The script gets the helper's arguments.
fn scripted(scratch: &Path, script: &str) -> Destination {
    let receiver =
        LocalReceiver::Program { program: "sh".into(), arguments: vec!["-c".into(), script.into()] };
    LocalDestination::new(scratch.join("destination"), receiver).into()
}

#[test]
fn a_second_run_does_not_touch_entries_that_are_right() {
    let scratch = scratch();
    let destination = scratch.path().join("destination");
    assert_eq!(run(request(scratch.path(), Destination::local(&destination))).unwrap().exit_code(), 0);
    let before = fs::metadata(destination.join("sub/file")).unwrap();
    let report = run(request(scratch.path(), Destination::local(&destination))).unwrap();
    let after = fs::metadata(destination.join("sub/file")).unwrap();
    assert_eq!(
        (before.ino(), before.ctime(), before.ctime_nsec()),
        (after.ino(), after.ctime(), after.ctime_nsec())
    );
    assert_eq!((report.run.receiver.transferred_files, report.run.receiver.deleted), (0, 0));
    assert!(report.connection.is_none());
}

#[test]
fn a_single_file_may_get_a_new_name() {
    let scratch = scratch();
    let source = scratch.path().join("source/sub/file");
    let request = SyncRequest::new(source, Destination::local(scratch.path().join("renamed")));
    run(request.cache(CachePlace::Nowhere)).unwrap();
    assert_eq!(fs::read_to_string(scratch.path().join("renamed")).unwrap(), "content");
}

#[test]
fn a_destination_that_is_a_file_is_refused_by_its_receiver() {
    let scratch = scratch();
    fs::write(scratch.path().join("destination"), "in the way").unwrap();
    let error =
        run(request(scratch.path(), Destination::local(scratch.path().join("destination")))).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert_eq!(fs::read_to_string(scratch.path().join("destination")).unwrap(), "in the way");
}

#[test]
fn a_dry_run_makes_nothing() {
    let scratch = scratch();
    let options = Options { dry_run: true, ..coast_sync::profile::options() };
    let destination = scratch.path().join("destination");
    let report = run(request(scratch.path(), Destination::local(&destination)).options(options)).unwrap();
    assert_eq!(report.exit_code(), 0);
    assert!(!destination.exists());
}

#[test]
fn a_program_that_is_not_a_helper_is_named() {
    let scratch = scratch();
    let error =
        run(request(scratch.path(), scripted(scratch.path(), "echo hello, I am a shell"))).unwrap_err();
    assert!(matches!(error, SyncError::NoReceiver { .. }), "{error}");
    assert!(error.to_string().contains("of the same release"), "{error}");
    assert_eq!(error.exit_code(), 2);

    let missing = LocalReceiver::Program { program: "/no/such/helper".into(), arguments: Vec::new() };
    let destination = LocalDestination::new(scratch.path().join("destination"), missing);
    let error = run(request(scratch.path(), destination)).unwrap_err();
    assert!(error.to_string().contains("/no/such/helper"), "{error}");
    assert_eq!(error.exit_code(), 12);
}

#[test]
fn the_error_quotes_a_dying_receiver() {
    let scratch = scratch();
    let script = format!("echo {}; echo the roof is on fire >&2; exit 9", GREETING.trim_end());
    let error = run(request(scratch.path(), scripted(scratch.path(), &script))).unwrap_err();
    assert!(error.to_string().contains("the roof is on fire"), "{error}");
    assert_eq!(error.exit_code(), 12);
}

#[test]
fn a_receiver_that_says_nothing_runs_out_of_time() {
    let scratch = scratch();
    let silent = scripted(scratch.path(), &format!("echo {}; cat >/dev/null", GREETING.trim_end()));
    let request = request(scratch.path(), silent).timeout(Some(Duration::from_millis(300)));
    let error = run(request).unwrap_err();
    assert!(matches!(error, SyncError::Timeout(_)), "{error}");
    assert_eq!(error.exit_code(), 30);
}

#[test]
fn a_cancelled_run_ends_although_the_receiver_hangs() {
    let scratch = scratch();
    let silent = scripted(scratch.path(), &format!("echo {}; cat >/dev/null", GREETING.trim_end()));
    let cancel = Cancel::new();
    let error = std::thread::scope(|scope| {
        let request = request(scratch.path(), silent);
        let running = scope.spawn(|| request.run(&VoidMonitor, &NoPrompt, &cancel));
        cancel.cancel();
        running.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, SyncError::Interrupted), "{error}");
    assert_eq!(error.exit_code(), 20);
}
