//! Entries of the workspace that the session reads back.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use coast_sync::FetchedEntry;

use super::*;

impl Followed {
    fn fetch(&mut self, path: &str) -> Result<(FetchedEntry, Vec<u8>), SyncError> {
        let mut content = Vec::new();
        let path = RelPath::new(path.as_bytes()).unwrap();
        let fetched = self.session.fetch(&path, &mut content, &Cancel::new());
        fetched.map(|entry| (entry, content))
    }
}

#[test]
fn files_and_symlinks_are_read_back_between_batches() {
    let mut followed = Followed::new(&Tree::new().file("d/a", "1"));
    let large: Vec<u8> = (0..5_000_000_u32).map(|number| ((number / 7) % 251).to_le_bytes()[0]).collect();
    for (name, content) in [("d/large", &large[..]), ("empty", b""), ("d/a", b"changed there")] {
        fs::write(followed.there(name), content).unwrap();
        fs::set_permissions(followed.there(name), fs::Permissions::from_mode(0o750)).unwrap();
        let (entry, fetched) = followed.fetch(name).unwrap();
        assert_eq!(entry, FetchedEntry::File { size: content.len() as u64, mode: 0o750 });
        assert!(fetched == content, "{name}");
        followed.write("d/b", name);
        followed.send_paths(&["d/b"]);
    }
    symlink("/etc/passwd", followed.there("link")).unwrap();
    let (entry, fetched) = followed.fetch("link").unwrap();
    assert_eq!((entry, fetched), (FetchedEntry::Symlink(b"/etc/passwd".to_vec()), Vec::new()));
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_read_back_is_named_and_the_session_goes_on() {
    let mut followed = Followed::new(&Tree::new().file("d/a", "1"));
    let _socket = UnixListener::bind(followed.there("socket")).unwrap();
    symlink("d", followed.there("link")).unwrap();
    for (path, named) in [
        ("d", "it is a directory"),
        ("", "it is the whole directory"),
        ("socket", "it is a socket"),
        ("d/none", "it does not exist"),
        ("none/none", "No such file"),
        ("link/a", "cannot fetch link/a"),
    ] {
        let error = followed.fetch(path).unwrap_err();
        assert!(error.to_string().contains(named), "{error} does not say {named:?}");
        assert!(followed.session.is_usable() && error.exit_code() == 11, "{error}");
    }
    fs::write(followed.there("large"), vec![0; 3 << 20]).unwrap();
    let path = RelPath::new(b"large").unwrap();
    let error = followed.session.fetch(&path, &mut Full, &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("written here"), "{error}");
    followed.write("d/a", "2");
    followed.send_paths(&["d/a"]);
    assert_eq!(followed.fetch("d/a").unwrap().1, b"2");
}

#[test]
fn nothing_is_read_from_a_workspace_that_took_the_place_of_the_one_that_was_opened() {
    let mut followed = Followed::new(&Tree::new().file("a", "1"));
    fs::rename(followed.there(""), followed.scratch.path().join("moved")).unwrap();
    fs::create_dir(followed.there("")).unwrap();
    fs::write(followed.there("a"), "another").unwrap();
    let end = followed.session.end();
    let error = followed.fetch("a").unwrap_err();
    assert!(error.is_workspace_removed(), "{error}");
    end.wait();
    assert!(followed.fetch("a").is_err());
}
