//! rsync filter rules: one verdict per path.
