//! Deleting many blobs with one request.
//!
//! Source: Azure Blob Storage REST API, Blob Batch.

use super::super::failure::{Class, Failure, Result};
use super::super::printable;
use super::super::url::encode_path;
use super::sdk::Proof;

/// Requests that one batch may hold.
pub(super) const MOST: usize = 256;

/// What tells the parts of a batch from each other; nothing in them looks like it.
const BOUNDARY: &str = "batch_dlio-rs";

/// The headers of the batch itself.
pub(super) const HEADERS: &str = "content-type: multipart/mixed; boundary=batch_dlio-rs\r\n";

/// The body: one DELETE per blob. `folder`: path of the container; `proof`: each request carries its own.
pub(super) fn request(folder: &str, keys: &[String], proof: &Proof) -> String {
    let (query, header) = match proof {
        Proof::Query(sas) => (format!("?{sas}"), String::new()),
        Proof::Header(value) => (String::new(), format!("authorization: {value}\r\n")),
    };
    let mut body = String::new();
    for (id, key) in keys.iter().enumerate() {
        body.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: {id}\r\n\r\nDELETE {folder}/"
        ));
        encode_path(key, &mut body);
        body.push_str(&format!(
            "{query} HTTP/1.1\r\n{header}Content-Length: 0\r\n\r\n"
        ));
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body
}

/// What the answer says of blobs that are still there.
///
/// Errors: the first that was refused; that answers are missing.
pub(super) fn outcome(body: &[u8], keys: &[String]) -> Result<()> {
    let text = String::from_utf8_lossy(body);
    let mut answers = 0;
    for answer in text.split("\nHTTP/1.1 ").skip(1) {
        answers += 1;
        let status: u16 = answer
            .get(..3)
            .and_then(|status| status.parse().ok())
            .unwrap_or_default();
        if matches!(status, 202 | 404) {
            continue;
        }
        let code = answer
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("x-ms-error-code")
                    .then(|| printable(value))
            })
            .unwrap_or_default();
        return Err(Failure {
            status: Some(status),
            ..Failure::new(
                Class::of_status(status, &code),
                format!("one of {} blobs was not deleted: {code}", keys.len()),
            )
        });
    }
    if answers == keys.len() {
        return Ok(());
    }
    // The service refuses a batch as a whole by one answer: then the blobs go one by one.
    Err(Failure {
        status: Some(400),
        ..Failure::new(
            Class::Permanent,
            format!("{answers} answers to a batch of {}", keys.len()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_the_form_of_microsofts_documents() {
        let keys = ["a b".to_string(), "c".to_string()];
        let body = request("/container0", &keys, &Proof::Query("sig=x".into()));
        let expected = "--batch_dlio-rs\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 0\r\n\r\nDELETE /container0/a%20b?sig=x HTTP/1.1\r\nContent-Length: 0\r\n\r\n--batch_dlio-rs\r\n";
        assert!(body.starts_with(expected), "{body}");
        assert!(body.ends_with("--batch_dlio-rs--\r\n"));
        let part = |status: &str| {
            format!(
                "--batchresponse_1\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 {status}\r\nx-ms-error-code: AuthorizationFailure\r\n\r\n"
            )
        };
        let both = part("202 Accepted") + &part("404 The specified blob does not exist.");
        assert!(outcome(both.as_bytes(), &keys).is_ok());
        let refused = outcome((part("202 Accepted") + &part("403 No")).as_bytes(), &keys);
        assert!(
            refused
                .unwrap_err()
                .message
                .contains("AuthorizationFailure")
        );
        let missing = outcome(part("202 Accepted").as_bytes(), &keys).unwrap_err();
        assert!(missing.refuses_batches());
    }
}
