//! The native continuous layer: it watches a worktree, and sends what changes in batches.
//!
//! - A [`Watcher`] watches every directory that the rules of the transfer do not exclude, and gives the changes as [`Batch`]es.
//! - A [`Follower`] connects to the destination, sends the batches of a watcher one after the other, and keeps doing so: it connects
//!   again when the connection is lost, and tries paths again that failed.
//!
//! The life of a save: a program closes the file, the kernel reports it in the watcher's queue, and the thread that reads the queue
//! notes the path. If no batch is under way, the path is a batch at once. If one is under way, the path waits for its end together
//! with everything else that changes until then.
//!
//! # What events do not tell
//! Some changes cause no event. Writes to a memory map cause one when the map and the file are closed; until then, and for changes
//! that other machines make on network file systems, everything is compared every five minutes if nothing else happens, and
//! directories on network file systems are scanned every two seconds. A change to a rule file that only another rule file in the
//! tree names is noticed by the same comparison.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod exclusions;
mod follower;
mod identity;
mod pending;
mod watcher;

pub use batch::{Batch, Depth, Extent, Ticket, UNKNOWN};
pub use follower::{
    Connecting, First, FlushOutcome, Follower, FollowerSettings, FollowerState, FollowerStatus, Halt,
    LastBatch, MAX_LISTED, Problem, ResolveError, Side, Subscription, TreeSize, UnderWay, Update,
};
pub use identity::{Identity, LostRoot};
pub use watcher::{Next, WatchError, WatchStatus, Watcher, WatcherSettings, remove_abandoned_barriers};
