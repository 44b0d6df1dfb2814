//! The tree of a submission: which folders and files stand where.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::tables;
use crate::mlperf::Edition;
use crate::mlperf::json::{Document, at};
use crate::mlperf::leaf::timestamp;
use crate::mlperf::verdict::{Finding, Original};

/// Names in a folder: subfolders, and everything else.
struct Entries {
    folders: BTreeSet<String>,
    files: BTreeSet<String>,
}

/// Errors: the folder cannot be listed.
fn entries(folder: &Path) -> Result<Entries, String> {
    let list = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut out = Entries {
        folders: BTreeSet::new(),
        files: BTreeSet::new(),
    };
    for entry in list.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            out.folders.insert(name);
        } else {
            out.files.insert(name);
        }
    }
    Ok(out)
}

struct Walk {
    edition: Edition,
    out: Vec<Finding>,
}

/// Every rule of this file; None where the folder is not the root of a submission.
pub fn check(root: &Path, edition: Edition) -> Option<Vec<Finding>> {
    let top = entries(root).ok()?;
    let divisions: Vec<_> = top
        .folders
        .iter()
        .filter(|name| ["closed", "open"].contains(&name.to_lowercase().as_str()))
        .cloned()
        .collect();
    if divisions.is_empty() {
        return None;
    }
    let mut walk = Walk {
        edition,
        out: Vec::new(),
    };
    walk.top(root, &top, &divisions);
    for division in divisions {
        walk.division(&root.join(division));
    }
    Some(walk.out)
}

impl Walk {
    fn violation(&self) -> Original {
        match self.edition {
            Edition::V2 => Original::Silent,
            Edition::V3 => Original::Violation,
        }
    }

    fn add(&mut self, rule: &'static str, name: &'static str, wrong: Vec<String>, remedy: &str) {
        let violation = self.violation();
        self.out.push(if wrong.is_empty() {
            Finding::pass(rule, name, "as it should be")
        } else {
            Finding::fail(rule, name, wrong.join("; "))
                .remedy(remedy)
                .original(violation)
        });
    }

    /// Lists a folder; one that cannot be is a finding.
    fn list(&mut self, folder: &Path) -> Option<Entries> {
        match entries(folder) {
            Ok(entries) => Some(entries),
            Err(why) => {
                self.out.push(
                    Finding::fail("2.1.1", "foldersAreReadable", why)
                        .remedy("make the folder readable, or restore it"),
                );
                None
            }
        }
    }

    fn top(&mut self, root: &Path, top: &Entries, divisions: &[String]) {
        let mut wrong: Vec<String> = divisions
            .iter()
            .filter(|name| self.edition == Edition::V3 && **name != name.to_lowercase())
            .map(|name| format!("{name}: {} is expected", name.to_lowercase()))
            .collect();
        let strangers = top.folders.iter().filter(|name| {
            !divisions.contains(name) && !name.starts_with("code") && *name != "code-images"
        });
        wrong.extend(each(root, strangers.chain(&top.files), STRANGE));
        self.add(
            "2.1.1",
            "topLevelFolders",
            wrong,
            "the top holds only closed/ and open/ (and code images)",
        );
    }

    fn division(&mut self, division: &Path) {
        let Some(list) = self.list(division) else {
            return;
        };
        for organisation in list.folders {
            if organisation.starts_with("code") {
                continue;
            }
            self.organisation(&division.join(organisation));
        }
    }

    fn organisation(&mut self, folder: &Path) {
        let Some(list) = self.list(folder) else {
            return;
        };
        let missing = ["results", "systems"].into_iter();
        let missing = missing.filter(|name| !list.folders.contains(*name));
        let mut wrong = each(folder, missing, MISSING);
        let strangers = list
            .folders
            .iter()
            .filter(|name| {
                !["results", "systems"].contains(&name.as_str()) && !name.starts_with("code")
            })
            .chain(list.files.iter().filter(|name| *name != "submission.yaml"));
        wrong.extend(each(folder, strangers, STRANGE));
        self.add(
            "2.1.5",
            "organisationFolders",
            wrong,
            "an organisation's folder holds results/ and systems/ (and code)",
        );
        let has_code = list.folders.iter().any(|name| name.starts_with("code"));
        self.out.push(Finding::skip(
            "2.1.6",
            "codeImage",
            if has_code {
                format!(
                    "the hash of the code image in {} is not computed here; `mlpstorage validate` does",
                    folder.display()
                )
            } else {
                format!(
                    "missing: a code image in {} (v2.0: code/, v3.0: code-<hash>/)",
                    folder.display()
                )
            },
        ));
        let systems = if list.folders.contains("results") {
            self.results(&folder.join("results"))
        } else {
            Vec::new()
        };
        if list.folders.contains("systems") {
            self.systems(&folder.join("systems"), &systems);
        }
    }

    fn systems(&mut self, folder: &Path, systems: &[String]) {
        let Some(list) = self.list(folder) else {
            return;
        };
        let mut wrong = Vec::new();
        for system in systems {
            for suffix in ["yaml", "pdf"] {
                let name = format!("{system}.{suffix}");
                if !list.files.contains(&name) {
                    wrong.push(format!("{} is missing", folder.join(name).display()));
                }
            }
            let path = folder.join(format!("{system}.yaml"));
            match Document::yaml(&path) {
                Document::Broken(why) => wrong.push(format!("{}: {why}", path.display())),
                Document::Read { value, .. } if self.edition == Edition::V3 => {
                    self.capabilities(&path, &value);
                }
                _ => {}
            }
        }
        let known = |name: &str| {
            name.ends_with(".md")
                || systems
                    .iter()
                    .any(|s| name == format!("{s}.yaml") || name == format!("{s}.pdf"))
        };
        let strangers = list.files.iter().filter(|name| !known(name));
        wrong.extend(each(folder, list.folders.iter().chain(strangers), STRANGE));
        self.add(
            "2.1.7",
            "systemsFiles",
            wrong,
            "systems/ holds <system>.yaml and <system>.pdf of every system",
        );
    }

    /// What checkpoints need to know of a system.
    fn capabilities(&mut self, path: &Path, system: &Value) {
        let capabilities = "system_under_test.solution.capabilities";
        let missing: Vec<_> = ["simultaneous_write", "simultaneous_read", "multi_host"]
            .into_iter()
            .filter(|key| at(system, &format!("{capabilities}.{key}")).is_none())
            .collect();
        let (rule, name) = ("4.7.4", "checkpointSimultaneousReadWrite");
        self.out.push(if missing.is_empty() {
            Finding::pass(rule, name, format!("{}: declared", path.display()))
        } else {
            Finding::warn(
                rule,
                name,
                format!(
                    "{}: {capabilities} lacks {}",
                    path.display(),
                    missing.join(", ")
                ),
            )
            .remedy("declare what the system can do")
            .original(Original::Warning)
        });
        if let Some(declared) = at(system, &format!("{capabilities}.remap_time_in_seconds")) {
            self.out.push(Finding::skip(
                "4.7.3",
                "checkpointRemapTime",
                format!(
                    "missing: the measured remap time, to compare with the {declared} s declared"
                ),
            ));
        }
    }

    /// The names of the systems.
    fn results(&mut self, folder: &Path) -> Vec<String> {
        let Some(list) = self.list(folder) else {
            return Vec::new();
        };
        for system in &list.folders {
            let system = folder.join(system);
            let Some(list) = self.list(&system) else {
                continue;
            };
            let known = ["training", "checkpointing", "vector_database", "kv_cache"];
            let wrong = each(&system, others(&list.folders, &known), STRANGE);
            self.add(
                "2.1.10",
                "benchmarkFolders",
                wrong,
                "a system's results are training/ and checkpointing/",
            );
            if list.folders.contains("training") {
                self.training(&system.join("training"));
            }
            if list.folders.contains("checkpointing") {
                self.checkpointing(&system.join("checkpointing"));
            }
        }
        list.folders.into_iter().collect()
    }

    fn training(&mut self, folder: &Path) {
        let Some(list) = self.list(folder) else {
            return;
        };
        let models = tables::submittable_models(self.edition);
        let wrong = each(folder, others(&list.folders, models), NO_MODEL);
        self.add(
            "2.1.11",
            "trainingModels",
            wrong,
            &format!("the models of the edition are {}", models.join(", ")),
        );
        for model in &list.folders {
            let model = folder.join(model);
            let Some(list) = self.list(&model) else {
                continue;
            };
            let phases: &[&str] = match self.edition {
                Edition::V2 => &["datagen", "run"],
                Edition::V3 => &["datasize", "datagen", "run"],
            };
            let missing = phases.iter().filter(|name| !list.folders.contains(**name));
            let mut wrong = each(&model, missing, MISSING);
            wrong.extend(each(&model, others(&list.folders, phases), STRANGE));
            self.add(
                "2.1.12",
                "trainingPhases",
                wrong,
                &format!("a model's folder holds {}", phases.join(", ")),
            );
            if list.folders.contains("run") {
                self.results_json("2.1.16", &model.join("run"));
            }
            for phase in phases {
                if list.folders.contains(*phase) {
                    self.timestamps(&model.join(phase));
                }
            }
        }
    }

    fn checkpointing(&mut self, folder: &Path) {
        let Some(list) = self.list(folder) else {
            return;
        };
        let models = tables::LLMS.map(|llm| llm.name);
        let wrong = each(folder, others(&list.folders, &models), NO_MODEL);
        self.add(
            "2.1.21",
            "checkpointModels",
            wrong,
            &format!("the models are {}", models.join(", ")),
        );
        for model in &list.folders {
            let model = folder.join(model);
            self.results_json("2.1.22", &model);
            self.timestamps(&model);
        }
    }

    fn results_json(&mut self, rule: &'static str, folder: &Path) {
        let path = folder.join("results.json");
        let wrong = match Document::json(&path) {
            Document::Read { .. } => Vec::new(),
            Document::Absent => vec![format!("{} is missing", path.display())],
            Document::Broken(why) => vec![format!("{}: {why}", path.display())],
        };
        self.add(
            rule,
            "resultsJson",
            wrong,
            "write it with `mlpstorage reports reportgen` or `dlio-rs report`",
        );
    }

    fn timestamps(&mut self, folder: &Path) {
        let Some(list) = self.list(folder) else {
            return;
        };
        let wrong = list
            .folders
            .iter()
            .filter(|name| timestamp(name).is_none())
            .map(|name| format!("{} is no run", folder.join(name).display()))
            .collect();
        self.add(
            "2.1.17",
            "timestampFolders",
            wrong,
            "folders of runs are called YYYYMMDD_HHMMSS",
        );
    }
}

const STRANGE: &str = "does not belong here";
const MISSING: &str = "is missing";
const NO_MODEL: &str = "is no model of the edition";

/// Names that are none of the known ones.
fn others<'n>(names: &'n BTreeSet<String>, known: &[&str]) -> impl Iterator<Item = &'n String> {
    names.iter().filter(|name| !known.contains(&name.as_str()))
}

/// A line for each name in a folder.
fn each<N: AsRef<Path>>(folder: &Path, names: impl Iterator<Item = N>, why: &str) -> Vec<String> {
    names
        .map(|name| format!("{} {why}", folder.join(name).display()))
        .collect()
}
