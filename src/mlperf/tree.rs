//! The leaves below a folder of results.

use std::fs;
use std::path::{Path, PathBuf};

use super::leaf::Leaf;

/// Deeper than any layout of results: a guard for the stack. Links, which may lead in circles, are not followed.
const MAX_DEPTH: usize = 12;

/// What lies below a folder of results.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every run, sorted by path.
    pub leaves: Vec<Leaf>,
    /// What could not be listed or is not entered, with the cause.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Every run's folder at or below `root`. Hidden folders (unfinished runs, code images) are not entered,
/// nor is anything below a run. A link to a folder outside of `root` is named among the unreadable; what it leads to
/// inside is found there.
///
/// Errors: `root` itself cannot be listed.
pub fn leaves(root: &Path) -> std::io::Result<Tree> {
    fs::read_dir(root)?;
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    let real = fs::canonicalize(root)?;
    walk(root, &real, 0, &mut found, &mut unreadable);
    found.sort();
    Ok(Tree {
        leaves: found.iter().map(|path| Leaf::read(path)).collect(),
        unreadable,
    })
}

fn walk(
    folder: &Path,
    root: &Path,
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
        if hidden {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type();
        if kind.as_ref().is_ok_and(|t| t.is_dir()) {
            walk(&path, root, depth + 1, found, unreadable);
        } else if kind.is_ok_and(|t| t.is_symlink())
            && let Some(target) = fs::canonicalize(&path).ok().filter(|t| t.is_dir())
            && !target.starts_with(root)
        {
            let why = format!("a link to {}, which is not followed", target.display());
            unreadable.push((path, why));
        }
    }
}
