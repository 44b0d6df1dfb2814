//! Constants against `mpi.h`; which library is chosen; files that are none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::choose::{Choice, ChooseError, Surroundings, choose};
use super::{Library, open};

/// The library of the launcher that the tests use.
fn file() -> PathBuf {
    #[cfg(feature = "mpi-linked")]
    return super::linked_file();
    #[cfg(not(feature = "mpi-linked"))]
    ["libmpi.so.40", "libmpi.so.12"]
        .iter()
        .find_map(|name| open::find_by_loader(name))
        .expect("an MPI library")
}

/// Opened at run time, also where it is linked.
pub(in crate::cluster) fn opened() -> Library {
    super::opened(&Choice {
        file: file(),
        why: "a test".into(),
    })
    .unwrap()
}

#[cfg(feature = "mpi-linked")]
#[test]
fn the_constants_are_those_of_mpi_h() {
    let opened = open::open(&file()).unwrap();
    assert_eq!(opened.calls.constants, super::constants::linked());
}

#[test]
fn files_that_are_no_library_of_mpi_are_refused_by_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut narrow = whole.clone();
    // EI_CLASS: 1 is ELFCLASS32.
    narrow[4] = 1;
    for (path, expected) in [
        (folder.path().join("libmpi.so.40"), "No such file"),
        (folder.path().to_path_buf(), "a folder"),
        (write("truncated.so", &whole[..40]), "file too short"),
        (write("32.so", &narrow), "wrong ELF class"),
        // What a compiler's libmpi.so is with some packages.
        (
            write("libmpi.so", b"INPUT(libmpi.so.12)"),
            "a text for the linker",
        ),
        (
            open::file_of(libc::getpid as *const _).unwrap(),
            "no library of MPI",
        ),
    ] {
        let error = open::open(&path).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
    }
}

/// A launcher's surroundings: variables, executables of parents, and what the loader finds.
fn chosen(
    env: &[(&str, &str)],
    ancestors: &[PathBuf],
    loader: &[(&str, &str)],
) -> Result<Choice, ChooseError> {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let loader: HashMap<&str, &str> = loader.iter().copied().collect();
    choose(&Surroundings {
        env: &|name| env.get(name).map(|value| value.to_string()),
        ancestors: ancestors.to_vec(),
        loader: &|name| loader.get(name).map(PathBuf::from),
    })
}

/// An installation of MPI: its folder, with empty files.
fn installation(folder: &Path, files: &[&str]) -> PathBuf {
    for file in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    folder.to_path_buf()
}

const OPEN: (&str, &str) = ("libmpi.so.40", "/o/libmpi.so.40");
const MPICH: (&str, &str) = ("libmpich.so.12", "/m/libmpich.so.12");
const STANDARD: (&str, &str) = ("libmpi_abi.so.1", "/s/libmpi_abi.so.1");

#[test]
fn the_library_beside_the_launcher_comes_first() {
    let scratch = tempfile::tempdir().unwrap();
    // Both in one folder, as with Debian.
    let usr = installation(
        &scratch.path().join("usr"),
        &["lib/libmpi.so.40", "lib/libmpich.so.12", "bin/orterun"],
    );
    let other = installation(&scratch.path().join("other"), &["lib64/libmpi.so.12"]);
    let shell = usr.join("bin/bash");
    let open_mpi = [
        shell.clone(),
        usr.join("bin/orterun"),
        other.join("bin/hydra_pmi_proxy"),
    ];
    let found = chosen(&[("OMPI_COMM_WORLD_SIZE", "2")], &open_mpi, &[MPICH]).unwrap();
    assert_eq!(found.file, usr.join("lib/libmpi.so.40"));
    assert!(found.why.contains("orterun"), "{}", found.why);
    let hydra = [("HYDI_CONTROL_FD", "7"), ("PMI_RANK", "0")];
    let found = chosen(
        &hydra,
        &[shell.clone(), usr.join("bin/hydra_pmi_proxy")],
        &[],
    )
    .unwrap();
    assert_eq!(found.file, usr.join("lib/libmpich.so.12"));
    let found = chosen(
        &hydra,
        &[shell, other.join("bin/hydra_pmi_proxy")],
        &[MPICH],
    )
    .unwrap();
    assert_eq!(found.file, other.join("lib64/libmpi.so.12"));
    // Of the standard's ABI only where there is no other.
    let new = installation(&scratch.path().join("new"), &["lib/libmpi_abi.so.1"]);
    let found = chosen(&hydra, &[new.join("bin/mpiexec")], &[MPICH]).unwrap();
    assert_eq!(found.file, new.join("lib/libmpi_abi.so.1"));
    // A launcher in a container's outside: its variables name the folder.
    let prefix = other.to_string_lossy().into_owned();
    let env = [("PALS_NRANKS", "2"), ("CRAY_MPICH_DIR", &prefix)];
    let found = chosen(&env, &[], &[MPICH]).unwrap();
    assert_eq!(found.file, other.join("lib64/libmpi.so.12"));
    assert!(found.why.contains("CRAY_MPICH_DIR"), "{}", found.why);
}

#[test]
fn without_one_beside_the_launcher_the_loader_is_asked_and_nothing_is_guessed() {
    let both = [OPEN, MPICH, STANDARD];
    for (env, loader, expected) in [
        (vec![("FLUX_JOB_SIZE", "2")], vec![OPEN], Ok(OPEN.1)),
        (
            vec![("FLUX_JOB_SIZE", "2")],
            vec![MPICH, STANDARD],
            Ok(MPICH.1),
        ),
        (vec![("FLUX_JOB_SIZE", "2")], vec![STANDARD], Ok(STANDARD.1)),
        (vec![("FLUX_JOB_SIZE", "2")], both.to_vec(), Err("several")),
        (
            vec![("SLURM_STEP_NUM_TASKS", "2"), ("PMIX_RANK", "0")],
            both.to_vec(),
            Ok(OPEN.1),
        ),
        (
            vec![("SLURM_STEP_NUM_TASKS", "2"), ("PMI_RANK", "0")],
            both.to_vec(),
            Ok(MPICH.1),
        ),
        (
            vec![("SLURM_STEP_NUM_TASKS", "2")],
            both.to_vec(),
            Err("several"),
        ),
        (
            vec![("PALS_NRANKS", "2"), ("PMI_RANK", "0")],
            both.to_vec(),
            Ok(MPICH.1),
        ),
        (vec![("JSM_NAMESPACE_SIZE", "2")], both.to_vec(), Ok(OPEN.1)),
        (
            vec![("JSM_NAMESPACE_SIZE", "2")],
            vec![MPICH],
            Err("libmpi.so.40, libmpi_ibm.so.3"),
        ),
        (
            vec![("OMPI_COMM_WORLD_SIZE", "2")],
            vec![MPICH],
            Err("OMPI_COMM_WORLD_SIZE"),
        ),
        (
            vec![("PMI_RANK", "0")],
            vec![],
            Err("libmpi.so.12, libmpich.so.12"),
        ),
    ] {
        match (chosen(&env, &[], &loader), expected) {
            (Ok(found), Ok(file)) => assert_eq!(found.file, Path::new(file), "{env:?}"),
            (Err(error), Err(words)) => {
                let text = error.to_string();
                assert!(text.contains(words), "{env:?}: {text}");
            }
            (found, _) => panic!("{env:?}: {found:?}"),
        }
    }
    // Two of one family: LD_LIBRARY_PATH names one, and the system has another.
    let two = [("libmpi.so.12", "/i/libmpi.so.12"), MPICH];
    let error = chosen(&[("MPI_LOCALNRANKS", "2")], &[], &two)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/i/libmpi.so.12, /m/libmpich.so.12"),
        "{error}"
    );
}
