//! HTTP proxies between the client and the store: the store's name is known to the proxy alone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::scripted::{Running, Scripted, tls_of};
use crate::servers::{BUCKET, closed_port};
use crate::support::*;

fn job(scratch: &Scratch, endpoint: &str) -> Command {
    let mut command = solo();
    for name in [
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    ] {
        command.env_remove(name);
    }
    command
        .arg("run")
        .args(small(scratch, 2))
        .args(crate::servers::s3_words(endpoint))
        .arg(format!("dataset.data_folder=s3://{BUCKET}/proxied"))
        .args([
            "workflow.generate_data=true",
            "reader.verify_content=full",
            "storage.storage_options.s3_max_attempts=2",
            "storage.storage_options.retry_delay=0.01",
            "--quiet",
        ]);
    command
}

/// A proxy that makes tunnels to `port` for whoever has the right password; gives the heads that came.
fn tunnel_to(port: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, seen) = (client.unwrap(), seen.clone());
            std::thread::spawn(move || -> std::io::Result<()> {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    client.read_exact(&mut byte)?;
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                seen.lock().unwrap().push(head.clone());
                // "user:pass word" in base64.
                if !head.contains("proxy-authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n") {
                    return client.write_all(b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n");
                }
                let mut server = TcpStream::connect(("127.0.0.1", port))?;
                client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
                let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                std::io::copy(&mut server, &mut client)?;
                Ok(())
            });
        }
    });
    (own, heads)
}

fn with_certificate(scratch: &Scratch) -> Running {
    let made = Command::new(python())
        .arg(repo().join("tests/python/make_certificate.py"))
        .args([&scratch.text(""), "self"])
        .status()
        .unwrap();
    assert!(made.success());
    Scripted::start_with(Some(tls_of(&scratch.path(""))), |_, _| None)
}

#[test]
fn https_goes_through_a_tunnel_and_passwords_stay_hidden() {
    let scratch = Scratch::new();
    let server = with_certificate(&scratch);
    let (port, heads) = tunnel_to(server.port());
    let mut command = job(&scratch, "https://store.example.com");
    command.arg(format!(
        "storage.storage_options.ca_bundle={}",
        scratch.text("server.pem")
    ));
    command.arg(format!(
        "storage.storage_options.proxy=http://user:pass%20word@127.0.0.1:{port}"
    ));
    let outcome = run(command).ok();
    assert!(!outcome.text().contains("pass%20word"));
    assert!(server.count(|a| a.method == "GET") >= 2);
    let heads = heads.lock().unwrap();
    assert!(
        heads
            .iter()
            .all(|h| h.starts_with("CONNECT store.example.com:443 HTTP/1.1\r\n"))
    );
    let report = json(&scratch.path("out/report.json"));
    let made = &report["object_store"]["connections"]["made"]["value"];
    assert_eq!(made.as_u64().unwrap(), heads.len() as u64);
    assert!(!report.to_string().contains("pass%20word"));

    // A wrong password is named, and is no reason to try again.
    let scratch = Scratch::new();
    let (port, heads) = tunnel_to(server.port());
    let mut command = job(&scratch, "https://store.example.com");
    command.env("HTTPS_PROXY", format!("http://user:wrong@127.0.0.1:{port}"));
    let outcome = run(command).fails(
        1,
        &[
            "HTTP 407",
            &format!("through the proxy http://127.0.0.1:{port}"),
            "storage.storage_options.proxy=http://user:password@host:port",
        ],
    );
    assert!(!outcome.text().contains("user:wrong"));
    assert_eq!(heads.lock().unwrap().len(), 1);
}

#[test]
fn http_goes_to_the_proxy_with_absolute_targets() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let mut command = job(&scratch, "http://store.example.com");
    command.env("HTTP_PROXY", server.url());
    run(command).ok();
    assert!(server.count(|_| true) > 4);
    assert_eq!(
        server.count(|a| a.target.starts_with("http://store.example.com/")),
        server.count(|_| true)
    );

    // Hosts in NO_PROXY are reached without one.
    let scratch = Scratch::new();
    let closed = closed_port();
    let mut command = job(&scratch, "http://store.invalid");
    command
        .env("HTTP_PROXY", format!("http://127.0.0.1:{}", closed.port))
        .env("NO_PROXY", "store.invalid");
    run(command).fails(
        1,
        &["connect to store.invalid: the name cannot be resolved"],
    );
}

/// Ranks agree: the proxy that rank 0 finds in its environment is that of all.
#[test]
fn the_proxy_is_that_of_rank_0() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let words: Vec<_> = job(&scratch, "http://store.example.com")
        .get_args()
        .map(|word| word.to_str().unwrap().to_string())
        .chain(["dataset.num_files_train=4".into()])
        .collect();
    let jobs = |of_rank_0: &str, of_rank_1: &str| {
        let mut command = Command::new("mpirun");
        command
            .args([
                "--allow-run-as-root",
                "--bind-to",
                "none",
                "--oversubscribe",
            ])
            .args(["-np", "1", "env", &format!("HTTP_PROXY={of_rank_0}"), bin()])
            .args(&words)
            .args([":", "-np", "1", "env"])
            .args([&format!("HTTP_PROXY={of_rank_1}"), bin()])
            .args(&words);
        for name in ["http_proxy", "no_proxy", "NO_PROXY"] {
            command.env_remove(name);
        }
        run(command)
    };
    jobs(&server.url(), "socks5://other").ok();
    let all = server.count(|_| true);
    assert!(all > 4);
    let through = server.count(|a| a.target.starts_with("http://store.example.com/"));
    assert_eq!(through, all);
    let report = json(&scratch.path("out/report.json"));
    let endpoint = &report["object_store"]["endpoints"][0];
    let kinds = ["get_requests", "put_requests", "control_requests"];
    let reported: u64 = (kinds.iter())
        .map(|kind| endpoint[kind]["value"].as_u64().unwrap())
        .sum();
    assert_eq!(reported, all);

    // One that cannot be used ends all ranks, with one message.
    std::fs::remove_dir_all(scratch.path("out")).unwrap();
    let outcome = jobs("socks5://user:secret@other", &server.url())
        .fails(1, &["HTTP_PROXY", "socks5:// proxies are not supported"]);
    assert!(!outcome.text().contains("secret"));
    assert_eq!(server.count(|_| true), all);
}
