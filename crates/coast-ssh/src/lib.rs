//! Connect, verify the host, authenticate, deploy and start the helper.
