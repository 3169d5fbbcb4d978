//! The ledger: which entries of a destination were put there by a run. Whatever is wrong with its file, the answer is "not put
//! there", so that a repair leaves the entry alone.
//!
//! The file is a sequence of blocks without an index, so a run that is killed leaves blocks that can be read. All numbers are
//! little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | bytes of what follows the checksum |
//! | 8 | the first 8 bytes of the blake3 hash of what follows |
//! | 2, n | length of the directory's path, the path |
//! | 4 | number of names |
//! | per name: 1, n | length of the name, the name |

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use crate::cache::path_hash;
use crate::path::{MAX_NAME_BYTES, MAX_PATH_BYTES, check_path};
use crate::{LockExt, Name, RelPath};

/// Most names of one block; a larger directory takes several.
const MAX_BLOCK_NAMES: usize = 16 * 1024;

const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = 4 + CHECKSUM_BYTES;

/// Bytes of a block after its header at most: what a reader allocates for one.
const MAX_BODY_BYTES: usize = 2 + MAX_PATH_BYTES + 4 + MAX_BLOCK_NAMES * (1 + MAX_NAME_BYTES);

/// Most blocks that a reader finds its way to: 96 MiB of memory. What is beyond counts as not in the ledger.
const MAX_BLOCKS: usize = 4 << 20;

const BUFFER_BYTES: usize = 256 * 1024;

/// How many single names are gathered into blocks. A writer that is killed loses no more of them.
const MAX_GATHERED_NAMES: usize = 1024;

/// A ledger that is being written, by several threads.
#[derive(Debug)]
pub struct LedgerWriter {
    output: Mutex<Output>,
}

#[derive(Debug)]
struct Output {
    writer: BufWriter<File>,
    /// The directories that names were added of, by [`path_hash`].
    directories: HashSet<u64>,
    /// Single names that are not written yet, by directory, and their number.
    gathered: HashMap<RelPath, Vec<Name>>,
    gathered_names: usize,
    /// After an error it is not known what reached the file, so nothing may follow.
    broken: bool,
}

impl LedgerWriter {
    /// Begins a ledger in an empty file.
    pub fn create(file: File) -> Self {
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        let output = Output {
            writer,
            directories: HashSet::new(),
            gathered: HashMap::new(),
            gathered_names: 0,
            broken: false,
        };
        Self { output: Mutex::new(output) }
    }

    /// Adds names of entries of `dir`. A directory may come in several parts.
    pub fn append<'n>(&self, dir: &RelPath, names: impl IntoIterator<Item = &'n Name>) -> io::Result<()> {
        self.output.enter().append(dir, names)
    }

    /// Adds one name of an entry of `dir`. Single names are gathered, so that a directory takes few blocks.
    pub fn add(&self, dir: &RelPath, name: &Name) -> io::Result<()> {
        let mut output = self.output.enter();
        match output.gathered.get_mut(dir) {
            Some(names) => names.push(name.clone()),
            None => drop(output.gathered.insert(dir.clone(), vec![name.clone()])),
        }
        output.gathered_names += 1;
        if output.gathered_names < MAX_GATHERED_NAMES { Ok(()) } else { output.flush() }
    }

    /// Whether names of this directory were added. Names that are gathered count only after a flush.
    pub fn speaks_of(&self, dir: &RelPath) -> bool {
        self.speaks_of_hash(path_hash(dir.as_bytes()))
    }

    /// [`LedgerWriter::speaks_of`] for the [`path_hash`] of a directory.
    pub(crate) fn speaks_of_hash(&self, path_hash: u64) -> bool {
        self.output.enter().directories.contains(&path_hash)
    }

    /// Hands everything to the system. Nothing is synced to the disk.
    pub fn flush(&self) -> io::Result<()> {
        self.output.enter().flush()
    }
}

impl Output {
    fn append<'n>(&mut self, dir: &RelPath, names: impl IntoIterator<Item = &'n Name>) -> io::Result<()> {
        let mut names = names.into_iter().peekable();
        let mut block = Vec::new();
        // A directory without entries is written, too: the ledger speaks of it.
        loop {
            encode(dir, names.by_ref().take(MAX_BLOCK_NAMES), &mut block);
            self.write(&block)?;
            self.directories.insert(path_hash(dir.as_bytes()));
            if names.peek().is_none() {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gathered_names = 0;
        for (dir, names) in std::mem::take(&mut self.gathered) {
            self.append(&dir, &names)?;
        }
        self.check()?;
        self.writer.flush()
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.check()?;
        self.broken = true;
        self.writer.write_all(block)?;
        self.broken = false;
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write to the ledger failed"));
        }
        Ok(())
    }
}

/// Writes a block of up to [`MAX_BLOCK_NAMES`] names in place of what the buffer holds.
#[allow(clippy::cast_possible_truncation)] // Path, names and count are within limits that fit their fields.
fn encode<'n>(dir: &RelPath, names: impl Iterator<Item = &'n Name>, block: &mut Vec<u8>) {
    block.clear();
    block.extend_from_slice(&[0; HEADER_BYTES]);
    block.extend_from_slice(&(dir.as_bytes().len() as u16).to_le_bytes());
    block.extend_from_slice(dir.as_bytes());
    let count_at = block.len();
    block.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for name in names {
        block.push(name.as_bytes().len() as u8);
        block.extend_from_slice(name.as_bytes());
        count += 1;
    }
    block[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    let body = block.len() - HEADER_BYTES;
    let checksum = checksum(&block[HEADER_BYTES..]);
    block[..4].copy_from_slice(&(body as u32).to_le_bytes());
    block[4..HEADER_BYTES].copy_from_slice(&checksum);
}

/// A ledger, open for questions from several threads.
#[derive(Debug, Default)]
pub struct LedgerReader {
    /// None for the empty ledger.
    file: Option<File>,
    /// Sorted by path hash, then by offset.
    index: Vec<Entry>,
}

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    path_hash: u64,
    offset: u64,
}

impl LedgerReader {
    /// Reads a ledger once, up to the first block that is not whole.
    pub fn open(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        let mut index = Vec::new();
        let mut end = 0;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, &file);
        while index.len() < MAX_BLOCKS
            && let Some((block, length)) = read_block(&mut reader)?
        {
            index.push(Entry { path_hash: path_hash(block.path()), offset: end });
            end += length;
        }
        index.sort_unstable();
        Ok(Self { file: Some(file), index })
    }

    /// The names in a directory that are in the ledger.
    pub fn directory(&self, dir: &RelPath) -> io::Result<HashSet<Name>> {
        let mut names = HashSet::new();
        let hash = path_hash(dir.as_bytes());
        let first = self.index.partition_point(|entry| entry.path_hash < hash);
        for entry in self.index[first..].iter().take_while(|entry| entry.path_hash == hash) {
            if let Some(block) = self.block(entry)?
                && block.path() == dir.as_bytes()
            {
                names.extend(block.names());
            }
        }
        Ok(names)
    }

    /// Copies the directories that no names were added of to `writer`, and that are wanted. Names that `writer` gathers count only
    /// when it is flushed.
    pub fn carry_over(&self, writer: &LedgerWriter, wanted: impl Fn(&RelPath) -> bool) -> io::Result<()> {
        for entry in self.index.iter().filter(|entry| !writer.speaks_of_hash(entry.path_hash)) {
            let Some(block) = self.block(entry)? else { continue };
            if let Ok(dir) = RelPath::new(block.path())
                && wanted(&dir)
            {
                writer.output.enter().write(&block.bytes)?;
            }
        }
        Ok(())
    }

    /// Writes all that is in `ledgers` to `writer`, each directory once.
    pub fn merge(ledgers: &[Self], writer: &LedgerWriter) -> io::Result<()> {
        for ledger in ledgers {
            for entry in ledger.index.iter().filter(|entry| !writer.speaks_of_hash(entry.path_hash)) {
                let Some(block) = ledger.block(entry)? else { continue };
                let Ok(dir) = RelPath::new(block.path()) else { continue };
                let mut names = HashSet::new();
                for ledger in ledgers {
                    names.extend(ledger.directory(&dir)?);
                }
                writer.append(&dir, &names)?;
            }
        }
        writer.flush()
    }

    /// Reads one block; none when it was damaged meanwhile.
    fn block(&self, entry: &Entry) -> io::Result<Option<Block>> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut reader = ReadFrom { file, offset: entry.offset };
        Ok(read_block(&mut reader)?.map(|(block, _)| block))
    }
}

/// Reads a file from an offset on, without the file's own position.
struct ReadFrom<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for ReadFrom<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// A block that was found whole and well-formed.
struct Block {
    /// With the header.
    bytes: Vec<u8>,
    path_end: usize,
}

/// Reads a block and answers its length in bytes. None at the end, and when what follows is no block.
fn read_block(reader: &mut impl Read) -> io::Result<Option<(Block, u64)>> {
    let mut header = [0; HEADER_BYTES];
    if !read_whole(reader, &mut header)? {
        return Ok(None);
    }
    let [a, b, c, d, sum @ ..] = header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MAX_BODY_BYTES {
        return Ok(None);
    }
    let mut bytes = vec![0; HEADER_BYTES + length];
    bytes[..HEADER_BYTES].copy_from_slice(&header);
    if !read_whole(reader, &mut bytes[HEADER_BYTES..])? || checksum(&bytes[HEADER_BYTES..]) != sum {
        return Ok(None);
    }
    let length = bytes.len() as u64;
    Ok(Block::parse(bytes).map(|block| (block, length)))
}

/// Fills the buffer; false if the file ends before.
fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl Block {
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut rest = &bytes[HEADER_BYTES..];
        let path_length = usize::from(u16::from_le_bytes(*take(&mut rest)?));
        check_path(rest.get(..path_length)?).ok()?;
        let path_end = HEADER_BYTES + 2 + path_length;
        rest = &rest[path_length..];
        let count = u32::from_le_bytes(*take(&mut rest)?);
        for _ in 0..count {
            let [length] = *take(&mut rest)?;
            let (name, remaining) = rest.split_at_checked(usize::from(length))?;
            Name::new(name).ok()?;
            rest = remaining;
        }
        let whole = rest.is_empty();
        whole.then_some(Self { bytes, path_end })
    }

    /// The path of the directory, as bytes.
    fn path(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES + 2..self.path_end]
    }

    fn names(&self) -> impl Iterator<Item = Name> {
        let mut rest = &self.bytes[self.path_end + 4..];
        std::iter::from_fn(move || {
            let [length] = *take(&mut rest)?;
            let (name, remaining) = rest.split_at_checked(usize::from(length))?;
            rest = remaining;
            // Every name was checked when the block was parsed.
            Name::new(name).ok()
        })
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, remaining) = rest.split_first_chunk()?;
    *rest = remaining;
    Some(taken)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::scratch::{name, rel};

    fn set(names: &[&str]) -> HashSet<Name> {
        names.iter().copied().map(name).collect()
    }

    fn ledger(blocks: &[(&str, &[&str])]) -> File {
        let file = tempfile::tempfile().unwrap();
        let writer = LedgerWriter::create(file.try_clone().unwrap());
        for (dir, names) in blocks {
            writer.append(&rel(dir.as_bytes()), &set(names)).unwrap();
        }
        writer.flush().unwrap();
        file
    }

    #[test]
    fn names_come_back_from_all_parts_of_a_directory() {
        let file = ledger(&[("", &["a", "b"]), ("a", &["x"]), ("", &["c"]), ("empty", &[])]);
        let reader = LedgerReader::open(file).unwrap();
        assert_eq!(reader.directory(&RelPath::root()).unwrap(), set(&["a", "b", "c"]));
        assert_eq!(reader.directory(&rel(b"a")).unwrap(), set(&["x"]));
        assert_eq!(reader.directory(&rel(b"empty")).unwrap(), set(&[]));
        assert_eq!(reader.directory(&rel(b"unknown")).unwrap(), set(&[]));
    }

    #[test]
    fn a_large_directory_takes_several_blocks() {
        let names: Vec<Name> = (0..MAX_BLOCK_NAMES + 5).map(|n| name(format!("{n:0255}"))).collect();
        let file = tempfile::tempfile().unwrap();
        let writer = LedgerWriter::create(file.try_clone().unwrap());
        writer.append(&rel(b"d"), &names).unwrap();
        writer.flush().unwrap();
        let found = LedgerReader::open(file).unwrap().directory(&rel(b"d")).unwrap();
        assert!(found.len() == names.len() && names.iter().all(|name| found.contains(name)));
    }

    #[test]
    fn single_names_are_gathered_and_a_killed_writer_loses_few() {
        let file = tempfile::tempfile().unwrap();
        let writer = LedgerWriter::create(file.try_clone().unwrap());
        for number in 0..MAX_GATHERED_NAMES {
            writer
                .add(&rel(if number % 2 == 0 { &b"even"[..] } else { b"odd" }), &name(number.to_string()))
                .unwrap();
        }
        writer.add(&rel(b"odd"), &name("lost")).unwrap();
        let read = || LedgerReader::open(file.try_clone().unwrap()).unwrap();
        assert_eq!(read().index.len(), 2);
        assert_eq!(read().directory(&rel(b"odd")).unwrap().len(), MAX_GATHERED_NAMES / 2);
        writer.flush().unwrap();
        assert_eq!(read().directory(&rel(b"odd")).unwrap().len(), MAX_GATHERED_NAMES / 2 + 1);
    }

    #[test]
    fn a_killed_run_leaves_its_whole_blocks() {
        let file = ledger(&[("a", &["x"]), ("b", &["y"])]);
        let length = file.metadata().unwrap().len();
        file.set_len(length - 1).unwrap();
        let reader = LedgerReader::open(file.try_clone().unwrap()).unwrap();
        assert_eq!(reader.directory(&rel(b"a")).unwrap(), set(&["x"]));
        assert_eq!(reader.directory(&rel(b"b")).unwrap(), set(&[]));
    }

    #[test]
    fn directories_that_were_not_written_are_carried_over() {
        let old =
            LedgerReader::open(ledger(&[("a", &["old"]), ("b", &["1"]), ("b", &["2"]), ("gone", &["x"])]))
                .unwrap();
        let file = tempfile::tempfile().unwrap();
        let writer = LedgerWriter::create(file.try_clone().unwrap());
        writer.append(&rel(b"a"), &set(&["new"])).unwrap();
        old.carry_over(&writer, |dir| *dir != rel(b"gone")).unwrap();
        writer.flush().unwrap();
        let new = LedgerReader::open(file).unwrap();
        assert_eq!(new.directory(&rel(b"a")).unwrap(), set(&["new"]));
        assert_eq!(new.directory(&rel(b"b")).unwrap(), set(&["1", "2"]));
        assert_eq!(new.directory(&rel(b"gone")).unwrap(), set(&[]));
    }

    #[test]
    fn merged_ledgers_have_each_name_once() {
        let ledgers = [
            LedgerReader::open(ledger(&[("a", &["x", "y"]), ("a", &["z"])])).unwrap(),
            LedgerReader::open(ledger(&[("a", &["y", "new"]), ("b", &["1"])])).unwrap(),
        ];
        let file = tempfile::tempfile().unwrap();
        let writer = LedgerWriter::create(file.try_clone().unwrap());
        LedgerReader::merge(&ledgers, &writer).unwrap();
        let merged = LedgerReader::open(file).unwrap();
        assert_eq!(merged.directory(&rel(b"a")).unwrap(), set(&["x", "y", "z", "new"]));
        assert_eq!(merged.directory(&rel(b"b")).unwrap(), set(&["1"]));
        assert_eq!(merged.index.len(), 2);
    }

    #[test]
    fn damage_anywhere_makes_entries_unknown_and_never_known() {
        let file = ledger(&[("dir", &["aa", "bb"]), ("", &["dir"])]);
        let length = file.metadata().unwrap().len();
        let known = set(&["aa", "bb", "dir"]);
        for at in 0..length {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            for change in [0x01, 0x80, 0xff] {
                file.write_all_at(&[byte[0] ^ change], at).unwrap();
                let reader = LedgerReader::open(file.try_clone().unwrap()).unwrap();
                for dir in [rel(b"dir"), RelPath::root()] {
                    assert!(reader.directory(&dir).unwrap().is_subset(&known), "byte {at}");
                }
            }
            file.write_all_at(&byte, at).unwrap();
        }
    }
}
