//! The AWS SDK over this crate's own connections: it finds credentials and does what is rare.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
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

use super::super::causes;
use super::super::failure::{Class, Failure, Result};
use super::super::fetch::Carrier;
use super::super::http::{Answered, Http};
#[cfg(feature = "sdk")]
use super::super::hyper::Hyper;
use super::super::url::Url;
use super::answer::failure_from_answer;
use super::keys::{ForSdk, Keys};
use crate::storage::StorageOptions;

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

fn exchange(http: &Http, request: &HttpRequest) -> Result<Answered> {
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
    http.exchange(&host, &head, &[body], request.method() != "HEAD")
}

/// hyper as the SDK's client.
#[cfg(feature = "sdk")]
#[derive(Debug, Clone)]
struct OverHyper(Arc<Hyper>);

#[cfg(feature = "sdk")]
impl HttpClient for OverHyper {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

#[cfg(feature = "sdk")]
impl HttpConnector for OverHyper {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        use futures::TryStreamExt;
        use http_body_util::{BodyExt, StreamBody};

        let hyper = self.0.clone();
        HttpConnectorFuture::new(async move {
            let other =
                |e: Box<dyn std::error::Error + Send + Sync>| ConnectorError::other(e, None);
            let request = request.try_into_http1x().map_err(|e| other(e.into()))?;
            let len = request.body().content_length().unwrap_or(0);
            let (parts, chunks) = hyper
                .exchange(request.map(|body| body.boxed()), len)
                .await
                .map_err(|failure| ConnectorError::io(failure.into()))?;
            let body = StreamBody::new(chunks.map_ok(hyper::body::Frame::data));
            let answer = http::Response::from_parts(parts, SdkBody::from_body_1_x(body));
            HttpResponse::try_from(answer).map_err(|e| other(e.into()))
        })
    }
}

pub(super) type Refused<E> = SdkError<E, HttpResponse>;

/// What the SDK finds of region, credentials and kinds of endpoint: the options, then the environment and the profile.
pub(super) async fn shared(options: &StorageOptions, carrier: &Carrier) -> SdkConfig {
    let region = match &options.region {
        Some(region) => Some(Region::new(region.clone())),
        None => {
            let mut provider = ProfileFileRegionProvider::builder();
            if let Some(profile) = &options.s3_profile {
                provider = provider.profile_name(profile);
            }
            provider.build().region().await
        }
    };
    let loader = aws_config::defaults(BehaviorVersion::latest());
    let loader = match carrier {
        Carrier::Own(http) => loader.http_client(OverHttp(http.clone())),
        #[cfg(feature = "sdk")]
        Carrier::Hyper(hyper) => loader.http_client(OverHyper(hyper.clone())),
    };
    let mut loader = loader
        .retry_config(RetryConfig::disabled())
        .region(region.unwrap_or(Region::from_static("us-east-1")));
    if let Some(profile) = &options.s3_profile {
        loader = loader.profile_name(profile);
    }
    if let (Some(id), Some(secret)) = (&options.access_key_id, &options.secret_access_key) {
        loader = loader.credentials_provider(Credentials::new(
            id.expose().trim(),
            secret.expose().trim(),
            options
                .session_token
                .as_ref()
                .map(|token| token.expose().trim().into()),
            None,
            "workload",
        ));
    }
    loader.load().await
}

/// Amazon's endpoint of the region, in its partition, with IPv6 or FIPS where the environment or the profile asks for it.
///
/// Errors: there is no such endpoint.
pub(super) async fn amazon(shared: &SdkConfig) -> Result<Url, String> {
    let region = shared.region().map(ToString::to_string).unwrap_or_default();
    let wrong = |e: String| {
        format!(
            "find Amazon's endpoint of region {region}: {e}\n  remedy: check storage.storage_options.region"
        )
    };
    let params = Params::builder()
        .region(region.clone())
        .use_fips(shared.use_fips().unwrap_or(false))
        .use_dual_stack(shared.use_dual_stack().unwrap_or(false))
        .build()
        .map_err(|e| wrong(e.to_string()))?;
    let found = DefaultResolver::new().resolve_endpoint(&params).await;
    let found = found.map_err(|e| wrong(e.to_string()))?;
    Url::parse(found.url(), true).map_err(wrong)
}

/// A client of one endpoint. `with_checksums`: requests that name an algorithm get its checksum; else the SDK leaves it out
/// where the service does not insist.
pub(super) fn client(
    shared: &SdkConfig,
    keys: &Arc<Keys>,
    url: &Url,
    path_style: bool,
    with_checksums: bool,
) -> aws_sdk_s3::Client {
    let checksums = if with_checksums {
        RequestChecksumCalculation::WhenSupported
    } else {
        RequestChecksumCalculation::WhenRequired
    };
    let config = aws_sdk_s3::config::Builder::from(shared)
        .endpoint_url(url.to_string())
        // They name kinds of Amazon's endpoints, and this one is given.
        .use_fips(false)
        .use_dual_stack(false)
        .credentials_provider(SharedCredentialsProvider::new(ForSdk(keys.clone())))
        // Kept by `Keys`.
        .identity_cache(IdentityCache::no_cache())
        .force_path_style(path_style)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(checksums)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// What an SDK error says, in this crate's terms.
pub(super) fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if let Some(failure) = Failure::within(&error) {
        return failure;
    }
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
    Failure::new(Class::Permanent, causes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_endpoints_follow_partition_fips_and_dual_stack() {
        let runtime = super::super::super::Runtime::new(false).unwrap();
        // Source: AWS General Reference, Amazon S3 endpoints.
        for (region, fips, dual, host) in [
            ("eu-west-1", false, false, "s3.eu-west-1.amazonaws.com"),
            ("us-east-1", false, false, "s3.us-east-1.amazonaws.com"),
            ("cn-north-1", false, false, "s3.cn-north-1.amazonaws.com.cn"),
            (
                "us-gov-west-1",
                true,
                false,
                "s3-fips.us-gov-west-1.amazonaws.com",
            ),
            (
                "us-east-2",
                true,
                true,
                "s3-fips.dualstack.us-east-2.amazonaws.com",
            ),
            (
                "eu-west-1",
                false,
                true,
                "s3.dualstack.eu-west-1.amazonaws.com",
            ),
        ] {
            let shared = SdkConfig::builder()
                .region(Region::new(region))
                .use_fips(fips)
                .use_dual_stack(dual)
                .build();
            assert_eq!(runtime.wait(amazon(&shared)).unwrap().host, host);
        }
    }
}
