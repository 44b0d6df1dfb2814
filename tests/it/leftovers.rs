//! What an ended run leaves on an object store: uploads are aborted by signals, and `clean` removes the rest.

use std::process::Command;
use std::time::Duration;

use crate::scripted::{Asked, Reply, Running, Scripted};
use crate::servers::*;
use crate::support::*;

/// A file of three parts, generated; its parts never arrive.
fn stuck(server: &Running) -> (Scratch, std::process::Child) {
    let scratch = Scratch::new();
    let mut command = solo();
    command
        .arg("run")
        .args(small(&scratch, 1))
        .args(server.words())
        .arg(format!("dataset.data_folder=s3://{BUCKET}/stuck"))
        .args([
            "workflow.generate_data=true",
            "workflow.train=false",
            "dataset.record_length_bytes=14680064",
            "reader.batch_size=1",
            "storage.storage_options.part_size=5242880",
        ]);
    let child = start(command);
    wait_for(60, || {
        server.count(|a| a.target.contains("partNumber=2")) > 0
    });
    (scratch, child)
}

fn signalled(server: &Running, signal: libc::c_int) -> Outcome {
    let (_scratch, child) = stuck(server);
    // SAFETY: the child has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    finish(child, 60)
}

fn is_abort(asked: &Asked) -> bool {
    asked.method == "DELETE" && asked.target.contains("uploadId=")
}

#[test]
fn a_signal_aborts_uploads_under_way() {
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let server = Scripted::start(|asked, _| {
            asked
                .target
                .contains("partNumber")
                .then_some(Reply::Late(Duration::from_secs(600)))
        });
        signalled(&server, signal).fails(128 + signal, &[name]);
        wait_for(60, || server.uploads.lock().unwrap().is_empty());
        assert_eq!(server.count(is_abort), 1);
        assert!(server.objects.lock().unwrap().is_empty());
    }
}

#[test]
fn an_upload_that_the_server_does_not_forget_in_time_is_named() {
    let server = Scripted::start(|asked, _| {
        (asked.target.contains("partNumber") || is_abort(asked))
            .then_some(Reply::Late(Duration::from_secs(600)))
    });
    // It ends long before the server answers.
    signalled(&server, libc::SIGTERM).fails(
        128 + libc::SIGTERM,
        &[
            &format!("the upload of s3://{BUCKET}/stuck/train/img_0_of_1.npz could not be aborted"),
            "dlio-rs clean s3://",
        ],
    );
}

fn clean(folder: &str, words: &[String], more: &[&str]) -> Outcome {
    let mut command: Command = solo();
    command.args(["clean", folder]).args(words).args(more);
    run(command)
}

/// Leaves an upload and an incomplete checkpoint beside what is nobody's business, and cleans.
fn cleans(check: impl Fn(&[&str]) -> String, folder: &str, words: &[String]) {
    check(&["begin", "left/train/img_0_of_9.npz"]);
    check(&["begin", "left/strange.bin"]);
    check(&["begin", "leftover/train/img_0_of_9.npz"]);
    for name in [
        "left/ck/global_epoch1_step2/INCOMPLETE",
        "left/ck/global_epoch1_step2/zero.pt",
        "left/ck/global_epoch1_step3/zero.pt",
        "left/ck/notes.txt",
    ] {
        check(&["put", name, "7"]);
    }
    let shown = clean(folder, words, &[]).ok();
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", shown.stdout);
    assert!(lines[0].starts_with(&format!("upload {folder}/train/img_0_of_9.npz (")));
    assert!(lines[1].contains("global_epoch1_step2/zero.pt (7 bytes)"));
    assert!(lines[2].contains("global_epoch1_step2/INCOMPLETE"));
    assert!(lines[3].contains("nothing is removed without --yes"));
    assert_eq!(
        check(&["list", "left/ck"])
            .matches("global_epoch1_step2")
            .count(),
        2
    );

    clean(folder, words, &["--yes"]).ok();
    let listed = check(&["list", "left/ck"]);
    assert!(!listed.contains("step2"), "{listed}");
    assert!(
        listed.contains("step3") && listed.contains("notes.txt"),
        "{listed}"
    );
    let uploads = check(&["uploads"]);
    assert!(
        !uploads.contains("\"left/train/img_0_of_9.npz\""),
        "{uploads}"
    );
    for kept in ["left/strange.bin", "leftover/train/img_0_of_9.npz"] {
        assert!(uploads.contains(kept), "{uploads}");
    }
    let again = clean(folder, words, &["--yes"]).ok();
    assert!(
        again.stdout.starts_with("0 unfinished uploads, 0 files"),
        "{}",
        again.stdout
    );
}

#[test]
fn clean_shows_and_removes_what_has_our_names_on_s3() {
    let server = Seaweed::start();
    cleans(
        |words| server.check(words),
        &format!("s3://{BUCKET}/left"),
        &server.words(),
    );
}

#[test]
fn clean_shows_and_removes_what_has_our_names_on_azure() {
    let server = Azurite::start(false);
    cleans(
        |words| server.check(words),
        &format!("az://{ACCOUNT}/{BUCKET}/left"),
        &server.words(),
    );
}

#[test]
fn clean_refuses_file_systems() {
    let scratch = Scratch::new();
    clean(&scratch.text("x"), &[], &[])
        .fails(2, &["it is on no object store", "s3://bucket/prefix"]);
}
