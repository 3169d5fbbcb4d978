//! stub
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
mod batch;
mod pending;
pub use batch::{Batch, Depth, Extent, Ticket};
