//! The thread that reads the queue and notes what changed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coast_filter::EntryKind;
use coast_tree::{Kind, LockExt, LockResultExt, Name, RelPath, Timestamp};

use super::Shared;
use super::event::{Event, Happened, WatchNumber};
use super::git_lock::{GIT, GitLock};
use super::links::LinkedFiles;
use super::queue::Queue;
use super::snapshot::Difference;
use super::tree::Tree;
use crate::batch::Depth;
use crate::identity::LostRoot;
use crate::pending::Pending;

/// How often directories are scanned. A scan takes at most a tenth of the time.
const SCAN: Duration = Duration::from_secs(2);
/// How often everything is compared, for changes that no event tells: writes to a memory map, or by another machine.
const COMPARE: Duration = Duration::from_secs(5 * 60);
/// How long a comparison is put off while there are changes.
const COMPARE_LATER: Duration = Duration::from_secs(10);
/// How long the reader waits before it looks again at a worktree that could not be opened.
const AGAIN: Duration = Duration::from_secs(1);
/// Buffers that are read before other work has its turn.
const MAX_BUFFERS: usize = 64;

/// See the [module](self).
pub(super) struct Reader {
    queue: Queue,
    tree: Tree,
    git: GitLock,
    links: LinkedFiles,
    shared: Arc<Shared>,
    next_scan: Instant,
    next_comparison: Instant,
}

impl Reader {
    pub(super) fn new(queue: Queue, tree: Tree, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let git = GitLock::find(&queue, tree.path());
        let mut reader = Self {
            queue,
            tree,
            git,
            links: LinkedFiles::new(),
            shared,
            next_scan: now + SCAN,
            next_comparison: now + COMPARE,
        };
        reader.look_at_lock();
        reader.tell();
        reader
    }

    /// Reads until the watcher is dropped, or until the worktree is lost.
    pub(super) fn run(mut self) {
        let mut read = self.read();
        // For the moment the worktree cannot be looked at. What changes meanwhile is found by a comparison.
        while let Err(LostRoot::Unreadable { .. }) = read {
            let state = self.shared.state.enter();
            let waited = self.shared.changed.wait_timeout_while(state, AGAIN, |state| !state.stopping);
            if waited.even_poisoned().0.stopping {
                return;
            }
            read = self.lose_events().and_then(|()| self.read());
        }
        if let Err(lost) = read {
            self.shared.state.enter().lost = Some(lost);
            self.shared.changed.notify_all();
        }
    }

    fn read(&mut self) -> Result<(), LostRoot> {
        loop {
            self.wait()?;
            if self.shared.state.enter().stopping {
                return Ok(());
            }
            self.read_events()?;
            let now = Instant::now();
            if self.links.due(now).is_some_and(|due| due <= now) {
                self.look_for_links()?;
            }
            if self.is_scanning() && self.next_scan <= now {
                self.scan()?;
            }
            if self.next_comparison <= now {
                self.compare_when_idle(now)?;
            }
            self.tell();
        }
    }

    /// Waits for events, for a call, or until something is to be done. Without scanned directories this is minutes.
    fn wait(&self) -> Result<(), LostRoot> {
        let now = Instant::now();
        let scan = self.is_scanning().then_some(self.next_scan);
        let until = scan.into_iter().chain(self.links.due(now)).fold(self.next_comparison, Instant::min);
        self.queue.wait(Some(until.saturating_duration_since(now))).map_err(|error| self.unreadable(&error))
    }

    fn read_events(&mut self) -> Result<(), LostRoot> {
        if std::mem::take(&mut self.shared.state.enter().overflow) {
            self.lose_events()?;
        }
        for _ in 0..MAX_BUFFERS {
            let mut events = Vec::new();
            let asked = Timestamp::now();
            let any = self.queue.read(|event| events.push(event)).map_err(|error| self.unreadable(&error))?;
            if !any {
                self.links.queue_is_empty(asked);
                break;
            }
            for event in events {
                self.handle(event)?;
            }
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), LostRoot> {
        match event {
            Event::Entry { watch, name, is_directory, happened } => {
                self.handle_entry(watch, &name, is_directory, happened)
            }
            #[cfg(not(target_os = "linux"))]
            Event::Path(path) => self.handle_path(&path),
            #[cfg(target_os = "linux")]
            Event::Moved(watch) => match self.tree.watched(watch) {
                // The worktree was moved: its path leads elsewhere now.
                Some(path) if path.is_root() => self.enter_all(),
                _ => Ok(()),
            },
            // Someone removed the private directory.
            Event::WatchEnded(watch) if self.shared.barriers.enter().is_watched_by(watch) => {
                self.renew_barriers()
            }
            Event::WatchEnded(watch) => match self.tree.watch_ended(watch) {
                Some(path) if path.is_root() => self.enter_all(),
                _ => Ok(()),
            },
            #[cfg(target_os = "linux")]
            Event::Unmounted => self.enter_all(),
            Event::Overflow => {
                self.shared.state.enter().status.overflows += 1;
                self.enter_all()
            }
        }
    }

    fn handle_entry(
        &mut self,
        watch: WatchNumber,
        name: &Name,
        is_directory: bool,
        happened: Happened,
    ) -> Result<(), LostRoot> {
        if self.shared.barriers.enter().is_watched_by(watch) {
            return if happened == Happened::Created { self.reach_barrier(name) } else { Ok(()) };
        }
        if self.git.is_meant(watch, name) {
            self.look_at_lock();
        }
        let Some(dir) = self.tree.watched(watch).cloned() else { return Ok(()) };
        self.note(&dir, name, is_directory, happened)
    }

    /// Notes what happened to an entry of a directory that was entered.
    fn note(
        &mut self,
        dir: &RelPath,
        name: &Name,
        is_directory: bool,
        happened: Happened,
    ) -> Result<(), LostRoot> {
        if dir.is_root() && name.as_bytes() == GIT && happened != Happened::Attributes {
            self.git = GitLock::find(&self.queue, self.tree.path());
            self.look_at_lock();
        }
        let kind = if is_directory { EntryKind::Directory } else { EntryKind::Other };
        if self.tree.excludes(dir, name, kind) {
            return Ok(());
        }
        // The run reports a path that is too long.
        let Ok(path) = dir.join(name) else { return Ok(()) };
        if is_directory {
            self.note_directory(path, happened)
        } else {
            self.note_file(dir, name, path, happened)
        }
    }

    fn note_directory(&mut self, path: RelPath, happened: Happened) -> Result<(), LostRoot> {
        match happened {
            Happened::Created | Happened::MovedTo(_) => self.tree.enter(&self.queue, &path)?,
            // It may be readable now.
            Happened::Attributes if !self.tree.has(&path) => self.tree.enter(&self.queue, &path)?,
            Happened::Deleted if !self.tree.forget(&self.queue, &path) => {
                self.pending(|pending, now| pending.vanished(path, Depth::Tree, now));
                return Ok(());
            }
            Happened::Vanished | Happened::MovedFrom(_) => {
                self.tree.forget(&self.queue, &path);
            }
            _ => {}
        }
        let has = self.tree.has(&path);
        self.pending(|pending, now| match happened {
            Happened::Created => pending.appeared(path, now),
            Happened::MovedTo(cookie) => pending.moved_to(path, Depth::Tree, cookie, now),
            Happened::MovedFrom(cookie) => pending.moved_from(path, Depth::Tree, cookie, now),
            Happened::Deleted => pending.deleted(path, Depth::Tree, now),
            Happened::Vanished => pending.vanished(path, Depth::Tree, now),
            Happened::Attributes => {
                pending.touched(path, if has { Depth::Entry } else { Depth::Tree }, now);
            }
            Happened::Written | Happened::Closed => {}
        });
        Ok(())
    }

    fn note_file(
        &mut self,
        dir: &RelPath,
        name: &Name,
        path: RelPath,
        happened: Happened,
    ) -> Result<(), LostRoot> {
        let begins = match happened {
            Happened::Closed | Happened::Attributes => true,
            Happened::Written => !self.shared.state.enter().pending.is_being_written(&path),
            _ => false,
        };
        if begins {
            self.look_up(dir, name, &path);
        } else if matches!(happened, Happened::Created | Happened::MovedTo(_)) {
            self.links.replaced(&path);
        }
        let ends = matches!(
            happened,
            Happened::Closed
                | Happened::Deleted
                | Happened::Vanished
                | Happened::MovedFrom(_)
                | Happened::MovedTo(_)
        );
        if ends && self.tree.is_rule_file(name) {
            // Another set of entries takes part from now on.
            self.tree.enter_again(&self.queue, dir)?;
            self.pending(|pending, now| pending.touched(dir.clone(), Depth::Tree, now));
        }
        self.pending(|pending, now| match happened {
            Happened::Created => pending.created(path, now),
            Happened::Written => pending.written(path, now),
            Happened::Closed => pending.closed(path, now),
            Happened::Attributes => pending.touched(path, Depth::Entry, now),
            Happened::Deleted => pending.deleted(path, Depth::Entry, now),
            Happened::Vanished => pending.vanished(path, Depth::Entry, now),
            Happened::MovedFrom(cookie) => pending.moved_from(path, Depth::Entry, cookie, now),
            Happened::MovedTo(cookie) => pending.moved_to(path, Depth::Entry, cookie, now),
        });
        Ok(())
    }

    /// Looks whether a file that changed has other names.
    fn look_up(&mut self, dir: &RelPath, name: &Name, path: &RelPath) {
        let found = self.tree.open(dir).and_then(|dir| dir.stat(name)).ok().flatten();
        let found = found.filter(|stat| stat.kind != Kind::Directory);
        if let Some(stat) = &found
            && stat.kind == Kind::File
            && stat.nlink > 1
        {
            self.links.note(stat.ino);
        }
        if !self.shared.state.enter().pending.is_new(path) {
            match found {
                Some(_) => self.links.looked_up(path.clone()),
                None => self.links.note_unknown(),
            }
        }
    }

    /// Notes a change of which only the path is known.
    #[cfg(not(target_os = "linux"))]
    fn handle_path(&mut self, path: &RelPath) -> Result<(), LostRoot> {
        // The outermost directory that was not entered yet stands for everything below it.
        let mut path = path.clone();
        while let Some(parent) = path.parent()
            && !self.tree.has(&parent)
        {
            path = parent;
        }
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        match self.tree.open(&dir).and_then(|dir| dir.stat(&name)) {
            Ok(Some(stat)) if stat.kind == Kind::Directory && self.tree.has(&path) => {
                self.note(&dir, &name, true, Happened::Attributes)
            }
            Ok(Some(stat)) if stat.kind == Kind::Directory => self.note(&dir, &name, true, Happened::Created),
            Ok(Some(_)) => {
                self.tree.forget(&self.queue, &path);
                self.note(&dir, &name, false, Happened::Written)
            }
            Ok(None) => {
                let was_directory = self.tree.has(&path);
                self.note(&dir, &name, was_directory, Happened::Vanished)
            }
            Err(_) => Ok(()),
        }
    }

    /// All changes before a barrier were noted. Notes those that events do not tell, then counts the barrier as reached.
    fn reach_barrier(&mut self, name: &Name) -> Result<(), LostRoot> {
        if self.is_scanning() {
            self.scan()?;
        }
        self.look_for_links()?;
        self.tell();
        if let Some(ticket) = self.shared.barriers.enter().reach(name) {
            self.pending(|pending, now| pending.reached(ticket, now));
        }
        Ok(())
    }

    /// Watches the whole tree anew, and has everything compared: it is not known what changed. Barriers that were asked for before are
    /// reached by that.
    fn enter_all(&mut self) -> Result<(), LostRoot> {
        let issued = self.shared.barriers.enter().issued();
        self.tree.enter_all(&self.queue)?;
        self.git = GitLock::find(&self.queue, self.tree.path());
        self.look_at_lock();
        self.links.take();
        self.pending(Pending::everything);
        self.tell();
        if let Some(ticket) = self.shared.barriers.enter().reach_up_to(issued) {
            self.pending(|pending, now| pending.reached(ticket, now));
        }
        self.next_comparison = Instant::now() + COMPARE;
        self.next_scan = Instant::now() + SCAN;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Drops the events in the queue.
    fn lose_events(&mut self) -> Result<(), LostRoot> {
        while self.queue.read(drop).map_err(|error| self.unreadable(&error))? {}
        self.handle(Event::Overflow)
    }

    fn scan(&mut self) -> Result<(), LostRoot> {
        let started = Instant::now();
        for (dir, difference) in self.tree.scan()? {
            let (name, kind) = match &difference {
                Difference::Appeared(name, kind)
                | Difference::Changed(name, kind)
                | Difference::Gone(name, kind) => (name, *kind),
            };
            let is_directory = kind == Kind::Directory;
            let happened: &[Happened] = match difference {
                Difference::Appeared(..) => &[Happened::Created, Happened::Closed],
                Difference::Changed(..) if is_directory => &[Happened::Attributes],
                Difference::Changed(..) => &[Happened::Closed],
                Difference::Gone(..) => &[Happened::Vanished],
            };
            for happened in happened {
                self.note(&dir, name, is_directory, *happened)?;
            }
        }
        self.next_scan = Instant::now() + SCAN.max(10 * started.elapsed());
        self.shared.changed.notify_all();
        Ok(())
    }

    fn look_for_links(&mut self) -> Result<(), LostRoot> {
        let Some(changed) = self.links.take() else { return Ok(()) };
        let started = Instant::now();
        let names = self.tree.names_of(&changed)?;
        self.pending(|pending, now| {
            for name in names {
                pending.touched(name, Depth::Entry, now);
            }
        });
        self.links.searched(Instant::now(), started.elapsed());
        self.shared.changed.notify_all();
        Ok(())
    }

    fn compare_when_idle(&mut self, now: Instant) -> Result<(), LostRoot> {
        if self.shared.state.enter().pending.is_idle() {
            return self.enter_all();
        }
        self.next_comparison = now + COMPARE_LATER;
        Ok(())
    }

    fn look_at_lock(&mut self) {
        let is_held = self.git.is_held();
        self.pending(|pending, now| if is_held { pending.locked(now) } else { pending.unlocked() });
    }

    /// Makes a new private directory. Barriers may have been lost with the old one.
    fn renew_barriers(&mut self) -> Result<(), LostRoot> {
        // If it cannot be made, asking for a barrier fails.
        let _ = self.shared.barriers.enter().renew(&self.queue);
        self.enter_all()
    }

    fn unreadable(&self, error: &io::Error) -> LostRoot {
        LostRoot::Unwatched { path: self.tree.path().to_owned(), reason: error.to_string() }
    }

    fn is_scanning(&self) -> bool {
        self.tree.scanned() > 0
    }

    fn pending(&self, note: impl FnOnce(&mut Pending, Instant)) {
        note(&mut self.shared.state.enter().pending, Instant::now());
    }

    fn tell(&self) {
        let status = &mut self.shared.state.enter().status;
        status.watched_directories = self.tree.watches();
        status.scanned_directories = self.tree.scanned();
        status.watches_used_up = self.tree.watches_used_up();
    }
}
