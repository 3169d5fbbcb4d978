//! A sender without privileges: what it may not list, it may still send by name.
//!
//! Root is not held back by permissions, so a test run as root starts itself again as another user with `setpriv`.

#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use coast_engine::{Cancel, Receiver, ReceiverConfig, RunReport, SenderConfig, Source, VoidMonitor, send};
use coast_tree::Name;
use coast_wire::Options;

/// User and group without privileges or files.
const NOBODY: u32 = 65_534;

/// Names the directory that the test works in, for the test that was started again.
const PLACE: &str = "COAST_TEST_PLACE";

/// Runs `body` as a user without privileges, in a directory that belongs to that user. `test` is the name of the test.
fn without_privileges(test: &str, body: impl FnOnce(&Path)) {
    if let Some(place) = std::env::var_os(PLACE) {
        return body(Path::new(&place));
    }
    let dir = tempfile::tempdir().unwrap();
    if !rustix::process::geteuid().is_root() {
        return body(dir.path());
    }
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
    // The build directory may be closed to others.
    let program = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--"])
        .arg(&program)
        .args(["--exact", test])
        .env(PLACE, &place)
        .current_dir(&place)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{output:?}");
}

#[test]
fn a_destination_that_cannot_be_written_to_is_named_with_the_user() {
    without_privileges("a_destination_that_cannot_be_written_to_is_named_with_the_user", |_| {
        let destination = Path::new("/usr/share");
        let error = Receiver::open(ReceiverConfig::new(destination.to_owned())).unwrap_err().to_string();
        let uid = rustix::process::geteuid().as_raw();
        assert!(error.starts_with("cannot use the destination /usr/share: writing to it: "), "{error}");
        assert!(error.contains(&format!("({uid})")) || error.contains(&format!("user {uid}")), "{error}");
    });
}

fn sync(source: Source, destination: &Path) -> RunReport {
    let receiver = ReceiverConfig::new(destination.to_owned());
    let mut config = SenderConfig::new(source);
    config.options = Options { recursive: true, ..Options::default() };
    let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    std::thread::scope(|scope| {
        let remote =
            scope.spawn(|| Receiver::open(receiver)?.run(near.1, far.0, false, &VoidMonitor, &Cancel::new()));
        let report = send(config, far.1, near.0, &VoidMonitor, &Cancel::new()).unwrap();
        remote.join().unwrap().unwrap();
        report
    })
}

#[test]
fn entries_of_a_directory_that_can_only_be_searched_are_sent_by_name() {
    without_privileges("entries_of_a_directory_that_can_only_be_searched_are_sent_by_name", |place| {
        let parent = place.join("above/parent");
        fs::create_dir_all(parent.join("tree/sub")).unwrap();
        fs::write(parent.join("file"), "file").unwrap();
        fs::write(parent.join("large"), vec![7; 3 << 20]).unwrap();
        fs::write(parent.join("tree/sub/leaf"), "leaf").unwrap();
        for closed in [&parent, &place.join("above")] {
            fs::set_permissions(closed, Permissions::from_mode(0o111)).unwrap();
        }
        let destination = place.join("destination");
        for name in ["file", "large", "tree"] {
            let name = Name::new(name.as_bytes()).unwrap();
            let report = sync(Source::Entry { parent: parent.clone(), name }, &destination);
            assert_eq!(report.exit_code(), 0);
        }
        // A directory behind one that can only be searched.
        let report = sync(Source::Contents(parent.join("tree")), &place.join("contents"));
        assert_eq!(report.exit_code(), 0);
        let same =
            |name: &str, content: &[u8]| assert!(fs::read(place.join(name)).unwrap() == content, "{name}");
        same("destination/file", b"file");
        same("destination/large", &vec![7; 3 << 20]);
        same("destination/tree/sub/leaf", b"leaf");
        same("contents/sub/leaf", b"leaf");
        for closed in [place.join("above"), parent] {
            fs::set_permissions(closed, Permissions::from_mode(0o755)).unwrap();
        }
    });
}
