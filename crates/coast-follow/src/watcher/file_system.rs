//! File systems that others change without an event on this machine.

use std::io;

use coast_tree::DirHandle;

/// Whether a directory is on a network file system, or on one that a program serves (FUSE) and that may be one.
///
/// The kernel reports changes that are made through this machine only, so such a directory is also scanned.
#[cfg(target_os = "linux")]
pub(super) fn is_shared(dir: &DirHandle) -> io::Result<bool> {
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
    let kind = rustix::fs::fstatfs(dir)?.f_type;
    // The field is signed, and wider than the number's 32 bits on most processors.
    Ok(SHARED.iter().any(|&shared| i128::from(kind) & 0xffff_ffff == i128::from(shared)))
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
        for path in ["/proc", "/"] {
            let root = coast_tree::Root::open(path.as_ref()).unwrap();
            assert!(!is_shared(&root.handle()).unwrap(), "{path}");
        }
    }
}
