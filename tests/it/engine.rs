//! Threads or a ring of io_uring: the same samples, calls and bytes, and the same words when something is wrong.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::*;

const ENGINES: [&str; 2] = ["threads", "uring"];

/// The words of a job over 24 files, generated on a disk.
fn generated(scratch: &Scratch, more: &[&str]) -> Vec<String> {
    let mut words = small(scratch, 24);
    words.extend(["train.computation_time=0.0".into(), "--quiet".into()]);
    words.extend(more.iter().map(|word| word.to_string()));
    let mut command = solo();
    command
        .args(&words)
        .args(["workflow.train=false", "workflow.generate_data=true"]);
    run(command).ok();
    words.push("workflow.generate_data=false".into());
    words
}

fn train(words: &[String], engine: &str, more: &[&str]) -> Command {
    let mut command = solo();
    command.args(words).args(more);
    command.arg(format!("reader.engine={engine}"));
    command
}

fn file(scratch: &Scratch, number: usize) -> PathBuf {
    let folder = std::fs::read_dir(scratch.path("data/train")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.swap_remove(number)
}

/// What was read and in which order, by report.json.
fn read_by(words: &[String], engine: &str, more: &[&str]) -> serde_json::Value {
    let out = Scratch::new();
    let mut command = train(words, engine, more);
    command.arg("--output").arg(out.path("out"));
    run(command).ok();
    let report = json(&out.path("out/report.json"));
    assert_eq!(report["provenance"]["reader_engine"], engine);
    // How often a file is opened anew depends on which reader takes its next sample.
    what_was_read(&report, &["open"])
}

/// Order, and how often each stage but `without` and each counter: the same for both engines.
pub fn what_was_read(report: &serde_json::Value, without: &[&str]) -> serde_json::Value {
    let stages = report["stages"].as_array().unwrap();
    let counts: Vec<_> = (stages.iter())
        .filter(|stage| !without.contains(&stage["stage"].as_str().unwrap()))
        .map(|stage| (stage["stage"].clone(), stage["count"].clone()))
        .collect();
    let counters = [
        "bytes_read",
        "reads",
        "metadata_reads",
        "samples",
        "retries",
    ]
    .map(|name| report["counters"][name].clone());
    serde_json::json!([report["order_digest"], counts, counters])
}

#[test]
fn both_engines_read_the_same_samples_by_the_same_calls() {
    let shapes: [&[&str]; 4] = [
        &["reader.data_loader=native", "reader.io_depth=12"],
        &["reader.data_loader=pytorch", "reader.read_threads=5"],
        &["reader.data_loader=pytorch", "reader.read_threads=0"],
        // Extents of a file, by its index; short pauses; and more calls than one for an extent.
        &[
            "reader.data_loader=native",
            "reader.io_depth=6",
            "reader.preprocess_time=0.001",
            "reader.transfer_size=4096",
            "reader.order=permutation",
        ],
    ];
    for format in [
        &["dataset.format=npz"][..],
        &[
            "dataset.format=tfrecord",
            "dataset.num_samples_per_file=5",
            "dataset.record_length_bytes=10000",
        ],
    ] {
        let scratch = Scratch::on_disk();
        let words = generated(&scratch, format);
        for shape in shapes {
            for storage in ["local_fs", "direct_fs"] {
                let storage = format!("storage.storage_type={storage}");
                let more = [shape, &[&storage, "reader.verify_content=full"]].concat();
                let [threads, uring] = ENGINES.map(|engine| read_by(&words, engine, &more));
                assert_eq!(threads, uring, "{format:?} {more:?}");
            }
        }
    }
}

/// Pinning the buffers of many readers takes longer than reading a small dataset; and a file system is asked once, not for each
/// of the 24 files, whether it has direct I/O.
#[test]
fn rings_are_set_up_once_for_all_epochs() {
    let scratch = Scratch::on_disk();
    let words = generated(&scratch, &[]);
    let calls = scratch.path("calls");
    let set_up = |epochs: &str| {
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-qq",
            "--trace=io_uring_setup,io_uring_register,fstatfs",
            "-o",
        ]);
        command.arg(&calls).arg(bin()).args(&words);
        command.args([
            "reader.engine=uring",
            "reader.data_loader=native",
            "reader.io_depth=8",
            "reader.transfer_size=4096",
            "storage.storage_type=direct_fs",
            epochs,
        ]);
        run(command).ok();
        std::fs::remove_dir_all(scratch.path("out")).unwrap();
        let text = std::fs::read_to_string(&calls).unwrap();
        let of = |call: &str| text.lines().filter(|line| line.contains(call)).count();
        assert!(of("fstatfs(") < 24, "{}", of("fstatfs("));
        [of("io_uring_setup("), of("IORING_REGISTER_BUFFERS")]
    };
    let one = set_up("train.epochs=1");
    assert!(one.iter().all(|calls| *calls > 0), "{one:?}");
    assert_eq!(set_up("train.epochs=4"), one);
}

/// Of a dataset with a manifest the length of a file is known, and its read proves it; without one the kernel is asked each time.
#[test]
fn the_length_of_a_planned_file_is_not_asked_for_and_another_one_is_found() {
    let scratch = Scratch::on_disk();
    let words = generated(&scratch, &["dataset.format=npy"]);
    // The names are not compared with the plan, which asks for lengths too.
    let unlisted = "dataset.listing_validation_interval=0";
    // Nor are pages looked for once more, after an eviction.
    let kept = "reader.drop_cache=none";
    let more = [
        "reader.data_loader=native",
        "reader.io_depth=8",
        unlisted,
        kept,
    ];
    let path = file(&scratch, 17);
    let (bytes, name) = (std::fs::read(&path).unwrap(), path.display().to_string());
    let longer = [&bytes[..], &[0]].concat();
    for other in [&longer[..], &bytes[..bytes.len() - 1], &[]] {
        std::fs::write(&path, other).unwrap();
        for engine in ENGINES {
            let command = train(&words, engine, &more);
            let has = format!("it has {} bytes", other.len());
            run(command).fails(1, &[&name, &has]);
        }
    }
    std::fs::write(&path, &bytes).unwrap();
    let lengths_asked = |engine: &str| {
        let calls = scratch.path("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-qq", "--trace=statx,fstat,newfstatat", "-o"]);
        command.arg(&calls).arg(bin()).args(&words).args(more);
        command.args([&format!("reader.engine={engine}"), "train.epochs=5"]);
        run(command).ok();
        std::fs::remove_dir_all(scratch.path("out")).unwrap();
        let text = std::fs::read_to_string(&calls).unwrap();
        text.lines().filter(|line| line.contains(".npy>")).count()
    };
    let planned = ENGINES.map(lengths_asked);
    std::fs::remove_file(scratch.path("data/.dlio-rs-manifest.json")).unwrap();
    let unplanned = ENGINES.map(lengths_asked);
    for (planned, unplanned) in planned.into_iter().zip(unplanned) {
        assert_eq!(unplanned, planned + 5 * 24);
    }
}

#[test]
fn evaluation_and_more_ranks_read_through_rings_too() {
    let scratch = Scratch::on_disk();
    let more = ["workflow.evaluation=true", "dataset.num_files_eval=8"];
    let words = generated(&scratch, &more);
    for engine in ENGINES {
        let mut command = mpirun(3);
        command.args(&words).arg(format!("reader.engine={engine}"));
        run(command).ok();
        let report = json(&scratch.path("out/report.json"));
        assert_eq!(
            report["counters"]["samples"]["value"],
            2 * (24 + 6),
            "{engine}"
        );
        std::fs::remove_dir_all(scratch.path("out")).unwrap();
    }
}

#[test]
fn damaged_short_and_missing_files_are_named_with_both_engines() {
    for engine in ENGINES {
        let scratch = Scratch::on_disk();
        let words = generated(&scratch, &[]);
        let more = ["reader.data_loader=native", "reader.io_depth=8"];
        let path = file(&scratch, 17);
        let bytes = std::fs::read(&path).unwrap();
        let name = path.display().to_string();
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        run(train(&words, engine, &more)).fails(1, &["failed to decode", &name]);
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let unlisted = ["dataset.listing_validation_interval=0"];
        run(train(&words, engine, &[&more[..], &unlisted].concat())).fails(1, &[&name]);
        std::fs::remove_file(&path).unwrap();
        run(train(&words, engine, &[&more[..], &unlisted].concat()))
            .fails(1, &["does not exist", &name]);
    }
}

#[test]
fn a_file_that_hangs_is_named_with_both_engines() {
    for engine in ENGINES {
        let scratch = Scratch::new();
        let words = generated(&scratch, &[]);
        let path = file(&scratch, 5);
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let more = [
            "dataset.listing_validation_interval=0",
            "reader.drop_cache=none",
            "reader.data_loader=native",
            "reader.io_depth=4",
            "--stall-timeout",
            "5",
        ];
        run(train(&words, engine, &more)).fails(1, &[&path.display().to_string()]);
    }
}

/// Has the kernel answer io_uring_setup(2) with an error number, as filters of containers do.
fn forbid_rings(command: &mut Command, errno: i32) {
    let errno = errno as u32;
    let filter = move || {
        let step = |code: u32, k: u32, yes: u8| libc::sock_filter {
            code: code as u16,
            jt: yes,
            jf: 0,
            k,
        };
        let mut steps = [
            // The number of the system call comes first.
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                libc::SYS_io_uring_setup as u32,
                1,
            ),
            step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
            step(
                libc::BPF_RET | libc::BPF_K,
                libc::SECCOMP_RET_ERRNO | errno,
                0,
            ),
        ];
        let program = libc::sock_fprog {
            len: steps.len() as u16,
            filter: steps.as_mut_ptr(),
        };
        // SAFETY: the program lives through the calls, which allocate nothing.
        let status = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
        };
        match status {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes two system calls.
    unsafe { command.pre_exec(filter) };
}

#[test]
fn a_ring_that_is_refused_is_an_error_where_it_was_asked_for_and_named_by_info() {
    let scratch = Scratch::new();
    let words = generated(&scratch, &[]);
    for (errno, cause) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS")] {
        let mut command = train(&words, "uring", &[]);
        forbid_rings(&mut command, errno);
        run(command).fails(1, &["reader.engine=uring", cause, "remedy: "]);
        let mut command = train(&words, "auto", &[]);
        forbid_rings(&mut command, errno);
        run(command).ok();
        let provenance = json(&scratch.path("out/report.json"))["provenance"].take();
        assert_eq!(provenance["reader_engine"], "threads");
        std::fs::remove_dir_all(scratch.path("out")).unwrap();
        let mut command = solo();
        command.arg("info");
        forbid_rings(&mut command, errno);
        let info = run(command).ok().stdout;
        assert!(
            info.contains("io_uring: ") && info.contains(cause),
            "{info}"
        );
    }
    let mut command = solo();
    command.arg("info");
    let info = run(command).ok().stdout;
    assert!(info.contains("io_uring: usable"), "{info}");
    for storage in ["mmap", "null"] {
        let storage = format!("storage.storage_type={storage}");
        run(train(&words, "uring", &[&storage])).fails(2, &["reader.engine", "remedy: "]);
    }
}
