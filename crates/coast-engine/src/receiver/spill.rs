//! A list that grows with the tree and is read once at the end: in memory while it is short, so that a short one also works on a full
//! disk, and then in a file of the state directory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard};

use coast_tree::{DirHandle, LockExt, Name, RelPath};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// Bytes of one item at most; ours are a few paths.
const MAX_ITEM_BYTES: usize = 1 << 20;

/// Bytes that a list has in memory before it goes to a file.
const MAX_MEMORY_BYTES: usize = 64 << 10;

/// A list of items, appended to by many threads.
pub(super) struct Spill<T> {
    /// Guards the file and its position. No other lock is taken while it is held.
    items: Mutex<Items>,
    item: PhantomData<fn(T) -> T>,
}

struct Items {
    store: Store,
    /// Where the file is made, which gets this name for a moment. None in a dry run, which writes no file.
    place: Option<(DirHandle, Name)>,
    count: u64,
    scratch: Vec<u8>,
}

enum Store {
    Memory(Vec<u8>),
    File(BufWriter<File>),
}

/// A path relative to the transfer root, as it is written to a list.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredPath(#[serde(with = "serde_bytes")] Vec<u8>);

impl From<&RelPath> for StoredPath {
    fn from(path: &RelPath) -> Self {
        Self(path.as_bytes().to_vec())
    }
}

impl StoredPath {
    /// An entry of a directory.
    pub(super) fn of_entry(directory: &RelPath, name: &Name) -> Self {
        Self(path_in(directory, name))
    }

    /// The bytes of the path.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Checks the path again: the list was on a disk.
    pub(super) fn to_path(&self) -> Result<RelPath, EngineError> {
        RelPath::new(&self.0).map_err(|error| spill_failed(io::Error::other(error)))
    }
}

/// A path of one entry of a directory, relative to the transfer root.
pub(super) fn path_in(directory: &RelPath, name: &Name) -> Vec<u8> {
    if directory.is_root() {
        name.as_bytes().to_vec()
    } else {
        [directory.as_bytes(), b"/", name.as_bytes()].concat()
    }
}

impl<T: Serialize + DeserializeOwned> Spill<T> {
    /// A list whose file is a nameless one of `dir`, made when the list is long; only in memory if there is no directory for it.
    pub(super) fn new(dir: Option<&DirHandle>, name: &'static str) -> Self {
        let name = || Name::new(name.as_bytes()).expect("a constant without a slash");
        let place = dir.map(|dir| (dir.clone(), name()));
        let items = Items { store: Store::Memory(Vec::new()), place, count: 0, scratch: Vec::new() };
        Self { items: Mutex::new(items), item: PhantomData }
    }

    /// Appends an item.
    pub(super) fn push(&self, item: &T) -> Result<(), EngineError> {
        self.lock().push(item).map_err(spill_failed)
    }

    /// The items in the order they were pushed; the list is empty afterwards.
    pub(super) fn drain(&self) -> Result<Drain<T>, EngineError> {
        let (reader, left) = self.lock().drain().map_err(spill_failed)?;
        Ok(Drain { reader, left, item: PhantomData })
    }

    /// The items from the last to the first; the list is empty afterwards.
    pub(super) fn drain_back(&self) -> Result<DrainBack<T>, EngineError> {
        let (reader, end) = self.lock().drain_back().map_err(spill_failed)?;
        Ok(DrainBack { reader, end, item: PhantomData })
    }

    fn lock(&self) -> MutexGuard<'_, Items> {
        self.items.enter()
    }
}

impl Items {
    fn push<T: Serialize>(&mut self, item: &T) -> io::Result<()> {
        let Self { store, place, count, scratch } = self;
        scratch.clear();
        let encoded = postcard::to_extend(item, std::mem::take(scratch)).map_err(io::Error::other)?;
        let length = u32::try_from(encoded.len()).map_err(io::Error::other)?.to_le_bytes();
        if let (Store::Memory(bytes), Some((dir, name))) = (&*store, &*place)
            && bytes.len() + encoded.len() > MAX_MEMORY_BYTES
        {
            let file = dir.create_file(name, 0o600)?;
            // Open and nameless: nothing is left of it, however the run ends.
            dir.unlink(name)?;
            let mut file = BufWriter::with_capacity(64 << 10, file);
            file.write_all(bytes)?;
            *store = Store::File(file);
        }
        let writer: &mut dyn Write = match store {
            Store::File(file) => file,
            Store::Memory(bytes) => bytes,
        };
        // The length on both sides, so that the list can be read from either end.
        for bytes in [&length[..], &encoded, &length[..]] {
            writer.write_all(bytes)?;
        }
        *count += 1;
        *scratch = encoded;
        Ok(())
    }

    fn drain(&mut self) -> io::Result<(Box<dyn BufRead + Send>, u64)> {
        let reader: Box<dyn BufRead + Send> = match self.take() {
            Store::File(file) => {
                let mut file = file.into_inner()?;
                file.seek(SeekFrom::Start(0))?;
                Box::new(BufReader::with_capacity(64 << 10, file))
            }
            Store::Memory(bytes) => Box::new(io::Cursor::new(bytes)),
        };
        Ok((reader, std::mem::take(&mut self.count)))
    }

    fn drain_back(&mut self) -> io::Result<(Box<dyn ReadSeek + Send>, u64)> {
        self.count = 0;
        Ok(match self.take() {
            Store::File(file) => {
                let mut file = file.into_inner()?;
                let end = file.seek(SeekFrom::End(0))?;
                (Box::new(file), end)
            }
            Store::Memory(bytes) => {
                let end = bytes.len() as u64;
                (Box::new(io::Cursor::new(bytes)), end)
            }
        })
    }

    /// Takes what was pushed. A file system that keeps the name of an open file (FUSE) loses it when the caller has read the file.
    fn take(&mut self) -> Store {
        std::mem::replace(&mut self.store, Store::Memory(Vec::new()))
    }
}

trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// See [`Spill::drain`].
pub(super) struct Drain<T> {
    reader: Box<dyn BufRead + Send>,
    left: u64,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for Drain<T> {
    type Item = Result<T, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut read = || {
            let length = read_length(&mut self.reader)?;
            let mut item = vec![0; length + 4];
            self.reader.read_exact(&mut item)?;
            postcard::from_bytes(&item[..length]).map_err(io::Error::other)
        };
        Some(read().map_err(spill_failed))
    }
}

/// See [`Spill::drain_back`].
pub(super) struct DrainBack<T> {
    reader: Box<dyn ReadSeek + Send>,
    end: u64,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for DrainBack<T> {
    type Item = Result<T, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end < 8 {
            return None;
        }
        let mut read = || {
            self.reader.seek(SeekFrom::Start(self.end - 4))?;
            let length = read_length(&mut self.reader)?;
            let start = self.end.checked_sub(8 + length as u64).ok_or(io::ErrorKind::InvalidData)?;
            self.reader.seek(SeekFrom::Start(start + 4))?;
            let mut item = vec![0; length];
            self.reader.read_exact(&mut item)?;
            self.end = start;
            postcard::from_bytes(&item).map_err(io::Error::other)
        };
        let result = read();
        if result.is_err() {
            self.end = 0;
        }
        Some(result.map_err(spill_failed))
    }
}

fn read_length(reader: &mut impl Read) -> io::Result<usize> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_ITEM_BYTES { Err(io::ErrorKind::InvalidData.into()) } else { Ok(length) }
}

/// A list that cannot be kept ends the run.
fn spill_failed(error: io::Error) -> EngineError {
    EngineError::FileIo { doing: "keeping a list in the private state directory".to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::Spill;

    #[test]
    fn items_come_back_in_either_order() {
        let dir = tempfile::tempdir().unwrap();
        let handle = coast_tree::Root::open(dir.path()).unwrap().handle();
        for place in [None, Some(&handle)] {
            let spill = Spill::<Vec<u8>>::new(place, "list");
            let items: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; usize::from(n) * 7]).collect();
            items.iter().for_each(|item| spill.push(item).unwrap());
            let forth: Vec<Vec<u8>> = spill.drain().unwrap().map(Result::unwrap).collect();
            assert_eq!(forth, items);
            let spill = Spill::<Vec<u8>>::new(place, "list");
            items.iter().for_each(|item| spill.push(item).unwrap());
            let mut back: Vec<Vec<u8>> = spill.drain_back().unwrap().map(Result::unwrap).collect();
            back.reverse();
            assert_eq!(back, items);
            assert!(spill.drain().unwrap().next().is_none());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file is left");
    }
}
