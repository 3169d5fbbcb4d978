//! Round trips of every message, and every limit exceeded.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
#[cfg(feature = "high-levels")]
use std::time::Duration;

use coast_wire::limits::{MAX_FRAME_BYTES, MAX_WHOLE_BYTES};
use coast_wire::{
    Answer, Change, Class, Compressor, ConflictKind, Delete, Entry, EntryKind, Event, Extent, FailureKind,
    FileId, Follow, FrameReader, Gone, Itemize, Leftover, LevelControl, Need, Options, Origin, OwnerName,
    Ownership, Pack, Part, Piece, Probe, ProblemKind, Range, Ready, ReceiverStats, Removal, SurveyTotals,
    Surveyed, Time, TimeChange, ToReceiver, ToSender, Update, Want, What, WholeError, WireError, end_of_run,
    messages,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const FILE: FileId = FileId { part: 3, index: 70_000 };
const HASH: [u8; 32] = [7; 32];
const TIME: Option<Time> = Some(Time { secs: -5, nanos: 999_999_999 });

fn to_receiver() -> Vec<ToReceiver<'static>> {
    let entry = |name: &'static [u8], what| Entry {
        name,
        what,
        mode: 0o7755,
        mtime: TIME,
        owner: Some((1000, u32::MAX)),
    };
    let all_kinds = vec![
        entry(b"a\nb", What::File { size: u64::MAX, hash: Some(HASH), content: None }),
        entry(b"b", What::File { size: 1, hash: Some(HASH), content: Some(serde_bytes::Bytes::new(b"x")) }),
        entry(b"c", What::Directory),
        entry(b"d", What::Symlink(b"../\xff")),
        entry(b"e", What::Fifo),
        entry(b"f", What::Socket),
        entry(b"g", What::CharDevice(0x0501)),
        entry(b"h", What::BlockDevice(0x0801)),
    ];
    let options = Options {
        rules: vec![serde_bytes::ByteBuf::from(b"- *.o".to_vec())],
        recursive: true,
        sparse: true,
        ownership: Ownership::Fixed {
            user: Some(serde_bytes::ByteBuf::from(b"nobody".to_vec())),
            group: None,
        },
        delete: Some(Delete { max: Some(5), placed: vec![b"a/b".to_vec()], ..Delete::default() }),
        trash: true,
        itemize: Itemize::Changes,
        follow: Some(Follow {
            extent: Extent::Paths,
            take_source: vec![serde_bytes::ByteBuf::from(b"x".to_vec())],
            renamed: vec![coast_wire::Renamed { from: vec![1].into(), to: vec![2, 3].into() }],
            contents: coast_wire::FileContents::DeferAbove(8 << 20),
        }),
        ..Options::default()
    };
    let bytes = serde_bytes::Bytes::new;
    let after = Some(bytes(b"zz"));
    vec![
        ToReceiver::Start(options),
        ToReceiver::Root(entry(b"", What::Directory)),
        ToReceiver::Owners { users: vec![OwnerName { id: 0, name: b"root" }], groups: Vec::new() },
        ToReceiver::Part(Part {
            id: 1,
            parent: Some(0),
            path: b"x/y",
            range: Range::Listed,
            entries: Vec::new(),
        }),
        ToReceiver::Part(Part {
            id: u32::MAX,
            parent: None,
            path: b"",
            range: Range::Names { after, last: true },
            entries: all_kinds,
        }),
        ToReceiver::Part(Part {
            id: 2,
            parent: None,
            path: b"x",
            range: Range::Lacks(vec![bytes(b"gone"), bytes(b"gone\xff")]),
            entries: Vec::new(),
        }),
        ToReceiver::Hash { file: FILE, hash: HASH },
        ToReceiver::Whole { file: FILE, content: b"content", hash: HASH, mtime: TIME },
        ToReceiver::Chunk { file: FILE, attempt: 1, sequence: 2, piece: Piece::Content(b"piece") },
        ToReceiver::Chunk { file: FILE, attempt: 1, sequence: 3, piece: Piece::Delta(b"delta") },
        ToReceiver::Chunk { file: FILE, attempt: 1, sequence: 4, piece: Piece::Hole(3 << 30) },
        ToReceiver::Chunk {
            file: FILE,
            attempt: 1,
            sequence: 5,
            piece: Piece::End { size: 9, hash: HASH, mtime: None },
        },
        ToReceiver::Gone { file: FILE, reason: Gone::Vanished },
        ToReceiver::Gone { file: FILE, reason: Gone::Unreadable },
        ToReceiver::Gone { file: FILE, reason: Gone::Changing },
        ToReceiver::Gone { file: FILE, reason: Gone::Deferred },
        ToReceiver::WalkDone { source_errors: true },
        ToReceiver::Alive,
        ToReceiver::WholeBelow(256 << 10),
    ]
}

fn to_sender() -> Vec<ToSender<'static>> {
    let change = Change {
        update: Update::Transferred,
        kind: EntryKind::File,
        new: false,
        content: true,
        size: true,
        time: Some(TimeChange::Now),
        perms: false,
        owner: true,
        group: false,
    };
    let needs = vec![
        Need { index: 0, want: Want::Hash },
        Need { index: 1, want: Want::Content },
        Need { index: 2, want: Want::Delta(b"signature") },
    ];
    vec![
        ToSender::Ready(Ready { uid: 0, confined: true }),
        ToSender::Needs { part: 3, needs },
        ToSender::Settled { part: 3 },
        ToSender::Event(Event::Changed { path: b"x", change }),
        ToSender::Event(Event::Replaced { path: b"x/\xfe" }),
        ToSender::Event(Event::Deleted { path: b"x/\xfe", directory: true, origin: Origin::Changed }),
        ToSender::Event(Event::Deferred { path: b"x/y" }),
        ToSender::Event(Event::Conflict { path: b"x", kind: ConflictKind::Changed }),
        ToSender::Event(Event::Problem { path: b"x", kind: ProblemKind::Destination, text: "cannot" }),
        ToSender::Event(Event::Problem {
            path: b"x",
            kind: ProblemKind::DestinationChanged,
            text: "changed",
        }),
        ToSender::Finished(ReceiverStats {
            transferred_files: 4,
            changed_meanwhile: 5,
            conflicts: 6,
            deletion_skipped: true,
            ..ReceiverStats::default()
        }),
        ToSender::Failed { kind: FailureKind::FileIo, text: "no space" },
        ToSender::Alive,
        ToSender::Arrived { bytes: 1 << 20, waited_micros: 400_000 },
    ]
}

fn answers() -> Vec<Answer<'static>> {
    vec![
        Answer::Probe(Probe {
            version: "0.1.0",
            os: "linux",
            arch: "x86_64",
            uid: 0,
            confined: true,
            directory: b"/data/\xff",
            exists: false,
            total_bytes: u64::MAX,
            free_bytes: 7,
            total_inodes: 5,
            free_inodes: 4,
            max_watches: Some(3),
            unwritable: Some("Read-only file system"),
        }),
        Answer::Event(Event::Problem { path: b"a\nb", kind: ProblemKind::Kept, text: "mounted" }),
        Answer::Removal(Removal { existed: true, removed_entries: 9, kept_entries: 1, confined: false }),
        Answer::Removing { removed_entries: 12 },
        Answer::Surveyed(Surveyed {
            project: "shop",
            instance: "dev-1",
            exists: true,
            unreadable: true,
            entries: 1,
            bytes: 2,
            used_at: 3,
            trash_bytes: Some(4),
            is_busy: true,
        }),
        Answer::Survey(SurveyTotals { workspaces: 1, confined: true }),
        Answer::Leftover(Leftover { path: "helper-ab", bytes: 1, used_at: 2, in_use: true }),
        Answer::Leftovers,
        Answer::Swept { removed: 1 },
        Answer::Failed { kind: FailureKind::Busy, text: "another run" },
        Answer::Failed { kind: FailureKind::Refused, text: "never" },
    ]
}

fn assert_round_trip<'a, M: Serialize + Deserialize<'a> + PartialEq + std::fmt::Debug>(
    all: &[M],
    payload: &'a mut Vec<u8>,
) {
    let mut pack = Pack::new(Class::Control);
    all.iter().for_each(|message| pack.push(message).unwrap());
    let sealed = pack.seal(None).unwrap();
    let frame = FrameReader::new(&sealed[..]).next_frame().unwrap().unwrap();
    payload.extend_from_slice(&frame.decode().unwrap());
    let back: Vec<M> = messages(payload).collect::<Result<_, _>>().unwrap();
    assert_eq!(back, all);
}

#[test]
fn every_message_comes_back_as_it_was() {
    assert_round_trip(&to_receiver(), &mut Vec::new());
    assert_round_trip(&to_sender(), &mut Vec::new());
    assert_round_trip(&answers(), &mut Vec::new());
}

#[test]
fn messages_cut_short_are_errors() {
    for message in to_receiver() {
        let bytes = postcard::to_stdvec(&message).unwrap();
        for len in 1..bytes.len() {
            let last = messages::<ToReceiver<'_>>(&bytes[..len]).last();
            assert!(matches!(last, Some(Err(WireError::Message(_)))), "{message:?} cut at {len}");
        }
    }
    for answer in answers() {
        let bytes = postcard::to_stdvec(&answer).unwrap();
        for len in 1..bytes.len() {
            let last = messages::<Answer<'_>>(&bytes[..len]).last();
            assert!(matches!(last, Some(Err(WireError::Message(_)))), "{answer:?} cut at {len}");
        }
    }
}

#[test]
fn whole_file_is_written_as_its_message_is_encoded() {
    for content in [&b""[..], b"x", &[9; 300]] {
        let mut pack = Pack::new(Class::Data);
        let read = |buffer: &mut Vec<u8>| -> Result<_, ()> {
            buffer.extend_from_slice(content);
            Ok((HASH, TIME))
        };
        pack.whole(FILE, content.len(), read).unwrap();
        let sealed = pack.seal(None).unwrap();
        let expected =
            postcard::to_stdvec(&ToReceiver::Whole { file: FILE, content, hash: HASH, mtime: TIME }).unwrap();
        assert_eq!(&sealed[8..], expected);
    }
}

#[test]
fn whole_file_that_cannot_be_read_leaves_no_trace() {
    let mut pack = Pack::new(Class::Data);
    pack.push(&ToReceiver::Alive).unwrap();
    let before = pack.len();
    let failed = pack.whole(FILE, 10, |buffer| {
        buffer.extend_from_slice(b"half");
        Err("gone")
    });
    assert!(matches!(failed, Err(WholeError::Read("gone"))));
    assert_eq!(pack.len(), before);
    let short = pack.whole(FILE, 10, |buffer| -> Result<_, ()> {
        buffer.extend_from_slice(b"half");
        Ok((HASH, None))
    });
    assert!(matches!(short, Err(WholeError::Length)));
    assert_eq!(pack.len(), before);
}

#[test]
fn pack_refuses_more_than_a_frame_holds_and_stays_as_it_was() {
    let content = vec![0; MAX_FRAME_BYTES];
    let mut pack = Pack::new(Class::Data);
    pack.push(&ToReceiver::Alive).unwrap();
    let before = pack.len();
    let message = ToReceiver::Whole { file: FILE, content: &content, hash: HASH, mtime: None };
    assert!(matches!(pack.push(&message), Err(WireError::TooLarge { limit: MAX_FRAME_BYTES, .. })));
    let unread = |_: &mut Vec<u8>| -> Result<_, ()> { panic!("must not be read") };
    assert!(matches!(
        pack.whole(FILE, MAX_FRAME_BYTES, unread),
        Err(WholeError::Wire(WireError::TooLarge { .. }))
    ));
    assert_eq!(pack.len(), before);
    assert!(u64::try_from(MAX_FRAME_BYTES).unwrap() > MAX_WHOLE_BYTES);
}

fn header(flags: u8, length: usize, raw_len: usize) -> Vec<u8> {
    let mut header = vec![flags];
    header.extend_from_slice(&length.to_le_bytes()[..3]);
    header.extend_from_slice(&raw_len.to_le_bytes()[..4]);
    header
}

#[test]
fn header_over_a_limit_is_refused_before_anything_is_allocated() {
    let over = MAX_FRAME_BYTES + 1;
    for bad in
        [header(0, over, over), header(1, 10, over), header(1, over, 10), header(1, 10, u32::MAX as usize)]
    {
        assert!(
            matches!(FrameReader::new(&bad[..]).next_frame(), Err(WireError::TooLarge { .. })),
            "{bad:?}"
        );
    }
    for bad in [header(4, 1, 1), header(5, 0, 0), header(8, 1, 1), header(0xff, 1, 1), header(0, 1, 2)] {
        assert!(matches!(FrameReader::new(&bad[..]).next_frame(), Err(WireError::Header { .. })), "{bad:?}");
    }
}

#[test]
fn stream_cut_within_a_frame_is_an_error_and_between_frames_its_end() {
    let mut pack = Pack::new(Class::Control);
    pack.push(&ToSender::Alive).unwrap();
    let sealed = pack.seal(None).unwrap();
    for len in 1..sealed.len() {
        assert!(
            matches!(FrameReader::new(&sealed[..len]).next_frame(), Err(WireError::Truncated)),
            "cut at {len}"
        );
    }
    assert!(FrameReader::new(&sealed[..0]).next_frame().unwrap().is_none());
}

#[test]
fn the_end_of_a_run_is_a_frame_of_its_own_class() {
    let stream = [end_of_run(), end_of_run()].concat();
    let mut reader = FrameReader::new(&stream[..]);
    for _ in 0..2 {
        let frame = reader.next_frame().unwrap().unwrap();
        assert_eq!((frame.class(), frame.decode().unwrap().len()), (Class::End, 0));
    }
    assert!(reader.next_frame().unwrap().is_none());
}

#[test]
fn frame_that_does_not_hold_what_its_header_says_is_an_error() {
    let raw = vec![b'a'; 100_000];
    let packed = zrip::compress(&raw, 1).unwrap();
    for claimed in [raw.len() - 1, raw.len() + 1, 0] {
        let bytes = [header(1, packed.len(), claimed), packed.clone()].concat();
        let frame = FrameReader::new(&bytes[..]).next_frame().unwrap().unwrap();
        assert!(matches!(frame.decode(), Err(WireError::Compression(_))), "claimed {claimed}");
    }
    let garbage = [header(1, 50, 60), vec![0x28; 50]].concat();
    let frame = FrameReader::new(&garbage[..]).next_frame().unwrap().unwrap();
    assert!(frame.decode().is_err());
}

#[test]
fn frame_that_does_not_shrink_is_sent_as_it_is() {
    let mut compressor = Compressor::new(LevelControl::new(NonZeroUsize::MIN)).unwrap();
    let noise: Vec<u8> =
        (0..20_000u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).rotate_left(n % 32).to_le_bytes()).collect();
    for (content, shrinks) in [(vec![b'a'; 80_000], true), (noise, false)] {
        let mut pack = Pack::new(Class::Data);
        let file = ToReceiver::Whole { file: FILE, content: &content, hash: HASH, mtime: None };
        pack.push(&file).unwrap();
        let plain = pack.len();
        let sealed = pack.seal(Some(&mut compressor)).unwrap();
        assert_eq!(sealed.len() < plain, shrinks);
        let frame = FrameReader::new(&sealed[..]).next_frame().unwrap().unwrap();
        assert_eq!(frame.class(), Class::Data);
        let payload = frame.decode().unwrap();
        assert_eq!(messages::<ToReceiver<'_>>(&payload).next().unwrap().unwrap(), file);
    }
}

/// Content in which some repeats and some does not, as its seed says.
#[cfg(feature = "high-levels")]
fn mixed_content(seed: &[u8], bytes: usize) -> Vec<u8> {
    let mut state =
        seed.iter().fold(1_u32, |state, byte| state.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let mut content = seed.to_vec();
    while content.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (length, start) = (1 + (state >> 25) as usize, (state >> 8) as usize % (content.len() + 1));
        match state % 3 {
            0 => content.extend_from_slice(&state.to_le_bytes()),
            1 => content.extend(std::iter::repeat_n(state.to_le_bytes()[3], length)),
            _ => content.extend_from_within(start..content.len().min(start + length)),
        }
    }
    content.truncate(bytes);
    content
}

#[cfg(feature = "high-levels")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn frame_of_a_high_level_holds_what_was_packed(
        seed in proptest::collection::vec(any::<u8>(), 0..64),
        bytes in prop_oneof![128..3000_usize, 1000..1_000_000_usize],
    ) {
        let control = LevelControl::new(NonZeroUsize::MIN);
        // A slow link.
        control.wrote(4 << 20, Duration::from_secs(10));
        let mut compressor = Compressor::new(control).unwrap();
        let content = mixed_content(&seed, bytes);
        let file = ToReceiver::Whole { file: FILE, content: &content, hash: HASH, mtime: None };
        let mut pack = Pack::new(Class::Data);
        pack.push(&file).unwrap();
        let sealed = pack.seal(Some(&mut compressor)).unwrap();
        let frame = FrameReader::new(&sealed[..]).next_frame().unwrap().unwrap();
        let payload = frame.decode().unwrap();
        prop_assert_eq!(messages::<ToReceiver<'_>>(&payload).next().unwrap().unwrap(), file);
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut reader = FrameReader::new(&bytes[..]);
        while let Ok(Some(frame)) = reader.next_frame() {
            let _ = frame.decode();
        }
        messages::<ToReceiver<'_>>(&bytes).for_each(drop);
        messages::<ToSender<'_>>(&bytes).for_each(drop);
    }
}
