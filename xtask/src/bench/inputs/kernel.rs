//! Two releases of the kernel's source, as Debian packs it. The packages are kept in the target directory, so only the first run
//! needs a mirror.

use super::{Extent, Pair, UNFINISHED, gigabytes, make, remove, unfinished};
use crate::bench::compare;
use crate::bench::interrupt::Interrupt;
use crate::{cargo, program};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "linux-source-6.1";
/// The tree and the archive inside the package.
const TREE: &str = "linux-source-6.1";
const ARCHIVE: &str = "usr/src/linux-source-6.1.tar.xz";

/// The directory that a part of a tree consists of.
pub(crate) const PART: &str = "drivers/net";

/// Unpacks the newest and the oldest release that the mirror has.
pub(super) fn trees(directory: &Path, extent: Extent, interrupt: &Interrupt) -> Result<Pair> {
    let versions = match <[String; 2]>::try_from(kept_versions(directory)?) {
        Ok(versions) => versions,
        Err(_) => available_versions()?,
    };
    let mut folders = versions.each_ref().map(|version| directory.join(format!("{PACKAGE}_{version}")));
    for (version, folder) in versions.iter().zip(&mut folders) {
        interrupt.check()?;
        if !folder.is_dir() {
            unpack(&package(version)?, folder)?;
        }
        if extent == Extent::Part {
            let part = directory.join(format!("part_{version}"));
            copy_part(folder, &part)?;
            *folder = part;
        }
    }
    let [old, new] = folders;
    let (before, after) = (compare::read(&old)?, compare::read(&new)?);
    let size = compare::Size::of(&after);
    let description = format!(
        "{}{PACKAGE} {} ({} files in {} directories, {:.2} GB); the switch comes from {}, {} files differ",
        if extent == Extent::Part { format!("{PART} of ") } else { String::new() },
        versions[1],
        size.files,
        size.directories,
        gigabytes(size.content_bytes),
        versions[0],
        compare::changed_files(&before, &after),
    );
    Ok(Pair { old, new, description })
}

/// Copies the part of a tree, with the directories above it, to `folder`.
fn copy_part(tree: &Path, folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make(folder, |unfinished| {
        let mut copy = Command::new("cp");
        copy.args(["--archive", "--parents", PART]).arg(unfinished).current_dir(tree);
        program::output(&mut copy).map(drop)
    })
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

/// The versions in the table, newest first.
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

/// Unpacks the tree inside `package` elsewhere, then renames it to `folder`.
fn unpack(package: &Path, folder: &Path) -> Result<()> {
    eprintln!("unpacking {}", folder.display());
    let unfinished = unfinished(folder);
    remove(&unfinished)?;
    fs::create_dir(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
    program::output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unfinished))?;
    program::output(Command::new("tar").arg("-xf").arg(unfinished.join(ARCHIVE)).arg("-C").arg(&unfinished))?;
    fs::rename(unfinished.join(TREE), folder)
        .with_context(|| format!("moving {} into place", folder.display()))?;
    remove(&unfinished)
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
}
