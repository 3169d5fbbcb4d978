use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};

use super::*;

const OTHER: u32 = 12_345;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().canonicalize().unwrap();
    fs::create_dir_all(path.join("data/p/i")).unwrap();
    (scratch, path)
}

fn is_at(resolved: &TrustedPath, path: &Path) {
    assert_eq!(resolved.path(), path);
    let stat = resolved.directory().stat_self().unwrap();
    assert_eq!(stat.ino, fs::metadata(resolved.directory_path()).unwrap().ino());
}

fn refusal(path: &Path) -> String {
    match TrustedPath::resolve(path) {
        Err(error) if !matches!(error, PathError::Io(_)) => error.to_string(),
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn the_parent_is_found_whether_or_not_the_entry_exists() {
    let (_scratch, path) = scratch();
    for end in ["i", "other"] {
        let found = ResolvedParent::of(&path.join("data/./p//").join(end)).unwrap().unwrap();
        assert_eq!(found.path, path.join("data/p").join(end));
        assert_eq!(found.name.as_bytes(), end.as_bytes());
        let i = found.parent.stat(&Name::new(b"i").unwrap()).unwrap().unwrap();
        assert_eq!(i.kind, Kind::Directory);
    }
    assert!(ResolvedParent::of(&path.join("data/q/i")).unwrap().is_none());
    for path in ["/", "//", "/.", "/.."] {
        assert!(matches!(ResolvedParent::of(Path::new(path)), Err(PathError::NoName)), "{path}");
    }
}

#[test]
fn own_symlinks_are_followed_however_they_are_written() {
    let (_scratch, path) = scratch();
    let data = path.join("data");
    fs::create_dir(path.join("links")).unwrap();
    symlink(&data, path.join("links/abs")).unwrap();
    for target in [data.clone(), "../data".into(), "../links/../data/.".into(), "abs".into()] {
        let link = path.join("links/to");
        symlink(&target, &link).unwrap();
        is_at(&TrustedPath::resolve(&link.join("p/i")).unwrap(), &data.join("p/i"));
        is_at(&TrustedPath::resolve(&link).unwrap(), &data);
        is_at(&TrustedPath::resolve(&link.join("p/../../links/abs/p")).unwrap(), &data.join("p"));
        fs::remove_file(link).unwrap();
    }
    symlink("/", path.join("links/top")).unwrap();
    is_at(&TrustedPath::resolve(&path.join("links/top/usr")).unwrap(), &fs::canonicalize("/usr").unwrap());
    symlink("circle", path.join("links/circle")).unwrap();
    assert!(refusal(&path.join("links/circle/p/i")).contains("too many symlinks"));
}

#[test]
fn a_relative_path_starts_at_its_base_and_climbs_above_it() {
    let (_scratch, path) = scratch();
    symlink("../..", path.join("data/p/up")).unwrap();
    let from = |relative: &str| {
        let base = crate::Root::open(&path.join("data/p")).unwrap().handle();
        TrustedPath::resolve_from(base, &path.join("data/p"), relative.as_bytes()).unwrap()
    };
    is_at(&from(""), &path.join("data/p"));
    is_at(&from("i"), &path.join("data/p/i"));
    is_at(&from(".."), &path.join("data"));
    is_at(&from("../../data/./p/i"), &path.join("data/p/i"));
    is_at(&from("up/data"), &path.join("data"));
    let (parent, name) = from("").into_parent().unwrap().unwrap();
    is_at(&parent, &path.join("data"));
    assert_eq!(name.as_bytes(), b"p");
    is_at(&TrustedPath::resolve(Path::new("")).unwrap(), &std::env::current_dir().unwrap());
}

#[test]
fn missing_directories_are_named_and_made() {
    let (_scratch, path) = scratch();
    let mut resolved = TrustedPath::resolve(&path.join("data/new/newer")).unwrap();
    let names = [&b"new"[..], b"newer"].map(|name| Name::new(name).unwrap()).to_vec();
    assert_eq!(resolved.end(), &PathEnd::Missing(names));
    assert_eq!(resolved.directory_path(), path.join("data"));
    assert!(!path.join("data/new").exists());
    resolved.create_missing(0o700).unwrap();
    is_at(&resolved, &path.join("data/new/newer"));
    assert_eq!(resolved.end(), &PathEnd::Directory);
    assert!(TrustedPath::resolve(&path.join("data/missing/../p")).is_err());

    // A symlink put in the place of a missing directory since is not followed.
    let mut resolved = TrustedPath::resolve(&path.join("data/late/x")).unwrap();
    symlink(path.join("data/p"), path.join("data/late")).unwrap();
    resolved.create_missing(0o700).unwrap_err();
    assert!(!path.join("data/p/x").exists());
}

#[test]
fn the_end_is_told_from_what_is_in_the_way() {
    let (_scratch, path) = scratch();
    fs::write(path.join("data/file"), "content").unwrap();
    symlink("file", path.join("data/to-file")).unwrap();
    symlink("nothing", path.join("data/dangling")).unwrap();
    let end = |resolved: Result<TrustedPath, PathError>| match resolved.unwrap().end() {
        PathEnd::Other { name, kind } => (name.to_string(), *kind),
        other => panic!("{other:?}"),
    };
    let at = |name: &str| path.join("data").join(name);
    assert_eq!(end(TrustedPath::resolve(&at("to-file"))), ("file".to_owned(), Kind::File));
    for link in ["to-file", "dangling"] {
        assert_eq!(end(TrustedPath::resolve_entry(&at(link))), (link.to_owned(), Kind::Symlink));
    }
    assert!(matches!(TrustedPath::resolve(&at("dangling")), Err(PathError::Dangling { .. })));
    assert!(matches!(TrustedPath::resolve(&at("dangling/x")), Err(PathError::Dangling { .. })));
    let error = TrustedPath::resolve(&at("file/x")).unwrap_err().to_string();
    assert!(error.contains("data/file is a file"), "{error}");
    let mut content = String::new();
    open_trusted_file(&at("to-file")).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
}

#[cfg(target_os = "linux")]
#[test]
fn open_files_are_reached_by_their_symlinks_in_proc() {
    use std::os::fd::AsRawFd;
    let (_scratch, path) = scratch();
    fs::write(path.join("file"), "content").unwrap();
    let (file, dir) = (File::open(path.join("file")).unwrap(), File::open(path.join("data")).unwrap());
    fs::remove_file(path.join("file")).unwrap();
    let by_number = |file: &File| PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
    let mut content = String::new();
    open_trusted_file(&by_number(&file)).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    let resolved = TrustedPath::resolve(&by_number(&dir).join("p/i")).unwrap();
    assert_eq!(
        resolved.directory().stat_self().unwrap().ino,
        fs::metadata(path.join("data/p/i")).unwrap().ino()
    );
}

#[test]
fn root_follows_no_symlink_that_another_user_could_have_put_there() {
    assert!(rustix::process::geteuid().is_root(), "needs root, to give a symlink to another user");
    let (_scratch, path) = scratch();
    let link = path.join("link");
    symlink("data", &link).unwrap();
    lchown(&link, Some(OTHER), None).unwrap();
    for below in ["", "p/i", "../link", "missing/dir"] {
        assert!(refusal(&link.join(below)).contains("12345"), "{below}");
    }
    // Neither a chain of symlinks nor a detour hides it.
    fs::create_dir(path.join("mine")).unwrap();
    symlink("../link/p", path.join("mine/chain")).unwrap();
    symlink("chain/../p", path.join("mine/longer")).unwrap();
    for above in ["mine/chain/i", "mine/longer/i", "data/../link/p/i"] {
        assert!(refusal(&path.join(above)).contains("12345"), "{above}");
    }
    lchown(&link, Some(0), None).unwrap();
    is_at(&TrustedPath::resolve(&path.join("mine/longer/i")).unwrap(), &path.join("data/p/i"));

    for (mode, owner, trusted) in [
        (0o777, 0, false),
        (0o775, 0, false),
        (0o1777, 0, true),
        (0o1777, OTHER, false),
        (0o755, OTHER, false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        lchown(&path, Some(owner), None).unwrap();
        let resolved = TrustedPath::resolve(&link.join("p/i"));
        assert_eq!(resolved.is_ok(), trusted, "{mode:o} of {owner}: {resolved:?}");
        is_at(&TrustedPath::resolve(&path.join("data/p/i")).unwrap(), &path.join("data/p/i"));
    }
}
