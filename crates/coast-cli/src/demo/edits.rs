//! What a developer does between two pushes: edits, adds, moves and deletes a few files. Which ones follows from their
//! sizes and names, so that it works in any workspace.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::tree::{Tree, What, is_excluded, is_protected};

/// Makes the edits and says in a few words what was done.
pub(super) fn make(workspace: &Path, tree: &Tree) -> io::Result<Vec<String>> {
    let mut files = candidates(tree);
    let mut done = Vec::new();

    // The largest is edited in its middle: only the piece around the edit travels.
    if let Some((path, size)) = files.pop() {
        insert_in_the_middle(&workspace.join(&path), b"a line in the middle\n")?;
        done.push(format!("edited   {} (21 bytes in the middle of {size})", path.display()));
    }
    // The next is moved: it is found at the destination by its content, and does not travel at all.
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

/// The writable regular files that a push brings and may delete, from small to large; empty ones are left out, since an
/// equal file is always at hand for them.
fn candidates(tree: &Tree) -> Vec<(PathBuf, usize)> {
    let mut files: Vec<(PathBuf, usize)> = tree
        .iter()
        .filter(|(path, _)| !is_excluded(path) && !is_protected(path))
        .filter_map(|(path, found)| match &found.what {
            What::File { content, .. } if !content.is_empty() => Some((path.clone(), content.len())),
            _ => None,
        })
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
    use super::super::tree::read;
    use super::*;

    #[test]
    fn edits_are_made_in_a_workspace_of_any_size() {
        for count in 0..6 {
            let scratch = tempfile::tempdir().unwrap();
            for number in 0..count {
                fs::write(scratch.path().join(format!("file-{number}")), "x".repeat(10 + number)).unwrap();
            }
            let before = read(scratch.path()).unwrap();
            let done = make(scratch.path(), &before).unwrap();
            assert_ne!(before, read(scratch.path()).unwrap());
            assert_eq!(done.len(), [1, 2, 3, 4, 5, 5][count], "{done:?}");
        }
    }
}
