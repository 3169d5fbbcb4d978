//! The sync itself: a Sender and a Receiver over any Read and Write.
