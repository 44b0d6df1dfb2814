//! What S3's answers mean.

use super::super::failure::{self, Class, Failure};
use super::super::head::Head;
use super::super::{is_error_document, printable, xml_element};

/// What to do about a failure, by Amazon's codes.
pub(super) fn remedy(failure: &Failure, bucket: &str, region: &str) -> String {
    let keys = "storage.storage_options.access_key_id and secret_access_key (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)";
    match (failure.code.as_str(), failure.status) {
        ("NoCredentials", _) if is_about_sso(&failure.message) => {
            "run aws sso login (with --profile where storage.storage_options.s3_profile names one)".into()
        }
        ("NoCredentials", _) => {
            format!("set {keys}, storage.storage_options.s3_profile, or run where the SDK finds a role")
        }
        ("InvalidAccessKeyId" | "InvalidClientTokenId", _) => {
            format!("the access key is unknown to this server: check {keys}")
        }
        ("SignatureDoesNotMatch", _) => format!("the secret key is wrong: check {keys}"),
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
            "the session token has expired or is wrong: get new credentials".into()
        }
        ("RequestTimeTooSkewed", _) => "this host's clock is wrong: set it".into(),
        ("NoSuchBucket", _) => {
            format!("create the bucket {bucket}, or check storage.storage_root and dataset.data_folder")
        }
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect", _)
        | ("IllegalLocationConstraintException", _) => format!(
            "the bucket is in another region than {region}: set storage.storage_options.region to the one that the message or the bucket's owner names"
        ),
        ("NoSuchUpload", _) => "something else aborted the upload: run again".into(),
        ("InvalidTag" | "EntityTooLarge", _) => {
            "raise or lower storage.storage_options.part_size".into()
        }
        (_, Some(301 | 307)) => format!(
            "the bucket is elsewhere than {region}: set storage.storage_options.region and endpoint_url"
        ),
        ("AccessDenied", _) | (_, Some(401 | 403)) => {
            format!("check {keys}, and that they may read, write, list and delete in {bucket}")
        }
        (_, Some(404)) => "check storage.storage_root, dataset.data_folder and storage.storage_options.endpoint_url".into(),
        _ => failure::remedy(failure),
    }
}

/// Single sign-on needs a person from time to time.
fn is_about_sso(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["sso", "cached token", "session token not found"]
        .iter()
        .any(|word| message.contains(word))
}

/// An answer that is no success, by status, headers and the XML of its body.
pub(super) fn failure_from_answer(
    status: u16,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Failure {
    let text = String::from_utf8_lossy(body);
    let element = |name: &str| xml_element(&text, name).map(|text| printable(&text));
    // Under a status of success only a text that is an error as a whole makes one.
    let is_error = !matches!(status, 200..300) || is_error_document(&text);
    let code = element("Code").filter(|_| is_error).unwrap_or_default();
    let mut message = element("Message").unwrap_or_default();
    let region = element("Region").or_else(|| header("x-amz-bucket-region"));
    if let Some(region) = region
        && matches!(status, 301 | 307 | 400)
    {
        message.push_str(&format!(" (the server names region {region})"));
    }
    if code.is_empty() && message.is_empty() {
        message = printable(&text);
    }
    let request_id = header("x-amz-request-id")
        .or_else(|| element("RequestId"))
        .unwrap_or_default();
    Failure {
        class: Class::of_status(status, &code),
        status: Some(status),
        code,
        request_id,
        ..Failure::new(Class::Permanent, message)
    }
}

/// The same, for an answer of this crate's own requests.
pub(super) fn failure(head: &Head, body: &[u8]) -> Failure {
    let header = |name: &str| head.get(name).map(str::to_string);
    Failure {
        retry_after: head.retry_after(std::time::SystemTime::now()),
        ..failure_from_answer(head.status, &header, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_from_amazons_xml() {
        // Source: Amazon S3 API reference, "Error responses", and the answer to a wrong region.
        let body = br#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region><RequestId>4442587FB7D0A2F9</RequestId></Error>"#;
        let failure = failure_from_answer(400, &|_| None, body);
        assert_eq!(failure.code, "AuthorizationHeaderMalformed");
        assert_eq!(failure.request_id, "4442587FB7D0A2F9");
        assert!(failure.message.contains("names region eu-west-1"));
        assert_eq!(failure.class, Class::Permanent);
        assert!(remedy(&failure, "b", "us-east-1").contains("storage_options.region"));
    }
}
