//! The sync itself: a Sender that has a tree and a Receiver that shall have it, over any `Read` and `Write`.
//!
//! [`send`] and [`Receiver::run`] are the two ends of one conversation (see `coast-wire` for its words). Both are
//! pipelines of plain threads with bounded queues: memory does not grow with the tree. Neither prints; what happens
//! is told to a [`Monitor`].
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use coast_engine::{Cancel, Receiver, ReceiverConfig, SenderConfig, Source, VoidMonitor, send};
//!
//! let dir = tempfile::tempdir()?;
//! let (source, destination) = (dir.path().join("source"), dir.path().join("destination"));
//! std::fs::create_dir(&source)?;
//! std::fs::write(source.join("greeting"), "hello")?;
//!
//! let (near, far) = (UnixStream::pair()?, UnixStream::pair()?);
//! let config = ReceiverConfig::new(destination.clone());
//! let remote = std::thread::spawn(move || {
//!     Receiver::open(config)?.run(near.1, far.0, false, &VoidMonitor, &Cancel::new())
//! });
//! let mut config = SenderConfig::new(Source::Contents(source));
//! config.options.recursive = true;
//! let report = send(config, far.1, near.0, &VoidMonitor, &Cancel::new())?;
//! assert_eq!(report.receiver.transferred_files, 1);
//! remote.join().unwrap()?;
//! assert_eq!(std::fs::read(destination.join("greeting"))?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cache;
mod cancel;
mod channel;
mod digest;
mod error;
mod in_flight;
mod known_contents;
mod merge;
mod monitor;
mod outbox;
mod receiver;
mod sender;
mod stop;

pub use cancel::{Cancel, CancelHook};
pub use error::{EngineError, Updates};
pub use known_contents::{ContentName, Known, KnownContents, Proof};
pub use merge::{TreeMergeFiles, Whose};
pub use monitor::{Monitor, Progress, VoidMonitor};
pub use receiver::{Claim, DestinationIs, Following, LoginUser, Receiver, ReceiverConfig, refuse};
pub use sender::{
    BatchPath, FetchedEntry, FollowSender, NothingSent, RunReport, SenderConfig, Source, StagedContents, send,
};

use std::num::NonZeroUsize;

use coast_filter::EntryKind;
use coast_tree::{Kind, Timestamp};
use coast_wire::Time;

/// How many worker threads a side uses: what was asked for, or what the machine has, within reason.
fn threads(wanted: Option<NonZeroUsize>) -> NonZeroUsize {
    const FEWEST: NonZeroUsize = NonZeroUsize::new(2).unwrap();
    const MOST: NonZeroUsize = NonZeroUsize::new(coast_wire::limits::MAX_WORKERS as usize).unwrap();
    wanted
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(FEWEST, |threads| threads.clamp(FEWEST, MOST))
}

/// The kinds of entry between which filter rules distinguish.
fn filter_kind(kind: Kind) -> EntryKind {
    if kind == Kind::Directory { EntryKind::Directory } else { EntryKind::Other }
}

fn wire_time(time: Timestamp) -> Time {
    Time { secs: time.secs(), nanos: time.nanos() }
}
