//! File systems that others change without an event on this machine.

use std::io;

use coast_tree::DirHandle;

/// Whether a directory is on a network file system, or on one that a program serves (FUSE) and that may be one.
///
/// The kernel reports changes that are made through this machine only, so such a directory is also scanned.
#[cfg(target_os = "linux")]
pub(super) fn is_shared(dir: &DirHandle) -> io::Result<bool> {
    Ok(is_shared_type(rustix::fs::fstatfs(dir)?.f_type.into()))
}

/// Whether the file systems of this type are shared: `f_type` of statfs(2).
#[cfg(target_os = "linux")]
fn is_shared_type(f_type: i128) -> bool {
    /// The numbers of statfs(2): NFS, SMB 1, CIFS, SMB 2, 9P, AFS (kernel and OpenAFS), Coda, Ceph, GFS2, OCFS2, FUSE.
    const SHARED: [u32; 12] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x6b41_4653,
        0x5346_414f,
        0x7375_7245,
        0x00c3_6400,
        0x0116_1970,
        0x7461_636f,
        0x6573_5546,
    ];
    // The field is signed, and wider than the number's 32 bits on most processors.
    SHARED.iter().any(|&shared| f_type & 0xffff_ffff == i128::from(shared))
}

/// FSEvents reports changes by other machines on no file system, and this system tells the type of a file system only by name.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_shared(_: &DirHandle) -> io::Result<bool> {
    Ok(false)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn local_file_systems_are_not_shared() {
        // The numbers of <linux/magic.h>: ext4, XFS, Btrfs, F2FS, tmpfs, overlayfs, SquashFS, exFAT, FAT, proc; and ZFS's.
        for local in [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0xf2f5_2010,
            0x0102_1994,
            0x794c_7630,
            0x7371_7368,
            0x2011_bab0,
            0x4d44,
            0x9fa0,
            0x2fc1_2fc1,
        ] {
            assert!(!is_shared_type(local), "{local:#x}");
        }
        for path in ["/proc", "/"] {
            let root = coast_tree::Root::open(path.as_ref()).unwrap();
            assert!(!is_shared(&root.handle()).unwrap(), "{path}");
        }
    }

    #[test]
    fn file_systems_of_other_machines_are_shared_however_wide_the_field_is() {
        for (name, shared) in
            [("NFS", 0x6969), ("SMB 2", 0xfe53_4d42), ("9P", 0x0102_1997), ("FUSE", 0x6573_5546)]
        {
            assert!(is_shared_type(shared), "{name}");
        }
        // The number of SMB 2 in a signed field of 32 bits.
        assert!(is_shared_type(i32::from_ne_bytes(0xfe53_4d42_u32.to_ne_bytes()).into()));
    }
}
