//! Signature, delta and patch for one file of any size.
