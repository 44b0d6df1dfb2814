//! Puts the commit and the build profile into the binary, for the provenance of results.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).output().ok()?;
        out.status
            .success()
            .then(|| String::from_utf8_lossy(&out.stdout).trim().to_string())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let dirty =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    println!(
        "cargo:rustc-env=DLIO_RS_COMMIT={commit}{}",
        if dirty { "+changes" } else { "" }
    );
    // The date of the manual pages.
    let date = git(&["log", "-1", "--format=%cs"]).unwrap_or_default();
    println!("cargo:rustc-env=DLIO_RS_DATE={date}");
    println!(
        "cargo:rustc-env=DLIO_RS_PROFILE={}",
        std::env::var("PROFILE").unwrap_or_default()
    );
    println!("cargo:rustc-env=DLIO_RS_LIBRARIES={}", libraries());
    println!("cargo:rustc-env=DLIO_RS_FEATURES={}", features());
    println!("cargo:rerun-if-changed=Cargo.lock");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/index");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=configs");
}

/// Libraries whose version can change a result, with the feature that builds them; "": always built.
const LIBRARIES: [(&str, &str); 14] = [
    ("aws-sdk-s3", "S3"),
    ("aws-config", "S3"),
    ("azure_storage_blob", "AZURE"),
    ("azure_core", "AZURE"),
    ("azure_identity", "AZURE"),
    ("tokio", "OBJECT"),
    ("rustls", "OBJECT"),
    ("hyper", "SDK"),
    ("hdf5-metno", "HDF5"),
    ("arrow-ipc", "PARQUET"),
    ("mpi", "MPI_LINKED"),
    ("rayon", ""),
    ("zip", ""),
    ("zstd", ""),
];

fn has(feature: &str) -> bool {
    feature.is_empty() || std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
}

/// `name=version` of those that are built, by the lock file.
fn libraries() -> String {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = |name: &str| {
        let from = lock
            .split(&format!("name = \"{name}\"\nversion = \""))
            .nth(1)?;
        from.split('"').next()
    };
    let built = LIBRARIES.iter().filter(|(_, feature)| has(feature));
    built
        .map(|(name, _)| format!("{name}={}", version(name).unwrap_or("unknown")))
        .collect::<Vec<_>>()
        .join(",")
}

fn features() -> String {
    let all = ["azure", "hdf5", "parquet", "s3", "sdk"];
    all.into_iter()
        .filter(|f| has(&f.to_uppercase()))
        .collect::<Vec<_>>()
        .join(",")
}
