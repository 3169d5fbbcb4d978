//! A parallel walk of a tree, directory by directory. Memory is bounded by what the visitor chose to enter and has not
//! entered yet, which the depth-first order keeps small.

use std::any::Any;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::vec;

use crate::{DirHandle, Listed, Name, RelPath, Root};

/// What a walk does with the directories it comes to. Called from several threads at once.
pub trait Visit: Sync {
    /// What a directory hands down to each of its children.
    type Context: Send;

    /// Called once for every directory, always after its parent. `listed` is all that is in it, sorted by the bytes
    /// of the names. Returns the subdirectories to go into, each with its context.
    fn directory(
        &self,
        path: &RelPath,
        dir: &DirHandle,
        context: Self::Context,
        listed: Vec<Listed>,
    ) -> Vec<(Name, Self::Context)>;

    /// Called instead when a directory could not be opened or read, or when `path` holds a subdirectory whose own path
    /// would be too long ([`io::ErrorKind::InvalidFilename`]).
    fn failed(&self, path: &RelPath, context: Self::Context, error: io::Error);

    /// Asked before every directory: whether to end the walk here.
    fn stop(&self) -> bool {
        false
    }
}

/// Visits the whole tree below `root`, with up to `threads` threads (this one among them), and returns when all is
/// visited.
///
/// A panic of the visitor ends the walk and goes on in the caller.
pub fn walk<V: Visit>(root: &Root, threads: usize, visitor: &V, context: V::Context) {
    walk_from(root, &RelPath::root(), threads, visitor, context);
}

/// Like [`walk`], for the part of the tree that begins at the directory `start`.
pub fn walk_from<V: Visit>(root: &Root, start: &RelPath, threads: usize, visitor: &V, context: V::Context) {
    let queue = Queue::new();
    visit(root, visitor, start.clone(), context, &queue);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| queue.work(root, visitor))).collect();
        queue.work(root, visitor);
        let panicked: Option<Box<dyn Any + Send>> =
            others.into_iter().filter_map(|other| other.join().err()).next();
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    });
}

/// Visits one directory and queues what it wants entered.
fn visit<V: Visit>(root: &Root, visitor: &V, path: RelPath, context: V::Context, queue: &Queue<V::Context>) {
    if visitor.stop() {
        return queue.end();
    }
    let opened = root.dir(&path).and_then(|dir| dir.list().map(|listed| (dir, listed)));
    match opened {
        Ok((dir, mut listed)) => {
            listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let children = visitor.directory(&path, &dir, context, listed);
            queue.push(path, children);
        }
        Err(error) => visitor.failed(&path, context, error),
    }
}

/// The directories still to be entered, shared by the walk's threads.
///
/// Invariant: the walk is over exactly when `ended`, or when no sibling is pending and no thread is busy: only a busy
/// thread adds siblings.
struct Queue<C> {
    state: Mutex<State<C>>,
    changed: Condvar,
}

struct State<C> {
    /// A stack: the last directory visited is the first whose children are entered. Kept by parent, so that the path
    /// of a child exists only while it is visited. None of them is empty.
    pending: Vec<Siblings<C>>,
    busy: usize,
    ended: bool,
}

struct Siblings<C> {
    parent: Arc<RelPath>,
    names: vec::IntoIter<(Name, C)>,
}

impl<C: Send> Queue<C> {
    fn new() -> Self {
        let state = State { pending: Vec::new(), busy: 0, ended: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Visits pending directories until the walk is over.
    fn work<V: Visit<Context = C>>(&self, root: &Root, visitor: &V) {
        while let Some((path, name, context)) = self.next() {
            let busy = Busy(self);
            match path.join(&name) {
                Ok(child) => visit(root, visitor, child, context, self),
                Err(bad) => {
                    visitor.failed(&path, context, io::Error::new(io::ErrorKind::InvalidFilename, bad));
                }
            }
            drop(busy);
        }
    }

    /// Waits for a pending directory and takes it, with its parent's path. None when the walk is over.
    fn next(&self) -> Option<(Arc<RelPath>, Name, C)> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(siblings) = state.pending.last_mut()
                && let Some((name, context)) = siblings.names.next()
            {
                let parent = Arc::clone(&siblings.parent);
                if siblings.names.len() == 0 {
                    state.pending.pop();
                }
                state.busy += 1;
                return Some((parent, name, context));
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn push(&self, parent: RelPath, children: Vec<(Name, C)>) {
        if children.is_empty() {
            return;
        }
        let siblings = Siblings { parent: Arc::new(parent), names: children.into_iter() };
        self.lock().pending.push(siblings);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while a thread visits a directory, also through a panic, so that the other threads never wait for it in vain.
struct Busy<'a, C: Send>(&'a Queue<C>);

impl<C: Send> Drop for Busy<'_, C> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        state.ended |= thread::panicking();
        let over = state.ended || (state.busy == 0 && state.pending.is_empty());
        drop(state);
        if over {
            self.0.changed.notify_all();
        }
    }
}
