//! Every source of credentials that docs/object-stores.md names, each with a server that plays its part.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::scripted::{Asked, Reply, Running, Scripted, tls_of};
use crate::servers::{ACCOUNT, BUCKET, make_certificates};
use crate::support::*;

const FAR: &str = "2099-01-01T00:00:00Z";

/// Two small files, generated; no key among the words.
fn words(scratch: &Scratch) -> Vec<String> {
    let mut words = small(scratch, 2);
    words.extend([
        "workflow.generate_data=true".into(),
        "workflow.train=false".into(),
        "storage.storage_options.retry_delay=0.01".into(),
        "--quiet".into(),
    ]);
    words
}

/// The binary with nothing of this host's own accounts.
fn alone(home: &Path) -> Command {
    let mut command = solo();
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_") || name.starts_with("AZURE_") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", home)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(home);
    command
}

fn on_s3(scratch: &Scratch, server: &Running) -> Command {
    let mut command = alone(&scratch.path(""));
    command
        .arg("run")
        .args(words(scratch))
        .arg(format!("dataset.data_folder=s3://{BUCKET}/x"))
        .arg(format!(
            "storage.storage_options.endpoint_url={}",
            server.url()
        ));
    command
}

fn is_s3(asked: &Asked) -> bool {
    asked.target.starts_with(&format!("/{BUCKET}"))
}

/// All requests to S3 were signed with this key and carried this token.
fn assert_signed(server: &Running, key: &str, token: &str) {
    let seen = server.seen.lock().unwrap();
    let of_s3: Vec<_> = seen.iter().filter(|a| is_s3(a)).collect();
    assert!(of_s3.len() >= 3, "{}", of_s3.len());
    for asked in of_s3 {
        let authorization = asked.header("authorization");
        assert!(
            authorization.contains(&format!("Credential={key}/")),
            "{authorization}"
        );
        assert_eq!(asked.header("x-amz-security-token"), token);
    }
}

/// A server of S3 that answers everything else with this.
fn beside(rest: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Running {
    Scripted::start(move |asked, _| (!is_s3(asked)).then(|| Reply::Raw(rest(asked))))
}

fn json_answer(text: String) -> Vec<u8> {
    Reply::of(200, "content-type: application/json\r\n", text.as_bytes())
}

fn aws_config(scratch: &Scratch, text: &str) {
    let folder = scratch.path(".aws");
    std::fs::create_dir_all(folder.join("sso/cache")).unwrap();
    std::fs::write(folder.join("config"), text).unwrap();
}

fn process_words(scratch: &Scratch, key: &str, expiration: &str) -> String {
    let answer = format!(
        r#"{{"Version":1,"AccessKeyId":"{key}","SecretAccessKey":"s","SessionToken":"token-{key}","Expiration":"{expiration}"}}"#
    );
    std::fs::write(scratch.path("answer.json"), answer).unwrap();
    format!(
        "[default]\nregion = eu-west-9\ncredential_process = /bin/cat {}\n",
        scratch.text("answer.json")
    )
}

#[test]
fn a_process_gives_keys_and_the_profile_its_region() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let config = process_words(&scratch, "AKPROCESS", FAR);
    aws_config(&scratch, &config);
    run(on_s3(&scratch, &server)).ok();
    assert_signed(&server, "AKPROCESS", "token-AKPROCESS");
    let seen = server.seen.lock().unwrap();
    assert!(seen[0].header("authorization").contains("/eu-west-9/s3/"));
}

#[test]
fn each_source_of_keys_goes_before_the_next_one_as_a_whole() {
    let scratch = Scratch::new();
    let signed = |key: &str, token: &str, variables: &[(&str, &str)], more: &[&str]| {
        let server = Scripted::start(|_, _| None);
        let mut command = on_s3(&scratch, &server);
        command.envs(variables.iter().copied()).args(more);
        run(command).ok();
        assert_signed(&server, key, token);
    };
    let set = |key: &str, token: &str| {
        [
            ("AWS_ACCESS_KEY_ID", key.to_string()),
            ("AWS_SECRET_ACCESS_KEY", "s".into()),
            ("AWS_SESSION_TOKEN", token.into()),
        ]
    };
    let lines = |set: &[(&str, String)], lower: bool| -> String {
        set.iter()
            .map(|(name, value)| match lower {
                true => format!("{} = {value}\n", name.to_lowercase()),
                false => format!("{name}={value}\n"),
            })
            .collect()
    };
    let profile = lines(&set("AKPROFILE", "token-profile"), true);
    aws_config(&scratch, &format!("[default]\n{profile}"));
    signed("AKPROFILE", "token-profile", &[], &[]);
    let dotenv = lines(&set("AKDOTENV", "token-dotenv"), false);
    std::fs::write(scratch.path(".env"), dotenv).unwrap();
    signed("AKDOTENV", "token-dotenv", &[], &[]);
    // Nobody's token goes with another one's keys.
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKENV"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    signed("AKENV", "", &keys, &[]);
    let all = set("AKENV", "token-env");
    let all: Vec<_> = all.iter().map(|(name, value)| (*name, &**value)).collect();
    signed("AKENV", "token-env", &all, &[]);
    let words = [
        "storage.storage_options.access_key_id=AKLINE",
        "storage.storage_options.secret_access_key=s",
    ];
    signed("AKLINE", "", &all, &words);
}

#[test]
fn keys_are_trimmed_and_control_characters_in_them_refused() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let with = |key: &str| {
        let mut command = on_s3(&scratch, &server);
        command
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", "s\r\n")
            .env("AWS_SESSION_TOKEN", "\ttoken-blank\n");
        run(command)
    };
    with("AK\nx-header: 1").fails(
        2,
        &[
            "storage.storage_options.access_key_id",
            "holds a control character",
            "remedy: copy it again",
        ],
    );
    assert_eq!(server.count(|_| true), 0, "nothing is sent");
    with(" AKBLANK\n").ok();
    assert_signed(&server, "AKBLANK", "token-blank");
}

#[test]
fn web_identity_gives_keys() {
    let server = beside(|_| {
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>token-web</SessionToken><Expiration>{FAR}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        Reply::of(200, "content-type: text/xml\r\n", body.as_bytes())
    });
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "jwt").unwrap();
    let mut command = on_s3(&scratch, &server);
    command
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", scratch.path("token"))
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_STS", server.url());
    run(command).ok();
    assert_signed(&server, "AKWEB", "token-web");
}

#[test]
fn a_role_is_assumed_with_another_profiles_keys() {
    let server = beside(|asked| {
        assert!(asked.header("authorization").contains("Credential=AKBASE/"));
        let body = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials><AccessKeyId>AKROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>token-role</SessionToken><Expiration>{FAR}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        );
        Reply::of(200, "content-type: text/xml\r\n", body.as_bytes())
    });
    let scratch = Scratch::new();
    aws_config(
        &scratch,
        "[default]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n[profile base]\naws_access_key_id = AKBASE\naws_secret_access_key = s\n",
    );
    let mut command = on_s3(&scratch, &server);
    command.env("AWS_ENDPOINT_URL_STS", server.url());
    run(command).ok();
    assert_signed(&server, "AKROLE", "token-role");
}

#[test]
fn a_container_gives_keys() {
    let server = beside(|_| {
        json_answer(format!(
            r#"{{"AccessKeyId":"AKECS","SecretAccessKey":"s","Token":"token-ecs","Expiration":"{FAR}"}}"#
        ))
    });
    let scratch = Scratch::new();
    let mut command = on_s3(&scratch, &server);
    command.env(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        format!("{}/creds", server.url()),
    );
    run(command).ok();
    assert_signed(&server, "AKECS", "token-ecs");
}

#[test]
fn an_instance_role_gives_keys() {
    let server = beside(|asked| {
        if asked.method == "PUT" {
            return Reply::of(
                200,
                "x-aws-ec2-metadata-token-ttl-seconds: 600\r\n",
                b"session",
            );
        }
        assert_eq!(
            asked.header("x-aws-ec2-metadata-token"),
            "session",
            "IMDSv2"
        );
        if asked.target.ends_with("/security-credentials/") {
            return Reply::of(200, "", b"role-of-instance");
        }
        json_answer(format!(
            r#"{{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-01-01T00:00:00Z","AccessKeyId":"AKIMDS","SecretAccessKey":"s","Token":"token-imds","Expiration":"{FAR}"}}"#
        ))
    });
    let scratch = Scratch::new();
    let mut command = on_s3(&scratch, &server);
    command
        .env_remove("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url());
    run(command).ok();
    assert_signed(&server, "AKIMDS", "token-imds");
}

#[test]
fn single_sign_on_gives_keys_or_asks_for_a_login() {
    let legacy = "[default]\nsso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = r\nregion = us-east-1\n";
    let session = "[default]\nsso_session = mine\nsso_account_id = 123456789012\nsso_role_name = r\nregion = us-east-1\n[sso-session mine]\nsso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\nsso_registration_scopes = sso:account:access\n";
    // The names of cached tokens are the SHA-1 of the start URL, or of the session's name, as the AWS CLI has them.
    for (config, cached) in [
        (legacy, "https://example.awsapps.com/start"),
        (session, "mine"),
    ] {
        let server = beside(|asked| {
            if asked.header("x-amz-sso_bearer_token") != "sso-token" {
                let body = br#"{"__type":"UnauthorizedException","message":"Session token not found or invalid"}"#;
                return Reply::of(
                    401,
                    "x-amzn-errortype: UnauthorizedException\r\ncontent-type: application/json\r\n",
                    body,
                );
            }
            json_answer(
                r#"{"roleCredentials":{"accessKeyId":"AKSSO","secretAccessKey":"s","sessionToken":"token-sso","expiration":4070908800000}}"#.into(),
            )
        });
        let scratch = Scratch::new();
        aws_config(&scratch, config);
        let out = Command::new("sh")
            .args([
                "-c",
                &format!("printf %s '{cached}' | sha1sum | cut -d' ' -f1"),
            ])
            .output()
            .unwrap();
        let name = String::from_utf8(out.stdout).unwrap();
        let path = scratch.path(&format!(".aws/sso/cache/{}.json", name.trim()));
        let token = |token: &str, end: &str| {
            format!(
                r#"{{"accessToken":"{token}","expiresAt":"{end}","region":"us-east-1","startUrl":"https://example.awsapps.com/start"}}"#
            )
        };
        let command = || {
            let mut command = on_s3(&scratch, &server);
            command.env("AWS_ENDPOINT_URL_SSO", server.url());
            command
        };
        run(command()).fails(1, &["remedy: run aws sso login"]);
        std::fs::write(&path, token("old-token", "2020-01-01T00:00:00Z")).unwrap();
        run(command()).fails(1, &["remedy: run aws sso login"]);
        std::fs::write(&path, token("sso-token", FAR)).unwrap();
        run(command()).ok();
        assert_signed(&server, "AKSSO", "token-sso");
    }
}

#[test]
fn credentials_that_the_server_calls_expired_are_renewed_once() {
    let refused = AtomicU64::new(0);
    let server = Scripted::start(move |asked, _| {
        (is_s3(asked) && asked.header("authorization").contains("Credential=OLD/")).then(|| {
            refused.fetch_add(1, SeqCst);
            Reply::Raw(Reply::error(400, "ExpiredToken"))
        })
    });
    let scratch = Scratch::new();
    let answer = |key: &str| {
        format!(
            r#"{{"Version":1,"AccessKeyId":"{key}","SecretAccessKey":"s","Expiration":"{FAR}"}}"#
        )
    };
    // OLD when asked for the first time, NEW from then on.
    let script = format!(
        "#!/bin/sh\ncd {}\nif [ -e asked ]; then echo '{}'; else touch asked; echo '{}'; fi\n",
        scratch.text(""),
        answer("NEW"),
        answer("OLD"),
    );
    std::fs::write(scratch.path("script"), script).unwrap();
    aws_config(
        &scratch,
        &format!(
            "[default]\ncredential_process = /bin/sh {}\n",
            scratch.text("script")
        ),
    );
    run(on_s3(&scratch, &server)).ok();
    let old = |a: &Asked| a.header("authorization").contains("Credential=OLD/");
    assert!(server.count(old) >= 1);
    assert!(server.count(|a| is_s3(a) && !old(a)) >= 3);

    // Fixed keys cannot be renewed: one attempt, and a message.
    let server = Scripted::start(|asked, _| {
        is_s3(asked).then(|| Reply::Raw(Reply::error(400, "ExpiredToken")))
    });
    let scratch = Scratch::new();
    let mut command = on_s3(&scratch, &server);
    command.args(server.words());
    run(command).fails(1, &["HTTP 400 ExpiredToken", "get new credentials"]);
}

/// Two small files on Azure, with what the environment gives.
fn on_azure(scratch: &Scratch, server: &Running) -> Command {
    let mut command = alone(&scratch.path(""));
    command
        .arg("run")
        .args(words(scratch))
        .arg(format!("dataset.data_folder=az://{ACCOUNT}/{BUCKET}/x"))
        .arg(format!(
            "storage.storage_options.blob_endpoint={}/{ACCOUNT}",
            server.url()
        ));
    command
}

fn is_blob(asked: &Asked) -> bool {
    asked.target.starts_with(&format!("/{ACCOUNT}/"))
}

fn azure_beside(rest: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Running {
    Scripted::start(move |asked, _| (!is_blob(asked)).then(|| Reply::Raw(rest(asked))))
}

fn assert_bearer(server: &Running, token: &str) {
    let seen = server.seen.lock().unwrap();
    let blobs: Vec<_> = seen.iter().filter(|a| is_blob(a)).collect();
    assert!(blobs.len() >= 3);
    for asked in blobs {
        assert_eq!(asked.header("authorization"), format!("Bearer {token}"));
    }
}

#[test]
fn azures_managed_identity_gives_a_token() {
    let server = azure_beside(|asked| {
        assert_eq!(asked.header("x-identity-header"), "secret-of-host");
        json_answer(r#"{"access_token":"managed","expires_on":"4070908800","resource":"r","token_type":"Bearer"}"#.into())
    });
    let scratch = Scratch::new();
    let mut command = on_azure(&scratch, &server);
    command
        .env("IDENTITY_ENDPOINT", format!("{}/msi", server.url()))
        .env("IDENTITY_HEADER", "secret-of-host");
    run(command).ok();
    assert_bearer(&server, "managed");
}

#[test]
fn azures_workload_identity_and_service_principal_give_a_token() {
    for kind in ["workload", "principal"] {
        let scratch = Scratch::new();
        // Entra ID is asked over https only.
        make_certificates(&scratch.path(""));
        let server = Scripted::start_with(Some(tls_of(&scratch.path(""))), move |asked, _| {
            (!is_blob(asked)).then(|| {
                assert!(asked.target.contains("/oauth2/v2.0/token"), "{}", asked.target);
                Reply::Raw(json_answer(format!(
                    r#"{{"token_type":"Bearer","expires_in":3600,"ext_expires_in":3600,"access_token":"{kind}"}}"#
                )))
            })
        });
        std::fs::write(scratch.path("token"), "jwt").unwrap();
        let mut command = on_azure(&scratch, &server);
        command
            .arg(format!(
                "storage.storage_options.ca_bundle={}",
                scratch.text("ca.pem")
            ))
            .env("AZURE_AUTHORITY_HOST", server.url())
            .env("AZURE_TENANT_ID", "tenant")
            .env("AZURE_CLIENT_ID", "client");
        match kind {
            "workload" => command.env("AZURE_FEDERATED_TOKEN_FILE", scratch.path("token")),
            _ => command.env("AZURE_CLIENT_SECRET", "secret"),
        };
        run(command).ok();
        assert_bearer(&server, kind);
    }
}

/// Ranks agree: what rank 0 finds in its environment holds for all, as with S3.
#[test]
fn azures_service_principal_is_that_of_rank_0() {
    let scratch = Scratch::new();
    make_certificates(&scratch.path(""));
    let server = Scripted::start_with(Some(tls_of(&scratch.path(""))), |asked, _| {
        (!is_blob(asked)).then(|| {
            Reply::Raw(json_answer(
                r#"{"token_type":"Bearer","expires_in":3600,"ext_expires_in":3600,"access_token":"agreed"}"#.into(),
            ))
        })
    });
    let words: Vec<_> = on_azure(&scratch, &server)
        .get_args()
        .map(|word| word.to_str().unwrap().to_string())
        .chain([format!(
            "storage.storage_options.ca_bundle={}",
            scratch.text("ca.pem")
        )])
        .collect();
    let mut command = Command::new("mpirun");
    let common = [
        "--allow-run-as-root",
        "--bind-to",
        "none",
        "--oversubscribe",
    ];
    let authority = format!("AZURE_AUTHORITY_HOST={}", server.url());
    command
        .args(common)
        .args(["-np", "1", "env", &authority])
        .args(["AZURE_TENANT_ID=tenant", "AZURE_CLIENT_ID=client"])
        .args(["AZURE_CLIENT_SECRET=secret-of-rank-0", bin()])
        .args(&words)
        .args([":", "-np", "1", "env"])
        // What another rank finds does not matter.
        .args(["AZURE_AUTHORITY_HOST=https://127.0.0.1:9", bin()])
        .args(&words);
    let outcome = run(command).ok();
    assert!(!outcome.text().contains("secret-of-rank-0"));
    assert_bearer(&server, "agreed");
    let tokens = server.count(|a| a.target.contains("/tenant/oauth2/v2.0/token"));
    assert_eq!(tokens, 2, "one for each rank");
}

#[test]
fn azures_command_line_gives_a_token() {
    use std::os::unix::fs::PermissionsExt;

    let server = azure_beside(|_| Reply::error(500, "NoManagedIdentityHere"));
    let scratch = Scratch::new();
    let az = scratch.path("az");
    std::fs::write(
        &az,
        "#!/bin/sh\necho '{\"accessToken\":\"from-az\",\"expiresOn\":\"2099-01-01 00:00:00.000000\",\"expires_on\":4070908800,\"tokenType\":\"Bearer\"}'\n",
    )
    .unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = on_azure(&scratch, &server);
    let path = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}:{path}", scratch.text("")))
        .env("IDENTITY_ENDPOINT", format!("{}/msi", server.url()))
        .env("IDENTITY_HEADER", "x");
    run(command).ok();
    assert_bearer(&server, "from-az");
}
