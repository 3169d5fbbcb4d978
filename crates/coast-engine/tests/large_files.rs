//! Files that come in pieces, from a sender that is played by hand: what is there between two pieces can be looked at and
//! changed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use coast_engine::{
    Cancel, DestinationIs, EngineError, Receiver, ReceiverConfig, RunReport, SenderConfig, Source,
    VoidMonitor, send,
};
use coast_tree::{ContentHash, Name};
use coast_wire::limits::CHUNK_BYTES;
use coast_wire::{
    Class, Delete, Entry, FileId, FrameReader, Gone, Options, Pack, Part, Piece, Range, ReceiverStats,
    ToReceiver, ToSender, What, messages,
};
use serde::Serialize;

/// A file of five pieces and a bit that no compressor makes smaller.
fn content() -> Vec<u8> {
    coast_testkit::noise(1, 5 * CHUNK_BYTES + 400)
}

/// The sender's end of a run, played by hand.
struct Peer {
    stream: UnixStream,
    frames: FrameReader<UnixStream>,
    receiver: JoinHandle<Result<ReceiverStats, EngineError>>,
}

impl Peer {
    fn start(destination: &Path, options: Options) -> Self {
        Self::start_with(ReceiverConfig::new(destination.to_owned()), options)
    }

    fn start_with(config: ReceiverConfig, options: Options) -> Self {
        let (stream, far) = UnixStream::pair().unwrap();
        let receiver = std::thread::spawn(move || {
            let reader = far.try_clone().unwrap();
            Receiver::open(config)?.run(reader, far, false, &VoidMonitor, &Cancel::new())
        });
        let frames = FrameReader::new(stream.try_clone().unwrap());
        let mut peer = Self { stream, frames, receiver };
        peer.say(Class::Control, &ToReceiver::Start(options));
        peer
    }

    fn say<M: Serialize>(&mut self, class: Class, message: &M) {
        let mut pack = Pack::new(class);
        pack.push(message).unwrap();
        self.stream.write_all(&pack.seal(None).unwrap()).unwrap();
    }

    /// Reads until a message is the one.
    fn wait_for(&mut self, is_it: impl Fn(&ToSender<'_>) -> bool) {
        loop {
            let frame = self.frames.next_frame().unwrap().expect("the receiver goes on");
            let payload = frame.decode().unwrap();
            if messages::<ToSender<'_>>(&payload).any(|message| is_it(&message.unwrap())) {
                return;
            }
        }
    }

    fn offer(&mut self, parent: Option<u32>, id: u32, path: &[u8], entry: Entry<'_>) {
        let range = Range::Names { after: None, last: true };
        self.say(Class::Control, &ToReceiver::Part(Part { id, parent, path, range, entries: vec![entry] }));
    }

    fn piece(&mut self, part: u32, sequence: u32, piece: Piece<'_>) {
        let file = FileId { part, index: 0 };
        self.say(Class::Data, &ToReceiver::Chunk { file, attempt: 0, sequence, piece });
    }

    fn hang_up(self) -> Result<ReceiverStats, EngineError> {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self.receiver.join().unwrap()
    }
}

fn file(name: &[u8], size: usize) -> Entry<'_> {
    let what = What::File { size: size as u64, hash: None, content: None };
    Entry { name, what, mode: 0o644, mtime: None, owner: None }
}

fn options() -> Options {
    Options { recursive: true, partial: true, ..Options::default() }
}

/// A whole run by the real sender.
fn sync(source: PathBuf, destination: &Path) -> RunReport {
    sync_with(Source::Contents(source), ReceiverConfig::new(destination.to_owned()))
}

fn sync_with(source: Source, config: ReceiverConfig) -> RunReport {
    let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let remote = std::thread::spawn(move || {
        Receiver::open(config)?.run(near.1, far.0, false, &VoidMonitor, &Cancel::new())
    });
    let mut config = SenderConfig::new(source);
    config.options = options();
    let report = send(config, far.1, near.0, &VoidMonitor, &Cancel::new()).unwrap();
    remote.join().unwrap().unwrap();
    report
}

#[test]
fn what_arrived_of_an_interrupted_file_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (source, destination) = (dir.path().join("source"), dir.path().join("destination"));
    let content = content();
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), &content).unwrap();

    let mut peer = Peer::start(&destination, options());
    peer.offer(None, 0, b"", file(b"file", content.len()));
    peer.wait_for(|message| matches!(message, ToSender::Needs { .. }));
    for (sequence, piece) in (0..3).zip(content.chunks(CHUNK_BYTES)) {
        peer.piece(0, sequence, Piece::Content(piece));
    }
    assert_eq!(peer.hang_up().unwrap_err().exit_code(), 12);
    assert!(!destination.join("file").exists());

    let partial = dir.path().join(".destination.coast/partial");
    let kept = fs::read_dir(&partial).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let kept: Vec<_> = kept.collect();
    assert!(kept.len() == 1 && kept[0] == content[..3 * CHUNK_BYTES], "{} files", kept.len());

    let report = sync(source, &destination);
    assert_eq!(fs::read(destination.join("file")).unwrap(), content);
    assert!(report.receiver.matched_bytes > 2 * CHUNK_BYTES as u64, "{:?}", report.receiver);
    assert!(!partial.exists());
}

#[test]
fn what_arrived_of_an_interrupted_single_file_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let content = content();
    fs::write(dir.path().join("file"), &content).unwrap();
    fs::create_dir(dir.path().join("destination")).unwrap();
    let mut config = ReceiverConfig::new(dir.path().join("destination/new"));
    config.destination_is = DestinationIs::FileOrDirectory;

    let mut peer = Peer::start_with(config.clone(), options());
    peer.offer(None, 0, b"", file(b"file", content.len()));
    peer.wait_for(|message| matches!(message, ToSender::Needs { .. }));
    for (sequence, piece) in (0..3).zip(content.chunks(CHUNK_BYTES)) {
        peer.piece(0, sequence, Piece::Content(piece));
    }
    assert_eq!(peer.hang_up().unwrap_err().exit_code(), 12);
    assert_eq!(fs::read_dir(dir.path().join("destination/.new.coast/partial")).unwrap().count(), 1);

    let name = Name::new(b"file").unwrap();
    let report = sync_with(Source::Entry { parent: dir.path().to_owned(), name }, config);
    assert_eq!(fs::read(dir.path().join("destination/new")).unwrap(), content);
    assert!(report.receiver.matched_bytes > 2 * CHUNK_BYTES as u64, "{:?}", report.receiver);
    assert_eq!(fs::read_dir(dir.path().join("destination")).unwrap().count(), 1, "its state is gone");
}

#[test]
fn a_large_file_whose_directory_goes_away_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("destination");
    let content = content();

    let mut peer = Peer::start(&destination, options());
    let directory = Entry { what: What::Directory, mode: 0o755, ..file(b"gone", 0) };
    peer.offer(None, 0, b"", directory);
    peer.offer(Some(0), 1, b"gone", file(b"file", content.len()));
    peer.wait_for(|message| matches!(message, ToSender::Needs { .. }));
    fs::remove_dir(destination.join("gone")).unwrap();
    for (sequence, piece) in (0..).zip(content.chunks(CHUNK_BYTES)) {
        peer.piece(1, sequence, Piece::Content(piece));
    }
    let hash = *ContentHash::of(&content).as_bytes();
    peer.piece(1, 6, Piece::End { size: content.len() as u64, hash, mtime: None });
    peer.say(Class::Control, &ToReceiver::WalkDone { source_errors: false });
    peer.wait_for(|message| matches!(message, ToSender::Finished(_)));
    let stats = peer.hang_up().unwrap();
    assert_eq!((stats.failed, stats.changed_meanwhile, stats.transferred_files), (0, 1, 0));
}

#[test]
fn pieces_that_come_after_the_end_of_their_transfer_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("destination");
    let content = content();

    let mut peer = Peer::start(&destination, options());
    peer.offer(None, 0, b"", file(b"changing", content.len()));
    peer.wait_for(|message| matches!(message, ToSender::Needs { .. }));
    let gone = ToReceiver::Gone { file: FileId { part: 0, index: 0 }, reason: Gone::Changing };
    peer.say(Class::Data, &gone);
    peer.wait_for(|message| matches!(message, ToSender::Settled { part: 0 }));
    peer.piece(0, 0, Piece::Content(&content[..CHUNK_BYTES]));
    peer.say(Class::Control, &ToReceiver::WalkDone { source_errors: true });
    peer.wait_for(|message| matches!(message, ToSender::Finished(_)));
    assert_eq!(peer.hang_up().unwrap().transferred_files, 0);
    assert!(!destination.join("changing").exists());
}

#[test]
fn what_appears_before_its_directory_is_looked_at_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("destination");
    fs::create_dir(&destination).unwrap();
    fs::write(destination.join("old"), "old").unwrap();

    let mut peer = Peer::start(&destination, Options { delete: Some(Delete::default()), ..options() });
    peer.wait_for(|message| matches!(message, ToSender::Ready(_)));
    let began = fs::metadata(dir.path().join(".destination.coast/staging")).unwrap();
    let changed = |metadata: &fs::Metadata| (metadata.ctime(), metadata.ctime_nsec());
    // The clock of a file system goes in steps.
    loop {
        fs::write(destination.join("new"), "new").unwrap();
        fs::create_dir_all(destination.join("new-directory")).unwrap();
        let made = fs::metadata(destination.join("new")).unwrap();
        if changed(&made) > changed(&began) {
            break;
        }
        fs::remove_dir(destination.join("new-directory")).unwrap();
    }
    let range = Range::Names { after: None, last: true };
    let root = Part { id: 0, parent: None, path: b"", range, entries: Vec::new() };
    peer.say(Class::Control, &ToReceiver::Part(root));
    peer.say(Class::Control, &ToReceiver::WalkDone { source_errors: false });
    peer.wait_for(|message| matches!(message, ToSender::Finished(_)));
    assert_eq!(peer.hang_up().unwrap().deleted, 1);
    assert!(destination.join("new").exists() && destination.join("new-directory").exists());
    assert!(!destination.join("old").exists());
}
