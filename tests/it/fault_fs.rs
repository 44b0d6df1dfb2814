//! A file system that fails on demand: `tests/tools/faultfs.c`, built and mounted.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;

use crate::support::*;

/// The file system's program, built once.
pub fn faultfs() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let flags = Command::new("pkg-config")
            .args(["--cflags", "--libs", "fuse3"])
            .output()
            .unwrap();
        assert!(
            flags.status.success(),
            "no libfuse3: run scripts/setup.sh --test"
        );
        let flags = String::from_utf8(flags.stdout).unwrap();
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faultfs");
        let built = Command::new("cc")
            .args(["-O1", "-o"])
            .arg(&program)
            .arg(repo().join("tests/tools/faultfs.c"))
            .args(flags.split_whitespace())
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        program
    })
}

/// A mounted file system; unmounted with the test.
pub struct FaultFs {
    pub scratch: Scratch,
    child: Child,
}

impl FaultFs {
    /// Of which the kernel remembers nothing: every operation arrives.
    pub fn mount() -> Self {
        Self::mount_with("auto_unmount", &[])
    }

    /// The page cache holds what was written and read, as of a disk.
    pub fn mount_cached() -> Self {
        Self::mount_with("auto_unmount,kernel_cache", &[])
    }

    /// Without a page cache: who waits for a page that somebody else reads cannot be killed.
    pub fn mount_uncached() -> Self {
        Self::mount_with("auto_unmount", &["FAULTFS_UNCACHED"])
    }

    fn mount_with(options: &str, variables: &[&str]) -> Self {
        let scratch = Scratch::new();
        for folder in ["behind", "mounted"] {
            std::fs::create_dir(scratch.path(folder)).unwrap();
        }
        let child = Command::new(faultfs())
            .arg(scratch.path("behind"))
            .arg(scratch.path("rule"))
            .arg(scratch.path("mounted"))
            .args(["-f", "-o", options])
            .envs(variables.iter().map(|name| (name, "1")))
            .spawn()
            .unwrap();
        std::fs::write(scratch.path("behind/there"), "").unwrap();
        wait_for(20, || scratch.path("mounted/there").exists());
        FaultFs { scratch, child }
    }

    /// The path of a name on it.
    pub fn at(&self, name: &str) -> String {
        self.scratch
            .path("mounted")
            .join(name)
            .display()
            .to_string()
    }

    /// Sets the rule, or none.
    pub fn rule(&self, rule: &str) {
        let _ = std::fs::remove_file(self.scratch.path("rule.hits"));
        // A rename changes content and time of change at once.
        std::fs::write(self.scratch.path("new"), rule).unwrap();
        std::fs::rename(self.scratch.path("new"), self.scratch.path("rule")).unwrap();
    }

    /// How often the rule applied.
    pub fn hits(&self) -> u64 {
        std::fs::read_to_string(self.scratch.path("rule.hits"))
            // It is empty for a moment while it is written.
            .map_or(0, |text| text.trim().parse().unwrap_or(0))
    }

    /// Empties what lies behind.
    pub fn clear(&self) {
        for entry in std::fs::read_dir(self.scratch.path("behind")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else if path.file_name().unwrap() != "there" {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Names of all files behind, below the root.
    pub fn files(&self) -> Vec<(String, u64)> {
        let root = self.scratch.path("behind");
        let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    let name = entry
                        .path()
                        .strip_prefix(&root)
                        .unwrap()
                        .display()
                        .to_string();
                    found.push((name, entry.metadata().unwrap().len()));
                }
            }
        }
        found
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        let mounted = self.scratch.path("mounted");
        // As root without fusermount.
        let unmount = |program: &str, flag: &str| {
            let status = Command::new(program).arg(flag).arg(&mounted).status();
            status.is_ok_and(|s| s.success())
        };
        if !unmount("fusermount3", "-uz") {
            unmount("umount", "-l");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
