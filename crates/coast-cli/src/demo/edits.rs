//! The edits of a developer between two pushes: a few files are edited, added, moved and deleted. They are chosen by size and
//! name, so that the demonstration works in any workspace.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coast_testkit::{Kind, Snapshot};

use super::verdict::{is_excluded, is_protected};

/// Makes the edits and returns a line about each.
pub(super) fn make(workspace: &Path, tree: &Snapshot) -> io::Result<Vec<String>> {
    let mut files = candidates(tree);
    let mut done = Vec::new();

    // The largest file is edited in its middle: only the piece around the edit is sent.
    if let Some((path, size)) = files.pop() {
        insert_in_the_middle(&workspace.join(&path), b"a line in the middle\n")?;
        done.push(format!("edited   {} (21 bytes in the middle of {size})", path.display()));
    }
    // The next file is moved: the receiver finds its content at the destination, and nothing of it is sent.
    if let Some((path, size)) = files.pop() {
        let moved = PathBuf::from("moved-by-the-demo").join(path.file_name().unwrap_or_default());
        fs::create_dir(workspace.join("moved-by-the-demo"))?;
        fs::rename(workspace.join(&path), workspace.join(&moved))?;
        done.push(format!("moved    {} to {} ({size} bytes)", path.display(), moved.display()));
    }
    if files.len() > 1 {
        let (path, _) = files.remove(0);
        fs::remove_file(workspace.join(&path))?;
        done.push(format!("deleted  {}", path.display()));
    }
    if let Some((path, _)) = files.first() {
        File::options().append(true).open(workspace.join(path))?.write_all(b"one line more\n")?;
        done.push(format!("edited   {} (a line at the end)", path.display()));
    }
    fs::write(workspace.join("added-by-the-demo.txt"), "a new file\n")?;
    done.push("added    added-by-the-demo.txt".to_owned());
    Ok(done)
}

/// The regular files that a push sends and may delete, from small to large. Empty files are left out: the destination always
/// has the content of a moved empty file.
fn candidates(tree: &Snapshot) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<(PathBuf, u64)> = tree
        .iter()
        .filter(|(path, _)| !is_excluded(path) && !is_protected(path))
        .filter(|(_, seen)| matches!(seen.kind, Kind::File(_)) && seen.size > 0)
        .map(|(path, seen)| (path.to_owned(), seen.size))
        .collect();
    files.sort_by(|(path, size), (other_path, other_size)| {
        size.cmp(other_size).then_with(|| path.cmp(other_path))
    });
    files
}

fn insert_in_the_middle(path: &Path, piece: &[u8]) -> io::Result<()> {
    let mut content = fs::read(path)?;
    let middle = content.len() / 2;
    content.splice(middle..middle, piece.iter().copied());
    fs::write(path, content)
}

#[cfg(test)]
mod tests {
    use coast_testkit::Aspects;

    use super::*;

    #[test]
    fn edits_are_made_in_a_workspace_of_any_size() {
        for count in 0..6 {
            let scratch = tempfile::tempdir().unwrap();
            for number in 0..count {
                fs::write(scratch.path().join(format!("file-{number}")), "x".repeat(10 + number)).unwrap();
            }
            let before = Snapshot::of(scratch.path());
            let done = make(scratch.path(), &before).unwrap();
            let differences = before.differences(&Snapshot::of(scratch.path()), Aspects::CONTENT);
            assert_ne!(differences, Vec::<String>::new());
            assert_eq!(done.len(), [1, 2, 3, 4, 5, 5][count], "{done:?}");
        }
    }
}
