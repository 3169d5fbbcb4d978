//! A parallel walk of a tree, directory by directory. Memory is bounded by what the visitor chose to enter and has not
//! entered yet, which the depth-first order keeps small.

use std::any::Any;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::vec;

use crate::{DirHandle, Listed, LockExt, LockResultExt, Name, RelPath, Root};

/// Handles the directories that a walk comes to. Called from several threads at once.
pub trait Visit: Sync {
    /// Handed down by a directory to each of its children.
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
        let mut state = self.state.enter();
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
            state = self.changed.wait(state).even_poisoned();
        }
    }

    fn push(&self, parent: RelPath, children: Vec<(Name, C)>) {
        if children.is_empty() {
            return;
        }
        let siblings = Siblings { parent: Arc::new(parent), names: children.into_iter() };
        self.state.enter().pending.push(siblings);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.enter().ended = true;
        self.changed.notify_all();
    }
}

/// Held while a thread visits a directory, also through a panic, so that the other threads never wait for it in vain.
struct Busy<'a, C: Send>(&'a Queue<C>);

impl<C: Send> Drop for Busy<'_, C> {
    fn drop(&mut self) {
        let mut state = self.0.state.enter();
        state.busy -= 1;
        state.ended |= thread::panicking();
        let over = state.ended || (state.busy == 0 && state.pending.is_empty());
        drop(state);
        if over {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::Kind;
    use crate::scratch::{Scratch, name, rel};

    /// Enters every directory; hands down the depth; keeps what it saw in the order it saw it.
    #[derive(Default)]
    struct Recorder {
        visited: Mutex<Vec<(RelPath, Vec<Name>)>>,
        failures: Mutex<Vec<(RelPath, io::ErrorKind)>>,
    }

    fn directories(listed: Vec<Listed>, depth: usize) -> Vec<(Name, usize)> {
        let directories = listed.into_iter().filter(|entry| entry.kind == Kind::Directory);
        directories.map(|entry| (entry.name, depth)).collect()
    }

    impl Visit for Recorder {
        type Context = usize;

        fn directory(
            &self,
            path: &RelPath,
            dir: &DirHandle,
            depth: usize,
            listed: Vec<Listed>,
        ) -> Vec<(Name, usize)> {
            assert_eq!(depth, path.depth());
            assert!(listed.iter().all(|entry| dir.stat(&entry.name).unwrap().is_some()));
            let names = listed.iter().map(|entry| entry.name.clone()).collect();
            self.visited.lock().unwrap().push((path.clone(), names));
            directories(listed, depth + 1)
        }

        fn failed(&self, path: &RelPath, _: usize, error: io::Error) {
            self.failures.lock().unwrap().push((path.clone(), error.kind()));
        }
    }

    #[test]
    fn every_directory_is_visited_once_after_its_parent_with_its_sorted_entries() {
        proptest!(ProptestConfig::with_cases(24), |(
            files in prop::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,5}/f[0-9]", 0..25),
            threads in 0_usize..5,
        )| {
            let mut scratch = Scratch::new();
            let mut expected = BTreeMap::from([(RelPath::root(), BTreeSet::new())]);
            for file in &files {
                scratch = scratch.file(file, "");
                let mut entry = rel(file);
                while let Some(parent) = entry.parent() {
                    expected.entry(parent.clone()).or_default().insert(entry.file_name().unwrap());
                    entry = parent;
                }
            }
            let recorder = Recorder::default();
            walk(&scratch.root(), threads, &recorder, 0);

            let visited = recorder.visited.into_inner().unwrap();
            let mut seen = BTreeSet::new();
            for (path, names) in &visited {
                prop_assert!(path.parent().is_none_or(|parent| seen.contains(&parent)), "{path} before its parent");
                prop_assert!(seen.insert(path.clone()), "{path} twice");
                prop_assert!(names.is_sorted());
                prop_assert!(names.iter().eq(&expected[path]));
            }
            prop_assert_eq!(seen.len(), expected.len());
        });
    }

    #[test]
    fn symlink_to_a_directory_is_an_entry_and_no_way_in() {
        let scratch = Scratch::new().dir("a").link("a/up", "..").link("loop", ".");
        let recorder = Recorder::default();
        walk(&scratch.root(), 2, &recorder, 0);
        let visited: Vec<RelPath> =
            recorder.visited.into_inner().unwrap().into_iter().map(|(path, _)| path).collect();
        assert_eq!(visited, [rel(""), rel("a")]);
    }

    /// Makes away with a directory while its parent is visited.
    struct Remover<'a> {
        scratch: &'a Scratch,
        inner: Recorder,
    }

    impl Visit for Remover<'_> {
        type Context = usize;

        fn directory(
            &self,
            path: &RelPath,
            dir: &DirHandle,
            depth: usize,
            listed: Vec<Listed>,
        ) -> Vec<(Name, usize)> {
            if path.is_root() {
                fs::remove_dir_all(self.scratch.path("gone")).unwrap();
                fs::remove_dir_all(self.scratch.path("swapped")).unwrap();
                std::os::unix::fs::symlink(self.scratch.outside(), self.scratch.path("swapped")).unwrap();
                return directories(listed, depth + 1);
            }
            self.inner.directory(path, dir, depth, listed)
        }

        fn failed(&self, path: &RelPath, depth: usize, error: io::Error) {
            self.inner.failed(path, depth, error);
        }
    }

    #[test]
    fn directory_that_cannot_be_opened_is_reported_and_the_rest_is_visited() {
        let scratch = Scratch::new().dir("before").dir("gone/deep").dir("swapped").dir("z/last");
        let remover = Remover { scratch: &scratch, inner: Recorder::default() };
        walk(&scratch.root(), 2, &remover, 0);
        let mut visited: Vec<RelPath> =
            remover.inner.visited.into_inner().unwrap().into_iter().map(|(path, _)| path).collect();
        visited.sort();
        assert_eq!(visited, [rel("before"), rel("z"), rel("z/last")]);
        let failures: BTreeMap<RelPath, io::ErrorKind> =
            remover.inner.failures.into_inner().unwrap().into_iter().collect();
        assert_eq!(failures.len(), 2);
        assert_eq!(failures[&rel("gone")], io::ErrorKind::NotFound);
        assert!(failures.contains_key(&rel("swapped")), "a symlink in a directory's place leads nowhere");
    }

    #[test]
    fn missing_start_is_reported() {
        let scratch = Scratch::new();
        let recorder = Recorder::default();
        walk_from(&scratch.root(), &rel("nothing"), 2, &recorder, 1);
        assert_eq!(recorder.failures.into_inner().unwrap(), [(rel("nothing"), io::ErrorKind::NotFound)]);
    }

    #[test]
    fn walk_from_a_directory_stays_below_it() {
        let scratch = Scratch::new().dir("a/b/c").dir("d");
        let recorder = Recorder::default();
        walk_from(&scratch.root(), &rel("a/b"), 2, &recorder, 2);
        let visited: Vec<RelPath> =
            recorder.visited.into_inner().unwrap().into_iter().map(|(path, _)| path).collect();
        assert_eq!(visited, [rel("a/b"), rel("a/b/c")]);
    }

    #[test]
    fn directory_whose_path_is_too_long_is_reported_with_its_parent() {
        let scratch = Scratch::new();
        let component = name([b'd'; 255]);
        let mut dir = scratch.root().handle();
        for _ in 0..66 {
            dir.mkdir(&component, 0o755).unwrap();
            dir = dir.child(&component).unwrap();
        }
        let recorder = Recorder::default();
        walk(&scratch.root(), 1, &recorder, 0);
        assert_eq!(recorder.visited.into_inner().unwrap().len(), 65, "the root and the 64 that can be named");
        let deepest = rel([component.as_bytes(); 64].join(&b'/'));
        assert_eq!(recorder.failures.into_inner().unwrap(), [(deepest, io::ErrorKind::InvalidFilename)]);
    }

    /// Counts, and does something at the tenth directory.
    struct AtTenth<F: Fn() + Sync> {
        visited: AtomicUsize,
        act: F,
        stop: bool,
    }

    impl<F: Fn() + Sync> Visit for AtTenth<F> {
        type Context = usize;

        fn directory(
            &self,
            _: &RelPath,
            _: &DirHandle,
            depth: usize,
            listed: Vec<Listed>,
        ) -> Vec<(Name, usize)> {
            if self.visited.fetch_add(1, Ordering::SeqCst) == 9 {
                (self.act)();
            }
            directories(listed, depth + 1)
        }

        fn failed(&self, path: &RelPath, _: usize, error: io::Error) {
            panic!("{path}: {error}");
        }

        fn stop(&self) -> bool {
            self.stop && self.visited.load(Ordering::SeqCst) >= 10
        }
    }

    fn hundred_directories() -> Scratch {
        (0..100).fold(Scratch::new(), |scratch, number| scratch.dir(&format!("{}/{number}", number % 7)))
    }

    #[test]
    fn walk_ends_when_the_visitor_wants_it_to() {
        let scratch = hundred_directories();
        for threads in [1, 4] {
            let visitor = AtTenth { visited: AtomicUsize::new(0), act: || (), stop: true };
            walk(&scratch.root(), threads, &visitor, 0);
            let visited = visitor.visited.into_inner();
            assert!((10..10 + threads).contains(&visited), "{visited} visited by {threads} threads");
        }
    }

    #[test]
    fn panic_of_the_visitor_reaches_the_caller_from_any_thread() {
        let scratch = hundred_directories();
        for threads in [1, 2, 8] {
            let visitor = AtTenth { visited: AtomicUsize::new(0), act: || panic!("tenth"), stop: false };
            let payload =
                catch_unwind(AssertUnwindSafe(|| walk(&scratch.root(), threads, &visitor, 0))).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"tenth"));
        }
    }
}
