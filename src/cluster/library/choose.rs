//! Which library of MPI a process opens: the one that belongs to the launcher that started it. Nothing is guessed: where two
//! fit, the user is asked.

use std::path::{Path, PathBuf};

use super::{Named, open};

/// What is known of this process: its environment, the programs that started it, and what the loader finds.
pub(in crate::cluster) struct Surroundings<'a> {
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The executables of the process's parent, its parent and so on.
    pub ancestors: Vec<PathBuf>,
    /// Where the loader finds a library by its file's name.
    pub loader: &'a dyn Fn(&str) -> Option<PathBuf>,
}

/// A library, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster) struct Choice {
    pub file: PathBuf,
    pub why: String,
}

/// Why no library is chosen.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChooseError {
    #[error("no MPI library was found for {launcher}; looked for {looked}")]
    Nothing {
        /// Who started this process.
        launcher: String,
        /// Files and places.
        looked: String,
    },
    /// Several fit.
    #[error("several MPI libraries fit {launcher}: {files}")]
    Several {
        /// Who started this process.
        launcher: String,
        files: String,
    },
    /// Several are in the process already.
    #[error("several MPI libraries are loaded into this process: {files}")]
    Loaded { files: String },
}

/// Libraries that a launcher can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    OpenMpi,
    Mpich,
}

impl Family {
    /// File names of its libraries.
    fn files(self) -> &'static [&'static str] {
        match self {
            // The second: IBM Spectrum MPI.
            Family::OpenMpi => &["libmpi.so.40", "libmpi_ibm.so.3"],
            // The first by the agreement of MPICH's ABI; then Debian's MPICH, and Cray's.
            Family::Mpich => &["libmpi.so.12", "libmpich.so.12", "libmpi_cray.so.12"],
        }
    }

    /// Executables of its launchers that are parents of ranks.
    fn launchers(self) -> &'static [&'static str] {
        match self {
            Family::OpenMpi => &[
                "orterun", "orted", "prterun", "prte", "prted", "mpirun", "mpiexec",
            ],
            Family::Mpich => &[
                "hydra_pmi_proxy",
                "mpiexec.hydra",
                "mpiexec.gforker",
                "mpispawn",
                "mpirun",
                "mpiexec",
            ],
        }
    }

    /// Variables that name the folder that it is installed in.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Family::OpenMpi => &["OPAL_PREFIX", "MPI_ROOT"],
            Family::Mpich => &["I_MPI_ROOT", "CRAY_MPICH_DIR", "MPICH_DIR"],
        }
    }
}

/// Libraries of the MPI standard's ABI: any library can have one beside its own.
const STANDARD: [&str; 2] = ["libmpi_abi.so.1", "libmpi_abi.so.0"];

/// Below an installation's folder; the last holds Cray MPICH's library with MPICH's own name.
const FOLDERS: [&str; 5] = [
    "lib",
    "lib64",
    "lib/release",
    concat_multiarch(),
    "lib-abi-mpich",
];

/// Debian's folder of libraries.
const fn concat_multiarch() -> &'static str {
    match cfg!(target_arch = "aarch64") {
        true => "lib/aarch64-linux-gnu",
        false => "lib/x86_64-linux-gnu",
    }
}

/// Variables by which launchers are known, in the order in which they are looked at: a launcher can itself be started by a
/// later one.
const LAUNCHERS: [(&str, &str, &[Family]); 10] = [
    (
        "OMPI_COMM_WORLD_SIZE",
        "Open MPI's mpirun",
        &[Family::OpenMpi],
    ),
    (
        "MV2_COMM_WORLD_SIZE",
        "MVAPICH's mpirun_rsh",
        &[Family::Mpich],
    ),
    ("HYDI_CONTROL_FD", "Hydra", &[Family::Mpich]),
    ("MPI_LOCALNRANKS", "Hydra", &[Family::Mpich]),
    ("PALS_NRANKS", "PALS", &[Family::Mpich]),
    ("JSM_NAMESPACE_SIZE", "jsrun", &[Family::OpenMpi]),
    (
        "FLUX_JOB_SIZE",
        "flux run",
        &[Family::OpenMpi, Family::Mpich],
    ),
    (
        "SLURM_STEP_NUM_TASKS",
        "srun",
        &[Family::OpenMpi, Family::Mpich],
    ),
    (
        "PMIX_RANK",
        "a launcher that speaks PMIx",
        &[Family::OpenMpi, Family::Mpich],
    ),
    (
        "PMI_RANK",
        "a launcher that speaks PMI",
        &[Family::OpenMpi, Family::Mpich],
    ),
];

/// The library for the launcher that started this process.
///
/// Errors: there is none, or more than one.
pub(in crate::cluster) fn choose(around: &Surroundings) -> Result<Choice, ChooseError> {
    let has = |variable: &str| (around.env)(variable).is_some();
    let (launcher, families) = match LAUNCHERS.iter().find(|(variable, ..)| has(variable)) {
        Some((variable, name, families)) => (format!("{name} ({variable} is set)"), *families),
        None => (
            "this launcher".to_string(),
            &[Family::OpenMpi, Family::Mpich][..],
        ),
    };
    let mut looked = Vec::new();
    for &family in families {
        if let Some(choice) = beside_launcher(around, family, &mut looked) {
            return Ok(choice);
        }
    }
    for &family in families {
        if let Some(choice) = in_prefix(around, family, &mut looked) {
            return Ok(choice);
        }
    }
    by_loader(around, families, launcher, looked)
}

/// In an installation's folder.
pub(super) fn below(prefix: &Path, names: impl Iterator<Item = &'static str>) -> Option<PathBuf> {
    names
        .flat_map(|name| FOLDERS.map(|folder| prefix.join(folder).join(name)))
        .find(|path| path.is_file())
}

fn names(family: Family) -> impl Iterator<Item = &'static str> {
    family.files().iter().copied().chain(STANDARD)
}

/// In the installation of the nearest launcher among the processes that started this one.
fn beside_launcher(
    around: &Surroundings,
    family: Family,
    looked: &mut Vec<String>,
) -> Option<Choice> {
    let is_launcher = |exe: &&PathBuf| {
        let name = exe.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| family.launchers().contains(&&*name))
    };
    for exe in around.ancestors.iter().filter(is_launcher) {
        let prefix = exe.parent()?.parent()?;
        if let Some(file) = below(prefix, names(family)) {
            return Some(Choice {
                file,
                why: format!("it lies beside the launcher {}", exe.display()),
            });
        }
        looked.push(format!(
            "{} below {}",
            list(names(family)),
            prefix.display()
        ));
    }
    None
}

fn in_prefix(around: &Surroundings, family: Family, looked: &mut Vec<String>) -> Option<Choice> {
    for variable in family.prefixes() {
        let Some(prefix) = (around.env)(variable) else {
            continue;
        };
        if let Some(file) = below(Path::new(&prefix), names(family)) {
            return Some(Choice {
                file,
                why: format!("{variable} names its folder"),
            });
        }
        looked.push(format!(
            "{} below {prefix} ({variable})",
            list(names(family))
        ));
    }
    None
}

/// Those that the loader finds. Of two families the one whose protocol the launcher speaks: Open MPI starts by PMIx, MPICH and
/// its kin by PMI.
fn by_loader(
    around: &Surroundings,
    families: &[Family],
    launcher: String,
    mut looked: Vec<String>,
) -> Result<Choice, ChooseError> {
    let find = |names: &[&str]| {
        let mut found: Vec<PathBuf> = Vec::new();
        for file in names.iter().filter_map(|name| (around.loader)(name)) {
            if !found.contains(&file) {
                found.push(file);
            }
        }
        found
    };
    let has = |variable: &str| (around.env)(variable).is_some();
    let mut found: Vec<(Family, Vec<PathBuf>)> = families
        .iter()
        .map(|&family| (family, find(family.files())))
        .filter(|(_, files)| !files.is_empty())
        .collect();
    let mut why = "the loader finds it".to_string();
    if found.len() > 1 {
        let spoken = match (has("PMIX_RANK"), has("PMI_RANK") || has("PMI_FD")) {
            (true, false) => Some((Family::OpenMpi, "PMIx")),
            (false, true) => Some((Family::Mpich, "PMI")),
            _ => None,
        };
        if let Some((family, protocol)) = spoken {
            found.retain(|(other, _)| *other == family);
            why = format!("the loader finds it, and the launcher speaks {protocol}");
        }
    }
    let mut files: Vec<PathBuf> = found.into_iter().flat_map(|(_, files)| files).collect();
    if files.is_empty() {
        files = find(&STANDARD);
    }
    match files.len() {
        0 => {
            let all = families
                .iter()
                .flat_map(|family| family.files().iter().copied());
            looked.push(format!("{} by the loader", list(all.chain(STANDARD))));
            Err(ChooseError::Nothing {
                launcher,
                looked: looked.join("; "),
            })
        }
        1 => Ok(Choice {
            file: files.swap_remove(0),
            why,
        }),
        _ => Err(ChooseError::Several {
            launcher,
            files: list(files.iter().map(|file| file.display().to_string())),
        }),
    }
}

fn list<T: AsRef<str>>(words: impl Iterator<Item = T>) -> String {
    let words: Vec<String> = words.map(|word| word.as_ref().to_string()).collect();
    words.join(", ")
}

/// The library that the process has loaded already.
///
/// Errors: it has several.
pub(in crate::cluster) fn loaded() -> Result<Option<Choice>, ChooseError> {
    let mut files = open::loaded();
    match files.len() {
        0 => Ok(None),
        1 => Ok(Some(Choice {
            file: files.swap_remove(0),
            why: "it is loaded into the process already".into(),
        })),
        _ => Err(ChooseError::Loaded {
            files: list(files.iter().map(|file| file.display().to_string())),
        }),
    }
}

/// The executables of the processes above this one, the nearest first; those that may not be looked at are left out.
pub(in crate::cluster) fn ancestors() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pid = std::os::unix::process::parent_id();
    while pid > 1 {
        found.extend(std::fs::read_link(format!("/proc/{pid}/exe")));
        // The name, in brackets, can hold spaces and brackets: "12 (a b) S 11 ..."
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        pid = parent.and_then(|text| text.parse().ok()).unwrap_or(0);
    }
    found
}

/// Lines on what jobs that start here would open: a library that is named, or that of each launcher on PATH and what the loader
/// finds for others.
pub(super) fn outlook(env: &dyn Fn(&str) -> Option<String>, named: Option<&Named>) -> Vec<String> {
    if let Some(named) = named {
        return vec![describe(
            "under any launcher",
            &named.file,
            &format!("{} names it", named.by),
        )];
    }
    match loaded() {
        Err(error) => return vec![format!("under any launcher: {error}")],
        Ok(Some(choice)) => return vec![describe("under any launcher", &choice.file, &choice.why)],
        Ok(None) => {}
    }
    let mut lines = Vec::new();
    let mut seen = Vec::new();
    for exe in ["mpirun", "mpiexec"]
        .iter()
        .filter_map(|name| on_path(env, name))
    {
        let Some(prefix) = exe.parent().and_then(Path::parent) else {
            continue;
        };
        let families = [Family::OpenMpi, Family::Mpich].into_iter();
        let name = exe.file_name().unwrap_or_default().to_string_lossy();
        for family in families.filter(|family| family.launchers().contains(&&*name)) {
            if let Some(file) = below(prefix, names(family))
                && !seen.contains(&(exe.clone(), file.clone()))
            {
                lines.push(describe(
                    &format!("under {}", exe.display()),
                    &file,
                    "it lies beside it",
                ));
                seen.push((exe.clone(), file));
            }
        }
    }
    for name in [Family::OpenMpi, Family::Mpich]
        .iter()
        .flat_map(|family| family.files())
        .chain(&STANDARD)
    {
        if let Some(file) = open::find_by_loader(name) {
            lines.push(describe(
                "under srun, flux and others",
                &file,
                &format!("the loader finds {name}"),
            ));
        }
    }
    if lines.is_empty() {
        let all = names(Family::OpenMpi).chain(names(Family::Mpich));
        lines.push(format!(
            "there is no MPI library: none beside a launcher on PATH, and by the loader none of {}",
            list(all)
        ));
    }
    lines
}

/// A library's file, version and ABI.
fn describe(when: &str, file: &Path, why: &str) -> String {
    match open::look(file) {
        Ok((abi, version)) => format!("{when}: {version} ({}, {abi} ABI: {why})", file.display()),
        Err(error) => format!("{when}: {error} ({why})"),
    }
}

/// An executable on PATH, without symbolic links.
fn on_path(env: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<PathBuf> {
    let path = env("PATH")?;
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.find(|file| file.is_file())?.canonicalize().ok()
}
