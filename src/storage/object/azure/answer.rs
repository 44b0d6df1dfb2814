//! What Azure's answers mean.

use super::super::failure::{self, Class, Failure};
use super::super::head::Head;
use super::super::{is_error_document, printable, xml_element};

/// An answer that is no success, by status, headers and the XML of its body.
pub(super) fn failure(head: &Head, body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(body);
    let is_error = !matches!(head.status, 200..300) || is_error_document(&text);
    let header = |name: &str| printable(head.get(name).unwrap_or_default());
    let mut code = header("x-ms-error-code");
    if code.is_empty() && is_error {
        code = printable(&xml_element(&text, "Code").unwrap_or_default());
    }
    let mut message = xml_element(&text, "Message").unwrap_or_default();
    // The service repeats request and time, each in a line of its own.
    message.truncate(message.find('\n').unwrap_or(message.len()));
    if let Some(detail) = xml_element(&text, "AuthenticationErrorDetail") {
        message.push_str(&format!(" ({detail})"));
    }
    if code.is_empty() && message.is_empty() {
        message = text.into_owned();
    }
    let message = printable(&message);
    let has_expired = matches!(head.status, 401 | 403)
        && ["expired", "ifetime validation failed"]
            .iter()
            .any(|word| message.contains(word));
    Failure {
        class: if has_expired {
            Class::Expired
        } else {
            Class::of_status(head.status, &code)
        },
        status: Some(head.status),
        code,
        request_id: header("x-ms-request-id"),
        retry_after: head.retry_after(std::time::SystemTime::now()),
        ..Failure::new(Class::Permanent, message)
    }
}

/// What to do about a failure, by Azure's codes.
pub(super) fn remedy(failure: &Failure, container: &str) -> String {
    let keys = "storage.storage_options.account_key, sas_token or connection_string (or AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_CONNECTION_STRING)";
    match (failure.code.as_str(), failure.status) {
        ("NoCredentials", _) => format!("set {keys}, or run where Entra ID gives a token"),
        ("ContainerNotFound", _) => {
            format!("create the container {container}, or check dataset.data_folder")
        }
        ("AuthenticationFailed", _)
            if failure.message.contains("expired")
                || failure
                    .message
                    .contains("Signature not valid in the specified time frame")
                || failure.message.contains("ignature fields not well formed") =>
        {
            "the SAS has expired or is not valid yet: make a new one, and check this host's clock"
                .into()
        }
        (
            "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation",
            _,
        ) => {
            format!("the key or SAS is wrong or has expired: check {keys}")
        }
        // Azurite's code for a wrong signature.
        ("AuthorizationFailure", _) if failure.message.contains("failed to authenticate") => {
            format!("the key or SAS is wrong or has expired: check {keys}")
        }
        (
            "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "AuthorizationProtocolMismatch"
            | "AuthorizationResourceTypeMismatch"
            | "AuthorizationServiceMismatch",
            _,
        ) => format!(
            "they may not do this: grant read, write, list and delete on {container}, or check {keys}"
        ),
        ("AccountIsDisabled" | "ResourceNotFound", _) => {
            "check the account's name in az://account/container/prefix".into()
        }
        (_, Some(401 | 403)) => format!("check {keys}"),
        (_, Some(404)) => {
            "check dataset.data_folder and storage.storage_options.blob_endpoint".into()
        }
        _ => failure::remedy(failure),
    }
}
