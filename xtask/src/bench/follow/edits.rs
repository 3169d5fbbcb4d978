//! Single edits of each kind, and the time that each takes to arrive.

use super::figure::milliseconds;
use super::project::{Instance, holds};
use anyhow::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two edits. Nobody saves faster.
const REST: Duration = Duration::from_millis(50);
/// No edits of one kind are begun after this time.
const KIND_LIMIT: Duration = Duration::from_secs(120);
/// Multiples of this fraction are spread evenly between two whole numbers, however many there are.
const GOLDEN_FRACTION: f64 = 0.618_034;

/// Edits of one instance.
pub(super) struct Edits<'a> {
    instance: &'a Instance<'a>,
    /// Files that were not edited yet.
    untouched: Box<dyn Iterator<Item = PathBuf>>,
    /// The number of edits of each kind.
    count: usize,
}

impl<'a> Edits<'a> {
    pub(super) fn of(instance: &'a Instance<'a>, count: usize) -> Result<Self> {
        Ok(Self { instance, untouched: Box::new(instance.editable_files()?), count })
    }

    /// Saves one file again and again.
    pub(super) fn save_again(&mut self) -> Result<Vec<f64>> {
        let file = self.next()?;
        let old = self.read(&file)?;
        let save = |number: usize| self.save(&file, &edited(&old, number));
        // After this save the file counts as recently changed.
        save(self.count)?;
        self.repeat(|_| REST, save)
    }

    /// Saves files that were not edited before.
    pub(super) fn save_first(&mut self) -> Result<Vec<f64>> {
        let files = self.take()?;
        self.repeat_between_scans(|number| {
            let file = &files[number];
            self.save(file, &edited(&self.read(file)?, number))
        })
    }

    /// Makes files, each in a new directory.
    pub(super) fn make(&mut self) -> Result<Vec<f64>> {
        self.repeat_between_scans(|number| {
            let directory = PathBuf::from(format!("made-{number}"));
            let file = directory.join("new");
            let content = format!("new file {number}\n").into_bytes();
            self.instance.time(
                |root| {
                    fs::create_dir(root.join(&directory)).and_then(|()| fs::write(root.join(&file), &content))
                },
                |workspace| holds(workspace, &file, &content),
            )
        })
    }

    /// Deletes files.
    pub(super) fn delete(&mut self) -> Result<Vec<f64>> {
        let files = self.take()?;
        self.repeat_between_scans(|number| {
            let file = &files[number];
            self.instance
                .time(|root| fs::remove_file(root.join(file)), |workspace| !workspace.join(file).exists())
        })
    }

    /// Changes whether files are executable.
    pub(super) fn chmod(&mut self) -> Result<Vec<f64>> {
        let files = self.take()?;
        self.repeat_between_scans(|number| {
            let file = &files[number];
            let executable =
                |root: &Path| fs::metadata(root.join(file)).map(|it| it.permissions().mode() & 0o100 != 0);
            let wanted = !executable(&self.instance.project.root).context("looking at a file")?;
            let mode = if wanted { 0o755 } else { 0o644 };
            self.instance.time(
                |root| fs::set_permissions(root.join(file), Permissions::from_mode(mode)),
                |workspace| executable(workspace).is_ok_and(|found| found == wanted),
            )
        })
    }

    /// Renames files.
    pub(super) fn rename(&mut self) -> Result<Vec<f64>> {
        let files = self.take()?;
        self.repeat_between_scans(|number| {
            let old = &files[number];
            let new = old.with_file_name(format!("renamed-{number}"));
            let content = self.read(old)?;
            self.instance.time(
                |root| fs::rename(root.join(old), root.join(&new)),
                |workspace| holds(workspace, &new, &content) && !workspace.join(old).exists(),
            )
        })
    }

    /// Saves files as careful editors do: the new content is a new file, which is renamed over the old one.
    pub(super) fn save_atomically(&mut self) -> Result<Vec<f64>> {
        let files = self.take()?;
        self.repeat_between_scans(|number| {
            let file = &files[number];
            let unfinished = file.with_file_name(format!(".{number}.swp"));
            let content = edited(&self.read(file)?, number);
            self.instance.time(
                |root| {
                    fs::write(root.join(&unfinished), &content)?;
                    fs::rename(root.join(&unfinished), root.join(file))
                },
                |workspace| holds(workspace, file, &content),
            )
        })
    }

    fn save(&self, file: &Path, content: &[u8]) -> Result<Duration> {
        self.instance
            .time(|root| fs::write(root.join(file), content), |workspace| holds(workspace, file, content))
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>> {
        let path = self.instance.project.root.join(file);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }

    fn next(&mut self) -> Result<PathBuf> {
        self.untouched.next().context("the tree has too few files for so many edits")
    }

    /// A file for each edit of a kind.
    fn take(&mut self) -> Result<Vec<PathBuf>> {
        (0..self.count).map(|_| self.next()).collect()
    }

    /// Makes edits at all times between two scans of a layer that does not watch every file.
    fn repeat_between_scans(&self, edit: impl Fn(usize) -> Result<Duration>) -> Result<Vec<f64>> {
        let period = self.instance.project.site.layer.scans_every();
        #[expect(clippy::cast_precision_loss, reason = "it is a small number")]
        self.repeat(|number| REST + period.mul_f64((number as f64 * GOLDEN_FRACTION).fract()), edit)
    }

    /// The milliseconds of each edit.
    fn repeat(
        &self,
        rest: impl Fn(usize) -> Duration,
        edit: impl Fn(usize) -> Result<Duration>,
    ) -> Result<Vec<f64>> {
        let begun = Instant::now();
        let mut samples = Vec::new();
        while samples.len() < self.count && begun.elapsed() < KIND_LIMIT {
            thread::sleep(rest(samples.len()));
            samples.push(milliseconds(edit(samples.len())?));
        }
        Ok(samples)
    }
}

/// The content of a file after an edit: a line more.
pub(super) fn edited(content: &[u8], number: usize) -> Vec<u8> {
    let mut content = content.to_vec();
    content.extend_from_slice(format!("// edit {number}\n").as_bytes());
    content
}
