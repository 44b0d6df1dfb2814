//! A finished run, shown again from its folder.

use std::process::Command;

use serde_json::{Value, json};

use crate::mlperf_report::{lay, training};
use crate::support::{Outcome, Scratch, json as read, mpirun, python, repo, run, small, solo};

fn report(words: &[&str]) -> Outcome {
    let mut command = solo();
    command.arg("report").args(words);
    run(command)
}

/// Words of a workload like unet3d, cut down: npz, one sample of 2 MiB a file, four reader threads.
fn unet3d(folder: &str, out: &str) -> Vec<String> {
    let mut words: Vec<String> = [
        "workload=unet3d_h100",
        "workflow.generate_data=true",
        "workflow.checkpoint=false",
        "dataset.num_files_train=12",
        "dataset.record_length_bytes=2097152",
        "dataset.record_length_bytes_stdev=0",
        "reader.batch_size=2",
        "train.epochs=2",
        "train.computation_time=0.02",
    ]
    .map(Into::into)
    .into();
    words.push(format!("dataset.data_folder={folder}"));
    words.push(format!("output.folder={out}"));
    words
}

/// A run of two ranks like unet3d, by direct I/O on a disk; what its console said.
fn two_ranks(scratch: &Scratch) -> String {
    let mut command = mpirun(2);
    command
        .args(unet3d(&scratch.text("data"), &scratch.text("out")))
        .arg("storage.storage_type=direct_fs");
    run(command).ok().stdout
}

#[test]
fn a_run_is_shown_again_as_its_console_printed_it() {
    let scratch = Scratch::on_disk();
    let console = two_ranks(&scratch);
    let folder = scratch.text("out");
    let (rows, _) = console.split_once("Results: ").unwrap();
    assert!(
        rows.contains("train AU") && rows.contains("order digest"),
        "{rows}"
    );
    let again = report(&[&folder]).ok().stdout;
    assert!(
        again.starts_with(rows),
        "{again}\n--- but the console printed\n{rows}"
    );
    // Then what MLPerf Storage would publish of it.
    assert!(again[rows.len()..].contains("not publishable"), "{again}");

    let value: Value =
        serde_json::from_str(&report(&[&folder, "--format", "json"]).ok().stdout).unwrap();
    let saved = read(&scratch.path("out/report.json"));
    assert_eq!(value["run"]["shown"], saved["shown"]);
    assert_eq!(value["run"]["absent"], json!([]));
    let rows = saved["shown"].as_array().unwrap();
    let au = rows.iter().find(|row| row["label"] == "train AU").unwrap();
    assert_eq!(au["cell"], saved["train"]["au_mean"]["value"]);
    page(
        &scratch,
        "out",
        &[
            "verdict",
            "epochs",
            "time",
            "steps",
            "latency",
            "ranks",
            "evidence",
            "reproduce",
        ],
    );
    // A spreadsheet program's view, by Python.
    let csv = scratch.text("run.csv");
    report(&[&folder, "--format", "csv", "--output", &csv]).ok();
    let script = "import csv,json,sys; r=list(csv.DictReader(open(sys.argv[1]))); j=json.load(open(sys.argv[2])); \
                  au=[x for x in r if x['figure']=='train AU'][0]; \
                  assert float(au['value'])==j['train']['au_mean']['value'] and au['unit']=='%', au; \
                  p={(x['line'],x['figure']): x for x in r if x['table']=='latency'}; \
                  assert all(float(p[s['stage'],'p50']['value'])==s['p50'] for s in j['stages']), p";
    let mut python = Command::new(python());
    python.args(["-c", script, &csv, &scratch.text("out/report.json")]);
    run(python).ok();
    let markdown = report(&[&folder, "--format", "markdown"]).ok().stdout;
    assert!(
        markdown.contains("| train AU | ") && markdown.contains("## latency"),
        "{markdown}"
    );
}

/// Python reads the page of a run and compares every number with its `report.json`.
fn page(scratch: &Scratch, folder: &str, sections: &[&str]) {
    let stem = scratch.text(&format!("{folder}/report"));
    check_page(&stem, folder, sections);
}

/// The same of `STEM.html` and `STEM.json`.
pub fn check_page(stem: &str, name: &str, sections: &[&str]) {
    let html = format!("{stem}.html");
    let mut python = Command::new(python());
    python
        .arg(repo().join("tests/python/check_html.py"))
        .args([&html, &format!("{stem}.json")])
        .args(sections);
    run(python).ok();
    browse(&html, name);
}

/// A browser without a network opens the page: nothing is said on its console. The picture stays in the build's folder.
fn browse(page: &str, name: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default().replace("::", "-");
    let picture = format!("{}/{test}-{name}.png", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_file(&picture);
    open_in_browser(page, &format!("--screenshot={picture}"));
    assert!(
        std::fs::metadata(&picture).unwrap().len() > 50_000,
        "{picture}"
    );
    // On paper all of it is there, too.
    let paper = format!("{page}.pdf");
    open_in_browser(page, &format!("--print-to-pdf={paper}"));
    let mut python = Command::new(python());
    python.arg(repo().join("tests/python/check_paper.py"));
    python.args([page, &paper]);
    run(python).ok();
}

/// What the browser prints of a page, with nothing on its console.
fn open_in_browser(page: &str, what: &str) -> String {
    let browsers = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there =
        |name: &&&str| std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    let browser = browsers.iter().find(is_there);
    let browser = browser.expect("a browser: scripts/setup.sh --test installs chromium");
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            "--no-pdf-header-footer",
            "--window-size=1000,6000",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(what)
        .arg(format!("file://{page}"));
    let outcome = run(command).ok();
    assert!(!outcome.stderr.contains("CONSOLE"), "{}", outcome.stderr);
    outcome.stdout
}

/// The script of the page sorts the rows of tables and of the map of ranks; everything else is there without it.
#[test]
fn tables_and_the_map_of_ranks_can_be_sorted() {
    let scratch = Scratch::new();
    let mut command = mpirun(4);
    command.args(small(&scratch, 32)).args([
        "workflow.generate_data=false",
        "storage.storage_type=model",
        "storage.storage_options.latency=0.001",
        "storage.storage_options.slow_rank=2",
        "storage.storage_options.slow_latency=0.03",
        "--virtual-time",
    ]);
    run(command).ok();
    let html = std::fs::read_to_string(scratch.path("out/report.html")).unwrap();
    // As a user: a click on the button of the map of waits, and two on the head of a column of its table.
    let click = "<script>var button = document.querySelectorAll('.sort')[1]; button.click(); \
        var figure = button.parentNode, table = figure.querySelector('table'), head = table.tHead.rows[0].cells[2]; \
        head.click(); head.click(); \
        document.title = [].map.call(figure.querySelectorAll('g.rows > g'), function (g) { return g.getAttribute('transform'); }).join('|') \
        + ' ' + [].map.call(table.tBodies[0].rows, function (r) { return r.cells[0].textContent; }).join(',');\
        </script></body>";
    let clicked = scratch.path("clicked.html");
    std::fs::write(&clicked, html.replace("</body>", click)).unwrap();
    let dom = open_in_browser(&clicked.display().to_string(), "--dump-dom");
    let title = dom.split("<title>").nth(1).unwrap();
    let (title, _) = title.split_once("</title>").unwrap();
    let (moves, ranks) = title.rsplit_once(' ').unwrap();
    let moves: Vec<f64> = (moves.split('|'))
        .map(|t| {
            let number = t.trim_start_matches("translate(0 ").trim_end_matches(')');
            number
                .parse()
                .unwrap_or_else(|e| panic!("{e}: {t} in {title}"))
        })
        .collect();
    // Rank 2 waited longest: it is the last row of the map, after rank 3, and with the second click the first of the table.
    assert_eq!(ranks.split(',').next(), Some("2"), "{title}");
    assert_eq!(moves.len(), 4, "{title}");
    assert!(moves[2] > 0.0 && moves[3] < 0.0, "{title}");
    // Nothing but the sorting needs the script.
    assert!(html.contains("<g class=\"rows\"") && html.contains("2 on "));
}

#[test]
fn the_page_of_an_object_store_has_its_requests() {
    let scratch = Scratch::new();
    let server = crate::servers::Seaweed::shared();
    let folder = format!("s3://{}/report", crate::servers::BUCKET);
    let mut words = unet3d(&folder, &scratch.text("out"));
    words.extend(server.words());
    let mut command = mpirun(2);
    command.args(words);
    run(command).ok();
    page(
        &scratch,
        "out",
        &[
            "verdict",
            "epochs",
            "time",
            "latency",
            "evidence",
            "objects",
            "reproduce",
        ],
    );
    let html = std::fs::read_to_string(scratch.path("out/report.html")).unwrap();
    assert!(html.contains("/object_store/endpoints/0/get_requests/value"));
    assert!(
        !html.contains(crate::servers::SECRET_KEY),
        "a secret stands in the page"
    );
}

#[test]
fn pages_of_checkpoints_and_of_several_runs() {
    let scratch = Scratch::new();
    for out in ["a", "b"] {
        let mut command = mpirun(2);
        command
            .args(crate::checkpoint::tiny(&scratch))
            .arg(format!("output.folder={}", scratch.text(out)));
        run(command).ok();
    }
    page(
        &scratch,
        "a",
        &["verdict", "checkpoints", "time", "reproduce"],
    );
    let html = std::fs::read_to_string(scratch.path("a/report.html")).unwrap();
    assert!(
        html.contains("save of each checkpoint") && html.contains("fsync"),
        "{html}"
    );
    // A file of a run is not overwritten, its page may be.
    let (a, b) = (scratch.text("a"), scratch.text("b"));
    report(&[&a, "--html", &scratch.text("a/summary.json")])
        .fails(2, &["not overwritten", "remedy"]);
    report(&[&a, "--html", &scratch.text("a/report.html")]).ok();
    page(&scratch, "a", &["verdict", "checkpoints"]);
    // Several on top of each other, with the figures of `compare`.
    report(&[&a, &b, "--html", &scratch.text("both.html")]).ok();
    let both = std::fs::read_to_string(scratch.path("both.html")).unwrap();
    for part in [
        "run1-checkpoints",
        "run2-checkpoints",
        "checkpoint save bandwidth",
        "against",
    ] {
        assert!(both.contains(part), "{part} is missing");
    }
    // Not where it was not wanted, and not under DLIO's name, whose folder has DLIO's files only.
    let mut command = mpirun(1);
    command
        .args(small(&scratch, 4))
        .args(["workflow.generate_data=true", "output.html=false"]);
    run(command).ok();
    assert!(scratch.path("out/report.json").exists() && !scratch.path("out/report.html").exists());
}

#[test]
fn a_run_of_dlio_is_shown_and_what_it_lacks_is_named() {
    let scratch = Scratch::new();
    lay(&scratch.path("run"), &training("20261101_100000", "1024.0"));
    let said = report(&[&scratch.text("run")]).ok().stdout;
    for part in [
        "DLIO   8 accelerator(s)",
        "train AU                         98.00 %",
        "1.000 GiB/s",
        "not in this folder: latency per stage: DLIO measures whole steps only",
        "not in this folder: times of steps: no <rank>_output.json holds any",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    report(&[&scratch.text("run"), "--html", &scratch.text("page.html")]).ok();
    let html = std::fs::read_to_string(scratch.path("page.html")).unwrap();
    assert!(
        html.contains("Not shown: latency per stage") && html.contains("AU per epoch"),
        "{html}"
    );
    // A run that did not end is shown as far as it goes, and named as unreadable.
    std::fs::remove_file(scratch.path("run/summary.json")).unwrap();
    let failed = report(&[&scratch.text("run")]).fails(1, &["there is no summary.json"]);
    assert!(
        failed.stdout.contains("not in this folder: every figure"),
        "{}",
        failed.stdout
    );
}
