//! A peer that breaks the protocol ends the run with a word for it, and never makes a wrong file.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use coast_engine::{
    Cancel, DestinationIs, EngineError, Receiver, ReceiverConfig, SenderConfig, Source, VoidMonitor, send,
};
use coast_tree::{ContentHash, LedgerReader, RelPath};
use coast_wire::limits::{
    CHUNK_BYTES, MAX_CHUNKS_AHEAD, MAX_DELTA_BYTES, MAX_HOLE_BYTES, MAX_OWNER_NAMES, MAX_PART_ENTRIES,
    MAX_SIGNATURE_BYTES, MAX_TARGET_BYTES, WINDOW_ENTRIES,
};
use coast_wire::{
    Class, Entry, FileId, Follow, FrameReader, Gone, Need, Options, OwnerName, Pack, Part, PartDigest, Piece,
    Range, Ready, Time, ToReceiver, ToSender, Want, What, messages,
};
use serde::Serialize;

/// A writer whose end the other side sees.
struct WriteHalf(UnixStream);

impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

fn frame<M: Serialize>(class: Class, message: &M) -> Vec<u8> {
    let mut pack = Pack::new(class);
    pack.push(message).unwrap();
    pack.seal(None).unwrap()
}

fn start() -> ToReceiver<'static> {
    ToReceiver::Start(Options { recursive: true, links: true, ..Options::default() })
}

fn file(name: &[u8], size: u64) -> Entry<'_> {
    Entry {
        name,
        what: What::File { size, hash: None, content: None },
        mode: 0o644,
        mtime: None,
        owner: None,
    }
}

fn part<'a>(id: u32, path: &'a [u8], entries: Vec<Entry<'a>>) -> ToReceiver<'a> {
    ToReceiver::Part(Part {
        id,
        parent: None,
        path,
        range: Range::Names { after: None, last: true },
        entries,
    })
}

/// The act of a forged peer after its last frame.
#[derive(PartialEq)]
enum Then {
    /// Waits for the other side to give up.
    Wait,
    /// Closes the stream.
    Close,
}

/// Gives a receiver these frames; what it answered at the end of its run.
fn receive(destination: &Path, is: DestinationIs, frames: &[Vec<u8>], then: Then) -> Result<(), EngineError> {
    let mut config = ReceiverConfig::new(destination.to_owned());
    config.destination_is = is;
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            Receiver::open(config)?.run(
                far.try_clone().unwrap(),
                WriteHalf(far),
                false,
                &VoidMonitor,
                &Cancel::new(),
            )
        });
        let writer = scope.spawn({
            let near = near.try_clone().unwrap();
            // A receiver that gives up closes its end.
            move || frames.iter().all(|frame| (&near).write_all(frame).is_ok())
        });
        if then == Then::Close {
            assert!(writer.join().unwrap());
            near.shutdown(Shutdown::Write).unwrap();
        }
        let mut reader = FrameReader::new(near.try_clone().unwrap());
        while let Ok(Some(frame)) = reader.next_frame() {
            let payload = frame.decode().unwrap();
            if messages::<ToSender<'_>>(&payload)
                .any(|message| matches!(message, Ok(ToSender::Failed { .. })))
            {
                break;
            }
        }
        let _ = near.shutdown(Shutdown::Both);
        receiver.join().unwrap().map(|_| ())
    })
}

fn assert_refused(frames: &[(Class, ToReceiver<'_>)], word: &str) {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("destination");
    let mut all = vec![frame(Class::Control, &start())];
    all.extend(frames.iter().map(|(class, message)| frame(*class, message)));
    let error = receive(&destination, DestinationIs::Directory, &all, Then::Wait).unwrap_err();
    assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    assert_eq!(error.exit_code(), 2, "{error}");
    let made: Vec<_> = std::fs::read_dir(&destination).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(made.is_empty(), "{made:?}");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        2,
        "only the destination and its state are made"
    );
}

fn assert_control_refused(message: ToReceiver<'_>, word: &str) {
    assert_refused(&[(Class::Control, message)], word);
}

#[test]
fn paths_and_names_that_leave_the_tree_are_refused() {
    for path in [
        &b"../x"[..],
        b"/etc",
        b"a/../b",
        b"a//b",
        b"a/",
        b"a/./b",
        b"a\0b",
        &[b'a'; 20_000],
        &b"a/".repeat(5000),
    ] {
        assert_control_refused(part(0, path, Vec::new()), "path that no file can have");
    }
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        assert_control_refused(part(0, b"", vec![file(name, 1)]), "name that no file can have");
    }
}

fn digest(id: u32, path: &[u8], entries: usize) -> ToReceiver<'_> {
    let entries = u32::try_from(entries).unwrap();
    let digest = [0; 16];
    ToReceiver::Digest(PartDigest { id, parent: None, path, after: None, up_to: None, entries, digest })
}

#[test]
fn digests_of_impossible_directories_are_refused() {
    assert_control_refused(digest(0, b"../x", 1), "path that no file can have");
    assert_control_refused(digest(0, b"", MAX_PART_ENTRIES + 1), "too many entries");
    let twice = [digest(0, b"", 1), digest(0, b"", 1)].map(|message| (Class::Control, message));
    assert_refused(&twice, "a number twice");
    let many = (0..).map(|id| (Class::Control, digest(id, b"", MAX_PART_ENTRIES)));
    let many: Vec<_> = many.take(WINDOW_ENTRIES / MAX_PART_ENTRIES + 1).collect();
    assert_refused(&many, "more entries than it may");
    let done = ToReceiver::WalkDone { source_errors: false };
    let late = [digest(0, b"", 1), done, digest(1, b"", 1)];
    assert_refused(&late.map(|message| (Class::Control, message)), "after it said that this was all");
}

#[test]
fn entries_over_a_limit_or_out_of_order_are_refused() {
    let names: Vec<Vec<u8>> = (0..=MAX_PART_ENTRIES).map(|n| format!("{n:08}").into_bytes()).collect();
    let too_many = names.iter().map(|name| file(name, 0)).collect();
    assert_control_refused(part(0, b"", too_many), "too many entries");
    assert_control_refused(part(0, b"", vec![file(b"b", 0), file(b"a", 0)]), "out of order");
    assert_control_refused(part(0, b"", vec![file(b"a", 0), file(b"a", 0)]), "out of order");
    let target = vec![b'a'; MAX_TARGET_BYTES];
    for target in [&target[..], b"a\0b"] {
        let link = Entry { what: What::Symlink(target), ..file(b"link", 0) };
        assert_control_refused(part(0, b"", vec![link]), "link target");
    }
    let late = Entry { mtime: Some(Time { secs: 0, nanos: 1_000_000_000 }), ..file(b"a", 0) };
    assert_control_refused(part(0, b"", vec![late]), "time that does not exist");
}

#[test]
fn names_that_the_source_lacks_are_checked() {
    let lacks = |names: &[&'static [u8]], entries| {
        let names = names.iter().map(|name| serde_bytes::Bytes::new(name)).collect();
        ToReceiver::Part(Part { id: 0, parent: None, path: b"", range: Range::Lacks(names), entries })
    };
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
        assert_control_refused(lacks(&[name], Vec::new()), "name that no file can have");
    }
    assert_control_refused(lacks(&[b"b", b"a"], Vec::new()), "out of order");
    assert_control_refused(lacks(&[b"a", b"a"], Vec::new()), "out of order");
    assert_control_refused(lacks(&[b"a", b"b"], vec![file(b"b", 0)]), "out of order");
    assert_control_refused(lacks(&[&b"a"[..]; MAX_PART_ENTRIES], vec![file(b"b", 0)]), "too many entries");
    let options = Options { follow: Some(Follow::default()), ..Options::default() };
    let frames = [frame(Class::Control, &ToReceiver::Start(options))];
    let dir = tempfile::tempdir().unwrap();
    let error = receive(dir.path(), DestinationIs::Directory, &frames, Then::Wait).unwrap_err();
    assert!(error.to_string().contains("another kind"), "{error}");
}

#[test]
fn offers_beyond_the_window_are_refused() {
    let names: Vec<Vec<u8>> = (0..MAX_PART_ENTRIES).map(|n| format!("{n:08}").into_bytes()).collect();
    let parts = WINDOW_ENTRIES / MAX_PART_ENTRIES + 1;
    let frames: Vec<_> = (0..parts)
        .map(|id| {
            let entries = names.iter().map(|name| file(name, 1)).collect();
            (Class::Control, part(u32::try_from(id).unwrap(), b"", entries))
        })
        .collect();
    assert_refused(&frames, "more entries than it may");
}

#[test]
fn numbers_used_twice_and_offers_after_the_end_are_refused() {
    let offer = |id| (Class::Control, part(id, b"", vec![file(b"a", 1)]));
    assert_refused(&[offer(0), offer(0)], "number twice");
    assert_refused(
        &[offer(0), (Class::Control, ToReceiver::WalkDone { source_errors: false }), offer(1)],
        "after it said",
    );
}

#[test]
fn names_of_too_many_owners_are_refused() {
    let per_message = 8 << 10;
    let root = |id| OwnerName { id, name: b"root" };
    let names = (0..=u32::try_from(MAX_OWNER_NAMES / per_message).unwrap()).map(|message| {
        let first = message * u32::try_from(per_message).unwrap();
        let users = (first..).take(per_message).map(root).collect();
        (Class::Control, ToReceiver::Owners { users, groups: Vec::new() })
    });
    assert_refused(&names.collect::<Vec<_>>(), "names of more owners");
}

#[test]
fn content_that_nobody_asked_for_is_refused() {
    let id = FileId { part: 0, index: 0 };
    let hash = *ContentHash::of(b"x").as_bytes();
    let whole = || ToReceiver::Whole { file: id, content: b"x", hash, mtime: None };
    assert_refused(&[(Class::Data, whole())], "was not asked for");
    assert_refused(&[(Class::Data, ToReceiver::Hash { file: id, hash })], "was not asked for");
    let chunk = ToReceiver::Chunk { file: id, attempt: 0, sequence: 0, piece: Piece::Content(b"x") };
    assert_refused(&[(Class::Data, chunk)], "was not asked for");
    assert_refused(&[(Class::Control, whole())], "out of place");
    assert_refused(&[(Class::Data, ToReceiver::WalkDone { source_errors: false })], "out of place");
}

/// A sender that offers one file, waits until it is asked for, and then sends something else.
fn answer_forged(
    size: u64,
    basis: Option<&[u8]>,
    forged: impl Fn(FileId) -> Vec<ToReceiver<'static>>,
) -> (EngineError, Option<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("destination");
    std::fs::create_dir(&destination).unwrap();
    if let Some(basis) = basis {
        std::fs::write(destination.join("file"), basis).unwrap();
    }
    let config = ReceiverConfig::new(destination.clone());
    let (near, far) = UnixStream::pair().unwrap();
    let result = std::thread::scope(|scope| {
        // The stream ends when the receiver drops it: nobody else may hold it.
        let receiver = scope.spawn({
            move || {
                Receiver::open(config)?.run(
                    far.try_clone().unwrap(),
                    far,
                    false,
                    &VoidMonitor,
                    &Cancel::new(),
                )
            }
        });
        (&near).write_all(&frame(Class::Control, &start())).unwrap();
        (&near).write_all(&frame(Class::Control, &part(0, b"", vec![file(b"file", size)]))).unwrap();
        let mut reader = FrameReader::new(near.try_clone().unwrap());
        let mut asked = false;
        while !asked {
            let next = reader.next_frame().unwrap().unwrap();
            let payload = next.decode().unwrap();
            asked = messages::<ToSender<'_>>(&payload)
                .any(|message| matches!(message.unwrap(), ToSender::Needs { .. }));
        }
        for message in forged(FileId { part: 0, index: 0 }) {
            if (&near).write_all(&frame(Class::Data, &message)).is_err() {
                break;
            }
        }
        // Until it gives up, or asks once more.
        while let Ok(Some(next)) = reader.next_frame() {
            let payload = next.decode().unwrap();
            let last =
                |message: ToSender<'_>| matches!(message, ToSender::Needs { .. } | ToSender::Failed { .. });
            if messages(&payload).any(|message| last(message.unwrap())) {
                break;
            }
        }
        let _ = near.shutdown(Shutdown::Write);
        receiver.join().unwrap()
    });
    (result.unwrap_err(), std::fs::read(destination.join("file")).ok())
}

#[test]
fn forged_content_never_makes_a_file() {
    let hash = [1; 32];
    let chunk = |file, sequence, piece| ToReceiver::Chunk { file, attempt: 0, sequence, piece };
    static LONG: [u8; CHUNK_BYTES + 1] = [0; CHUNK_BYTES + 1];
    let whole_hash = *ContentHash::of(&LONG).as_bytes();
    type Forged = Box<dyn Fn(FileId) -> Vec<ToReceiver<'static>>>;
    let cases: Vec<(u64, &str, Forged)> = vec![
        (
            3,
            "does not have its hash",
            Box::new(move |file| vec![ToReceiver::Whole { file, content: b"abc", hash, mtime: None }]),
        ),
        (
            3,
            "too large for that",
            Box::new(move |file| {
                vec![ToReceiver::Whole { file, content: &LONG, hash: whole_hash, mtime: None }]
            }),
        ),
        (
            5 << 20,
            "does not have its hash",
            Box::new(move |file| {
                vec![
                    chunk(file, 0, Piece::Content(b"abc")),
                    chunk(file, 1, Piece::End { size: 3, hash, mtime: None }),
                ]
            }),
        ),
        (
            5 << 20,
            "out of order",
            Box::new(move |file| vec![chunk(file, MAX_CHUNKS_AHEAD + 1, Piece::Content(b"abc"))]),
        ),
        (
            5 << 20,
            "twice",
            Box::new(move |file| {
                vec![chunk(file, 2, Piece::Content(b"a")), chunk(file, 2, Piece::Content(b"a"))]
            }),
        ),
        (5 << 20, "difference to nothing", Box::new(move |file| vec![chunk(file, 0, Piece::Delta(b"abc"))])),
        (5 << 20, "too large", Box::new(move |file| vec![chunk(file, 0, Piece::Content(&LONG))])),
        (5 << 20, "too large", Box::new(move |file| vec![chunk(file, 0, Piece::Hole(MAX_HOLE_BYTES + 1))])),
        (5 << 20, "too large", Box::new(move |file| vec![chunk(file, 0, Piece::Hole(u64::MAX))])),
        (5 << 20, "too large", Box::new(move |file| vec![chunk(file, 0, Piece::Hole(0))])),
    ];
    for (size, word, forged) in cases {
        let (error, made) = answer_forged(size, None, forged);
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
        assert_eq!(made, None, "{word}");
    }
}

#[test]
fn forged_difference_leaves_the_old_file() {
    let old: Vec<u8> = (0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    static TOO_LONG: [u8; MAX_DELTA_BYTES + 1] = [0; MAX_DELTA_BYTES + 1];
    let chunk = |file, sequence, piece| ToReceiver::Chunk { file, attempt: 0, sequence, piece };
    let (error, left) =
        answer_forged(300_000, Some(&old), |file| vec![chunk(file, 0, Piece::Delta(&TOO_LONG))]);
    assert!(error.to_string().contains("piece of a file that is too large"), "{error}");
    assert_eq!(left.as_deref(), Some(&old[..]));
    // Commands that mean nothing, and an end: asked for again, whole, and then the stream ends.
    let garbage = |file| {
        vec![
            chunk(file, 0, Piece::Delta(b"\xff\xfe\x45garbage")),
            chunk(file, 1, Piece::End { size: 3, hash: [1; 32], mtime: None }),
        ]
    };
    let (error, left) = answer_forged(300_000, Some(&old), garbage);
    assert!(matches!(error, EngineError::Disconnected), "{error}");
    assert_eq!(left.as_deref(), Some(&old[..]));
}

#[test]
fn tree_where_one_entry_was_announced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let two = part(0, b"", vec![file(b"a", 0), file(b"b", 0)]);
    let deep = part(0, b"sub", vec![file(b"a", 0)]);
    for offer in [two, deep] {
        let frames = [frame(Class::Control, &start()), frame(Class::Control, &offer)];
        let error =
            receive(&dir.path().join("new-name"), DestinationIs::FileOrDirectory, &frames, Then::Wait)
                .unwrap_err();
        assert!(error.to_string().contains("one entry was announced"), "{error}");
    }
}

#[test]
fn stream_that_ends_early_deletes_nothing_and_leaves_no_staging() {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("destination");
    std::fs::create_dir(&destination).unwrap();
    std::fs::write(destination.join("precious"), "precious").unwrap();
    let options = Options { recursive: true, delete: Some(Default::default()), ..Options::default() };
    let frames = [
        frame(Class::Control, &ToReceiver::Start(options)),
        frame(Class::Control, &part(0, b"", vec![file(b"a", 5)])),
    ];
    let error = receive(&destination, DestinationIs::Directory, &frames, Then::Close).unwrap_err();
    assert_eq!(error.exit_code(), 12);
    assert_eq!(std::fs::read(destination.join("precious")).unwrap(), b"precious");
    assert!(!dir.path().join(".destination.coast/staging").exists());
}

/// Offers files to a receiver, waits until it asks for their content, gives these answers and closes the stream. Returns the names
/// in the ledger that the run leaves, which is called `ledger`.
fn ledger_after(
    destination: &Path,
    entries: Vec<Entry<'static>>,
    answers: &[(Class, ToReceiver<'_>)],
    ledger: &str,
) -> Vec<String> {
    let config = ReceiverConfig::new(destination.to_owned());
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let writer = WriteHalf(far.try_clone().unwrap());
            Receiver::open(config)?.run(far, writer, false, &VoidMonitor, &Cancel::new())
        });
        (&near).write_all(&frame(Class::Control, &start())).unwrap();
        (&near).write_all(&frame(Class::Control, &part(0, b"", entries))).unwrap();
        let mut reader = FrameReader::new(near.try_clone().unwrap());
        let mut read_until = |wanted: fn(&ToSender<'_>) -> bool| {
            while let Ok(Some(next)) = reader.next_frame() {
                let payload = next.decode().unwrap();
                if messages(&payload).any(|message| wanted(&message.unwrap())) {
                    break;
                }
            }
        };
        read_until(|message| matches!(message, ToSender::Needs { .. }));
        for (class, answer) in answers {
            (&near).write_all(&frame(*class, answer)).unwrap();
        }
        if answers.is_empty() {
            near.shutdown(Shutdown::Write).unwrap();
        }
        read_until(|message| matches!(message, ToSender::Finished(_) | ToSender::Failed { .. }));
        let _ = near.shutdown(Shutdown::Write);
    });
    let state = destination.parent().unwrap().join(".destination.coast");
    let ledger = std::fs::File::open(state.join(ledger)).unwrap();
    let names = LedgerReader::open(ledger).unwrap().directory(&RelPath::root()).unwrap();
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

#[test]
fn what_was_offered_is_in_the_ledger_only_once_it_is_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("destination");
    std::fs::create_dir(&destination).unwrap();
    let write = |name: &str, content: &str| std::fs::write(destination.join(name), content).unwrap();
    write("same", "same");
    write("theirs", "made by a service");
    let offered = || vec![file(b"new", 3), file(b"same", 4), file(b"theirs", 3)];
    let finished = || (Class::Control, ToReceiver::WalkDone { source_errors: false });
    let whole = |index, content| {
        let (file, hash) = (FileId { part: 0, index }, *ContentHash::of(content).as_bytes());
        (Class::Data, ToReceiver::Whole { file, content, hash, mtime: None })
    };
    let hash = |index, content: &[u8]| {
        let (file, hash) = (FileId { part: 0, index }, *ContentHash::of(content).as_bytes());
        (Class::Data, ToReceiver::Hash { file, hash })
    };
    let gone = |index| {
        let file = FileId { part: 0, index };
        (Class::Data, ToReceiver::Gone { file, reason: Gone::Vanished })
    };
    // The run is interrupted after the directory was examined.
    let names = ledger_after(&destination, offered(), &[], "ledger.new");
    assert!(!names.iter().any(|name| name == "new" || name == "theirs"), "{names:?}");
    // One entry arrives, and the other one vanishes from the source.
    let answers = [whole(0, b"new"), hash(1, b"same"), gone(2), finished()];
    let names = ledger_after(&destination, offered(), &answers, "ledger");
    assert_eq!(names, ["new", "same"]);
    // A name that earlier runs have put there stays when its new content does not come.
    write("new", "old");
    std::fs::remove_file(destination.join("same")).unwrap();
    let names = ledger_after(&destination, offered(), &[gone(0), gone(1), gone(2), finished()], "ledger");
    assert_eq!(names, ["new"], "a name that is gone leaves the ledger");
}

#[test]
fn sender_that_is_slow_to_begin_may_say_that_it_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let alive = || frame(Class::Control, &ToReceiver::Alive);
    let frames = [alive(), alive(), frame(Class::Control, &start())];
    let destination = dir.path().join("destination");
    let error = receive(&destination, DestinationIs::Directory, &frames, Then::Close).unwrap_err();
    assert_eq!(error.exit_code(), 12, "the run began, and then the stream ended: {error}");
}

/// Gives a sender of one small file these answers.
fn answer_sender(answers: &[ToSender<'_>]) -> EngineError {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), vec![7; 100_000]).unwrap();
    let mut config = SenderConfig::new(Source::Contents(dir.path().to_owned()));
    config.options.recursive = true;
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            send(config, far.try_clone().unwrap(), WriteHalf(far), &VoidMonitor, &Cancel::new())
        });
        let mut reader = FrameReader::new(near.try_clone().unwrap());
        let mut offered = false;
        while !offered {
            let next = reader.next_frame().unwrap().unwrap();
            let payload = next.decode().unwrap();
            offered = messages::<ToReceiver<'_>>(&payload)
                .any(|message| matches!(message.unwrap(), ToReceiver::Part(_)));
        }
        (&near)
            .write_all(&frame(Class::Control, &ToSender::Ready(Ready { uid: 0, confined: false })))
            .unwrap();
        for answer in answers {
            (&near).write_all(&frame(Class::Control, answer)).unwrap();
        }
        // A sender that gives up closes its end.
        while let Ok(Some(_)) = reader.next_frame() {}
        let _ = near.shutdown(Shutdown::Both);
        sender.join().unwrap().unwrap_err()
    })
}

#[test]
fn receiver_that_asks_for_what_was_not_offered_is_refused() {
    let need = |part, index| ToSender::Needs { part, needs: vec![Need { index, want: Want::Content }] };
    for answer in [need(7, 0), need(0, 1), need(0, u32::MAX)] {
        let error = answer_sender(&[answer]);
        assert!(error.to_string().contains("not offered"), "{error}");
    }
    assert!(answer_sender(&[ToSender::Settled { part: 9 }]).to_string().contains("not offered"));
    // The part was sent with its entries.
    assert!(answer_sender(&[ToSender::Differs { part: 0 }]).to_string().contains("that it was told"));
    assert!(answer_sender(&[ToSender::Differs { part: 9 }]).to_string().contains("not offered"));
    let twice = ToSender::Needs {
        part: 0,
        needs: vec![Need { index: 0, want: Want::Content }, Need { index: 0, want: Want::Hash }],
    };
    assert!(answer_sender(&[twice]).to_string().contains("twice for the same file"));
    let signature = ToSender::Needs { part: 0, needs: vec![Need { index: 0, want: Want::Delta(b"none") }] };
    assert!(answer_sender(&[signature]).to_string().contains("signature that is none"));
    let signature = vec![0; MAX_SIGNATURE_BYTES + 1];
    let long = ToSender::Needs { part: 0, needs: vec![Need { index: 0, want: Want::Delta(&signature) }] };
    assert!(answer_sender(&[long]).to_string().contains("signature that is too large"));
}

/// Gives a receiver these frames, and answers the forms in which it asks for the first `count` files.
fn asked_for(destination: &Path, frames: &[Vec<u8>], count: usize) -> Vec<(u32, &'static str)> {
    let config = ReceiverConfig::new(destination.to_owned());
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let cancel = Cancel::new();
            Receiver::open(config)?.run(
                far.try_clone().unwrap(),
                WriteHalf(far),
                false,
                &VoidMonitor,
                &cancel,
            )
        });
        frames.iter().for_each(|frame| (&near).write_all(frame).unwrap());
        let mut reader = FrameReader::new(near.try_clone().unwrap());
        let mut asked = Vec::new();
        while asked.len() < count {
            let next = reader.next_frame().unwrap().unwrap();
            for message in messages::<ToSender<'_>>(&next.decode().unwrap()) {
                let ToSender::Needs { needs, .. } = message.unwrap() else { continue };
                asked.extend(needs.iter().map(|need| match need.want {
                    Want::Hash => (need.index, "hash"),
                    Want::Content => (need.index, "content"),
                    Want::Delta(_) => (need.index, "delta"),
                }));
            }
        }
        near.shutdown(Shutdown::Both).unwrap();
        receiver.join().unwrap().unwrap_err();
        asked.sort_unstable();
        asked
    })
}

#[test]
fn file_below_the_limit_that_the_sender_told_is_asked_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        std::fs::write(dir.path().join(name), vec![7; 100_000]).unwrap();
    }
    let offered = || frame(Class::Control, &part(0, b"", vec![file(b"a", 150_000), file(b"b", 250_000)]));
    let limit = |bytes| frame(Class::Control, &ToReceiver::WholeBelow(bytes));
    let start = || frame(Class::Control, &start());
    for (frames, expected) in [
        (vec![start(), offered()], ["delta", "delta"]),
        (vec![start(), limit(200_000), offered()], ["content", "delta"]),
        (vec![start(), limit(200_000), limit(0), offered()], ["delta", "delta"]),
    ] {
        assert_eq!(asked_for(dir.path(), &frames, 2), [(0, expected[0]), (1, expected[1])]);
    }
}
