use std::process::Command;

use crate::support::*;

const READ_ALL: &str = r#"
import sys, glob, zipfile, numpy as np
folder, kind, shape, dtype = sys.argv[1], sys.argv[2], eval(sys.argv[3]), sys.argv[4]
files = sorted(glob.glob(folder + "/train/**/*." + kind, recursive=True))
seen = set()
for name in files:
    loaded = np.load(name)
    if kind == "npz":
        assert loaded.files == ["x", "y"], loaded.files
        x, y = loaded["x"], loaded["y"]
        assert y.shape == (shape[-1],) and y.dtype == np.int64 and not y.any(), (name, y)
        assert zipfile.ZipFile(name).testzip() is None
        # The same arrays written by numpy are the same file, byte for byte.
        np.savez("/dev/shm/dlio-rs-test-%d.npz" % __import__("os").getpid(), x=x, y=y)
        path = "/dev/shm/dlio-rs-test-%d.npz" % __import__("os").getpid()
        same = open(path, "rb").read() == open(name, "rb").read()
        __import__("os").remove(path)
        assert same, name
    else:
        x = loaded
    assert x.shape == shape and x.dtype == np.dtype(dtype), (name, x.shape, x.dtype)
    seen.add(x.tobytes())
print(len(files), len(seen))
"#;

fn read_all(scratch: &Scratch, kind: &str, shape: &str, dtype: &str) -> String {
    let mut python = Command::new(python());
    python
        .args(["-c", READ_ALL])
        .arg(scratch.path("data"))
        .args([kind, shape, dtype]);
    run(python).ok().stdout.trim().to_string()
}

#[test]
fn numpy_reads_what_was_generated_and_would_write_the_same_bytes() {
    let cases: &[(&str, &[&str], &str, &str)] = &[
        (
            "npz",
            &["dataset.record_length_bytes=4900"],
            "(70, 70, 1)",
            "uint8",
        ),
        (
            "npz",
            &[
                "dataset.record_length_bytes=4900",
                "dataset.num_samples_per_file=3",
            ],
            "(70, 70, 3)",
            "uint8",
        ),
        (
            "npz",
            &[
                "dataset.record_dims=[5,4,3]",
                "dataset.record_element_type=float32",
            ],
            "(5, 4, 3, 1)",
            "float32",
        ),
        (
            "npy",
            &[
                "dataset.record_length_bytes=2000",
                "dataset.num_samples_per_file=2",
            ],
            "(44, 44, 2)",
            "uint8",
        ),
        (
            "npy",
            &[
                "dataset.record_dims=[7]",
                "dataset.record_element_type=int64",
            ],
            "(7, 1)",
            "int64",
        ),
    ];
    for (kind, words, shape, dtype) in cases {
        let scratch = Scratch::new();
        let mut command = mpirun(2);
        command
            .arg("generate")
            .args(small(&scratch, 12))
            .arg(format!("dataset.format={kind}"));
        command.args(*words).arg("dataset.num_subfolders_train=2");
        run(command).ok();
        let got = read_all(&scratch, kind, shape, dtype);
        // Twelve files of twelve different contents.
        assert_eq!(got, "12 12", "{kind} {words:?}");
    }
}

#[test]
fn contents_do_not_depend_on_ranks_or_threads() {
    let digest = |ranks, threads| {
        let scratch = Scratch::new();
        let mut command = mpirun(ranks);
        command
            .arg("generate")
            .args(small(&scratch, 7))
            .arg(format!("reader.write_threads={threads}"));
        command.arg("dataset.record_length_bytes_stdev=9000");
        run(command).ok();
        let mut files: Vec<_> = std::fs::read_dir(scratch.path("data/train"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|f| crc32fast::hash(&std::fs::read(f).unwrap()))
            .collect::<Vec<_>>()
    };
    let one = digest(1, 1);
    assert_eq!(one.len(), 7);
    assert_eq!(one, digest(3, 2));
}

#[test]
fn a_restart_skips_complete_files_and_mends_the_others() {
    let scratch = Scratch::new();
    let generate = || {
        let mut command = mpirun(2);
        command.arg("generate").args(small(&scratch, 9));
        run(command).ok().stderr
    };
    generate();
    let file = scratch.path("data/train/img_3_of_9.npz");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    std::fs::remove_file(scratch.path("data/train/img_5_of_9.npz")).unwrap();
    let mut other = std::fs::read(scratch.path("data/train/img_1_of_9.npz")).unwrap();
    other[300] ^= 1;
    std::fs::write(scratch.path("data/train/img_1_of_9.npz"), other).unwrap();
    let said = generate();
    assert!(
        said.contains("generated 3 files") && said.contains("6 were complete"),
        "{said}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    assert!(
        std::fs::read_dir(scratch.path("data/train"))
            .unwrap()
            .count()
            == 9
    );
}

#[test]
fn keep_files_false_deletes_only_what_the_plan_names() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.path("data/train")).unwrap();
    std::fs::write(scratch.path("data/train/mine.txt"), "keep").unwrap();
    let mut command = mpirun(2);
    command
        .args(small(&scratch, 8))
        .arg("dataset.keep_files=false");
    run(command).ok();
    let left: Vec<_> = std::fs::read_dir(scratch.path("data/train"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["mine.txt"]);
}

#[test]
fn a_run_leaves_every_file_of_dlio() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command
        .args(small(&scratch, 8))
        .args(["workflow.evaluation=true", "dataset.num_files_eval=4"]);
    run(command).ok();
    let mut check = Command::new(python());
    check
        .arg(repo().join("tests/python/check_run_dir.py"))
        .arg(scratch.path("out"));
    check.args(["--ranks", "2", "--eval", "--subdir", "dlio_config"]);
    run(check).ok();
    let report = json(&scratch.path("out/report.json"));
    // Two epochs of all 8 files, two evaluations of all 4.
    let files: u64 = ["train", "valid"]
        .iter()
        .flat_map(|split| std::fs::read_dir(scratch.path("data").join(split)).unwrap())
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(report["counters"]["bytes_read"]["value"], 2 * files);
}

#[test]
fn numpys_own_files_train_under_every_decode_and_storage() {
    let scratch = Scratch::new();
    let script = "import sys, os, numpy as np\nos.makedirs(sys.argv[1] + '/train')\n\
        for i in range(8):\n    save = np.savez_compressed if i % 2 else np.savez\n    \
        save(sys.argv[1] + f'/train/img_{i}_of_8.npz', x=np.random.default_rng(i).integers(0, 255, (64, 64, 2), dtype=np.uint8), y=np.zeros(2, np.int64))\n";
    let mut python = Command::new(python());
    python.args(["-c", script]).arg(scratch.path("data"));
    run(python).ok();
    let mut digests = Vec::new();
    for (n, words) in [
        &["reader.decode=none"][..],
        &["reader.decode=verify"],
        &["reader.decode=full"],
        &["storage.storage_type=mmap"],
        &["reader.transfer_size=512"],
        &["storage.storage_type=direct_fs"],
    ]
    .iter()
    .enumerate()
    {
        let mut command = mpirun(2);
        command.args(small(&scratch, 8)).args(*words);
        command.args([
            "workflow.generate_data=false",
            "dataset.num_samples_per_file=2",
            "dataset.record_length_bytes=4096",
        ]);
        command
            .arg("--output")
            .arg(scratch.path(&format!("out{n}")));
        run(command).ok();
        digests.push(json(&scratch.path(&format!("out{n}/report.json")))["order_digest"].clone());
    }
    assert!(
        digests.iter().all(|d| *d == digests[0] && !d.is_null()),
        "{digests:?}"
    );
}

/// Formats with every key that makes other bytes of them, and what a second generation of all of them must repeat.
const REPEATED: &[&[&str]] = &[
    &["dataset.format=npz"],
    &["dataset.format=npz", "dataset.compression=zip"],
    &["dataset.format=npy"],
    &["dataset.format=hdf5"],
    &["dataset.format=hdf5", "dataset.hdf5.chunk_dims=[1,20,20]"],
    &["dataset.format=hdf5", "dataset.compression=gzip"],
    &["dataset.format=hdf5", "dataset.compression=lzf"],
    &["dataset.format=tfrecord"],
    &["dataset.format=csv"],
    &["dataset.format=csv", "dataset.compression=gzip"],
    &["dataset.format=csv", "dataset.compression=bz2"],
    &["dataset.format=csv", "dataset.compression=zip"],
    &["dataset.format=csv", "dataset.compression=xz"],
    &["dataset.format=jpeg", "dataset.num_samples_per_file=1"],
    &["dataset.format=png", "dataset.num_samples_per_file=1"],
    &["dataset.format=indexed_binary"],
    &["dataset.format=mmap_indexed_binary"],
    &["dataset.format=synthetic"],
    &["dataset.format=parquet"],
];

/// Nothing in a file depends on when it is made: hdf5 files held the second of their creation, so every run generated
/// them again.
#[test]
fn a_second_generation_makes_the_same_bytes_and_a_third_skips_all() {
    let scratch = Scratch::new();
    let generate = |folder: &str, number: usize, case: &[&str]| {
        let mut command = solo();
        command.arg("generate").args(small(&scratch, 3)).args([
            format!(
                "dataset.data_folder={}",
                scratch.text(&format!("{folder}-{number}"))
            ),
            "dataset.record_dims=[40,41]".into(),
            "dataset.num_samples_per_file=2".into(),
        ]);
        command.args(case);
        run(command).ok().text()
    };
    for (number, case) in REPEATED.iter().enumerate() {
        generate("a", number, case);
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    for (number, case) in REPEATED.iter().enumerate() {
        generate("b", number, case);
        let mut diff = Command::new("diff");
        diff.arg("-r")
            .arg(scratch.path(&format!("a-{number}")))
            .arg(scratch.path(&format!("b-{number}")));
        let outcome = run(diff);
        assert_eq!(outcome.status, Some(0), "{case:?}: {}", outcome.text());
        let said = generate("a", number, case);
        assert!(said.contains("generated 0 files"), "{case:?}: {said}");
        assert!(said.contains("; 3 were complete"), "{case:?}: {said}");
    }
}

/// System calls about the files of a generation of this many small files, by strace.
fn calls_of_generation(scratch: &Scratch, files: u64) -> usize {
    let (log, folder) = (scratch.text("calls"), scratch.text(&files.to_string()));
    let mut command = Command::new("strace");
    let calls = "openat,statx,newfstatat,stat,write,pwrite64,close,renameat,renameat2,rename,unlinkat,getpid";
    // With the paths of descriptors: other threads look at the machine as time passes.
    command
        .args(["-f", "-y", "-o", &log, "-e"])
        .arg(format!("trace={calls}"))
        .arg(bin())
        .args(small(scratch, files))
        .args([
            "dataset.format=npy",
            "dataset.record_length_bytes=4096",
            "workflow.train=false",
            "--quiet",
        ])
        .arg(format!("dataset.data_folder={folder}"));
    run(command).ok();
    let text = std::fs::read_to_string(&log).unwrap();
    // A call during which another thread was at it has a second line for its end.
    let calls = text.lines().filter(|line| !line.contains(" resumed>"));
    calls
        .filter(|line| line.contains("img_") || line.contains(" getpid("))
        .count()
}

/// open, write, close, rename: what a file costs whose folder this job made.
#[test]
fn a_small_file_costs_four_system_calls() {
    let scratch = Scratch::new();
    let [few, many] = [100, 400].map(|files| calls_of_generation(&scratch, files));
    assert_eq!(many - few, 4 * 300);
    // The folders are there now: each file is looked for, and found.
    let again = calls_of_generation(&scratch, 400);
    assert!(again <= many + 4 * 400, "{again} after {many}");
    let files = std::fs::read_dir(scratch.path("400/train")).unwrap();
    assert_eq!(files.count(), 400);
}
