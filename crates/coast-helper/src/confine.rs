//! Confines the process with landlock: afterwards the process can use only the directories that it works in, and no network,
//! whatever its peer makes it do.

#[cfg(target_os = "linux")]
use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};

use coast_tree::DirHandle;

/// Confines the process to `directories`, and to removing empty directories from `losing`. False where the kernel cannot: before
/// Linux 5.19, or with landlock off.
///
/// The process must have only one thread. Threads that it starts later inherit the confinement.
#[cfg(target_os = "linux")]
pub(crate) fn to(directories: &[DirHandle], losing: Option<&DirHandle>) -> bool {
    restrict(directories, losing).is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(target_os = "linux")]
fn restrict(
    directories: &[DirHandle],
    losing: Option<&DirHandle>,
) -> Result<RestrictionStatus, RulesetError> {
    // The first version of landlock forbids moving a file to another directory, which is how the receiver puts every file into
    // place. There the receiver's own checks have to do.
    use landlock::{CompatLevel, Compatible};
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .create()?;
    for directory in directories {
        ruleset = ruleset.add_rule(PathBeneath::new(directory, AccessFs::from_all(ABI::V6)))?;
    }
    if let Some(directory) = losing {
        // The rule also holds below `directory`, but only for empty directories.
        ruleset = ruleset.add_rule(PathBeneath::new(directory, AccessFs::RemoveDir))?;
    }
    ruleset.restrict_self()
}

/// Does nothing: this system has no landlock.
#[cfg(not(target_os = "linux"))]
pub(crate) fn to(_: &[DirHandle], _: Option<&DirHandle>) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{self, File};
    use std::io::ErrorKind::{CrossesDevices, PermissionDenied};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::thread;

    use coast_tree::Root;

    use super::*;

    /// Two directories side by side.
    struct Place {
        _scratch: tempfile::TempDir,
        root: PathBuf,
        beside: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let (root, beside) = (scratch.path().join("root"), scratch.path().join("beside"));
            for dir in [&root, &beside] {
                fs::create_dir_all(dir.join("empty")).unwrap();
                fs::write(dir.join("file"), "content").unwrap();
            }
            Self { _scratch: scratch, root, beside }
        }
    }

    fn open(path: &Path) -> DirHandle {
        Root::open(path).unwrap().handle()
    }

    /// Confines a thread of its own, and runs `act` in it.
    fn confined<T: Send>(directory: &Path, losing: Option<&Path>, act: impl FnOnce() -> T + Send) -> T {
        let (directory, losing) = (open(directory), losing.map(open));
        thread::scope(|scope| {
            let confined = scope.spawn(move || {
                assert!(to(&[directory], losing.as_ref()), "needs a kernel with landlock, from Linux 5.19");
                act()
            });
            confined.join().unwrap()
        })
    }

    #[test]
    fn what_lies_beside_the_root_is_out_of_reach() {
        let Place { root, beside, .. } = &Place::new();
        symlink(beside, root.join("link")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let held = open(beside);
        confined(root, None, || {
            let name = |name: &str| coast_tree::Name::new(name.as_bytes()).unwrap();
            let refused = [
                File::open(beside.join("file")).map(drop),
                File::open(root.join("../beside/file")).map(drop),
                File::open(root.join("link/file")).map(drop),
                File::open("/etc/passwd").map(drop),
                fs::read_dir(beside).map(drop),
                File::create(beside.join("new")).map(drop),
                fs::write(beside.join("file"), "other"),
                fs::create_dir(beside.join("new")),
                symlink("file", beside.join("new")),
                fs::remove_file(beside.join("file")),
                fs::remove_dir(beside.join("empty")),
                // A directory that was opened before is confined too.
                held.open_file(&name("file")).map(drop),
                held.unlink(&name("file")),
                TcpStream::connect(listener.local_addr().unwrap()).map(drop),
            ];
            for (number, refused) in refused.into_iter().enumerate() {
                assert_eq!(refused.map_err(|error| error.kind()), Err(PermissionDenied), "number {number}");
            }
            for (from, to) in [
                (root.join("file"), beside.join("new")),
                (beside.join("file"), root.join("new")),
                (beside.join("file"), beside.join("new")),
            ] {
                for moved in [fs::rename(&from, &to), fs::hard_link(&from, &to)] {
                    let kind = moved.unwrap_err().kind();
                    assert!([PermissionDenied, CrossesDevices].contains(&kind), "{from:?} {to:?} {kind}");
                }
            }
        });
        assert_eq!(fs::read_to_string(beside.join("file")).unwrap(), "content");
        assert_eq!(fs::read_dir(beside).unwrap().count(), 2);
    }

    #[test]
    fn all_that_a_receiver_does_is_possible_in_the_root() {
        let Place { root, .. } = &Place::new();
        confined(root, None, || {
            fs::write(root.join("new"), "new").unwrap();
            fs::create_dir(root.join("dir")).unwrap();
            fs::rename(root.join("new"), root.join("dir/moved")).unwrap();
            fs::hard_link(root.join("file"), root.join("dir/linked")).unwrap();
            symlink("anywhere", root.join("link")).unwrap();
            File::options().write(true).open(root.join("file")).unwrap().set_len(1).unwrap();
            assert_eq!(fs::read_to_string(root.join("dir/linked")).unwrap(), "c");
            fs::remove_dir_all(root.join("dir")).unwrap();
        });
    }

    #[test]
    fn a_directory_that_loses_another_loses_nothing_else() {
        let place = Place::new();
        let parent = place.root.parent().unwrap();
        confined(&place.root, Some(parent), || {
            let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
            assert_eq!(kind(fs::remove_file(place.beside.join("file"))), PermissionDenied);
            assert_eq!(kind(File::open(place.beside.join("file")).map(drop)), PermissionDenied);
            assert_eq!(kind(fs::create_dir(parent.join("new"))), PermissionDenied);
            assert_eq!(kind(fs::remove_dir(&place.beside)), std::io::ErrorKind::DirectoryNotEmpty);
            fs::remove_file(place.root.join("file")).unwrap();
            fs::remove_dir(place.root.join("empty")).unwrap();
            fs::remove_dir(&place.root).unwrap();
        });
    }
}
