//! Which certificates are trusted, and what is said of those that are not.

use std::process::Command;

use crate::scripted::{Running, Scripted, tls_of};
use crate::servers::BUCKET;
use crate::support::*;

/// A server with a certificate that tests/python/make_certificate.py made.
fn server(scratch: &Scratch, kind: &str) -> Running {
    let made = Command::new(python())
        .arg(repo().join("tests/python/make_certificate.py"))
        .args([&scratch.text(""), kind])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Scripted::start_with(Some(tls_of(&scratch.path(""))), |_, _| None)
}

fn job(scratch: &Scratch, server: &Running, more: &[&str]) -> Outcome {
    let mut command = solo();
    command
        .arg("run")
        .args(small(scratch, 2))
        .args(server.words())
        .arg(format!("dataset.data_folder=s3://{BUCKET}/tls"))
        .args([
            "workflow.generate_data=true",
            "workflow.train=false",
            "--quiet",
        ])
        .args(more);
    run(command)
}

#[test]
fn certificates_are_judged_as_curl_judges_them_and_refusals_say_why() {
    let cases: [(&str, bool, &[&str]); 4] = [
        ("self", true, &[]),
        (
            "self",
            false,
            &["is signed by itself", "storage_options.ca_bundle"],
        ),
        (
            "expired",
            true,
            &[
                "its certificate expired on 2020-01-02 03:04 UTC",
                "renew the server's certificate",
            ],
        ),
        (
            "other-name",
            true,
            &[
                "is for store.example.com, not for 127.0.0.1",
                "with a name that the certificate has",
            ],
        ),
    ];
    for (kind, is_given, expected) in cases {
        let scratch = Scratch::new();
        let server = server(&scratch, kind);
        let given = format!(
            "storage.storage_options.ca_bundle={}",
            scratch.text("server.pem")
        );
        let more: &[&str] = if is_given { &[&given] } else { &[] };
        let outcome = job(&scratch, &server, more);
        if expected.is_empty() {
            outcome.ok();
            assert!(server.count(|a| a.method == "PUT") >= 2);
        } else {
            outcome.fails(1, expected);
            assert_eq!(server.count(|_| true), 0, "{kind}: nothing is sent");
        }
        // curl's own judgement of the same server and certificate.
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--output", "/dev/null"]);
        if is_given {
            curl.args(["--cacert", &scratch.text("server.pem")]);
        }
        let status = curl
            .arg(format!("{}/{BUCKET}", server.url()))
            .status()
            .unwrap();
        assert_eq!(status.success(), expected.is_empty(), "{kind}: curl");
    }
}
