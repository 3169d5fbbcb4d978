//! Everything that is printed.

pub(crate) mod itemize;
pub(crate) mod name;
