//! Regular files: whether the content that is there is right, and where it comes from if not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use coast_delta::MIN_BASIS;
use coast_tree::{
    ContentHash, DirHandle, DirRecords, FileIdentity, Kind, Name, Record, Stat, Timestamp, hash_file,
};
use coast_wire::{EntryKind, Need, ToSender, Update, Want};

use super::asks::Asks;
use super::change::{Fixed, same_time};
use super::lane::Lane;
use super::parts::{FileState, LivePart, WantedWhat};
use super::site::{Failure, Site};
use super::work::Work;
use super::{Run, Stopped};

/// Whether a file that was looked at twice was not written to between; its attributes may have changed.
pub(super) fn is_same_content(before: &Stat, after: &Stat) -> bool {
    (before.ino, before.size, before.mtime) == (after.ino, after.size, after.mtime)
}

impl Run<'_> {
    pub(super) fn decide_file(
        &self,
        site: &Site<'_>,
        size: u64,
        theirs: Option<ContentHash>,
        cached: Option<&DirRecords>,
        asks: &mut Asks,
    ) -> Result<(), Failure> {
        let Some(existing) = site.existing.filter(|existing| existing.kind == Kind::File) else {
            return self.decide_missing(site, size, theirs, asks);
        };
        let identity = FileIdentity::from(&existing);
        let ours = cached.and_then(|cached| cached.get(&site.entry.name, &identity));
        let quick = self.options.times
            && !self.options.checksum
            && site.entry.mtime.is_some_and(|mtime| same_time(mtime, existing.mtime));
        if existing.size != size {
            return self.transfer(site, asks);
        }
        match (ours, theirs) {
            _ if quick => self.same(site, &existing, ours),
            (Some(ours), Some(theirs)) if ours == theirs => self.same(site, &existing, Some(ours)),
            (Some(_), Some(_)) => self.transfer(site, asks),
            (None, Some(theirs)) => {
                self.enqueue(Work::Compare(site.part.clone(), site.index, theirs));
                Ok(())
            }
            (_, None) => {
                *site.entry.state() = FileState::Hash;
                asks.hash(site.index);
                Ok(())
            }
        }
    }

    /// Nothing of its kind is there; but maybe the tree has its content elsewhere.
    fn decide_missing(
        &self,
        site: &Site<'_>,
        size: u64,
        theirs: Option<ContentHash>,
        asks: &mut Asks,
    ) -> Result<(), Failure> {
        self.remember_in_the_way(site)?;
        if size > 0 && !self.options.dry_run && self.cache.has_size(size) {
            match theirs {
                Some(theirs) => self.enqueue(Work::Compare(site.part.clone(), site.index, theirs)),
                None => {
                    *site.entry.state() = FileState::Hash;
                    asks.hash(site.index);
                }
            }
            return Ok(());
        }
        self.transfer(site, asks)
    }

    /// The sender's hash is known; ours is computed if there is a file to compare.
    pub(super) fn compare(&self, site: &Site<'_>, theirs: ContentHash) -> Result<(), Failure> {
        let WantedWhat::File { size, .. } = site.entry.what else { return Ok(()) };
        let mut asks = Asks::default();
        match (site.existing.filter(|existing| existing.kind == Kind::File), site.dir) {
            (Some(existing), Some(dir)) if existing.size == size => {
                let ours = self.hash_existing(dir, &site.entry.name, &existing);
                match ours.map_err(|error| Failure::Entry("cannot read it to compare it", error))? {
                    Some(ours) if ours == theirs => return self.same(site, &existing, Some(ours)),
                    _ => self.transfer(site, &mut asks)?,
                }
            }
            (None, Some(dir)) if self.clone_from_elsewhere(site, dir, size, theirs)? => return Ok(()),
            _ => self.transfer(site, &mut asks)?,
        }
        Ok(asks.send(self, site.part)?)
    }

    /// The hash of a file that is there; none when it changed meanwhile.
    fn hash_existing(&self, dir: &DirHandle, name: &Name, stat: &Stat) -> io::Result<Option<ContentHash>> {
        let (mut file, opened) = dir.open_file(name)?;
        let (hash, _) = hash_file(&mut file, &mut Vec::new())?;
        let unchanged = FileIdentity::from(&opened) == FileIdentity::from(stat)
            && FileIdentity::from(&coast_tree::file_stat(&file)?) == FileIdentity::from(stat);
        Ok(unchanged.then_some(hash))
    }

    /// The content is right: only attributes may differ.
    fn same(&self, site: &Site<'_>, existing: &Stat, ours: Option<ContentHash>) -> Result<(), Failure> {
        let wanted = self.attributes.wanted(site.entry, Some(existing));
        let fixed = self.fix(site, existing, &wanted, &wanted)?;
        if let (Some(hash), Some(dir)) = (ours, site.dir) {
            match fixed {
                Fixed::Nothing => self.remember(site, hash, existing, site.observed_at),
                // The new attributes made it another identity.
                Fixed::Something => {
                    self.remember_changed(site, hash, existing, || dir.stat(&site.entry.name))
                }
            }
        }
        Ok(self.settle(site.part)?)
    }

    /// Remembers a hash for the next run, if the file's identity will tell this state apart from later ones.
    fn remember(&self, site: &Site<'_>, hash: ContentHash, stat: &Stat, observed_at: Timestamp) {
        let identity = FileIdentity::from(stat);
        if self.clock_step.is_some_and(|step| step.settled(&identity, observed_at)) {
            site.part.remember(Record { name: site.entry.name.clone(), stat: identity, hash });
        }
    }

    /// The same after the run itself gave the file a new ctime. `before` is from when the content was known: if size
    /// and mtime are still those, nobody else has written to it between.
    pub(super) fn remember_changed(
        &self,
        site: &Site<'_>,
        hash: ContentHash,
        before: &Stat,
        stat: impl FnOnce() -> io::Result<Option<Stat>>,
    ) {
        let observed_at = Timestamp::now();
        if let Ok(Some(after)) = stat()
            && is_same_content(before, &after)
        {
            self.remember(site, hash, &after, observed_at);
        }
    }

    /// Content has to come from the sender: as a delta where there is a useful basis.
    fn transfer(&self, site: &Site<'_>, asks: &mut Asks) -> Result<(), Failure> {
        let WantedWhat::File { size, .. } = site.entry.what else { return Ok(()) };
        if self.options.dry_run {
            self.count(|stats| {
                stats.transferred_files += 1;
                stats.transferred_bytes += size;
            });
            self.created(site, EntryKind::File, Update::Transferred);
            return Ok(self.settle(site.part)?);
        }
        let useful = |basis_len: u64| basis_len >= MIN_BASIS && size >= MIN_BASIS;
        let existing = site.existing.filter(|existing| existing.kind == Kind::File);
        if existing.is_some_and(|existing| useful(existing.size)) || self.has_partial(site) {
            self.enqueue(Work::Sign { part: site.part.clone(), index: site.index, granted: 0 });
        } else {
            *site.entry.state() = FileState::Transfer(Arc::new(Lane::new(None, 0, site.existing, 0)));
            asks.content(site.index);
        }
        Ok(())
    }

    /// The sender could not send a file it had offered.
    pub(super) fn source_failed(
        &self,
        part: &Arc<LivePart>,
        reason: coast_wire::Gone,
    ) -> Result<(), Stopped> {
        if reason == coast_wire::Gone::Unreadable {
            self.source_errors.store(true, Ordering::Release);
        }
        self.settle(part)
    }

    /// Asks for all content, after a delta did not lead to it. What was sent in tries before `attempt` is of no use.
    pub(super) fn ask_again(
        &self,
        part: &LivePart,
        index: u32,
        existing: Option<Stat>,
        attempt: u32,
    ) -> Result<(), Stopped> {
        *part.entries[index as usize].state() =
            FileState::Transfer(Arc::new(Lane::new(None, 0, existing, attempt)));
        let needs = vec![Need { index, want: Want::Content }];
        self.tell(&ToSender::Needs { part: part.id, needs })
    }
}
