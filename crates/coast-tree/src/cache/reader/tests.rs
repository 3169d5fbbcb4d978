//! The cache answers with records that were put in, or with none. Never with anything else, whatever the file holds.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;

use proptest::prelude::*;

use super::super::block::{self, MAX_BLOCK_BYTES, MAX_BLOCK_RECORDS};
use super::super::footer::MAGIC;
use super::super::{CacheStats, CacheWriter};
use super::*;
use crate::Timestamp;
use crate::scratch::{name, rel};

/// A record whose every field depends on the number.
fn record(file: &str, number: u32) -> Record {
    let stat = FileIdentity {
        ino: u64::from(number) << 33,
        size: u64::from(number),
        mtime: Timestamp::new(-i64::from(number), number % 1_000_000_000),
        ctime: Timestamp::new(i64::from(number) << 4, 999_999_999),
    };
    Record { name: name(file), stat, hash: ContentHash::of(&number.to_le_bytes()) }
}

/// A file written by the cache's writer, and what that said of it.
fn written(parts: &[(RelPath, Vec<Record>)]) -> (File, CacheStats) {
    let file = tempfile::tempfile().unwrap();
    let writer = CacheWriter::create(file.try_clone().unwrap()).unwrap();
    for (dir, records) in parts {
        writer.append(dir, records).unwrap();
    }
    let stats = writer.finish().unwrap();
    (file, stats)
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn small_tree() -> Vec<(RelPath, Vec<Record>)> {
    vec![
        (rel(""), vec![record("b", 1), record("a", 2)]),
        (rel("sub"), vec![record("a", 3)]),
        (rel("sub/\n"), vec![record("copy-of-b", 1)]),
    ]
}

#[test]
fn what_was_appended_is_found() {
    let (file, stats) = written(&small_tree());
    let reader = CacheReader::open(file.try_clone().unwrap()).unwrap();
    assert_eq!(stats, CacheStats { directories: 3, files: 4, bytes: file.metadata().unwrap().len() });
    assert_eq!((reader.directories(), reader.files()), (3, 4));
    for (dir, records) in small_tree() {
        let known = reader.directory(&dir).unwrap();
        for record in &records {
            assert_eq!(known.get(&record.name, &record.stat), Some(record.hash));
        }
        let mut sorted = records;
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(known.records().eq(sorted));
    }
}

#[test]
fn file_that_changed_in_any_field_is_not_known() {
    let reader = CacheReader::open(written(&small_tree()).0).unwrap();
    let known = reader.directory(&rel("sub")).unwrap();
    let Record { name: file, stat, hash } = record("a", 3);
    assert_eq!(known.get(&file, &stat), Some(hash));
    let later = Timestamp::new(stat.ctime.secs(), 0);
    for changed in [
        FileIdentity { ino: 0, ..stat },
        FileIdentity { size: 4, ..stat },
        FileIdentity { mtime: later, ..stat },
        FileIdentity { ctime: later, ..stat },
    ] {
        assert_eq!(known.get(&file, &changed), None);
    }
    assert_eq!(known.get(&name("b"), &stat), None);
    assert_eq!(reader.directory(&rel("")).unwrap().get(&file, &stat), None);
}

#[test]
fn unknown_directory_and_empty_cache_know_nothing() {
    for reader in [CacheReader::empty(), CacheReader::open(written(&[]).0).unwrap()] {
        assert_eq!((reader.directories(), reader.files()), (0, 0));
        assert!(reader.directory(&rel("a")).unwrap().is_empty());
        assert_eq!(reader.find_content(&ContentHash::of(b"")).unwrap(), []);
        assert!(!reader.has_size(0).unwrap());
    }
    let reader = CacheReader::open(written(&small_tree()).0).unwrap();
    assert!(reader.directory(&rel("su")).unwrap().is_empty());
}

#[test]
fn directory_may_come_in_parts_and_a_later_record_of_a_part_counts() {
    let twice = vec![record("a", 1), record("b", 2), record("a", 3)];
    let reader = CacheReader::open(
        written(&[(rel("d"), twice), (rel("d"), vec![record("c", 4)]), (rel("d"), vec![])]).0,
    )
    .unwrap();
    let known = reader.directory(&rel("d")).unwrap();
    for (file, number, is_known) in [("a", 3, true), ("b", 2, true), ("c", 4, true), ("a", 1, false)] {
        let record = record(file, number);
        assert_eq!(known.get(&record.name, &record.stat).is_some(), is_known, "{file} {number}");
    }
    assert_eq!(reader.files(), 3);
}

#[test]
fn directory_larger_than_a_block_is_kept_whole() {
    let count = u32::try_from(2 * MAX_BLOCK_RECORDS + 5).unwrap();
    let records: Vec<Record> =
        (0..count).rev().map(|number| record(&format!("file-{number}"), number)).collect();
    let reader = CacheReader::open(written(&[(rel("large"), records.clone())]).0).unwrap();
    assert_eq!((reader.directories(), reader.files()), (3, u64::from(count)));
    let known = reader.directory(&rel("large")).unwrap();
    assert!(records.iter().all(|record| known.get(&record.name, &record.stat) == Some(record.hash)));
}

#[test]
fn threads_may_append_at_the_same_time() {
    let file = tempfile::tempfile().unwrap();
    let writer = CacheWriter::create(file.try_clone().unwrap()).unwrap();
    let dir = |thread: u32, number: u32| rel(format!("{thread}/{number}"));
    thread::scope(|scope| {
        for thread in 0..4 {
            let writer = &writer;
            scope.spawn(move || {
                for number in 0..500 {
                    writer.append(&dir(thread, number), &[record("file", thread * 1000 + number)]).unwrap();
                }
            });
        }
    });
    assert_eq!(writer.finish().unwrap().files, 2000);
    let reader = CacheReader::open(file).unwrap();
    for thread in 0..4 {
        for number in 0..500 {
            let record = record("file", thread * 1000 + number);
            let known = reader.directory(&dir(thread, number)).unwrap();
            assert_eq!(known.get(&record.name, &record.stat), Some(record.hash));
        }
    }
}

#[test]
fn content_is_found_wherever_it_was_up_to_four_places() {
    let mut tree = small_tree();
    tree.extend((0..9).map(|number| (rel(format!("copies/{number}")), vec![record("copy", 77)])));
    let reader = CacheReader::open(written(&tree).0).unwrap();
    let find = |number: u32| {
        let mut found = reader.find_content(&ContentHash::of(&number.to_le_bytes())).unwrap();
        found.sort();
        found
    };
    assert_eq!(find(1), [rel("b"), rel("sub/\n/copy-of-b")]);
    assert_eq!(find(3), [rel("sub/a")]);
    assert_eq!(find(4), []);
    let copies = find(77);
    assert_eq!(copies.len(), 4);
    assert!(copies.iter().all(|path| path.starts_with(&rel("copies"))));
    assert_eq!([1, 2, 3, 77, 4].map(|size| reader.has_size(size).unwrap()), [true, true, true, true, false]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tree_comes_back(
        files in prop::collection::btree_map("([a-c]{1,3}/){0,3}[^/\0.]{1,5}", any::<u32>(), 0..80),
    ) {
        let mut tree: BTreeMap<RelPath, Vec<Record>> = BTreeMap::new();
        for (path, &number) in &files {
            let path = rel(path);
            let file = path.file_name().unwrap();
            tree.entry(path.parent().unwrap()).or_default().push(Record { name: file, ..record("x", number) });
        }
        let parts: Vec<_> = tree.clone().into_iter().rev().collect();
        let reader = CacheReader::open(written(&parts).0).unwrap();
        prop_assert_eq!(reader.files(), files.len() as u64);
        for (dir, records) in tree {
            let known = reader.directory(&dir).unwrap();
            for record in &records {
                prop_assert_eq!(known.get(&record.name, &record.stat), Some(record.hash));
            }
        }
    }

    #[test]
    fn any_bytes_are_no_cache(mut bytes in prop::collection::vec(any::<u8>(), 0..300), signed in any::<bool>()) {
        if signed {
            bytes.extend_from_slice(&VERSION.to_le_bytes());
            bytes.extend_from_slice(MAGIC);
        }
        prop_assert!(CacheReader::open(file_of(&bytes)).is_err());
    }
}

/// Asks a cache file everything; each answer must be the right one or none. Returns how many were right.
fn right_answers(bytes: &[u8]) -> usize {
    let Ok(reader) = CacheReader::open(file_of(bytes)) else { return 0 };
    let mut right = 0;
    for (dir, records) in small_tree() {
        let known = reader.directory(&dir).unwrap();
        assert!(known.records().all(|record| records.contains(&record)));
        for record in &records {
            if let Some(hash) = known.get(&record.name, &record.stat) {
                assert_eq!(hash, record.hash);
                right += 1;
            }
            let path = dir.join(&record.name).unwrap();
            let found = reader.find_content(&record.hash).unwrap();
            assert!(found.iter().all(|found| *found == path || record.stat.size == 1));
            right += usize::from(found.contains(&path));
        }
    }
    right
}

#[test]
fn damage_to_any_byte_gives_right_answers_or_none() {
    let whole = bytes_of(&written(&small_tree()).0);
    assert_eq!(right_answers(&whole), 8);
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            assert!(right_answers(&damaged) < 8, "a flip of {flip:#x} at {at} goes unnoticed");
        }
    }
}

#[test]
fn cut_or_lengthened_file_is_no_cache() {
    let whole = bytes_of(&written(&small_tree()).0);
    for length in 0..whole.len() {
        assert_eq!(right_answers(&whole[..length]), 0, "cut at {length}");
        assert_eq!(right_answers(&whole[whole.len() - length..]), 0, "the last {length} bytes");
    }
    assert_eq!(right_answers(&[&whole[..], b"\n"].concat()), 0);
    assert!(matches!(CacheReader::open(file_of(b"")), Err(CacheError::NotACache)));
}

#[test]
fn unfinished_file_is_no_cache() {
    let file = tempfile::tempfile().unwrap();
    let writer = CacheWriter::create(file.try_clone().unwrap()).unwrap();
    for number in 0..10_000 {
        writer.append(&rel("a"), &[record("b", number)]).unwrap();
    }
    drop(writer);
    assert!(file.metadata().unwrap().len() > 0);
    assert!(matches!(CacheReader::open(file), Err(CacheError::NotACache)));
}

#[test]
fn writer_forgets_what_the_file_held() {
    let (file, _) = written(&small_tree());
    CacheWriter::create(file.try_clone().unwrap()).unwrap().finish().unwrap();
    assert_eq!(CacheReader::open(file).unwrap().files(), 0);
}

#[test]
fn other_version_is_named() {
    let mut bytes = bytes_of(&written(&small_tree()).0);
    let version = bytes.len() - MAGIC.len() - 4;
    bytes[version..version + 4].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let refused = CacheReader::open(file_of(&bytes));
    assert!(matches!(refused, Err(CacheError::OtherVersion { found }) if found == VERSION + 1));
}

/// A file with a correct footer over any blocks and any index.
fn forged(blocks: &[u8], entries: &[Entry]) -> Vec<u8> {
    let index: Vec<u8> = entries.iter().flat_map(|entry| entry.to_bytes()).collect();
    let records = entries.iter().map(|entry| u64::from(entry.records)).sum();
    [blocks, &index, &Footer::of(&index, records).to_bytes()].concat()
}

#[test]
fn index_that_leads_out_of_the_file_is_damage() {
    let mut block = Vec::new();
    block::encode(&rel("a"), &[&record("b", 1)], &mut block);
    let length = u32::try_from(block.len()).unwrap();
    let right = Entry { path_hash: path_hash(b"a"), offset: 0, length, records: 1 };
    assert_eq!(CacheReader::open(file_of(&forged(&block, &[right]))).unwrap().files(), 1);
    let huge = u32::try_from(MAX_BLOCK_BYTES).unwrap() + 1;
    for wrong in [
        Entry { offset: 1, ..right },
        Entry { offset: u64::MAX, ..right },
        Entry { length: length + 1, ..right },
        Entry { length: 0, ..right },
        Entry { length: u32::MAX, ..right },
        Entry { length: huge, ..right },
        Entry { records: u32::MAX, ..right },
    ] {
        let opened = CacheReader::open(file_of(&forged(&block, &[wrong])));
        assert!(matches!(opened, Err(CacheError::Damaged)), "{wrong:?}");
    }
    let twice = [right, Entry { path_hash: right.path_hash + 1, ..right }];
    assert!(CacheReader::open(file_of(&forged(&block, &twice))).is_err(), "one block twice");
    let two_blocks = [&block[..], &block].concat();
    let second = Entry { offset: u64::from(length), path_hash: right.path_hash + 1, ..right };
    assert!(CacheReader::open(file_of(&forged(&two_blocks, &[right, second]))).is_ok());
    assert!(CacheReader::open(file_of(&forged(&two_blocks, &[second, right]))).is_err(), "unsorted");
    let oversized = file_of(&forged(&vec![0; MAX_BLOCK_BYTES + 1], &[Entry { length: huge, ..right }]));
    assert!(CacheReader::open(oversized).is_err());
}

#[test]
fn footer_that_claims_more_than_there_is_allocates_nothing() {
    for entries in [1, MAX_ENTRIES as u64, MAX_ENTRIES as u64 + 1, u64::MAX / 24 + 1, u64::MAX] {
        let footer = Footer { entries, ..Footer::of(&[], 0) };
        assert!(CacheReader::open(file_of(&footer.to_bytes())).is_err());
    }
}

#[test]
fn entry_that_leads_to_another_directorys_block_finds_nothing() {
    let mut block = Vec::new();
    let secret = record("b", 1);
    block::encode(&rel("a"), &[&secret], &mut block);
    let length = u32::try_from(block.len()).unwrap();
    let reader = CacheReader::open(file_of(&forged(
        &block,
        &[Entry { path_hash: path_hash(b"other"), offset: 0, length, records: 1 }],
    )))
    .unwrap();
    assert!(reader.directory(&rel("other")).unwrap().is_empty());
    let miscounted = Entry { path_hash: path_hash(b"a"), offset: 0, length, records: 2 };
    let reader = CacheReader::open(file_of(&forged(&block, &[miscounted]))).unwrap();
    assert!(reader.directory(&rel("a")).unwrap().is_empty());
}

#[test]
fn errors_of_the_system_are_told_from_damage() {
    let write_only = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(tempfile::tempdir().unwrap().path().join("cache"))
        .unwrap();
    write_only.set_len(1000).unwrap();
    assert!(matches!(CacheReader::open(write_only), Err(CacheError::Io(_))));
}
