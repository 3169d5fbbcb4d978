//! The coast program.
