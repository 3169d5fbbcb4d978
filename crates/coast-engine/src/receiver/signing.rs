//! Signatures of what is there already, so that only differences have to come; and what interrupted runs left.

use std::fs::File;
use std::io;
use std::sync::Arc;

use coast_delta::{ReadAt, Signature};
use coast_tree::{DirHandle, FileIdentity, Kind, Name};
use coast_wire::limits::MAX_DIFF_BLOCK_BYTES;
use coast_wire::{Need, ToSender, Want};

use super::Run;
use super::lane::{Basis, BasisPlace, Lane};
use super::parts::{FileState, LivePart};
use super::site::{Failure, Site, full_path};
use super::work::Work;
use crate::state::PARTIAL;
use crate::stop::{Stop, Stopped};

/// Less than this of an interrupted file is not worth keeping.
const MIN_PARTIAL_BYTES: u64 = 1 << 20;

impl Run<'_> {
    /// Makes a signature of what is there of a file, and asks for the difference. `granted` bytes of the window are this
    /// file's already; they are given back unless the signature goes out.
    pub(super) fn sign(&self, site: &Site<'_>, granted: &mut usize) -> Result<(), Failure> {
        let (part, index) = (site.part, site.index);
        let basis = self
            .open_basis(site)
            .filter(|(_, basis)| coast_delta::block_size(basis.identity.size) <= MAX_DIFF_BLOCK_BYTES);
        let Some((file, basis)) = basis else { return Ok(self.ask_again(part, index, site.existing, 0)?) };
        let length = basis.identity.size;
        let bytes = Signature::byte_len(length);
        if *granted != bytes {
            // Its first turn, or the basis has changed while it waited.
            self.release_signature(std::mem::take(granted));
            if !self.signatures.take(bytes, || (part.clone(), index)) {
                return Ok(());
            }
            *granted = bytes;
        }
        let signature = match Signature::of(&UntilStopped { file, stop: self.stop }, length, self.workers) {
            Ok(signature) => signature,
            Err(_) if self.stop.is_stopped() => return Err(Stopped.into()),
            Err(error) => return Err(Failure::Entry("cannot read what is there", error)),
        };
        *granted = 0;
        *site.entry.state() = FileState::Transfer(Arc::new(Lane::new(Some(basis), bytes, site.existing, 0)));
        let needs = vec![Need { index, want: Want::Delta(signature.as_bytes()) }];
        Ok(self.tell(&ToSender::Needs { part: part.id, needs })?)
    }

    /// The delta to a signature has come, or never will.
    pub(super) fn release_signature(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        for (granted, (part, index)) in self.signatures.release(bytes) {
            self.enqueue(Work::Sign { part, index, granted });
        }
    }

    fn open_basis(&self, site: &Site<'_>) -> Option<(File, Basis)> {
        let partial = self.partial_dir().and_then(|dir| {
            let key = partial_key(&site.path());
            let (file, stat) = dir.open_file(&key).ok()?;
            Some((file, Basis { place: BasisPlace::Partial(key), identity: FileIdentity::from(&stat) }))
        });
        let existing = site.existing.filter(|existing| existing.kind == Kind::File);
        // Of two bases the longer one has more to offer.
        if let Some(partial) = partial
            && existing.is_none_or(|existing| existing.size < partial.1.identity.size)
        {
            return Some(partial);
        }
        existing?;
        let (file, stat) = site.dir?.open_file(&site.entry.name).ok()?;
        Some((file, Basis { place: BasisPlace::Destination, identity: FileIdentity::from(&stat) }))
    }

    /// Opens again what a signature was made of; none when it is no longer that.
    pub(super) fn reopen_basis(
        &self,
        basis: &Basis,
        dir: &DirHandle,
        name: &Name,
    ) -> io::Result<Option<File>> {
        let (file, stat) = match &basis.place {
            BasisPlace::Destination => dir.open_file(name)?,
            BasisPlace::Partial(key) => match self.partial_dir() {
                Some(partial) => partial.open_file(key)?,
                None => return Ok(None),
            },
        };
        Ok((FileIdentity::from(&stat) == basis.identity).then_some(file))
    }

    fn partial_dir(&self) -> Option<DirHandle> {
        let state = self.state.as_ref().filter(|_| self.options.partial)?;
        state.dir.child(&Name::new(PARTIAL.as_bytes()).ok()?).ok()
    }

    /// Whether an interrupted run left something of this file.
    pub(super) fn has_partial(&self, site: &Site<'_>) -> bool {
        self.partial_dir()
            .is_some_and(|dir| dir.stat(&partial_key(&site.path())).is_ok_and(|stat| stat.is_some()))
    }

    /// Removes what was left of a file that is whole now.
    pub(super) fn forget_partial(&self, basis: &Basis) {
        if let (BasisPlace::Partial(key), Some(dir)) = (&basis.place, self.partial_dir()) {
            // Left behind, it would be the basis of another run, and checked like any.
            let _ = dir.unlink(key);
        }
    }

    /// Removes what interrupted runs left of any file: every file is whole now, or is no longer wanted.
    pub(super) fn forget_partials(&self) {
        if let Some(state) = &self.state {
            // What stays would be the basis of another run, and checked like any.
            let _ = state.forget_partials();
        }
    }

    /// Keeps what arrived of large files.
    pub(super) fn keep_partials(&self, parts: &[Arc<LivePart>]) {
        let (Some(state), Some(staging)) = (&self.state, &self.staging) else { return };
        for part in parts {
            for entry in &part.entries {
                let lane = match &*entry.state() {
                    FileState::Transfer(lane) => lane.clone(),
                    _ => continue,
                };
                let Some(target) = lane.close().filter(|target| target.written() >= MIN_PARTIAL_BYTES) else {
                    continue;
                };
                if let Some(staged) = target.output.and_then(|(staged, _)| staged.defer()) {
                    let key = partial_key(&full_path(part, &entry.name));
                    // What cannot be kept is sent again.
                    let _ = state.keep_partial(staging.dir(), &staged, &key);
                }
            }
        }
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

/// The name under which an interrupted file is kept.
fn partial_key(path: &[u8]) -> Name {
    let hash = coast_tree::ContentHash::of(path).to_string();
    Name::new(hash.as_bytes()).expect("hexadecimal digits are a name")
}
