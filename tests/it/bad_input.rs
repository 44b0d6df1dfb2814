//! What is wrong is named: the thing, the place, the cause, the remedy; nothing hangs, nothing looks like success.

use std::process::Command;

use crate::support::*;

/// Names and values with escape sequences are shown as text, whatever the verb.
#[test]
fn nothing_that_is_shown_moves_the_cursor() {
    let scratch = Scratch::new();
    let odd = scratch.text("no\u{1b}[31mpe");
    std::fs::create_dir(&odd).unwrap();
    let key = format!("dataset.data_folder={odd}/data");
    let yaml = scratch.path("odd.yaml");
    std::fs::write(&yaml, "dataset: {\"na\\e[31mme\": 1}\n").unwrap();
    let yaml = yaml.display().to_string();
    let null = [
        "workload=quickstart",
        "storage.storage_type=null",
        "workflow.generate_data=false",
        "train.epochs=1",
    ];
    let ran = format!("output.folder={odd}/out");
    let done = run({
        let mut command = solo();
        command.args(null).arg(&ran);
        command
    })
    .ok();
    assert!(!done.text().contains('\u{1b}'), "{}", done.text());
    assert!(done.text().contains("no\\u001b[31mpe"), "{}", done.text());
    let out = format!("{odd}/out");
    for words in [
        vec![
            "run",
            "workload=quickstart",
            "workflow.generate_data=false",
            &key,
        ],
        vec!["validate", "workload=quickstart", &key],
        vec!["plan", "workload=quickstart", &key],
        vec!["validate", &yaml],
        vec!["explain", "a\u{1b}[31m"],
        vec!["inspect", &odd],
        vec!["clean", &odd],
        vec!["report", &odd],
        vec!["report", &out],
        vec!["report", &out, "--format", "json"],
        vec!["compare", &odd, &out],
        vec!["watch", &out],
        vec!["watch", "--op\u{1b}[31mtion\r"],
        vec!["report", "--format=\u{1b}[31m\r"],
    ] {
        let mut command = solo();
        command.args(&words);
        let outcome = run(command);
        let text = outcome.text();
        assert!(!text.contains(['\u{1b}', '\r']), "{words:?}: {text:?}");
        assert!(!text.is_empty(), "{words:?}");
    }
}

/// A signature or a password inside an address is refused before anything shows it.
#[test]
fn addresses_with_credentials_are_refused_unseen() {
    for address in [
        "az://account/container/folder?sv=1&sig=SEKRET",
        "https://account.blob.core.windows.net/container?sig=SEKRET",
        "s3://AK:SEKRET@bucket/folder",
    ] {
        for (verb, key) in [
            ("validate", "dataset.data_folder"),
            ("plan", "dataset.data_folder"),
            ("run", "checkpoint.checkpoint_folder"),
        ] {
            let mut command = solo();
            command.args([verb, "workload=quickstart", &format!("{key}='{address}'")]);
            let outcome = run(command);
            assert!(!outcome.text().contains("SEKRET"), "{}", outcome.text());
            outcome.fails(2, &[key, "holds credentials", "remedy"]);
        }
    }
}

/// Runs the small workload on two ranks with extra words; the run must fail so.
fn fails(scratch: &Scratch, files: u64, words: &[&str], status: i32, said: &[&str]) {
    let mut command = mpirun(2);
    command.args(small(scratch, files)).args(words);
    let out = run(command).fails(status, said);
    assert!(!scratch.path("out/summary.json").exists());
    // Once, and not once per rank.
    assert_eq!(
        out.stderr.matches(said[0]).count() + out.stdout.matches(said[0]).count(),
        1,
        "{}",
        out.text()
    );
}

fn generated(files: u64) -> Scratch {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.arg("generate").args(small(&scratch, files));
    run(command).ok();
    scratch
}

const READ: &str = "workflow.generate_data=false";

#[test]
fn configuration_errors_end_with_status_2() {
    let scratch = Scratch::new();
    for (words, said) in [
        (
            &["reader.batchsize=3"][..],
            &[
                "unknown key reader.batchsize; reader.batch_size is probably meant",
                "--allow-unknown-keys",
            ][..],
        ),
        (
            &["reader.batch_size=many"],
            &[
                "command line word 'reader.batch_size=many': reader.batch_size: a whole number from 0 is expected, not 'many'",
            ],
        ),
        (
            &["reader.batch_size=5"],
            &[
                "dataset.num_files_train: 8 files x 1 samples = 8 samples, fewer than 2 rank(s) x batch size 5 = 10",
                "remedy",
            ],
        ),
        (
            &["dataset.record_length_bytes=0"],
            &["dataset.record_length_bytes: is 0"],
        ),
        (
            &[
                "dataset.record_dims=[4]",
                "dataset.record_length_bytes_stdev=5",
            ],
            &["dataset.record_dims: is given together"],
        ),
        (
            &["dataset.format=png", "dataset.record_dims=[4,4,4]"],
            &["dataset.format: png files hold uint8 images"],
        ),
        (&["a=1,2"], &["it is a sweep"]),
    ] {
        fails(&scratch, 8, words, 2, said);
    }
}

#[test]
fn unreadable_and_invalid_yaml_are_placed() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.arg(scratch.path("none.yaml"));
    run(command).fails(2, &["cannot read", "none.yaml", "remedy"]);
    std::fs::write(
        scratch.path("bad.yaml"),
        "train:\n  epochs: [1, 2\nmodel:\n",
    )
    .unwrap();
    let mut command = mpirun(2);
    command.arg(scratch.path("bad.yaml"));
    run(command).fails(2, &["bad.yaml:", "invalid YAML"]);
    let mut command = solo();
    command.args(["workload=unet3d_h10"]);
    run(command).fails(2, &["unet3d_h100 is probably meant"]);
}

#[test]
fn a_missing_folder_and_too_few_files_are_named() {
    let scratch = Scratch::new();
    fails(
        &scratch,
        8,
        &[READ],
        1,
        &["data does not exist", "workflow.generate_data=true"],
    );
    let scratch = generated(8);
    fails(
        &scratch,
        12,
        &[READ],
        1,
        &["dataset.num_files_train: the dataset has 8, the workload wants 12"],
    );
    std::fs::remove_file(scratch.path("data/.dlio-rs-manifest.json")).unwrap();
    fails(
        &scratch,
        12,
        &[READ],
        1,
        &["img_00_of_12.npz: it does not exist, though dataset.num_files_train=12 names it"],
    );
    std::fs::remove_file(scratch.path("data/train/img_5_of_8.npz")).unwrap();
    fails(
        &scratch,
        8,
        &[READ],
        1,
        &["img_5_of_8.npz: it does not exist", "remedy"],
    );
}

#[test]
fn another_datasets_manifest_stops_generation_and_training() {
    let scratch = generated(8);
    fails(
        &scratch,
        8,
        &["dataset.record_length_bytes=70000"],
        1,
        &["dataset.record_length_bytes: the dataset has 65536.0, the workload wants 70000.0"],
    );
    fails(
        &scratch,
        8,
        &[READ, "dataset.num_samples_per_file=2"],
        1,
        &["dataset.num_samples_per_file: the dataset has 1, the workload wants 2"],
    );
}

#[test]
fn damaged_files_are_named() {
    let cut = |scratch: &Scratch, keep: usize| {
        let path = scratch.path("data/train/img_3_of_8.npz");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..keep.min(bytes.len())]).unwrap();
    };
    // Of a dataset without a manifest nobody knows how long its files should be.
    let scratch = generated(8);
    std::fs::remove_file(scratch.path("data/.dlio-rs-manifest.json")).unwrap();
    cut(&scratch, 66000);
    fails(
        &scratch,
        8,
        &[READ],
        1,
        &["img_3_of_8.npz: truncated: 66000 bytes where", "remedy"],
    );
    fails(
        &scratch,
        8,
        &[READ, "reader.decode=full"],
        1,
        &["img_3_of_8.npz: the archive cannot be read"],
    );
    let scratch = generated(8);
    let path = scratch.path("data/train/img_3_of_8.npz");
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::write(path, vec![b'X'; len as usize]).unwrap();
    fails(
        &scratch,
        8,
        &[READ],
        1,
        &["img_3_of_8.npz: wrong magic: [58, 58, 58, 58]"],
    );
    let scratch = generated(8);
    let path = scratch.path("data/train/img_3_of_8.npz");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40000] ^= 1;
    std::fs::write(path, bytes).unwrap();
    fails(
        &scratch,
        8,
        &[READ],
        1,
        &["img_3_of_8.npz: checksum of x.npy differs: stored"],
    );
}

#[test]
fn an_unwritable_or_finished_output_folder_is_refused() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("file"), "").unwrap();
    let folder = format!("output.folder={}", scratch.text("file/out"));
    fails(
        &scratch,
        8,
        &[&folder],
        1,
        &["create output folder", "/file", "writable"],
    );
    let mut command = mpirun(2);
    command.args(small(&scratch, 8));
    run(command).ok();
    let mut command = mpirun(2);
    command.args(small(&scratch, 8));
    run(command).fails(1, &["summary.json", "choose another"]);
}

/// A file system made for one test.
pub struct Mount(std::path::PathBuf);

impl Mount {
    pub fn new(scratch: &Scratch, kind: &str, options: &str) -> Self {
        let path = scratch.path("mnt");
        std::fs::create_dir(&path).unwrap();
        let status = Command::new("mount")
            .args(["-t", kind, "-o", options, kind])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success(), "mounting a {kind} needs root");
        Mount(path)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn direct_io_is_refused_where_there_is_none() {
    let scratch = Scratch::new();
    let mount = Mount::new(&scratch, "tmpfs", "size=16m");
    let folder = format!("dataset.data_folder={}", mount.0.join("d").display());
    fails(
        &scratch,
        8,
        &[&folder, "reader.odirect=true"],
        1,
        &[
            "with O_DIRECT: tmpfs keeps its files in memory",
            "reader.odirect=false",
        ],
    );
}

#[test]
fn a_full_disk_stops_generation_and_leaves_no_partial_file() {
    let scratch = Scratch::new();
    // The dataset would fit, were there not something else.
    let mount = Mount::new(&scratch, "tmpfs", "size=6m");
    std::fs::write(mount.0.join("other"), vec![0; 4 << 20]).unwrap();
    let folder = format!("dataset.data_folder={}", mount.0.join("d").display());
    fails(
        &scratch,
        64,
        &[&folder],
        1,
        &["no space left on the file system", "remedy: free space"],
    );
    let left: Vec<_> = std::fs::read_dir(mount.0.join("d/train"))
        .unwrap()
        .map(|e| e.unwrap())
        .collect();
    assert!(!left.is_empty() && left.len() < 64);
    for file in left {
        assert!(
            file.file_name().to_string_lossy().starts_with("img_"),
            "{file:?}"
        );
        assert_eq!(file.metadata().unwrap().len(), left_len(), "{file:?}");
    }
    assert!(!mount.0.join("d/.dlio-rs-manifest.json").exists());
}

/// Eight such files have more than 1 MiB.
const TOO_LARGE: &str = "dataset.record_length_bytes=200000";

/// Only what cannot fit is refused: half of this is zeros.
#[test]
fn a_dataset_that_compression_makes_fit_is_generated() {
    let scratch = Scratch::new();
    let mount = Mount::new(&scratch, "tmpfs", "size=1m");
    let folder = format!("dataset.data_folder={}", mount.0.join("d").display());
    let mut command = solo();
    command.args(small(&scratch, 8)).args([
        &folder,
        TOO_LARGE,
        "workflow.train=false",
        "dataset.compression=zip",
        "dataset.compress_ratio=2",
    ]);
    run(command).ok();
}

#[test]
fn a_dataset_larger_than_the_file_system_is_refused_before_it_is_written() {
    let scratch = Scratch::new();
    let mount = Mount::new(&scratch, "tmpfs", "size=1m");
    let folder = format!("dataset.data_folder={}", mount.0.join("d").display());
    // Hours of checksums, were they computed first.
    for more in [
        &["dataset.record_length_bytes=1e15"][..],
        &[
            "dataset.record_length_bytes=1e15",
            "dataset.record_length_bytes_stdev=2e14",
        ],
        // A digit and a comma for each byte, and what no compressor shrinks.
        &["dataset.format=csv", TOO_LARGE],
        &["dataset.compression=zip", TOO_LARGE],
        &["dataset.format=csv", "dataset.compression=gzip", TOO_LARGE],
        &["dataset.format=hdf5", "dataset.compression=gzip", TOO_LARGE],
        &[
            "dataset.format=csv",
            "dataset.record_element_type=float64",
            "dataset.compression=xz",
            TOO_LARGE,
        ],
    ] {
        let words = [&[&*folder], more].concat();
        let said = ["its file system has 1048576 in all", "remedy: free space"];
        fails(&scratch, 8, &words, 1, &said);
        let written = std::fs::read_dir(mount.0.join("d/train")).unwrap();
        assert_eq!(written.count(), 0, "{more:?}");
    }
}

/// Payload of 256 x 256 bytes with one sample: numpy's container adds 498.
fn left_len() -> u64 {
    65_536 + 490 + 8
}

/// Presence is checked of the first and the last file here; the length of every file is seen when it is opened.
#[test]
fn a_file_that_was_replaced_by_one_of_another_size_is_refused_when_it_is_read() {
    for decode in ["reader.decode=none", "reader.decode=full"] {
        for len in [65_536_u64, 70_000] {
            let scratch = generated(4);
            let replaced = scratch.path("data/train/img_1_of_4.npz");
            let file = std::fs::File::options()
                .write(true)
                .open(&replaced)
                .unwrap();
            file.set_len(len).unwrap();
            fails(
                &scratch,
                4,
                &[READ, decode],
                1,
                &[
                    "img_1_of_4.npz: it has",
                    &format!("it has {len} bytes"),
                    "was changed or replaced",
                    "remedy: ",
                ],
            );
        }
    }
}

/// Sizes are drawn where contents are compared: a file with bytes of another one behind its own is seen there.
#[test]
fn a_longer_file_of_random_size_is_refused_where_contents_are_compared() {
    let scratch = Scratch::new();
    let words = [
        "dataset.record_length_bytes_stdev=1000",
        "reader.verify_content=full",
    ];
    let mut command = solo();
    command.arg("generate").args(small(&scratch, 4)).args(words);
    run(command).ok();
    let longer = scratch.path("data/train/img_1_of_4.npz");
    let len = std::fs::metadata(&longer).unwrap().len();
    let file = std::fs::File::options().write(true).open(&longer).unwrap();
    file.set_len(len + 7).unwrap();
    let has = format!("img_1_of_4.npz: it has {} bytes", len + 7);
    let should = format!("describes has {len}\n");
    let said = [has.as_str(), &should, "remedy: "];
    fails(&scratch, 4, &[READ, words[0], words[1]], 1, &said);
}

#[test]
fn sizes_that_many_ranks_drew_are_not_drawn_again_without_end() {
    let scratch = Scratch::new();
    let sizes = [
        "dataset.size_law=fork",
        "dataset.record_length_bytes_stdev=1000",
        "reader.verify_content=full",
    ];
    let mut command = mpirun(2);
    command.arg("generate").args(small(&scratch, 4)).args(sizes);
    run(command).ok();
    let manifest = scratch.path("data/.dlio-rs-manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let more = text.replace("\"num_files_train\": 4", "\"num_files_train\": 60000000");
    assert_ne!(text, more);
    std::fs::write(&manifest, more).unwrap();
    let refused = |generated: &str| {
        let mut command = mpirun(2);
        command
            .args(small(&scratch, 4))
            .args([READ, generated])
            .args(sizes);
        let said = ["2 ranks drew the sizes of its 60000000 files", "remedy: "];
        run(command).fails(1, &said);
    };
    refused("dataset.num_files_generated=4");
    // Files without a manifest are many as the workload says.
    std::fs::remove_file(&manifest).unwrap();
    refused("dataset.num_files_generated=60000000");
}

#[test]
fn a_configuration_that_nobody_writes_ends_with_an_error() {
    let scratch = Scratch::new();
    let pipe = scratch.path("w.yaml");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&pipe, mode).unwrap();
    let mut command = mpirun(2);
    command.arg("run").arg(&pipe).arg("--stall-timeout=1");
    run(command).fails(2, &["w.yaml: its end did not come within 1 s", "remedy: "]);
    // Of a .env only a file is read.
    let folder = scratch.path("cwd");
    std::fs::create_dir(&folder).unwrap();
    nix::unistd::mkfifo(&folder.join(".env"), mode).unwrap();
    let mut command = solo();
    command
        .current_dir(&folder)
        .args(["validate", "workload=quickstart"]);
    run(command).fails(2, &[".env: it is no file", "remedy: "]);
    // A pipe that somebody writes is as good as a file.
    let mut shell = Command::new("bash");
    shell.args(["-c", "\"$0\" validate <(sleep 0.2; cat \"$1\")", bin()]);
    shell.arg(repo().join("configs/quickstart.yaml"));
    run(shell).ok();
}
