//! The process' limit of open descriptors. A wide walk and a receiver with many staged files want more than the usual
//! 1,024.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Most descriptors asked for where the hard limit is higher, or there is none; macOS refuses more than 10,240.
const WANTED: u64 = if cfg!(target_vendor = "apple") { 10_240 } else { 65_536 };

/// Raises the limit of open descriptors as far as the system allows without privileges. Never lowers it; when it
/// cannot be raised the old one stays, which is enough for all but extreme trees.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else { return };
    let allowed = limit.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if allowed > current {
        limit.current = Some(allowed);
        // Not raised is as good as not asked.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::Rlimit;

    use super::*;

    #[test]
    fn limit_is_raised_as_far_as_allowed_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        let allowed = before.maximum.unwrap_or(u64::MAX).min(WANTED);
        raise_descriptor_limit();
        let raised = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(raised, allowed.max(before.current.unwrap_or(u64::MAX)));

        setrlimit(Resource::Nofile, Rlimit { current: Some(allowed - 1), ..before }).unwrap();
        raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, Some(allowed));
    }
}
