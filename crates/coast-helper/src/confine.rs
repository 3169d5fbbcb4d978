//! The second wall: after this the process can use nothing of the file system but the directories it works in, and no
//! network, whatever its peer makes it do.

#[cfg(target_os = "linux")]
use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};

use coast_tree::DirHandle;

/// Confines the process to `directories`, and to taking empty directories out of `losing`; false where the kernel cannot
/// (before Linux 5.19, or with landlock off).
///
/// Must be called while the process has one thread: those it starts later inherit the confinement.
#[cfg(target_os = "linux")]
pub(crate) fn to(directories: &[DirHandle], losing: Option<&DirHandle>) -> bool {
    restrict(directories, losing).is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(target_os = "linux")]
fn restrict(
    directories: &[DirHandle],
    losing: Option<&DirHandle>,
) -> Result<RestrictionStatus, RulesetError> {
    // Below the second version a file cannot be moved from one directory to another, which is how every file is put
    // in place: there the receiver's own checks are the only wall.
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
        // Counts for all that is below it too, but there it can take nothing away that holds anything.
        ruleset = ruleset.add_rule(PathBeneath::new(directory, AccessFs::RemoveDir))?;
    }
    ruleset.restrict_self()
}

/// Confines the process; never possible on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn to(_: &[DirHandle], _: Option<&DirHandle>) -> bool {
    false
}
