//! Signatures of bases, so that only differences have to come.

use std::fs::File;
use std::io;
use std::sync::Arc;

use coast_delta::{ReadAt, Signature};
use coast_wire::limits::MAX_DIFF_BLOCK_BYTES;
use coast_wire::{Need, ToSender, Want};

use super::Transfer;
use super::compare::ask_for_all;
use super::file_transfer::FileTransfer;
use super::part::{FileState, PartEntry};
use super::work::Work;
use crate::receiver::failure::{Doing, Failure};
use crate::receiver::target::{Basis, DestinationEntry};
use crate::stop::{Stop, Stopped};

/// Makes a signature of the basis of a file and asks for the difference; settles the file if that fails. `granted` bytes of
/// the signature window are this file's already. They are given back unless the signature goes out.
pub(super) fn sign_and_settle(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    mut granted: usize,
) -> Result<(), Failure> {
    let signed = transfer.revisit(file, |entry| sign(transfer, file, entry, &mut granted));
    release(transfer, granted);
    transfer.settle_failed(file, signed)
}

fn sign(
    transfer: &Transfer<'_>,
    file: &PartEntry,
    entry: &DestinationEntry<'_>,
    granted: &mut usize,
) -> Result<(), Failure> {
    // It may be another file than the one that was examined.
    transfer.target.check_may_replace(entry, file.part.origins(transfer.target), None)?;
    let basis = Basis::open(entry, transfer.target.bases())
        .filter(|(_, basis)| coast_delta::block_size(basis.size()) <= MAX_DIFF_BLOCK_BYTES);
    let Some((basis_file, basis)) = basis else {
        return Ok(ask_for_all(transfer, file, entry.existing, 0)?);
    };
    let length = basis.size();
    let bytes = Signature::byte_len(length);
    if *granted != bytes {
        // Its first turn, or the basis has changed while it waited.
        release(transfer, std::mem::take(granted));
        if !transfer.signatures.take(bytes, || file.clone()) {
            return Ok(());
        }
        *granted = bytes;
    }
    let basis_file = UntilStopped { file: basis_file, stop: transfer.stop };
    let signature = match Signature::of(&basis_file, length, transfer.workers) {
        Err(_) if transfer.stop.is_stopped() => return Err(Stopped.into()),
        signature => signature.doing("cannot read what is there")?,
    };
    *granted = 0;
    let delta = FileTransfer::delta(basis, bytes, entry.existing);
    *file.state() = FileState::Transfer(Arc::new(delta));
    let needs = vec![Need { index: file.index, want: Want::Delta(signature.as_bytes()) }];
    Ok(transfer.report.tell(&ToSender::Needs { part: file.part.id, needs })?)
}

/// Gives bytes of the signature window back: the delta to a signature has come, or never will.
pub(super) fn release(transfer: &Transfer<'_>, bytes: usize) {
    if bytes == 0 {
        return;
    }
    for (granted, file) in transfer.signatures.release(bytes) {
        transfer.enqueue(Work::Sign { file, granted });
    }
}

/// A basis that can no longer be read when the run has stopped: signing a large one may take minutes.
struct UntilStopped<'a> {
    file: File,
    stop: &'a Stop,
}

impl ReadAt for UntilStopped<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.stop.is_stopped() {
            return Err(io::Error::other("the run was stopped"));
        }
        self.file.read_at(buf, offset)
    }
}
