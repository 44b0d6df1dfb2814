//! hyper below the SDKs, as below their own transports: HTTP/1.1 in the tasks of the runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout};

use super::causes;
use super::failure::{Class, Failure, Result};
use super::http::{Http, IDLE, Limits, tls_failure};
use super::url::Url;

/// The body of a request.
pub(crate) type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// An upload that makes no progress which could be seen may take so long for each MiB, beside `read_timeout`.
const PER_MIB: Duration = Duration::from_secs(1);

/// A pool of connections.
pub(crate) struct Hyper {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    http: Arc<Http>,
}

impl std::fmt::Debug for Hyper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hyper")
    }
}

impl Hyper {
    /// With the TLS configuration and the time limits of `http`.
    pub(super) fn new(http: &Arc<Http>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(http.limits().connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((**http.tls()).clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Hyper {
            client,
            http: http.clone(),
        }
    }

    /// One request; the body of its answer is still to come. `len`: bytes of the request's body.
    pub(super) async fn exchange(
        &self,
        request: http::Request<Body>,
        len: u64,
    ) -> Result<(
        http::response::Parts,
        impl Stream<Item = Result<Bytes>> + Send + Sync + 'static,
    )> {
        let limits = *self.http.limits();
        let uri = request.uri().to_string();
        let mib = u32::try_from(len >> 20).unwrap_or(u32::MAX);
        let longest = limits.request.unwrap_or(limits.read + PER_MIB * mib);
        let end = limits.request.map(|limit| Instant::now() + limit);
        let answer = match timeout(longest, self.client.request(request)).await {
            Ok(answer) => answer.map_err(|error| self.failure(&uri, &error))?,
            Err(_) => return Err(too_long("wait for the answer", &limits)),
        };
        let (parts, body) = answer.into_parts();
        Ok((parts, chunks(body, limits, end)))
    }

    fn failure(&self, uri: &str, error: &hyper_util::client::legacy::Error) -> Failure {
        let authority = Url::parse(uri, true).map_or_else(|_| uri.into(), |url| url.authority());
        if !error.is_connect() {
            return broken("send the request", error);
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(e) = cause {
            if let Some(e) = e.downcast_ref::<io::Error>()
                && e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
            {
                return tls_failure(&authority, e);
            }
            cause = e.source();
        }
        Failure::new(
            Class::Connect,
            format!("connect to {authority}: {}", causes(error)),
        )
    }
}

/// A connection that broke, by what hyper says of it.
fn broken(doing: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut cause = Some(error);
    let mut class = Class::Reset;
    while let Some(e) = cause {
        let ended = e.downcast_ref::<io::Error>();
        if ended.is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof) {
            class = Class::Truncated;
        }
        if let Some(e) = e.downcast_ref::<hyper::Error>() {
            if e.is_parse() {
                class = Class::Permanent;
            } else if e.is_timeout() {
                class = Class::Timeout;
            }
        }
        cause = e.source();
    }
    Failure::new(class, format!("{doing}: {}", causes(error)))
}

fn too_long(doing: &str, limits: &Limits) -> Failure {
    let limit = match limits.request {
        Some(_) => "the request took longer than request_timeout",
        None => "no byte within read_timeout",
    };
    Failure::new(Class::Timeout, format!("{doing}: {limit}"))
}

/// The data of a body, each piece within the time limits.
fn chunks(
    body: Incoming,
    limits: Limits,
    end: Option<Instant>,
) -> impl Stream<Item = Result<Bytes>> + Send + Sync + 'static {
    futures::stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        loop {
            let left = end.map_or(limits.read, |end| {
                end.saturating_duration_since(Instant::now())
                    .min(limits.read)
            });
            return match timeout(left, body.frame()).await {
                Err(_) => Some((Err(too_long("receive the body", &limits)), None)),
                Ok(None) => None,
                Ok(Some(Err(error))) => Some((Err(broken("receive the body", &error)), None)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Some((Ok(data), Some(body))),
                    // Trailers.
                    Err(_) => continue,
                },
            };
        }
    })
    // Its users ask once more after the end.
    .fuse()
}
