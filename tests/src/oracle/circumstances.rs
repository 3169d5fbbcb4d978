//! The circumstances of a run: attributes of the destination's directories, symlinks and mounts on the way to it, and the
//! user who runs both programs.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use coast_testkit::{Snapshot, Tree, require};

use crate::program::Program;
use crate::sandbox::Sandbox;

/// A symlink on the way to the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The destination itself is a symlink to a directory.
    Destination,
    /// The parent of the destination is a symlink to a directory.
    Parent,
}

/// A mount inside the destination, made in a mount namespace of each program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// A directory of the destination tree, or `.`.
    pub at: PathBuf,
    /// The mounted directory lies on a tmpfs while the destination lies on the disk. Otherwise both lie on one file system.
    pub other_file_system: bool,
}

/// The circumstances of a run. The default has none: root runs both programs, with a plain directory as destination.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The default ACL of every directory of the destination, as `setfacl` takes it.
    pub default_acl: Option<String>,
    /// The group of every directory of the destination, which all get the set-group-id bit.
    pub set_group_id: Option<u32>,
    /// Holes count: rsync runs with `--sparse`.
    pub holes: bool,
    /// A symlink with the numeric id of its owner.
    pub link: Option<(Link, u32)>,
    /// A mount inside the destination.
    pub mount: Option<Mount>,
    /// The user and the group that run both programs, instead of root.
    pub user: Option<(u32, u32)>,
}

/// The directories of a comparison. Each program has a side, and mounted directories of each side lie elsewhere.
pub(super) struct Stage<'a> {
    circumstances: &'a Circumstances,
    pub(super) place: Sandbox,
    mounted: Sandbox,
}

impl<'a> Stage<'a> {
    pub(super) fn new(circumstances: &'a Circumstances) -> Self {
        let other = circumstances.mount.as_ref().is_some_and(|mount| mount.other_file_system);
        let place = if other { Sandbox::new() } else { Sandbox::in_memory() };
        let place = if circumstances.user.is_some() { place.open_to_all() } else { place };
        if let Some((uid, gid)) = circumstances.user {
            chown(place.path("home"), Some(uid), Some(gid)).expect("root gives files away");
        }
        Self { circumstances, place, mounted: Sandbox::in_memory() }
    }

    /// Makes a side with the destination `tree`, or without a destination.
    pub(super) fn prepare(&self, side: &str, tree: Option<&Tree>) {
        let circumstances = self.circumstances;
        let side_at = self.place.path(side);
        fs::create_dir(&side_at).expect("a new sandbox has no such side");
        let link = circumstances.link.filter(|(link, _)| *link == Link::Parent || tree.is_some());
        if let Some((link, owner)) = link {
            let name = if link == Link::Destination { "dst" } else { "via" };
            fs::create_dir(side_at.join("real")).expect("the side is new");
            symlink("real", side_at.join(name)).expect("the side is new");
            lchown(side_at.join(name), Some(owner), None).expect("root gives files away");
        }
        if let Some(tree) = tree {
            let destination = self.destination(side);
            tree.build(&destination);
            self.set_attributes(&destination);
            self.move_below_the_mount(side, &destination);
        }
        if let Some((uid, gid)) = circumstances.user {
            for path in [side_at.clone(), side_at.join("real"), self.destination(side)] {
                if path.is_dir() {
                    chown(&path, Some(uid), Some(gid)).expect("root gives files away");
                }
            }
        }
    }

    /// Removes a side.
    pub(super) fn clear(&self, side: &str) {
        fs::remove_dir_all(self.place.path(side)).expect("root removes everything");
        if self.mounted.path(side).exists() {
            fs::remove_dir_all(self.mounted.path(side)).expect("root removes everything");
        }
    }

    /// Snapshots of a side and of the directory that was mounted into it.
    pub(super) fn snapshots(&self, side: &str) -> [Snapshot; 2] {
        [Snapshot::of(self.place.path(side)), Snapshot::of(self.mounted.path(side))]
    }

    /// The path of the destination's parent, as it stands on the command line.
    pub(super) fn parent(&self, side: &str) -> String {
        match self.circumstances.link {
            Some((Link::Parent, _)) => format!("{side}/via/"),
            _ => format!("{side}/"),
        }
    }

    /// `program` under the circumstances.
    pub(super) fn run_under(&self, program: Program, side: &str) -> Program {
        let program = match self.circumstances.user {
            Some((uid, gid)) => program.as_user(uid, gid),
            None => program,
        };
        match &self.circumstances.mount {
            Some(mount) if self.mounted.path(side).exists() => {
                let (what, at) = (self.mounted.path(side), self.destination(side).join(&mount.at));
                let script = "mount --bind -- \"$1\" \"$2\" && shift 2 && exec \"$@\"";
                let words = ["unshare", "--mount", "--", "sh", "-c", script, "sh"].map(PathBuf::from);
                program.by(words.into_iter().chain([what, at]))
            }
            _ => program,
        }
    }

    /// The directory of the destination tree, without symlinks on the way.
    fn destination(&self, side: &str) -> PathBuf {
        let below = match self.circumstances.link {
            Some((Link::Destination, _)) => "real",
            Some((Link::Parent, _)) => "real/dst",
            None => "dst",
        };
        self.place.path(side).join(below)
    }

    fn set_attributes(&self, destination: &Path) {
        if let Some(gid) = self.circumstances.set_group_id {
            for directory in Snapshot::of(destination).directories() {
                let path = destination.join(directory);
                let mode = fs::metadata(&path).expect("root sees everything").permissions().mode();
                chown(&path, None, Some(gid)).expect("root gives files away");
                fs::set_permissions(&path, Permissions::from_mode(mode | 0o2000))
                    .expect("root changes modes");
            }
        }
        if let Some(acl) = &self.circumstances.default_acl {
            let mut setfacl = Command::new(require("setfacl", "acl"));
            run(setfacl.args(["--recursive", "--default", "--modify", acl, "--"]).arg(destination));
        }
    }

    /// Moves the entries of the mount point into the directory that is mounted there.
    fn move_below_the_mount(&self, side: &str, destination: &Path) {
        let Some(mount) = &self.circumstances.mount else { return };
        let (point, mounted) = (destination.join(&mount.at), self.mounted.path(side));
        run(Command::new("cp").args(["--archive", "--"]).arg(&point).arg(&mounted));
        for entry in fs::read_dir(&point).expect("the mount point is a directory") {
            run(Command::new("rm")
                .args(["--recursive", "--force", "--"])
                .arg(entry.expect("it lists").path()));
        }
        run(Command::new("touch").arg("--reference").arg(&mounted).arg(&point));
    }
}

/// Lines of a script for bash that brings about the circumstances at `side/dst`.
impl fmt::Display for Circumstances {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gid) = self.set_group_id {
            writeln!(out, "find $side/dst -type d -exec chgrp {gid} {{}} + -exec chmod g+s {{}} +")?;
        }
        if let Some(acl) = &self.default_acl {
            writeln!(out, "setfacl -R -d -m {acl} $side/dst")?;
        }
        if let Some((link, owner)) = self.link {
            let name = if link == Link::Destination { "dst" } else { "via" };
            writeln!(out, "# $side/{name} is a symlink of user {owner}; the destination goes through it")?;
        }
        if let Some(mount) = &self.mount {
            let from = if mount.other_file_system { "another file system" } else { "the same file system" };
            writeln!(out, "# a bind mount from {from} at $side/dst/{}", mount.at.display())?;
        }
        if let Some((uid, gid)) = self.user {
            writeln!(
                out,
                "chown {uid}:{gid} $side $side/dst; # run by setpriv --reuid={uid} --regid={gid} --clear-groups"
            )?;
        }
        Ok(())
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
