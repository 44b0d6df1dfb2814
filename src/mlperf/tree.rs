//! The runs below a folder of results.

use std::fs;
use std::path::{Path, PathBuf};

use super::leaf::Leaf;

/// Deeper than any layout of results: a guard for the stack. Links, which may lead in circles, are not followed.
const MAX_DEPTH: usize = 12;

/// What marks a folder as one of code, such as the images of itself that mlpstorage keeps: no run lies in it.
const CODE: [&str; 5] = [
    ".code-hash.json",
    ".mlps-image-pool",
    ".git",
    "pyproject.toml",
    "setup.py",
];

/// What lies below a folder of results.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every run, sorted by path.
    pub leaves: Vec<Leaf>,
    /// What could not be listed or is not entered, with the cause.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Every run's folder at or below `root`. Hidden folders (unfinished runs) and folders of code are not entered, nor is anything
/// below a run. A link to a folder outside of `root` is named among the unreadable; what it leads to inside is found there.
///
/// Errors: `root` itself cannot be listed.
pub fn leaves(root: &Path) -> std::io::Result<Tree> {
    fs::read_dir(root)?;
    let mut walk = Walk {
        root: fs::canonicalize(root)?,
        found: Vec::new(),
        unreadable: Vec::new(),
    };
    walk.enter(root, 0);
    walk.found.sort();
    Ok(Tree {
        leaves: walk.found.iter().map(|path| Leaf::read(path)).collect(),
        unreadable: walk.unreadable,
    })
}

struct Walk {
    root: PathBuf,
    found: Vec<PathBuf>,
    unreadable: Vec<(PathBuf, String)>,
}

impl Walk {
    fn enter(&mut self, folder: &Path, depth: usize) {
        if depth > 0 && CODE.iter().any(|name| folder.join(name).exists()) {
            return;
        }
        if Leaf::is_run(folder) {
            return self.found.push(folder.to_owned());
        }
        if depth == MAX_DEPTH {
            let why = format!("deeper than {MAX_DEPTH} folders");
            return self.unreadable.push((folder.to_owned(), why));
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) => return self.unreadable.push((folder.to_owned(), e.to_string())),
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.as_ref().is_ok_and(|t| t.is_dir()) {
                self.enter(&path, depth + 1);
            } else if kind.is_ok_and(|t| t.is_symlink())
                && let Some(target) = fs::canonicalize(&path).ok().filter(|t| t.is_dir())
                && !target.starts_with(&self.root)
            {
                let why = format!("a link to {}, which is not followed", target.display());
                self.unreadable.push((path, why));
            }
        }
    }
}
