//! Microsoft's crates over this crate's own connections.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, Body, ClientOptions, HttpClient, Request, RetryOptions, StatusCode, Transport,
};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};

use super::super::failure::{Class, Failure};
use super::super::http::{Answered, Http};
use super::super::url::Url;
use super::answer;
use super::auth::{Proof, VERSION};

/// [`Http`] as the crates' client.
pub(super) struct OverHttp {
    http: Arc<Http>,
    /// Added to every request.
    proof: Option<Proof>,
}

impl std::fmt::Debug for OverHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OverHttp")
    }
}

impl OverHttp {
    pub(super) fn new(http: Arc<Http>) -> Self {
        OverHttp { http, proof: None }
    }
}

/// What a request needs in the thread that sends it.
struct Plain {
    method: String,
    uri: String,
    headers: String,
    body: Vec<u8>,
}

#[async_trait::async_trait]
impl HttpClient for OverHttp {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::SeekableStream(_) => {
                return Err(azure_core::Error::with_message(
                    ErrorKind::Other,
                    "a request streams its body",
                ));
            }
        };
        let mut uri = request.url().to_string();
        let mut headers = String::new();
        for (name, value) in request.headers().iter() {
            let name = name.as_str();
            if !matches!(name, "host" | "content-length" | "authorization")
                || (name == "authorization" && self.proof.is_none())
            {
                headers.push_str(&format!("{name}: {}\r\n", value.as_str()));
            }
        }
        match &self.proof {
            Some(Proof::Query(sas)) => {
                uri.push(if uri.contains('?') { '&' } else { '?' });
                uri.push_str(sas);
            }
            Some(Proof::Header(value)) => headers.push_str(&format!("authorization: {value}\r\n")),
            None => {}
        }
        let plain = Plain {
            method: request.method().as_str().to_string(),
            uri,
            headers,
            body,
        };
        let http = self.http.clone();
        let answered = tokio::task::spawn_blocking(move || exchange(&http, &plain))
            .await
            .map_err(|e| azure_core::Error::new(ErrorKind::Other, e))?
            .map_err(|failure| azure_core::Error::new(ErrorKind::Other, failure))?;
        let mut headers = Headers::new();
        for (name, value) in answered.head.headers {
            headers.insert(name, value);
        }
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::from(answered.head.status),
            headers,
            answered.body,
        ))
    }
}

fn exchange(http: &Http, request: &Plain) -> Result<Answered, Failure> {
    let wrong = |e: String| Failure::new(Class::Permanent, format!("make the request: {e}"));
    let url = Url::parse(&request.uri, true).map_err(wrong)?;
    let rest = request.uri.split_once("://").map_or("", |(_, rest)| rest);
    let target = rest.find('/').map_or("/", |at| &rest[at..]);
    let host = http.host(&url);
    let head = format!(
        "{} {target} HTTP/1.1\r\nhost: {}\r\n{}content-length: {}\r\n\r\n",
        request.method,
        host.authority,
        request.headers,
        request.body.len()
    );
    let has_body = request.method != "HEAD";
    let answered = http.exchange(&host, head.as_bytes(), &request.body, has_body)?;
    if answered.head.status >= 400 {
        return Err(answer::failure(&answered.head, &answered.body));
    }
    Ok(answered)
}

/// A client of one container.
pub(super) fn container(
    http: &Arc<Http>,
    proof: Proof,
    url: &str,
) -> Result<BlobContainerClient, Failure> {
    let wrong = |e: String| Failure::new(Class::Permanent, format!("make the request: {e}"));
    let url = azure_core::http::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
    let transport = OverHttp {
        http: http.clone(),
        proof: Some(proof),
    };
    let options = BlobContainerClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(transport))),
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        },
        version: VERSION.into(),
    };
    BlobContainerClient::new(url, None, Some(options)).map_err(failure)
}

/// What an error of the crates says, in this crate's terms.
pub(super) fn failure(error: azure_core::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(e) = cause {
        if let Some(failure) = e.downcast_ref::<Failure>() {
            return failure.clone();
        }
        cause = e.source();
    }
    Failure::new(Class::Permanent, error.to_string())
}
