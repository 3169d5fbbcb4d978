//! Keeps a remote directory equal to a local one.
