//! The inputs: two releases of the kernel's source as Debian packs it, and two versions of one large file.
//! The packages are kept in the target directory, so only the first run needs a mirror.

use super::compare;
use super::interrupt::Interrupt;
use crate::{cargo, program};
use anyhow::{Context, Result, ensure};
use coast_testkit::Noise;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "linux-source-6.1";
/// The tree and the archive inside the package.
const TREE: &str = "linux-source-6.1";
const ARCHIVE: &str = "usr/src/linux-source-6.1.tar.xz";

const BIG_BYTES: u64 = 1 << 30;
/// The insertion that shifts everything after it.
const FRONT_BYTES: u64 = 1000;
/// One edit in each piece of this size, so about a thousand of them.
const PIECE_BYTES: usize = 1 << 20;
/// An edit takes up to this many bytes out and puts up to this many in.
const EDIT_BYTES: u64 = 256;

/// Two versions of an input, each in a directory of its own.
pub(crate) struct Pair {
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
    description: String,
}

/// A kind of input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The two releases.
    Trees,
    /// The two versions of a large file.
    BigFile,
}

/// The inputs of the chosen scenarios.
pub(crate) struct Inputs {
    trees: Option<Pair>,
    big: Option<Pair>,
}

/// Descriptions of the inputs, for the report.
#[derive(Serialize, Clone)]
pub(crate) struct Description(pub(crate) Vec<String>);

impl Inputs {
    /// Makes the wanted inputs in `directory`. Inputs that an earlier run left there are used again.
    pub(crate) fn prepare(directory: &Path, wanted: &[Input], interrupt: &Interrupt) -> Result<Self> {
        let wants = |input| wanted.contains(&input);
        let trees = wants(Input::Trees).then(|| kernel_trees(directory, interrupt)).transpose()?;
        interrupt.check()?;
        let big = wants(Input::BigFile).then(|| big_files(directory)).transpose()?;
        interrupt.check()?;
        Ok(Self { trees, big })
    }

    /// The two versions of an input.
    pub(crate) fn of(&self, input: Input) -> &Pair {
        let pair = match input {
            Input::Trees => &self.trees,
            Input::BigFile => &self.big,
        };
        pair.as_ref().expect("inputs were prepared for every chosen scenario")
    }

    pub(crate) fn describe(&self) -> Description {
        Description(
            [&self.trees, &self.big].into_iter().flatten().map(|pair| pair.description.clone()).collect(),
        )
    }
}

/// Unpacks the newest release the mirror has and the oldest.
fn kernel_trees(directory: &Path, interrupt: &Interrupt) -> Result<Pair> {
    let versions = match <[String; 2]>::try_from(kept_versions(directory)?) {
        Ok(versions) => versions,
        Err(_) => available_versions()?,
    };
    let unpacked = versions.each_ref().map(|version| directory.join(format!("{PACKAGE}_{version}")));
    for (version, folder) in versions.iter().zip(&unpacked) {
        interrupt.check()?;
        if !folder.is_dir() {
            unpack(&package(version)?, folder)?;
        }
    }
    let [old, new] = unpacked;
    let (before, after) = (compare::read(&old)?, compare::read(&new)?);
    let size = compare::Size::of(&after);
    let description = format!(
        "{PACKAGE} {} ({} files in {} directories, {:.2} GB); the switch comes from {}, {} files differ",
        versions[1],
        size.files,
        size.directories,
        gigabytes(size.content_bytes),
        versions[0],
        compare::changed_files(&before, &after),
    );
    Ok(Pair { old, new, description })
}

/// The newest release that lies unpacked in the work directory, or else the newest of the package sources, which is unpacked
/// there.
pub(crate) fn newest_kernel_tree(directory: &Path, interrupt: &Interrupt) -> Result<PathBuf> {
    let version = match kept_versions(directory)?.pop() {
        Some(version) => version,
        None => versions_of_apt()?
            .into_iter()
            .next()
            .with_context(|| format!("apt-cache knows no {PACKAGE}; is `apt-get update` due?"))?,
    };
    interrupt.check()?;
    let folder = directory.join(format!("{PACKAGE}_{version}"));
    if !folder.is_dir() {
        unpack(&package(&version)?, &folder)?;
    }
    Ok(folder)
}

/// The releases that lie unpacked in the work directory, oldest first.
fn kept_versions(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let versions = names.filter_map(|name| Some(name.strip_prefix(PACKAGE)?.strip_prefix('_')?.to_owned()));
    let mut sorted: Vec<String> = Vec::new();
    for version in versions.filter(|version| !version.ends_with(UNFINISHED)) {
        let mut place = 0;
        while place < sorted.len() && is_older(&sorted[place], &version)? {
            place += 1;
        }
        sorted.insert(place, version);
    }
    Ok(sorted)
}

fn is_older(first: &str, second: &str) -> Result<bool> {
    let mut compared = Command::new("dpkg");
    compared.args(["--compare-versions", first, "lt", second]);
    Ok(compared.status().context("starting dpkg")?.success())
}

/// The releases of the configured package sources, newest first.
fn versions_of_apt() -> Result<Vec<String>> {
    Ok(versions_in(&program::output(Command::new("apt-cache").args(["madison", PACKAGE]))?))
}

/// The oldest and the newest release of the configured package sources.
fn available_versions() -> Result<[String; 2]> {
    let versions = versions_of_apt()?;
    ensure!(
        versions.len() > 1,
        "apt-cache knows {} versions of {PACKAGE} and the bench wants two; is `apt-get update` due, and are \
         bookworm and bookworm-security among the sources?",
        versions.len()
    );
    Ok([versions[versions.len() - 1].clone(), versions[0].clone()])
}

/// Versions in the order of the table, which is newest first.
fn versions_in(madison: &str) -> Vec<String> {
    let mut versions = Vec::new();
    for line in madison.lines() {
        let mut columns = line.split('|').map(str::trim);
        if let (Some(PACKAGE), Some(version)) = (columns.next(), columns.next())
            && !versions.iter().any(|known| known == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// The package file. It is downloaded unless an earlier run downloaded it.
fn package(version: &str) -> Result<PathBuf> {
    let folder = cargo::target_directory()?.join("bench-inputs");
    let file = folder.join(format!("{PACKAGE}_{version}_all.deb"));
    if !file.is_file() {
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let mut download = Command::new("apt-get");
        // The user of apt cannot write to the folder, and apt would warn about that.
        download.args(["-q", "-o", "APT::Sandbox::User=root", "download", &format!("{PACKAGE}={version}")]);
        program::output(download.current_dir(&folder))?;
    }
    ensure!(file.is_file(), "apt-get download left no {}", file.display());
    Ok(file)
}

/// Marks a directory that is being filled.
const UNFINISHED: &str = ".unfinished";

/// Unpacks the tree inside `package` elsewhere, then renames it to `folder`.
fn unpack(package: &Path, folder: &Path) -> Result<()> {
    eprintln!("unpacking {}", folder.display());
    let mut unfinished = folder.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    remove(&unfinished)?;
    fs::create_dir(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
    program::output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unfinished))?;
    program::output(Command::new("tar").arg("-xf").arg(unfinished.join(ARCHIVE)).arg("-C").arg(&unfinished))?;
    fs::rename(unfinished.join(TREE), folder)
        .with_context(|| format!("moving {} into place", folder.display()))?;
    remove(&unfinished)
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("removing {}", directory.display()))?;
    }
    Ok(())
}

fn big_files(directory: &Path) -> Result<Pair> {
    let (old, new) = (directory.join("big-old"), directory.join("big-new"));
    if !new.is_dir() {
        let unfinished = directory.join(format!("big{UNFINISHED}"));
        remove(&unfinished)?;
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&old)?;
            fs::create_dir(&unfinished)?;
            let mut before = BufWriter::new(File::create(old.join("big"))?);
            let mut after = BufWriter::new(File::create(unfinished.join("big"))?);
            write_versions(BIG_BYTES, &mut before, &mut after)?;
            before.flush()?;
            after.flush()?;
            fs::rename(&unfinished, &new)
        };
        write().with_context(|| format!("writing the large file in {}", directory.display()))?;
    }
    let description = format!(
        "one file of {BIG_BYTES} bytes of noise; its new version has {FRONT_BYTES} bytes inserted at the front \
         and an edit of up to {EDIT_BYTES} bytes in every {} KiB",
        PIECE_BYTES >> 10
    );
    Ok(Pair { old, new, description })
}

/// Writes `size` bytes of noise, and the same with an insertion at the front and edits all over.
fn write_versions(size: u64, before: &mut impl Write, after: &mut impl Write) -> std::io::Result<()> {
    let (mut content, mut edits) = (Noise::new(1), Noise::new(2));
    let mut random = |limit: u64| usize::try_from(edits.draw() % limit).expect("limits are small");
    let mut inserted = Noise::new(3);
    let mut insertion = vec![0; usize::try_from(FRONT_BYTES).expect("a small constant")];
    inserted.fill(&mut insertion);
    after.write_all(&insertion)?;

    let mut piece = vec![0; PIECE_BYTES];
    let mut left = size;
    while left > 0 {
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        content.fill(&mut piece);
        before.write_all(&piece)?;
        let at = random(piece.len() as u64);
        let removed = random(EDIT_BYTES).min(piece.len() - at);
        insertion.resize(random(EDIT_BYTES), 0);
        inserted.fill(&mut insertion);
        after.write_all(&piece[..at])?;
        after.write_all(&insertion)?;
        after.write_all(&piece[at + removed..])?;
        left -= piece.len() as u64;
    }
    Ok(())
}

/// Precise enough: three digits are shown.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_newest_first_and_once() {
        let table = "linux-source-6.1 | 6.1.192-2 | http://a bookworm-security/main amd64 Packages\n\
                     linux-source-6.1 | 6.1.176-1 | http://a bookworm/main amd64 Packages\n\
                     linux-source-6.1 | 6.1.176-1 | http://b bookworm/main amd64 Packages\n\
                     linux | 6.1.176-1 | http://a bookworm/main Sources\n";
        assert_eq!(versions_in(table), ["6.1.192-2", "6.1.176-1"]);
    }

    #[test]
    fn versions_of_the_large_file_share_most_of_their_content_at_shifted_places() {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let size = 3 * PIECE_BYTES + 10;
        write_versions(size as u64, &mut before, &mut after).unwrap();
        assert_eq!(before.len(), size);
        assert_ne!(before[..1000], after[..1000]);
        let shared = &before[..64];
        assert_eq!(&after[1000..1064], shared);
        assert!(after.len().abs_diff(before.len() + 1000) <= 4 * 256);
    }

    #[test]
    fn large_file_is_the_same_each_time() {
        let write = || {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            write_versions(2 * PIECE_BYTES as u64, &mut before, &mut after).unwrap();
            (before, after)
        };
        assert_eq!(write(), write());
    }
}
