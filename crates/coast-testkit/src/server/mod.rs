//! SSH servers: OpenSSH's `sshd`, and a server inside the process.

#[cfg(feature = "embedded")]
pub(crate) mod embedded;
pub(crate) mod key;
pub(crate) mod sshd;
