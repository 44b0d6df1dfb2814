//! Whom to trust on https endpoints.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::failure::{Class, EXPIRED, Failure, OTHER_NAME, UNSUITABLE, UNTRUSTED};
use super::p521;

/// The TLS configuration: the system's authorities, those of `ca_bundle`, or none at all when `verify` is false.
///
/// Errors: the bundle cannot be read or holds no certificate.
pub fn config(ca_bundle: Option<&str>, verify: bool) -> Result<Arc<ClientConfig>, String> {
    let algorithms = p521::algorithms();
    let provider = Arc::new(CryptoProvider {
        signature_verification_algorithms: algorithms,
        ..rustls::crypto::ring::default_provider()
    });
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("set up TLS: {e}"))?;
    if !verify {
        let verifier = Arc::new(AcceptAny(algorithms));
        return Ok(Arc::new(
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth(),
        ));
    }
    let mut roots = RootCertStore::empty();
    let mut given = Vec::new();
    // A host without system certificates can still reach servers of `ca_bundle`; any other is then refused.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_bundle {
        let wrong = |cause: String| {
            format!(
                "read storage.storage_options.ca_bundle={path}: {cause}\n  remedy: give a PEM file of certificates"
            )
        };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| wrong(e.to_string()))?;
        given.clone_from(&certificates);
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(wrong("it holds no certificate".into()));
        }
    }
    if given.is_empty() {
        return Ok(Arc::new(
            builder.with_root_certificates(roots).with_no_client_auth(),
        ));
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| format!("set up TLS: {e}"))?;
    let verifier = Arc::new(TrustGiven { inner, given });
    Ok(Arc::new(
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth(),
    ))
}

/// What makes a certificate useless here, in words; its code names the remedy.
pub(super) fn refusal(authority: &str, why: &CertificateError) -> Failure {
    let date = |time: UnixTime| {
        let time = chrono::DateTime::from_timestamp(time.as_secs() as i64, 0).unwrap_or_default();
        time.format("%Y-%m-%d %H:%M UTC").to_string()
    };
    let (code, what) = match why {
        CertificateError::ExpiredContext { time, not_after } => (
            EXPIRED,
            format!(
                "expired on {} (it is {} here)",
                date(*not_after),
                date(*time)
            ),
        ),
        CertificateError::Expired => (EXPIRED, "has expired".into()),
        CertificateError::NotValidYetContext { time, not_before } => (
            EXPIRED,
            format!(
                "is not valid before {} (it is {} here)",
                date(*not_before),
                date(*time)
            ),
        ),
        CertificateError::NotValidYet => (EXPIRED, "is not valid yet".into()),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => (
            OTHER_NAME,
            format!("is for {}, not for {}", names(presented), expected.to_str()),
        ),
        CertificateError::NotValidForName => (OTHER_NAME, "is for another host".into()),
        CertificateError::UnknownIssuer => {
            (UNTRUSTED, "is signed by nobody who is trusted here".into())
        }
        CertificateError::Other(other) if is_authority(other) => (
            UNTRUSTED,
            "is signed by itself, and is not among those that are trusted here".into(),
        ),
        other => (UNSUITABLE, format!("cannot be used: {other}")),
    };
    Failure {
        code: code.into(),
        ..Failure::new(
            Class::Permanent,
            format!("make a TLS connection to {authority}: its certificate {what}"),
        )
    }
}

/// The names in a certificate as rustls shows them: `DnsName("a")`, `IpAddress(..)`.
fn names(presented: &[String]) -> String {
    let names: Vec<_> = presented
        .iter()
        .map(|name| {
            let text = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
            text.trim_end_matches(')').trim_matches('"').to_string()
        })
        .collect();
    if names.is_empty() {
        "no name".into()
    } else {
        names.join(", ")
    }
}

fn is_authority(other: &rustls::OtherError) -> bool {
    matches!(
        other.0.downcast_ref::<webpki::Error>(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

/// Trusts what the usual rules trust, and a server whose own certificate was given. Those that sign themselves are mostly
/// made as authorities, which the usual rules refuse for a server.
#[derive(Debug)]
struct TrustGiven {
    inner: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for TrustGiven {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self
            .inner
            .verify_server_cert(certificate, others, name, ocsp, now)
        {
            // Its dates were looked at before this was found.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
                if is_authority(&other) && self.given.contains(certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// `verify: false`: the connection is encrypted, the server is whoever answers.
#[derive(Debug)]
struct AcceptAny(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
