//! The AWS SDK over this crate's own connections: it finds credentials and does what is rare.

use std::sync::Arc;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use super::failure::{Class, Failure};
use super::http::{Answered, Http};
use super::s3::failure_from_answer;
use super::url::Url;
use crate::config::StorageOptions;

/// [`Http`] as the SDK's client.
#[derive(Debug, Clone)]
pub(super) struct OverHttp(pub Arc<Http>);

impl HttpClient for OverHttp {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for OverHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.0.clone();
        HttpConnectorFuture::new(async move {
            let exchange = tokio::task::spawn_blocking(move || exchange(&http, &request));
            let answered = exchange
                .await
                .map_err(|e| ConnectorError::other(e.into(), None))?
                .map_err(|failure| ConnectorError::io(failure.into()))?;
            let status = StatusCode::try_from(answered.head.status)
                .map_err(|e| ConnectorError::other(e.into(), None))?;
            let mut response = HttpResponse::new(status, SdkBody::from(answered.body));
            for (name, value) in answered.head.headers {
                // A value that the SDK's type refuses is none that it reads.
                let _ = response.headers_mut().try_append(name, value);
            }
            Ok(response)
        })
    }
}

fn exchange(http: &Http, request: &HttpRequest) -> Result<Answered, Failure> {
    let uri = request.uri();
    let wrong = |what: String| Failure::new(Class::Permanent, what);
    let url = Url::parse(uri, true).map_err(|e| wrong(format!("request {uri}: {e}")))?;
    let after_scheme = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let target = after_scheme
        .find(['/', '?'])
        .map_or("/", |at| &after_scheme[at..]);
    let slash = if target.starts_with('/') { "" } else { "/" };
    let body = request
        .body()
        .bytes()
        .ok_or_else(|| wrong("a request of the SDK streams its body".into()))?;
    let host = http.host(&url);
    let mut head = format!("{} {slash}{target} HTTP/1.1\r\n", request.method()).into_bytes();
    let mut has_host = false;
    for (name, value) in request.headers() {
        if name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        has_host |= name.eq_ignore_ascii_case("host");
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !has_host {
        head.extend_from_slice(format!("host: {}\r\n", host.authority).as_bytes());
    }
    head.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    http.exchange(&host, &head, body, request.method() != "HEAD")
}

/// One SDK client per endpoint, and the credentials as the SDK finds them.
pub(super) async fn clients(
    options: &StorageOptions,
    http: &Arc<Http>,
    urls: &[Url],
    region: &str,
    path_style: bool,
) -> (
    Vec<aws_sdk_s3::Client>,
    Option<aws_credential_types::provider::SharedCredentialsProvider>,
) {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(OverHttp(http.clone()))
        .retry_config(RetryConfig::disabled())
        .region(Region::new(region.to_string()));
    if let Some(profile) = &options.s3_profile {
        loader = loader.profile_name(profile);
    }
    if let (Some(id), Some(secret)) = (&options.access_key_id, &options.secret_access_key) {
        loader = loader.credentials_provider(aws_credential_types::Credentials::new(
            id,
            secret.expose(),
            options.session_token.as_ref().map(|t| t.expose().into()),
            None,
            "workload",
        ));
    }
    let shared = loader.load().await;
    let clients = urls
        .iter()
        .map(|url| {
            let config = aws_sdk_s3::config::Builder::from(&shared)
                .endpoint_url(url.to_string())
                .force_path_style(path_style)
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
                .build();
            aws_sdk_s3::Client::from_conf(config)
        })
        .collect();
    (clients, shared.credentials_provider())
}

/// What an SDK error says, in this crate's terms.
pub(super) fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(e) = cause {
        if let Some(failure) = e.downcast_ref::<Failure>() {
            return failure.clone();
        }
        cause = e.source();
    }
    let text = {
        let mut text = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(e) = cause {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&e.to_string());
            cause = e.source();
        }
        text
    };
    if let SdkError::ServiceError(service) = &error {
        let raw = service.raw();
        let header = |name: &str| raw.headers().get(name).map(str::to_string);
        let body = raw.body().bytes().unwrap_or_default();
        let mut failure = failure_from_answer(raw.status().as_u16(), &header, body);
        if failure.code.is_empty()
            && let Some(code) = service.err().code()
        {
            failure.code = code.to_string();
            failure.message = service.err().message().unwrap_or_default().to_string();
            failure.class = Class::of_status(raw.status().as_u16(), code);
        }
        return failure;
    }
    Failure::new(Class::Permanent, text)
}
