//! Runs that follow each other on one stream: what they say to each other, and what a peer may not say.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use coast_engine::{
    BatchPath, Cancel, EngineError, FetchedEntry, FollowSender, Monitor, Receiver, ReceiverConfig, RunReport,
    SenderConfig, Source, VoidMonitor,
};
use coast_tree::{ContentHash, RelPath};
use coast_wire::limits::{CHUNK_BYTES, MAX_TARGET_BYTES, MAX_UNASKED_BYTES, UNASKED_WINDOW_BYTES};
use coast_wire::{
    Class, Delete, Entry, Event, Extent, Fetched, FileId, Follow, FrameReader, Gone, Options, Pack, Part,
    Range, ToReceiver, ToSender, What, end_of_run, messages,
};
use serde::Serialize;

/// More than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// A receiver that stays, on a thread.
struct Follower {
    served: JoinHandle<Result<(), EngineError>>,
}

impl Follower {
    fn start(destination: PathBuf, stream: &UnixStream) -> Self {
        let (reader, writer) = (stream.try_clone().unwrap(), WriteHalf(stream.try_clone().unwrap()));
        let served = std::thread::spawn(move || {
            let mut following =
                Receiver::open(ReceiverConfig::new(destination))?.follow(reader, writer, false);
            while following.wait()? {
                following.serve(&VoidMonitor, &Cancel::new())?;
            }
            Ok(())
        });
        Self { served }
    }

    fn end(self) -> Result<(), EngineError> {
        self.served.join().unwrap()
    }
}

/// A writer whose end the other side sees.
struct WriteHalf(UnixStream);

impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

fn config(source: &Path) -> SenderConfig {
    let mut config = SenderConfig::new(Source::Contents(source.to_owned()));
    config.options.recursive = true;
    config.options.delete = Some(Delete::default());
    config
}

fn one_path(source: &Path, path: &str) -> SenderConfig {
    let path = RelPath::new(path.as_bytes()).unwrap();
    SenderConfig { paths: Some(vec![BatchPath { path, deep: false }]), ..config(source) }
}

/// What went over a stream since the last look, and whether the sender's end waits with reading until it has offered everything.
#[derive(Default)]
struct Tap {
    sent: Vec<u8>,
    received: Vec<u8>,
    holds: bool,
}

#[derive(Clone)]
struct Tapped {
    stream: Arc<UnixStream>,
    tap: Arc<(Mutex<Tap>, Condvar)>,
}

impl Tapped {
    fn new(stream: UnixStream) -> Self {
        Self { stream: Arc::new(stream), tap: Arc::default() }
    }

    /// From now on the sender's end reads nothing before it has offered everything.
    fn hold(&self) {
        *self.tap.0.lock().unwrap() = Tap { holds: true, ..Tap::default() };
    }

    fn has_offered_everything(sent: &[u8]) -> bool {
        let mut frames = FrameReader::new(sent);
        while let Ok(Some(frame)) = frames.next_frame() {
            let payload = frame.decode().unwrap();
            if messages::<ToReceiver<'_>>(&payload)
                .any(|message| matches!(message, Ok(ToReceiver::WalkDone { .. })))
            {
                return true;
            }
        }
        false
    }
}

impl Read for Tapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (tap, written) = &*self.tap;
        let waits = |tap: &mut Tap| tap.holds && !Self::has_offered_everything(&tap.sent);
        let (guard, timeout) = written.wait_timeout_while(tap.lock().unwrap(), LONG, waits).unwrap();
        assert!(!timeout.timed_out(), "the sender waits for an answer before it has offered everything");
        drop(guard);
        let count = (&*self.stream).read(buffer)?;
        tap.lock().unwrap().received.extend(&buffer[..count]);
        Ok(count)
    }
}

impl Write for Tapped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = (&*self.stream).write(bytes)?;
        self.tap.0.lock().unwrap().sent.extend(&bytes[..count]);
        self.tap.1.notify_all();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_save_costs_one_way_and_the_acknowledgement() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, destination) = (scratch.path().join("source"), scratch.path().join("destination"));
    fs::create_dir_all(source.join("deep/er")).unwrap();
    fs::write(source.join("deep/er/file"), "1").unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let follower = Follower::start(destination.clone(), &far);
    drop(far);
    let tapped = Tapped::new(near.try_clone().unwrap());
    let mut sender = FollowSender::new(tapped.clone(), tapped.clone());
    let mut run = |config| -> RunReport { sender.run(config, &VoidMonitor, &Cancel::new()).unwrap() };
    run(config(&source));
    let largest = "x".repeat(usize::try_from(MAX_UNASKED_BYTES).unwrap());
    for content in ["another content", "", &largest] {
        fs::write(source.join("deep/er/file"), content).unwrap();
        tapped.hold();
        assert_eq!(run(one_path(&source, "deep/er/file")).receiver.transferred_files, 1);
        assert_eq!(fs::read_to_string(destination.join("deep/er/file")).unwrap(), content);
        let tap = tapped.tap.0.lock().unwrap();
        let mut frames = FrameReader::new(&tap.received[..]);
        let mut answers = Vec::new();
        while let Some(frame) = frames.next_frame().unwrap() {
            let payload = frame.decode().unwrap();
            for message in messages::<ToSender<'_>>(&payload) {
                answers.push(match message.unwrap() {
                    ToSender::Ready(_) => "ready",
                    ToSender::Settled { .. } => "settled",
                    ToSender::Finished(_) => "finished",
                    other => panic!("{other:?}"),
                });
            }
        }
        // Nothing was asked for.
        assert_eq!(answers, ["ready", "settled", "settled", "settled", "finished"]);
        assert!(tap.sent.ends_with(&end_of_run()));
    }
    near.shutdown(Shutdown::Both).unwrap();
    follower.end().unwrap();
}

fn frame<M: Serialize>(message: &M) -> Vec<u8> {
    frame_of(Class::Control, message)
}

fn frame_of<M: Serialize>(class: Class, message: &M) -> Vec<u8> {
    let mut pack = Pack::new(class);
    pack.push(message).unwrap();
    pack.seal(None).unwrap()
}

fn start(follow: Follow) -> ToReceiver<'static> {
    ToReceiver::Start(Options { recursive: true, follow: Some(follow), ..Options::default() })
}

/// Has a receiver that stays hear these messages, after which it must give up with this word.
#[track_caller]
fn assert_refused(messages_sent: &[ToReceiver<'_>], word: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let destination = scratch.path().join("destination");
    let (near, far) = UnixStream::pair().unwrap();
    let follower = Follower::start(destination.clone(), &far);
    drop(far);
    // A receiver that gives up closes its end.
    let _ = messages_sent.iter().try_for_each(|message| (&near).write_all(&frame(message)));
    let mut frames = FrameReader::new(near.try_clone().unwrap());
    let mut told = false;
    while let Ok(Some(frame)) = frames.next_frame() {
        let payload = frame.decode().unwrap();
        told |= messages(&payload).any(|message| matches!(message, Ok(ToSender::Failed { .. })));
        if told {
            break;
        }
    }
    near.shutdown(Shutdown::Both).unwrap();
    let error = follower.end().unwrap_err();
    assert!(told && error.to_string().contains(word), "{error} does not say {word:?}");
    assert!(fs::read_dir(&destination).unwrap().next().is_none(), "nothing is written");
}

/// Pushes the file `d/a` with the content "1", and is interrupted when that has arrived and `z` has not.
fn interrupted_push(destination: &Path) {
    let (near, far) = UnixStream::pair().unwrap();
    let receiver = Receiver::open(ReceiverConfig::new(destination.to_owned())).unwrap();
    let receiving = std::thread::spawn(move || {
        let writer = WriteHalf(far.try_clone().unwrap());
        receiver.run(far, writer, false, &VoidMonitor, &Cancel::new())
    });
    let say = |message: &ToReceiver<'_>| (&near).write_all(&frame(message)).unwrap();
    let mut frames = FrameReader::new(near.try_clone().unwrap());
    let mut read_until = |wanted: fn(&ToSender<'_>) -> bool| loop {
        let next = frames.next_frame().unwrap().unwrap();
        let payload = next.decode().unwrap();
        if messages(&payload).any(|message| wanted(&message.unwrap())) {
            break;
        }
    };
    say(&ToReceiver::Start(Options { recursive: true, ..Options::default() }));
    let entry = |name, what| Entry { name, what, mode: 0o755, mtime: None, owner: None };
    let small = || What::File { size: 1, hash: None, content: None };
    say(&part(vec![entry(b"d", What::Directory), entry(b"z", small())]));
    let (range, entries) = (Range::Names { after: None, last: true }, vec![entry(b"a", small())]);
    say(&ToReceiver::Part(Part { id: 1, parent: Some(0), path: b"d", range, entries }));
    read_until(|message| matches!(message, ToSender::Needs { part: 1, .. }));
    let (file, hash) = (FileId { part: 1, index: 0 }, *ContentHash::of(b"1").as_bytes());
    let mut pack = Pack::new(Class::Data);
    pack.push(&ToReceiver::Whole { file, content: b"1", hash, mtime: None }).unwrap();
    (&near).write_all(&pack.seal(None).unwrap()).unwrap();
    read_until(|message| matches!(message, ToSender::Settled { part: 1 }));
    near.shutdown(Shutdown::Both).unwrap();
    receiving.join().unwrap().unwrap_err();
    assert!(!destination.join("z").exists());
}

/// Collects the paths of conflicts.
#[derive(Default)]
struct ConflictingPaths(Mutex<Vec<Vec<u8>>>);

impl Monitor for ConflictingPaths {
    fn event(&self, event: &Event<'_>) {
        if let Event::Conflict { path, .. } = event {
            self.0.lock().unwrap().push(path.to_vec());
        }
    }
}

#[test]
fn what_an_interrupted_push_has_put_there_is_no_conflict_when_the_source_changes() {
    for interruptions in [1, 2] {
        let scratch = tempfile::tempdir().unwrap();
        let (source, destination) = (scratch.path().join("source"), scratch.path().join("destination"));
        fs::create_dir_all(source.join("d")).unwrap();
        fs::write(source.join("d/a"), "22").unwrap();
        fs::write(source.join("z"), "z").unwrap();
        interrupted_push(&destination);
        if interruptions == 2 {
            // Another push is interrupted before it has done anything.
            let stream = frame(&ToReceiver::Start(Options { recursive: true, ..Options::default() }));
            let receiver = Receiver::open(ReceiverConfig::new(destination.clone())).unwrap();
            receiver.run(&stream[..], io::sink(), false, &VoidMonitor, &Cancel::new()).unwrap_err();
        }
        let (near, far) = UnixStream::pair().unwrap();
        let follower = Follower::start(destination.clone(), &far);
        drop(far);
        let mut sender = FollowSender::new(near.try_clone().unwrap(), near.try_clone().unwrap());
        let conflicts = ConflictingPaths::default();
        sender.run(config(&source), &conflicts, &Cancel::new()).unwrap();
        assert!(conflicts.0.lock().unwrap().is_empty(), "{:?}", conflicts.0);
        assert_eq!(fs::read_to_string(destination.join("d/a")).unwrap(), "22");
        // What is changed there afterwards is one.
        fs::write(destination.join("d/a"), "changed there").unwrap();
        fs::write(source.join("d/a"), "333").unwrap();
        sender.run(config(&source), &conflicts, &Cancel::new()).unwrap();
        assert_eq!(*conflicts.0.lock().unwrap(), [b"d/a"]);
        near.shutdown(Shutdown::Both).unwrap();
        follower.end().unwrap();
    }
}

fn part(entries: Vec<Entry<'_>>) -> ToReceiver<'_> {
    ToReceiver::Part(Part { id: 0, parent: None, path: b"", range: Range::Listed, entries })
}

fn file<'a>(name: &'a [u8], size: u64, hash: Option<ContentHash>, content: &'a [u8]) -> Entry<'a> {
    let content = Some(serde_bytes::Bytes::new(content));
    let what = What::File { size, hash: hash.map(|hash| *hash.as_bytes()), content };
    Entry { name, what, mode: 0o644, mtime: None, owner: None }
}

#[test]
fn content_that_nobody_asked_for_is_checked_and_bounded() {
    let refuse = |entries, word| assert_refused(&[start(Follow::default()), part(entries)], word);
    let hash = |content: &[u8]| Some(ContentHash::of(content));
    refuse(vec![file(b"a", 1, None, b"x")], "content that it cannot have");
    refuse(vec![file(b"a", 2, hash(b"x"), b"x")], "content that it cannot have");
    refuse(vec![file(b"a", 1, hash(b"y"), b"x")], "does not have its hash");
    let large = vec![0; usize::try_from(MAX_UNASKED_BYTES).unwrap() + 1];
    refuse(vec![file(b"a", MAX_UNASKED_BYTES + 1, hash(&large), &large)], "content that it cannot have");
    let largest = &large[1..];
    let names: Vec<Vec<u8>> = (0..=UNASKED_WINDOW_BYTES / largest.len())
        .map(|number| format!("{number:03}").into_bytes())
        .collect();
    let entries = names.iter().map(|name| file(name, MAX_UNASKED_BYTES, hash(largest), largest)).collect();
    refuse(entries, "more content than it may");
}

#[test]
fn paths_to_fetch_are_checked() {
    for path in [&b"../x"[..], b"/etc/passwd", b"a//b", b"a\0", &[b'a'; 5000]] {
        assert_refused(&[ToReceiver::Fetch { path }], "path that no file can have");
    }
    assert_refused(&[start(Follow::default()), ToReceiver::Fetch { path: b"a" }], "out of place");
}

/// Has a sender that asks for an entry hear these messages. Returns what it wrote, and what it said.
fn fetch_from(answers: &[ToSender<'_>]) -> (Vec<u8>, Result<FetchedEntry, EngineError>) {
    let stream: Vec<u8> = answers.iter().flat_map(frame).collect();
    let (mut sent, mut content) = (Vec::new(), Vec::new());
    let mut sender = FollowSender::new(&stream[..], &mut sent);
    let path = RelPath::new(b"a").unwrap();
    let fetched = sender.fetch(&path, &mut content);
    assert_eq!(sender.is_usable(), fetched.is_ok());
    (content, fetched)
}

#[test]
fn an_entry_that_arrives_is_checked_and_bounded() {
    let file = |size| ToSender::Fetched(Fetched::File { size, mode: 0o600 });
    let content = |content| ToSender::Fetched(Fetched::Content(content));
    let end = |content| ToSender::Fetched(Fetched::End { hash: *ContentHash::of(content).as_bytes() });
    let (fetched, entry) = fetch_from(&[file(3), content(b"ab"), content(b"c"), end(b"abc")]);
    assert_eq!((&fetched[..], entry.unwrap()), (&b"abc"[..], FetchedEntry::File { size: 3, mode: 0o600 }));
    let large = vec![0; CHUNK_BYTES + 1];
    let long_target = vec![b'x'; MAX_TARGET_BYTES + 1];
    let symlink = |target| vec![ToSender::Fetched(Fetched::Symlink(target))];
    for (answers, word) in [
        (vec![file(3), content(b"abcd")], "not announced"),
        (vec![file(u64::MAX), content(&large)], "not announced"),
        (vec![file(3), content(b"")], "not announced"),
        (vec![file(3), content(b"ab"), end(b"ab")], "does not have its hash"),
        (vec![file(3), content(b"abx"), end(b"abc")], "does not have its hash"),
        (vec![content(b"a")], "out of place"),
        (vec![end(b"")], "out of place"),
        (vec![file(3), file(3)], "out of place"),
        (vec![ToSender::Fetched(Fetched::File { size: 0, mode: 0o10_000 })], "out of place"),
        (symlink(b""), "no symlink can have"),
        (symlink(b"a\0b"), "no symlink can have"),
        (symlink(&long_target), "no symlink can have"),
        (vec![ToSender::Alive], "asked for"),
        (vec![file(3), content(b"ab")], "connection ended"),
    ] {
        let (_, fetched) = fetch_from(&answers);
        let error = fetched.unwrap_err();
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    }
}

#[test]
fn a_receiver_does_not_send_an_entry_during_a_run() {
    let scratch = tempfile::tempdir().unwrap();
    let stream = frame(&ToSender::Fetched(Fetched::Symlink(b"a")));
    let mut sender = FollowSender::new(&stream[..], Vec::new());
    let error = sender.run(config(scratch.path()), &VoidMonitor, &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("unknown kind") && !sender.is_usable(), "{error}");
}

#[test]
fn a_run_of_another_kind_than_the_stream_is_for_is_refused() {
    let one = ToReceiver::Start(Options { recursive: true, ..Options::default() });
    assert_refused(&[one], "another kind");
}

#[test]
fn paths_at_which_the_source_wins_are_checked() {
    for path in [&b"../x"[..], b"/etc", b"a//b", b"a\0"] {
        let take_source = vec![serde_bytes::ByteBuf::from(path)];
        let follow = Follow { take_source, ..Follow::default() };
        assert_refused(&[start(follow)], "path that no file can have");
    }
}

/// A run by hand: which of the files that it asks for the sender then does not have.
struct ByHand {
    stream: UnixStream,
    frames: FrameReader<UnixStream>,
    /// Where the source wins.
    take_source: Vec<serde_bytes::ByteBuf>,
}

impl ByHand {
    fn new(stream: UnixStream) -> Self {
        Self { frames: FrameReader::new(stream.try_clone().unwrap()), stream, take_source: Vec::new() }
    }

    /// Has the receiver carry out a run with these parts. Files that it asks for are gone. Answers the paths of its conflicts.
    fn run(&mut self, extent: Extent, parts: Vec<Part<'_>>, source_errors: bool) -> Vec<String> {
        self.run_after(extent, parts, source_errors, || ())
    }

    /// As [`Self::run`]. `change` is called when the run has begun, before the receiver learns of any part.
    fn run_after(
        &mut self,
        extent: Extent,
        parts: Vec<Part<'_>>,
        source_errors: bool,
        change: impl FnOnce(),
    ) -> Vec<String> {
        let follow = Follow { extent, take_source: self.take_source.clone(), ..Follow::default() };
        let options = Options {
            recursive: true,
            links: true,
            delete: Some(Delete::default()),
            follow: Some(follow),
            ..Options::default()
        };
        let mut say = self.stream.try_clone().unwrap();
        let mut say = |message| say.write_all(&frame(&message)).unwrap();
        say(ToReceiver::Start(options));
        let walk = parts.into_iter().map(ToReceiver::Part).chain([ToReceiver::WalkDone { source_errors }]);
        let mut rest = Some((change, walk));
        let mut conflicts = Vec::new();
        loop {
            let answer = self.frames.next_frame().unwrap().unwrap();
            for message in messages(&answer.decode().unwrap()) {
                match message.unwrap() {
                    ToSender::Ready(_) => {
                        let (change, walk) = rest.take().unwrap();
                        change();
                        walk.for_each(&mut say);
                    }
                    ToSender::Needs { part, needs } => {
                        for need in needs {
                            let file = FileId { part, index: need.index };
                            let gone = ToReceiver::Gone { file, reason: Gone::Vanished };
                            self.stream.write_all(&frame_of(Class::Data, &gone)).unwrap();
                        }
                    }
                    ToSender::Event(Event::Conflict { path, .. }) => {
                        conflicts.push(String::from_utf8(path.to_vec()).unwrap());
                    }
                    ToSender::Finished(_) => {
                        self.stream.write_all(&end_of_run()).unwrap();
                        return conflicts;
                    }
                    ToSender::Failed { text, .. } => panic!("{text}"),
                    _ => {}
                }
            }
        }
    }
}

fn whole<'a>(id: u32, path: &'a str, entries: Vec<Entry<'a>>) -> Part<'a> {
    let parent = (id > 0).then(|| id - 1);
    Part { id, parent, path: path.as_bytes(), range: Range::Names { after: None, last: true }, entries }
}

fn directory(name: &str) -> Entry<'_> {
    Entry { name: name.as_bytes(), what: What::Directory, mode: 0o755, mtime: None, owner: None }
}

fn content<'a>(name: &'a str, content: &'a str) -> Entry<'a> {
    let hash = ContentHash::of(content.as_bytes());
    file(name.as_bytes(), content.len() as u64, Some(hash), content.as_bytes())
}

/// A file whose content does not come.
fn gone(name: &str) -> Entry<'_> {
    let what = What::File { size: 100, hash: None, content: None };
    Entry { name: name.as_bytes(), what, mode: 0o644, mtime: None, owner: None }
}

#[test]
fn what_a_run_about_everything_does_not_see_stays_known() {
    let listed = |part: Part<'static>| Part { range: Range::Listed, ..part };
    let incomplete = |number| match number {
        // A directory that vanishes after it was offered.
        0 => (vec![whole(0, "", vec![directory("d"), content("top", "1")])], false),
        // A file that vanishes after it was offered.
        1 => {
            (vec![whole(0, "", vec![directory("d"), gone("top")]), whole(1, "d", vec![gone("below")])], false)
        }
        // Something that cannot be read: then nothing is deleted.
        2 => (vec![whole(0, "", Vec::new())], true),
        // A directory that cannot be read to its end.
        3 => (vec![listed(whole(0, "", vec![directory("d")])), listed(whole(1, "d", Vec::new()))], true),
        _ => unreachable!(),
    };
    for (number, extent) in
        (0..4).flat_map(|number| [Extent::Everything, Extent::Paths].map(|of| (number, of)))
    {
        let scratch = tempfile::tempdir().unwrap();
        let destination = scratch.path().join("destination");
        let (near, far) = UnixStream::pair().unwrap();
        let follower = Follower::start(destination.clone(), &far);
        drop(far);
        let mut sender = ByHand::new(near.try_clone().unwrap());
        let tree = |text| {
            let top = vec![directory("d"), content("top", text)];
            vec![whole(0, "", top), whole(1, "d", vec![content("below", text)])]
        };
        let read = |path| fs::read_to_string(destination.join(path)).unwrap();
        // What they are known by is in the cache, or in the journal.
        assert!(sender.run(extent, tree("1"), false).is_empty());
        let (parts, source_errors) = incomplete(number);
        assert!(sender.run(Extent::Everything, parts, source_errors).is_empty());
        assert_eq!(["top", "d/below"].map(read), ["1", "1"]);
        let conflicts = sender.run(Extent::Paths, tree("another"), false);
        assert!(conflicts.is_empty(), "{conflicts:?} after run {number}, {extent:?}");
        assert_eq!(["top", "d/below"].map(read), ["another", "another"]);
        near.shutdown(Shutdown::Both).unwrap();
        follower.end().unwrap();
    }
}

#[test]
fn a_directory_in_which_something_happened_during_a_run_stays_ours() {
    for source_wins in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let destination = scratch.path().join("destination");
        let (near, far) = UnixStream::pair().unwrap();
        let follower = Follower::start(destination.clone(), &far);
        drop(far);
        let mut sender = ByHand::new(near.try_clone().unwrap());
        let tree = vec![whole(0, "", vec![directory("d")]), whole(1, "d", vec![directory("e")])];
        assert!(sender.run(Extent::Everything, tree, false).is_empty());

        let without_directories = || vec![whole(0, "", Vec::new())];
        let below = destination.join("d/e");
        let change = || {
            let touch = || {
                fs::write(below.join("new"), "").unwrap();
                fs::remove_file(below.join("new")).unwrap();
                let found = below.symlink_metadata().unwrap();
                (found.ctime(), found.ctime_nsec())
            };
            // The clock of the file system may stand still for some milliseconds.
            let first = touch();
            while touch() == first {}
        };
        if source_wins {
            sender.take_source = vec![serde_bytes::ByteBuf::from("d")];
        }
        assert!(sender.run_after(Extent::Everything, without_directories(), false, change).is_empty());
        // Where no entry is guarded, what changes during a run stays until the next one.
        assert_eq!(below.exists(), source_wins);
        sender.take_source.clear();
        assert!(sender.run(Extent::Everything, without_directories(), false).is_empty());
        assert!(!destination.join("d").exists());
        near.shutdown(Shutdown::Both).unwrap();
        follower.end().unwrap();
    }
}
