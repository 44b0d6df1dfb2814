//! What a launcher and the command line hand down: CPUs, sizes of jobs, commands.

use std::process::Command;

use crate::support::*;

/// The masks of the reader threads of a running job, as the kernel lists them.
fn reader_masks(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let value = |task: &std::path::Path, key: &str| {
        let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().trim().to_owned()
    };
    tasks
        .map(|task| task.unwrap().path())
        .filter(|task| value(task, "Name:").starts_with("reader-"))
        .map(|task| value(&task, "Cpus_allowed_list:"))
        .collect()
}

#[test]
fn reader_threads_stay_on_the_cpus_that_the_job_was_started_on() {
    let all = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    let all = all.trim();
    for (words, expected) in [
        (vec![], "0"),
        (vec!["reader.cpus=inherit"], "0"),
        (vec!["reader.cpus=0"], "0"),
        (vec!["reader.cpus=node"], all),
    ] {
        let scratch = Scratch::new();
        let job = |seconds: &str| {
            let mut command = Command::new("taskset");
            command.args(["-c", "0", bin()]).args(small(&scratch, 8));
            command.args(["reader.read_threads=2", "train.epochs=1", "--quiet"]);
            command.arg(format!("train.computation_time={seconds}"));
            command.args(&words);
            command
        };
        let mut child = start(job("600"));
        let pid = child.id();
        wait_for(60, || reader_masks(pid).len() == 2);
        wait_for(60, || reader_masks(pid).iter().all(|mask| mask == expected));
        child.kill().unwrap();
        child.wait().unwrap();
        run(job("0.001")).ok();
        let report = json(&scratch.path("out/report.json"));
        let mask = report["provenance"]["thread_cpus"].as_str();
        assert_eq!(mask, Some(expected), "{words:?}");
    }
}

#[test]
fn cpus_that_do_not_exist_are_refused() {
    let scratch = Scratch::new();
    let mut command = solo();
    command.args(small(&scratch, 4)).arg("reader.cpus=1000");
    run(command).fails(1, &["run threads on CPUs 1000", "remedy"]);
    let mut command = solo();
    command.args(small(&scratch, 4)).arg("reader.cpus=all");
    run(command).fails(2, &["reader.cpus", "inherit, node or a list"]);
}

#[test]
fn launchers_whose_processes_do_not_find_each_other_are_named() {
    for variable in ["FLUX_JOB_SIZE", "JSM_NAMESPACE_SIZE"] {
        let scratch = Scratch::new();
        let mut command = solo();
        command.args(small(&scratch, 8)).env(variable, "2");
        let words = format!("the launcher meant 2 ranks ({variable}=2)");
        run(command).fails(1, &[&words]);
    }
}

#[test]
fn a_linked_binary_opens_no_other_library_of_mpi() {
    let scratch = Scratch::new();
    for words in [vec!["--mpi-lib", bin()], vec![]] {
        let mut command = solo();
        command.args(small(&scratch, 8)).args(&words);
        if words.is_empty() {
            command.env("DLIO_RS_MPI_LIB", bin());
        }
        run(command).fails(
            1,
            &[bin(), "this binary is linked with", "libmpi", "remedy"],
        );
    }
    // On a login node info answers all the same.
    for (words, expected) in [
        (
            vec!["info", "--mpi-lib", bin()],
            "this binary is linked with",
        ),
        (vec!["info"], "under a launcher: Open MPI"),
    ] {
        let mut command = solo();
        command.args(words);
        let text = run(command).ok().text();
        assert!(
            text.contains(expected) && text.contains("libmpi.so"),
            "{text}"
        );
    }
}

#[test]
fn a_command_of_a_workload_file_runs_only_where_that_is_allowed() {
    let scratch = Scratch::new();
    let yaml = scratch.path("w.yaml");
    let trace = scratch.path("ran");
    let text = format!(
        "model: {{name: m, model_size: 4096}}\nframework: pytorch\nworkflow: {{train: false, generate_data: false, checkpoint: true}}\ndataset: {{data_folder: {0}/data}}\ncheckpoint: {{checkpoint_folder: {0}/ck, num_checkpoints_write: 1, num_checkpoints_read: 1, time_between_checkpoints: 0, between_phases: 'grep SigBlk /proc/self/status > {1}'}}\noutput: {{folder: {0}/out}}\n",
        scratch.text(""),
        trace.display()
    );
    std::fs::write(&yaml, text).unwrap();
    let job = |words: &[&str]| {
        let mut command = solo();
        command.arg(&yaml).args(words).arg("--quiet");
        run(command)
    };
    job(&[]).fails(2, &["runs a shell command", "w.yaml", "--allow-commands"]);
    assert!(!trace.exists());
    let mut command = solo();
    command.arg("plan").arg(&yaml);
    let shown = run(command).ok();
    assert!(
        shown.stderr.contains("runs a shell command"),
        "{}",
        shown.text()
    );
    job(&["--allow-commands"]).ok();
    // It can be ended like any other command, though signals are blocked in the threads of a rank.
    let blocked = std::fs::read_to_string(&trace).unwrap();
    assert_eq!(blocked.trim(), "SigBlk:\t0000000000000000");
    std::fs::remove_file(&trace).unwrap();
    std::fs::remove_dir_all(scratch.path("out")).unwrap();
    job(&[&format!(
        "checkpoint.between_phases='touch {}'",
        trace.display()
    )])
    .ok();
    assert!(trace.exists());
}

#[test]
fn a_manifest_of_a_later_version_is_refused() {
    let scratch = Scratch::new();
    let mut command = solo();
    command
        .args(small(&scratch, 4))
        .args(["workflow.train=false", "--quiet"]);
    run(command).ok();
    let path = scratch.path("data/.dlio-rs-manifest.json");
    let mut manifest = json(&path);
    manifest["schema"] = 2.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    let mut command = solo();
    command
        .args(small(&scratch, 4))
        .args(["workflow.generate_data=false", "--quiet"]);
    run(command).fails(1, &["its schema is 2", ".dlio-rs-manifest.json", "remedy"]);
}
