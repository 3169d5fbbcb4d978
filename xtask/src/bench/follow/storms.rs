//! Many changes at once.

use super::edits::edited;
use super::figure::milliseconds;
use super::project::{Instance, holds};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

const ROUNDS: usize = 3;
const NEW_FILES: usize = 10_000;
const NEW_DIRECTORIES: usize = 100;
const SWITCHED_FILES: usize = 500;

/// Files and their contents.
type Contents = Vec<(PathBuf, Vec<u8>)>;

/// Writes files in a loop. The times are those from the first file's begin until all files have arrived, in milliseconds.
pub(super) fn new_files(instance: &Instance<'_>) -> Result<Vec<f64>> {
    let round = |round: usize| {
        let top = format!("storm-{round}");
        let files: Contents = (0..NEW_FILES)
            .map(|number| {
                let file = format!("{top}/{}/{number}", number % NEW_DIRECTORIES);
                (file.into(), format!("file {number} of round {round}\n").repeat(8).into_bytes())
            })
            .collect();
        let root = &instance.project.root;
        let started = Instant::now();
        for directory in 0..NEW_DIRECTORIES {
            fs::create_dir_all(root.join(format!("{top}/{directory}")))?;
        }
        files.iter().try_for_each(|(file, content)| fs::write(root.join(file), content))?;
        wait_for(instance, started, &files)?;
        Ok(milliseconds(started.elapsed()))
    };
    (0..ROUNDS).map(round).collect::<Result<_>>().context("writing many files")
}

/// Goes forth and back between two branches. The times are those from the begin of `git checkout` until all files have arrived,
/// in milliseconds.
pub(super) fn checkouts(instance: &Instance<'_>) -> Result<Vec<f64>> {
    let project = instance.project;
    project.commit()?;
    let files: Vec<PathBuf> = instance.editable_files()?.take(SWITCHED_FILES).collect();
    ensure!(files.len() == SWITCHED_FILES, "the tree has only {} files to change", files.len());
    let read = |file: PathBuf| fs::read(project.root.join(&file)).map(|content| (file, content));
    let main: Contents = files.into_iter().map(read).collect::<Result<_, _>>().context("reading files")?;
    let other: Contents = main.iter().map(|(file, content)| (file.clone(), edited(content, 0))).collect();
    project.git(["checkout", "--quiet", "-b", "other"])?;
    for (file, content) in &other {
        fs::write(project.root.join(file), content).with_context(|| format!("writing {}", file.display()))?;
    }
    project.commit()?;
    wait_for(instance, Instant::now(), &other)?;
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        for (branch, contents) in [("main", &main), ("other", &other)] {
            let started = Instant::now();
            project.git(["checkout", "--quiet", branch])?;
            wait_for(instance, started, contents)?;
            samples.push(milliseconds(started.elapsed()));
        }
    }
    Ok(samples)
}

/// Waits for one file after the other. The last wait ends when all files are there.
fn wait_for(instance: &Instance<'_>, started: Instant, files: &Contents) -> Result<()> {
    files
        .iter()
        .try_for_each(|(file, content)| instance.wait(started, |workspace| holds(workspace, file, content)))
}
