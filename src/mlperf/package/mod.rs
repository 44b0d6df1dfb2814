//! The folder tree of an OPEN submission, made of copies of runs.
//!
//! Nothing is moved, changed or deleted where the runs lie. The tree appears under its name when it is complete.
//! It is never a CLOSED one.

pub mod hosts;
pub mod layout;
mod markdown;
mod results;
mod yaml;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::leaf::Leaf;
use super::rules::structure;
use super::tree;
use super::verdict::{Category, Verdict};
use super::{Edition, NO_RUNS, NOT_CLOSED, rules};
use crate::interrupt::{self, Unfinished};
use layout::Placed;

/// What stands in files where only a person knows the value.
pub const FILL_IN: &str = "FILL-IN";

/// What to package.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Folder above the runs.
    pub results: &'a Path,
    /// The submitter.
    pub organisation: &'a str,
    /// Name of the system under test.
    pub system: &'a str,
    /// The tree to make; absent or empty.
    pub out: &'a Path,
    /// Whose layout.
    pub edition: Edition,
}

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A name cannot be a folder's.
    #[error(
        "package: {option} {name:?} cannot be the name of a folder; use letters, digits, '-', '_' and '.', beginning with a letter or digit"
    )]
    Name {
        /// The option.
        option: &'static str,
        /// As given.
        name: String,
    },
    /// Something is there.
    #[error(
        "package to {path}: the folder is not empty; give one that is new or empty (--out DIR)"
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The copy would lie in what is copied.
    #[error(
        "package to {path}: it lies inside {results}, whose runs would be found twice the next time; give a folder elsewhere (--out DIR)"
    )]
    Inside {
        /// The tree to make.
        path: PathBuf,
        /// The runs.
        results: PathBuf,
    },
    /// There is nothing to package.
    #[error("package {path}: {NO_RUNS}; give the folder of a run, or one above runs")]
    NoRuns {
        /// Where was looked.
        path: PathBuf,
    },
    /// The runs break rules.
    #[error("package {path}: {} violation(s), nothing was written:\n  {}", .violations.len(), .violations.join("\n  "))]
    Violations {
        /// The runs.
        path: PathBuf,
        /// Each with place and rule.
        violations: Vec<String>,
    },
    /// A file operation failed.
    #[error(
        "{operation} {path}: {source}; check that it is readable, and that --out is writable and has space"
    )]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

fn io_error<'p>(
    operation: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> PackageError + use<'p> {
    move |source| PackageError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packaged {
    /// The organisation's folder.
    pub folder: PathBuf,
    /// Copied runs: from, to.
    pub copied: Vec<(PathBuf, PathBuf)>,
    /// Runs that the layout has no place for, with the reason.
    pub left_out: Vec<(PathBuf, String)>,
    /// What a person has to do before a submission.
    pub to_do: Vec<String>,
}

/// What `check` finds in the runs of a folder and their groups: every violated rule, and workloads of which the edition takes no
/// submissions. Rules about the tree itself are left out: the tree is still to be made.
///
/// Errors: the folder cannot be listed.
pub fn violations(results: &Path, edition: Edition) -> io::Result<Vec<String>> {
    let checked = rules::submission(results, edition)?;
    let mut out = Vec::new();
    for assessment in checked.assessments.iter().filter(|a| a.kind != "tree") {
        let subject = &assessment.subject;
        if assessment.category == Category::WhatIf {
            out.push(format!(
                "{subject}: {edition} takes no submissions of this workload ({})",
                assessment.facts
            ));
        }
        let failed = assessment.findings.iter();
        for finding in failed.filter(|f| f.verdict == Verdict::Fail) {
            let remedy = finding.remedy.iter().map(|r| format!("; remedy: {r}"));
            out.push(format!(
                "{subject}: {} {}: {}{}",
                finding.rule,
                finding.name,
                finding.what,
                remedy.collect::<String>()
            ));
        }
    }
    Ok(out)
}

/// Makes the tree, unless `violations` holds anything: then nothing is written.
///
/// Errors: see [`PackageError`]; what had been written is removed.
pub fn package(
    request: &Request<'_>,
    violations: &dyn Fn(&Path, Edition) -> io::Result<Vec<String>>,
) -> Result<Packaged, PackageError> {
    for (option, name) in [
        ("--org", request.organisation),
        ("--system", request.system),
    ] {
        if !is_name(name) {
            return Err(PackageError::Name {
                option,
                name: name.into(),
            });
        }
    }
    let out = std::path::absolute(request.out).map_err(io_error("resolve", request.out))?;
    if out.exists() {
        let mut entries = fs::read_dir(&out).map_err(io_error("open folder", &out))?;
        if entries.next().is_some() {
            return Err(PackageError::NotEmpty { path: out });
        }
    }
    let runs = tree::leaves(request.results).map_err(io_error("list", request.results))?;
    if runs.leaves.is_empty() {
        return Err(PackageError::NoRuns {
            path: request.results.to_owned(),
        });
    }
    let results = request
        .results
        .canonicalize()
        .map_err(io_error("resolve", request.results))?;
    if resolved(&out).starts_with(&results) {
        return Err(PackageError::Inside { path: out, results });
    }
    let (placed, left_out, mut found) = layout::place(&runs, request.edition);
    let broken = violations(request.results, request.edition);
    found.extend(broken.map_err(io_error("check", request.results))?);
    if !found.is_empty() {
        return Err(PackageError::Violations {
            path: request.results.to_owned(),
            violations: found,
        });
    }
    let partial = Partial::create(&out)?;
    let division = match request.edition {
        Edition::V2 => "Open",
        Edition::V3 => "open",
    };
    let below = Path::new(division).join(request.organisation);
    let to_do = write(request, &partial.path.join(&below), &placed)?;
    partial.publish(&out)?;
    let folder = out.join(below);
    let base = folder.join(base_name(request));
    Ok(Packaged {
        copied: placed
            .iter()
            .map(|p| (p.leaf.path.clone(), base.join(&p.place)))
            .collect(),
        folder,
        left_out,
        to_do,
    })
}

/// Where the runs lie, below the organisation's folder.
fn base_name(request: &Request<'_>) -> PathBuf {
    Path::new("results").join(request.system)
}

/// The path with links resolved as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let existing = path
        .ancestors()
        .find_map(|a| Some((a, a.canonicalize().ok()?)));
    match existing {
        Some((ancestor, real)) => match path.strip_prefix(ancestor) {
            Ok(rest) => real.join(rest),
            Err(_) => real,
        },
        None => path.to_owned(),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A hidden sibling of the tree, removed unless it is published.
struct Partial {
    path: PathBuf,
    is_published: bool,
    _unfinished: Unfinished,
}

impl Partial {
    fn create(out: &Path) -> Result<Self, PackageError> {
        let parent = out.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(io_error("create folder", parent))?;
        let name = out
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let path = parent.join(format!(".{name}.partial-{}", std::process::id()));
        let unfinished = interrupt::unfinished(&path);
        fs::create_dir(&path).map_err(io_error("create folder", &path))?;
        Ok(Partial {
            path,
            is_published: false,
            _unfinished: unfinished,
        })
    }

    fn publish(mut self, out: &Path) -> Result<(), PackageError> {
        // rename(2) replaces an empty folder and refuses one with entries.
        interrupt::uninterrupted(|| fs::rename(&self.path, out))
            .map_err(io_error("rename the finished tree to", out))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_published {
            // Best effort: the error that led here is the one to report.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Everything below the organisation's folder; returns what is left to do.
fn write(
    request: &Request<'_>,
    folder: &Path,
    placed: &[Placed<'_>],
) -> Result<Vec<String>, PackageError> {
    let base = folder.join(base_name(request));
    for run in placed {
        copy(&run.leaf.path, &base.join(&run.place))?;
    }
    for (place, text) in results::files(placed, request) {
        write_file(&base.join(place), &text)?;
    }
    let leaves: Vec<&Leaf> = placed.iter().map(|p| p.leaf).collect();
    let facts = hosts::Facts::of(&leaves);
    let system = yaml::text(request, &facts);
    let mut to_do = vec![
        format!(
            "fill in the {} places marked {FILL_IN} in systems/{}.yaml",
            system.matches(FILL_IN).count(),
            request.system
        ),
        format!(
            "complete systems/{0}.md and print it as systems/{0}.pdf: the PDF is mandatory",
            request.system
        ),
    ];
    let source = format!(
        "the source of dlio-rs {} (commit {}), which OPEN asks for, under a licence that lets MLCommons use it",
        env!("CARGO_PKG_VERSION"),
        env!("DLIO_RS_COMMIT")
    );
    let lacking: Vec<String> = placed
        .iter()
        .filter_map(|run| {
            let streams = structure::missing_streams(run.leaf, run.kind);
            let path = base_name(request).join(&run.place);
            (!streams.is_empty()).then(|| format!("{} ({})", path.display(), streams.join(", ")))
        })
        .collect();
    if !lacking.is_empty() {
        to_do.push(format!(
            "add what the launcher printed, which mlpstorage keeps: {}",
            lacking.join("; ")
        ));
    }
    match request.edition {
        Edition::V2 => {
            write_file(
                &folder.join("code/README.md"),
                &format!(
                    "# Code\n\nThe runs were made by dlio-rs, a re-implementation of DLIO, not by DLIO.\n{NOT_CLOSED}\n\n{FILL_IN}: put here {source}.\n"
                ),
            )?;
            to_do.push(format!("put into code/ {source}"));
        }
        Edition::V3 => to_do.push(format!("add the code image: {source}; dlio-rs makes none")),
    }
    write_file(
        &folder.join(format!("systems/{}.yaml", request.system)),
        &system,
    )?;
    write_file(
        &folder.join(format!("systems/{}.md", request.system)),
        &markdown::text(request, &facts, &to_do),
    )?;
    Ok(to_do)
}

fn write_file(path: &Path, text: &str) -> Result<(), PackageError> {
    if let Some(parent) = path.parent() {
        interrupt::uninterrupted(|| fs::create_dir_all(parent))
            .map_err(io_error("create folder", parent))?;
    }
    fs::write(path, text).map_err(io_error("write", path))
}

/// Copies a run's folder with all that lies in it. Links become what they point to.
fn copy(from: &Path, to: &Path) -> Result<(), PackageError> {
    interrupt::uninterrupted(|| fs::create_dir_all(to)).map_err(io_error("create folder", to))?;
    for entry in fs::read_dir(from).map_err(io_error("list", from))? {
        let entry = entry.map_err(io_error("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        // A link to a folder may lead anywhere.
        let kind = entry.file_type().map_err(io_error("look at", &source))?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else {
            // A pipe would never end.
            if !fs::metadata(&source)
                .map_err(io_error("look at", &source))?
                .is_file()
            {
                let what = io::Error::other("it is neither a file nor a folder");
                return Err(io_error("copy", &source)(what));
            }
            fs::copy(&source, &target).map_err(io_error("copy", &source))?;
        }
    }
    Ok(())
}
