//! Messages, frames, compression and every limit on what a peer may send.
