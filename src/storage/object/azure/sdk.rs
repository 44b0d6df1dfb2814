//! Microsoft's crates over this crate's own connections.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, Body, ClientOptions, HttpClient, Request, RetryOptions, StatusCode, Transport,
};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};

use bytes::Bytes;

use super::super::failure::{Class, Failure, Result};
use super::super::fetch::Carrier;
use super::super::head::Head;
use super::super::http::{Answered, Http};
#[cfg(feature = "sdk")]
use super::super::hyper::Hyper;
use super::super::url::Url;
use super::answer;

/// The service's version that requests and signatures name.
pub(super) const VERSION: &str = "2021-12-02";

/// What a request carries to prove who asks.
#[derive(Clone)]
pub(super) enum Proof {
    /// Added to the query.
    Query(Arc<str>),
    /// The Authorization header's value.
    Header(Arc<str>),
}

/// A [`Carrier`] as the crates' client.
pub(super) struct Over {
    carrier: Carrier,
    /// Added to every request.
    proof: Option<Proof>,
}

impl std::fmt::Debug for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Over")
    }
}

impl Over {
    pub(super) fn new(carrier: Carrier) -> Self {
        Over {
            carrier,
            proof: None,
        }
    }
}

/// What a request needs in the thread that sends it.
struct Plain {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

#[async_trait::async_trait]
impl HttpClient for Over {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            Body::SeekableStream(_) => {
                return Err(azure_core::Error::with_message(
                    ErrorKind::Other,
                    "a request streams its body",
                ));
            }
        };
        let mut uri = request.url().to_string();
        let mut headers = Vec::new();
        for (name, value) in request.headers().iter() {
            let name = name.as_str();
            if !matches!(name, "host" | "content-length" | "authorization")
                || (name == "authorization" && self.proof.is_none())
            {
                headers.push((name.to_string(), value.as_str().to_string()));
            }
        }
        match &self.proof {
            Some(Proof::Query(sas)) => {
                uri.push(if uri.contains('?') { '&' } else { '?' });
                uri.push_str(sas);
            }
            Some(Proof::Header(value)) => headers.push(("authorization".into(), value.to_string())),
            None => {}
        }
        let plain = Plain {
            method: request.method().as_str().to_string(),
            uri,
            headers,
            body,
        };
        let http = match &self.carrier {
            Carrier::Own(http) => http.clone(),
            #[cfg(feature = "sdk")]
            Carrier::Hyper(hyper) => return over_hyper(hyper, plain).await,
        };
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

/// The answer as it comes, errors too: the crates look at them.
#[cfg(feature = "sdk")]
async fn over_hyper(hyper: &Hyper, plain: Plain) -> azure_core::Result<AsyncRawResponse> {
    use futures::TryStreamExt;
    use http_body_util::{BodyExt, Full};

    let other = |e: http::Error| azure_core::Error::new(ErrorKind::Other, e);
    let len = plain.body.len() as u64;
    let mut request = http::Request::builder()
        .method(plain.method.as_str())
        .uri(plain.uri);
    for (name, value) in plain.headers {
        request = request.header(name, value);
    }
    if len == 0 {
        // hyper leaves it out of a PUT without a body.
        request = request.header("content-length", "0");
    }
    let body = Full::new(plain.body)
        .map_err(|never| match never {})
        .boxed();
    let request = request.body(body).map_err(other)?;
    let failed = |failure: Failure| azure_core::Error::new(ErrorKind::Other, failure);
    let (parts, chunks) = hyper.exchange(request, len).await.map_err(failed)?;
    let mut headers = Headers::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.insert(name.as_str().to_string(), value);
    }
    Ok(AsyncRawResponse::new(
        StatusCode::from(parts.status.as_u16()),
        headers,
        Box::pin(chunks.map_err(failed)),
    ))
}

fn exchange(http: &Http, request: &Plain) -> Result<Answered> {
    let wrong = |e: String| Failure::new(Class::Permanent, format!("make the request: {e}"));
    let url = Url::parse(&request.uri, true).map_err(wrong)?;
    let rest = request.uri.split_once("://").map_or("", |(_, rest)| rest);
    let target = rest.find('/').map_or("/", |at| &rest[at..]);
    let host = http.host(&url);
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "{} {target} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n",
        request.method,
        host.authority,
        request.body.len()
    );
    let has_body = request.method != "HEAD";
    let answered = http.exchange(&host, head.as_bytes(), &[&request.body], has_body)?;
    if answered.head.status >= 400 {
        return Err(answer::failure(&answered.head, &answered.body));
    }
    Ok(answered)
}

pub(super) fn container(carrier: &Carrier, proof: Proof, url: &str) -> Result<BlobContainerClient> {
    let wrong = |e: String| Failure::new(Class::Permanent, format!("make the request: {e}"));
    let url = azure_core::http::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
    let transport = Over {
        carrier: carrier.clone(),
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
    if let Some(failure) = Failure::within(&error) {
        return failure;
    }
    match refusal(&error) {
        Some((head, body)) => answer::failure(&head, &body),
        None => Failure::new(Class::Permanent, error.to_string()),
    }
}

/// The answer that the crates took for an error.
pub(super) fn refusal(error: &azure_core::Error) -> Option<(Head, Bytes)> {
    let ErrorKind::HttpResponse {
        raw_response: Some(raw),
        ..
    } = error.kind()
    else {
        return None;
    };
    Some((head(raw.status(), raw.headers()), raw.body().clone().into()))
}

/// Status and headers in the terms of the rest.
pub(super) fn head(status: StatusCode, headers: &Headers) -> Head {
    Head {
        status: u16::from(status),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_string(), value.as_str().to_string()))
            .collect(),
    }
}
