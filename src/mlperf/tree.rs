//! The leaves below a folder of results.

use std::fs;
use std::path::{Path, PathBuf};

use super::leaf::Leaf;

/// Deeper than any layout of results: a guard against links in circles.
const MAX_DEPTH: usize = 12;

/// What lies below a folder of results.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every run, sorted by path.
    pub leaves: Vec<Leaf>,
    /// What could not be listed, with the cause.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Every run's folder at or below `root`. Hidden folders (unfinished runs, code images) are not entered,
/// nor is anything below a run.
///
/// Errors: `root` itself cannot be listed.
pub fn leaves(root: &Path) -> std::io::Result<Tree> {
    fs::read_dir(root)?;
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    walk(root, 0, &mut found, &mut unreadable);
    found.sort();
    Ok(Tree {
        leaves: found.iter().map(|path| Leaf::read(path)).collect(),
        unreadable,
    })
}

fn walk(
    folder: &Path,
    depth: usize,
    found: &mut Vec<PathBuf>,
    unreadable: &mut Vec<(PathBuf, String)>,
) {
    if Leaf::is_run(folder) {
        found.push(folder.to_owned());
        return;
    }
    if depth == MAX_DEPTH {
        unreadable.push((
            folder.to_owned(),
            format!("deeper than {MAX_DEPTH} folders"),
        ));
        return;
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => return unreadable.push((folder.to_owned(), e.to_string())),
    };
    for entry in entries.flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        // A link is not followed: it may lead up.
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_folder && !hidden {
            walk(&entry.path(), depth + 1, found, unreadable);
        }
    }
}
