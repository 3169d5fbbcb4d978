//! The remote program: one Sender or Receiver on standard input and output.
