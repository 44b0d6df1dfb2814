//! A run under a real CPU limit: its figures against the kernel's own, and who is warned.

use std::path::{Path, PathBuf};
use std::process::Command;

use dlio_rs::internal::Timeline;

use crate::support::*;

/// A cgroup whose threads together may use a part of one CPU; removed with the test.
struct CpuLimit(PathBuf);

impl CpuLimit {
    /// `quota` of each `period`, both in us.
    fn new(quota: u64, period: u64) -> Self {
        let (parent, is_v2) = cpu_controller();
        let made = tempfile::Builder::new()
            .prefix("dlio-rs-test-")
            .tempdir_in(&parent);
        let made = made.unwrap_or_else(|e| {
            panic!("this test limits the CPU of a run and needs the right to make a cgroup (root has it): {e}")
        });
        // Its files are the kernel's: only the folder itself can be removed.
        let limit = CpuLimit(made.keep());
        let values = match is_v2 {
            true => vec![("cpu.max", format!("{quota} {period}"))],
            false => vec![
                ("cpu.cfs_period_us", period.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
        };
        for (name, value) in values {
            let path = limit.0.join(name);
            std::fs::write(&path, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        limit
    }

    /// A command whose process enters the cgroup before it becomes the program.
    fn around(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        command.args(["-c", enter]);
        command.arg(self.0.join("cgroup.procs")).arg(program);
        command
    }

    /// Periods in which it was throttled, and for how many seconds, all CPUs together.
    fn throttled(&self) -> (u64, f64) {
        let text = std::fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|n| n.trim().parse::<u64>().unwrap())
        };
        let ns = number("throttled_time ").or(number("throttled_usec ").map(|us| us * 1000));
        (number("nr_throttled ").unwrap(), ns.unwrap() as f64 / 1e9)
    }
}

impl Drop for CpuLimit {
    fn drop(&mut self) {
        // The kernel lets it go once it has forgotten the processes that were in it.
        wait_for(5, || std::fs::remove_dir(&self.0).is_ok());
    }
}

/// The root of the hierarchy that limits CPUs, and whether it is of v2.
fn cpu_controller() -> (PathBuf, bool) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut unified = None;
    for line in mounts.lines() {
        let (left, right) = line.split_once(" - ").unwrap();
        let point = Path::new(left.split(' ').nth(4).unwrap());
        let right: Vec<&str> = right.split(' ').collect();
        match right[0] {
            "cgroup" if right[2].split(',').any(|option| option == "cpu") => {
                return (point.into(), false);
            }
            "cgroup2" => unified = Some(point),
            _ => {}
        }
    }
    let unified = unified.expect("no cgroups are mounted: this test limits the CPU of a run");
    // Often it is so already, and whether it is shows when the limit is written.
    let _ = std::fs::write(unified.join("cgroup.subtree_control"), "+cpu");
    (unified.into(), true)
}

/// Six reader threads that compare all bytes have a seventh of a CPU.
#[test]
fn a_cpu_limit_that_holds_a_run_back_is_measured_and_named() {
    let scratch = Scratch::new();
    let mut words = small(&scratch, 64);
    words.extend(
        [
            "dataset.record_length_bytes=1048576",
            "reader.verify_content=full",
            "reader.read_threads=6",
            "train.computation_time=0.001",
            "--progress=none",
        ]
        .map(Into::into),
    );
    let mut generation = solo();
    generation.args(&words).arg("workflow.train=false");
    run(generation).ok();
    std::fs::remove_dir_all(scratch.path("out")).unwrap();

    let limit = CpuLimit::new(15_000, 100_000);
    let (periods_before, before) = limit.throttled();
    let mut command = limit.around(bin());
    command.args(&words).arg("workflow.generate_data=false");
    let console = run(command).ok().stdout;
    let (periods_after, after) = limit.throttled();
    let (by_kernel, periods_by_kernel) = (after - before, periods_after - periods_before);

    let report = json(&scratch.path("out/report.json"));
    let host = &report["hosts"][0];
    let seconds = host["throttled"]["value"].as_f64().unwrap();
    let periods = host["throttled_periods"].as_u64().unwrap();
    println!("{seconds} s of {by_kernel} s, {periods} periods of {periods_by_kernel}");
    assert_eq!(host["limits"]["cpu_quota"], 0.15, "{host}");
    // The report counts from the beginning of training to its end, the kernel from start to end of the process.
    assert!(0.5 * by_kernel < seconds && seconds <= by_kernel, "{host}");
    assert!(0 < periods && periods <= periods_by_kernel, "{host}");

    let name = host["name"].as_str().unwrap();
    let timeline = Timeline::load(&scratch.path("out/timeline.json.zst")).unwrap();
    let events = timeline.events.events.iter();
    let events: Vec<_> = events.filter(|event| event.kind == "throttled").collect();
    let in_events = events.iter().map(|event| {
        assert_eq!(event.fields["host"], name, "{event:?}");
        assert!(event.until_ns.unwrap() <= timeline.length_ns, "{event:?}");
        event.fields["throttled_s"].as_f64().unwrap()
    });
    let in_events: f64 = in_events.sum();
    // They begin before training does, and end after it.
    assert!(
        seconds * 0.95 <= in_events && in_events <= by_kernel,
        "{in_events} {seconds} {by_kernel}"
    );

    let said = format!("{name}: throttled by its CPU limit {seconds:.1} s");
    assert!(console.contains(&said), "{said}: {console}");
    let html = std::fs::read_to_string(scratch.path("out/report.html")).unwrap();
    for said in [
        format!("throttled: {name} for {seconds:.1} s"),
        format!("the CPU limit held {name} back for "),
    ] {
        assert!(html.contains(&said), "{said}");
    }
}
