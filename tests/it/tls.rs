//! Which certificates are trusted, and what is said of those that are not.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::scripted::{Running, Scripted, tls_of};
use crate::servers::{BUCKET, s3_words};
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

/// P-521 keys and certificates, made by openssl: ca.pem signed server.pem over `hash`.
fn make_p521(scratch: &Scratch, hash: &str) {
    let file = |name: &str| scratch.text(name);
    let new = |name: &str, more: &[&str]| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-521", hash])
            .args(["-subj", &format!("/CN={name}")])
            .args(["-keyout", &file(&format!("{name}.key"))])
            .args(["-out", &file(&format!("{name}.pem"))])
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "{text}");
    };
    new("ca", &[]);
    new(
        "server",
        &[
            "-CA",
            &file("ca.pem"),
            "-CAkey",
            &file("ca.key"),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
    );
}

/// OpenSSL's TLS in front of a server of the tests' own.
struct Front {
    child: Child,
    url: String,
}

impl Front {
    fn start(scratch: &Scratch, server: &Running) -> Self {
        let mut child = Command::new(python())
            .arg(repo().join("tests/python/tls_front.py"))
            .args([&scratch.text(""), &server.port().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut port).unwrap();
        let url = format!("https://127.0.0.1:{}", port.trim());
        Front { child, url }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn servers_with_p521_keys_are_verified() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    make_p521(&other, "-sha512");
    for hash in ["-sha256", "-sha384", "-sha512"] {
        make_p521(&scratch, hash);
        let server = Scripted::start_with(None, |_, _| None);
        let front = Front::start(&scratch, &server);
        let write = |more: &[&str]| {
            let mut command = solo();
            command
                .arg("run")
                .args(small(&scratch, 2))
                .args(s3_words(&front.url))
                .arg(format!("dataset.data_folder=s3://{BUCKET}/tls"))
                .args(["workflow.generate_data=true", "workflow.train=false"])
                .args(more);
            run(command)
        };
        let given = |scratch: &Scratch| {
            let file = scratch.text("ca.pem");
            format!("storage.storage_options.ca_bundle={file}")
        };
        // An authority of the same name with another key signed nothing here.
        write(&[&given(&other)]).fails(1, &["make a TLS connection to", "its certificate"]);
        assert_eq!(server.count(|_| true), 0, "{hash}: nothing is sent");
        write(&[&given(&scratch)]).ok();
        assert!(server.count(|a| a.method == "PUT") >= 2, "{hash}");
        write(&["storage.storage_options.verify=false"]).ok();
    }
}
