//! Directories that only this user can use.

use std::io;

use super::names::{
    AHEAD, CACHE, CLOCK, JOURNAL, LEDGER, LOCK, MERGED_LEDGER, NEW_CACHE, NEW_JOURNAL, NEW_LEDGER, PARTIAL,
    PLACEMENTS, STAGING, TRASH, name,
};
use crate::{DirHandle, Kind, Name, file_stat, remove_entry};

/// The mode bit of a state directory that has been taken over and is not empty yet. No run trusts anything in such a directory,
/// and no run sets the bit for any other reason.
pub(super) const UNTRUSTED: u32 = 0o1000;

/// How often a state directory is made again while other runs remove it.
const MAX_OPENINGS: u32 = 1000;

/// Who can use a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privacy {
    /// Nobody but this user.
    Private,
    /// Everybody who can use the workspace. The file system keeps no modes or no owners.
    Shared,
}

fn refuse<T>(text: impl Into<String>) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, text.into()))
}

/// Makes a private directory for files in the making.
///
/// # Errors
/// The error of the system; [`io::ErrorKind::AlreadyExists`] when the name is taken.
pub fn make_staging(parent: &DirHandle, own: &Name) -> io::Result<DirHandle> {
    parent.mkdir(own, 0o700)?;
    let staging = parent.child(own)?;
    // A directory hands its default ACL and its set-group bit down. Staged files get them from the directory of their place,
    // and from no other.
    staging.remove_default_acl()?;
    if staging.stat_self()?.mode & 0o2000 != 0 {
        staging.chmod_self(0o700)?;
    }
    Ok(staging)
}

/// Opens a directory that only this user can use, making it if it is missing.
///
/// Root also accepts the state directory that the login user's own runs left, and takes it over once it is locked
/// (`take_over`). Any other directory of that name is refused, since its owner could change files that are being written. On a
/// file system that keeps nothing private the directory is accepted: there the same people can change the finished files.
pub fn open_private(parent: &DirHandle, own: &Name, login_uid: Option<u32>) -> io::Result<DirHandle> {
    open_as_private_as_can_be(parent, own, login_uid).map(|(dir, _)| dir)
}

/// [`open_private`], with the answer whether the directory is private.
pub(super) fn open_as_private_as_can_be(
    parent: &DirHandle,
    own: &Name,
    login_uid: Option<u32>,
) -> io::Result<(DirHandle, Privacy)> {
    for _ in 0..MAX_OPENINGS {
        match parent.mkdir(own, 0o700) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        // The run that a single entry's state directory belongs to may remove it between any two of these steps.
        match parent.stat(own)? {
            None => continue,
            Some(stat) if stat.kind == Kind::Directory => {}
            Some(_) => return refuse("something else has its name; remove that"),
        }
        let dir = match parent.child(own) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            dir => dir?,
        };
        let privacy = check_privacy(parent, &dir, login_uid)?;
        return Ok((dir, privacy));
    }
    refuse("others remove it all the time")
}

/// Opens the state directory `own` in `parent`; none when it does not exist. It is accepted by the same rule as in
/// [`open_private`]. Root gets the login user's directory as it is, so nothing in it can be trusted but its existence. The same
/// is true of a directory that was taken over and is not empty yet.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when others could change it, so that it may not come from a run; and the error of the system.
pub fn open_existing(
    parent: &DirHandle,
    own: &Name,
    login_uid: Option<u32>,
) -> io::Result<Option<DirHandle>> {
    let dir = match parent.child_within(own, parent.mount()?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        dir => dir?,
    };
    check_privacy(parent, &dir, login_uid)?;
    Ok(Some(dir))
}

/// Says who can use the directory `dir` in `parent`.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when others could change it, and the error of the system.
fn check_privacy(parent: &DirHandle, dir: &DirHandle, login_uid: Option<u32>) -> io::Result<Privacy> {
    let stat = dir.stat_self()?;
    let me = rustix::process::geteuid().as_raw();
    let refusal = if stat.uid != me && (me != 0 || Some(stat.uid) != login_uid) {
        format!("it belongs to user {}; remove it, or run as that user", stat.uid)
    } else if stat.mode & 0o077 != 0 {
        "others may write or read it; remove it, or give it mode 0700".to_owned()
    } else {
        return Ok(Privacy::Private);
    };
    if matches!(keeps_privacy(parent), Ok(false)) { Ok(Privacy::Shared) } else { refuse(refusal) }
}

/// Whether the file system of `dir` keeps the owner and the mode of a new file. A file is made to find out, and its descriptor is
/// looked at: a user who can write in `dir` can exchange the file's name, but not the file.
///
/// # Errors
/// When no file can be made in `dir`.
pub fn keeps_privacy(dir: &DirHandle) -> io::Result<bool> {
    for number in 0..MAX_OPENINGS {
        let name = Name::new(format!(".coast-privacy-{}-{number}", std::process::id()).as_bytes())
            .expect("it holds no slash");
        let file = match dir.create_file(&name, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        let stat = file_stat(&file)?;
        // Another process may have removed the file already.
        let _ = dir.unlink(&name);
        return Ok(stat.uid == rustix::process::geteuid().as_raw() && stat.mode & 0o077 == 0);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes the state directory that another user left this user's own, and empties it but for the trash. False if it is this
/// user's already.
///
/// The owner changes first, so that nobody adds entries while the directory is emptied. The bit [`UNTRUSTED`] stays on a
/// directory that cannot be emptied, so that no later run trusts it either.
pub(super) fn take_over(dir: &DirHandle) -> io::Result<bool> {
    let stat = dir.stat_self()?;
    let me = rustix::process::geteuid().as_raw();
    if stat.uid == me && stat.mode & UNTRUSTED == 0 {
        return Ok(false);
    }
    let made = [
        LOCK,
        CACHE,
        NEW_CACHE,
        LEDGER,
        NEW_LEDGER,
        MERGED_LEDGER,
        JOURNAL,
        NEW_JOURNAL,
        PLACEMENTS,
        CLOCK,
        PARTIAL,
        AHEAD,
        STAGING,
        TRASH,
    ];
    let foreign = |listed: &crate::Listed| made.iter().all(|made| listed.name != name(made));
    let listed = dir.list()?;
    if let Some(listed) = listed.iter().find(|listed| foreign(listed)) {
        return refuse(format!(
            "it belongs to another user and holds {}, which no run has put there; move that elsewhere",
            listed.name
        ));
    }
    dir.chmod_self(0o700 | UNTRUSTED)?;
    dir.chown_self(Some(me), Some(rustix::process::getegid().as_raw()))?;
    // Until now its owner could change the mode again.
    dir.chmod_self(0o700 | UNTRUSTED)?;
    for listed in dir.list()? {
        if listed.name == name(TRASH) && listed.kind == Kind::Directory {
            // What is in it is the user's, and nothing of it is believed.
            dir.child(&listed.name)?.chown_self(Some(me), Some(rustix::process::getegid().as_raw()))?;
            dir.child(&listed.name)?.chmod_self(0o700)?;
        } else {
            remove_entry(dir, &listed.name)?;
        }
    }
    dir.chmod_self(0o700)?;
    Ok(true)
}
