//! Why a request to an object store failed, sorted by what can be done about it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Kinds of failure; the report counts retries by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// No connection: name unknown, refused, unreachable, or not in time.
    Connect,
    /// No byte for `read_timeout`, or the request took longer than `request_timeout`.
    Timeout,
    /// The connection broke.
    Reset,
    /// The body ended before its announced length.
    Truncated,
    /// HTTP 5xx other than 503.
    ServerError,
    /// HTTP 503, 429, or a code that asks to come back later.
    SlowDown,
    /// The credentials ran out: repeated once with new ones.
    Expired,
    /// What no repetition cures: 403, 404, a bad request, an untrusted certificate, an answer that is no HTTP.
    Permanent,
}

/// Number of classes of [`RETRIED_CLASSES`].
pub const RETRIED: usize = 7;

/// Classes that are retried, in the order of their counters.
pub const RETRIED_CLASSES: [Class; RETRIED] = [
    Class::Connect,
    Class::Timeout,
    Class::Reset,
    Class::Truncated,
    Class::ServerError,
    Class::SlowDown,
    Class::Expired,
];

impl Class {
    /// True when the same request may succeed later.
    pub fn is_retried(self) -> bool {
        !matches!(self, Class::Permanent | Class::Expired)
    }

    /// Its word in the report.
    pub fn word(self) -> &'static str {
        match self {
            Class::Connect => "connect",
            Class::Timeout => "timeout",
            Class::Reset => "reset",
            Class::Truncated => "truncated",
            Class::ServerError => "server_error",
            Class::SlowDown => "slow_down",
            Class::Expired => "expired",
            Class::Permanent => "permanent",
        }
    }

    /// By HTTP status and the service's code.
    pub fn of_status(status: u16, code: &str) -> Class {
        match (status, code) {
            (503 | 429, _)
            | (
                _,
                "SlowDown"
                | "RequestLimitExceeded"
                | "Throttling"
                | "ThrottlingException"
                | "ServerBusy",
            ) => Class::SlowDown,
            (408, _) | (_, "RequestTimeout" | "OperationTimedOut") => Class::Timeout,
            (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
                Class::Expired
            }
            // Success with an error in its body: S3 does so when it fails after it has begun to answer.
            (500.. | 200..300, _) => Class::ServerError,
            _ => Class::Permanent,
        }
    }
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What can be done about it.
    pub class: Class,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The service's code (`AccessDenied`); empty when it gave none.
    pub code: String,
    /// In words.
    pub message: String,
    /// The service's name for the request; empty when it gave none.
    pub request_id: String,
    /// How long the server asks to stay away.
    pub retry_after: Option<Duration>,
    /// An idle connection broke before anything of the answer came: the server closed it, and most likely never saw the
    /// request.
    pub is_stale: bool,
    /// The address failed, and its name has another that is up.
    pub has_other_address: bool,
}

impl Failure {
    /// The failure that an SDK wrapped into an error of its own.
    pub(super) fn within(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(e) = cause {
            if let Some(failure) = e.downcast_ref::<Failure>() {
                return Some(failure.clone());
            }
            cause = e.source();
        }
        None
    }

    /// A failure without an HTTP answer.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Failure {
            class,
            status: None,
            code: String::new(),
            message: message.into(),
            request_id: String::new(),
            retry_after: None,
            is_stale: false,
            has_other_address: false,
        }
    }

    /// True when the server may have done what was asked, although no success came back.
    pub fn is_unsure(&self) -> bool {
        match self.class {
            Class::Timeout | Class::Reset | Class::Truncated => true,
            Class::ServerError => self.status != Some(501),
            Class::Connect | Class::SlowDown | Class::Expired | Class::Permanent => false,
        }
    }

    /// An operating-system error while `doing` something on a connection.
    pub fn io(doing: &str, error: &io::Error) -> Self {
        let class = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Class::Timeout,
            io::ErrorKind::UnexpectedEof => Class::Truncated,
            // rustls reports certificate and protocol errors this way.
            io::ErrorKind::InvalidData => Class::Permanent,
            _ => Class::Reset,
        };
        let cause = match class {
            Class::Timeout => "no byte within read_timeout".into(),
            _ => error.to_string(),
        };
        Failure::new(class, format!("{doing}: {cause}"))
    }

    /// True when the server does not know requests that delete several objects, or not in this form.
    pub fn refuses_batches(&self) -> bool {
        matches!(self.class, Class::Permanent | Class::ServerError)
            && matches!(self.status, Some(400 | 405 | 411 | 501))
    }

    /// True when the object, bucket or container does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(status) = self.status {
            write!(f, "HTTP {status}")?;
            if !self.code.is_empty() {
                write!(f, " {}", self.code)?;
            }
            if !self.message.is_empty() {
                write!(f, ": {}", self.message)?;
            }
        } else {
            f.write_str(&self.message)?;
        }
        if !self.request_id.is_empty() {
            write!(f, " (request {})", self.request_id)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Codes of certificates that are refused here: out of date, of another name, signed by nobody known, of no use.
pub(super) const EXPIRED: &str = "CertificateExpired";
pub(super) const OTHER_NAME: &str = "CertificateForOtherName";
pub(super) const UNTRUSTED: &str = "CertificateUntrusted";
pub(super) const UNSUITABLE: &str = "CertificateUnsuitable";

/// What to do about a certificate.
fn certificate_remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        EXPIRED => "renew the server's certificate, or set this host's clock",
        OTHER_NAME => {
            "write the endpoint with a name that the certificate has, or get a certificate for this one"
        }
        UNTRUSTED => {
            "set storage.storage_options.ca_bundle to the PEM file of the authority that signed it, or of the certificate itself where it signed itself (verify=false accepts any)"
        }
        UNSUITABLE => {
            "get another certificate: RSA, P-256, P-384, Ed25519 and (with TLS 1.3) P-521 keys are known here (verify=false accepts any certificate with one of them)"
        }
        _ => return None,
    })
}

/// What to do about a failure that has nothing to do with the service.
pub fn remedy(failure: &Failure) -> String {
    if let Some(remedy) = certificate_remedy(&failure.code) {
        return remedy.into();
    }
    if failure.code == "ProxyAuthentication" {
        return "write storage.storage_options.proxy=http://user:password@host:port".into();
    }
    match failure.class {
        Class::Connect if failure.message.contains("through the proxy") => {
            "check storage.storage_options.proxy (or HTTPS_PROXY, HTTP_PROXY); hosts in NO_PROXY are reached without one"
        }
        Class::Connect => "check storage.storage_options.endpoint_url (host, port, http or https) and that the server runs",
        Class::Timeout => "the server is too slow or stuck: repair it, or raise storage.storage_options.read_timeout or request_timeout",
        Class::Reset | Class::Truncated => "the server or something on the way breaks connections: see its log",
        Class::ServerError => "see the server's log; storage.storage_options.s3_max_attempts is how often a request is tried",
        Class::SlowDown => "the server is overloaded: lower reader.read_threads or the number of ranks, or raise storage.storage_options.s3_max_attempts",
        Class::Expired => "the credentials have expired: get new ones",
        Class::Permanent => "check storage.storage_options, above all endpoint_url",
    }
    .into()
}

/// All that a message about a failed operation needs.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object} at {endpoint}: {failure}{}\n  remedy: {remedy}", tries(*.attempts, *.elapsed_s))]
pub struct ObjectError {
    /// What was attempted: read, write, list, ...
    pub operation: &'static str,
    /// URI of the object or folder.
    pub object: String,
    /// Where the last attempt went.
    pub endpoint: String,
    /// Attempts made.
    pub attempts: u64,
    /// Seconds from the first attempt's start to the failure.
    pub elapsed_s: f64,
    /// The last failure.
    pub failure: Failure,
    /// What to do.
    pub remedy: String,
}

fn tries(attempts: u64, elapsed_s: f64) -> String {
    if attempts > 1 {
        format!(", after {attempts} attempts in {elapsed_s:.1} s")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_services_documents() {
        // Source: Amazon S3 API reference, "Error responses"; Azure "Common REST API error codes".
        for (status, code, class) in [
            (503, "SlowDown", Class::SlowDown),
            (503, "ServiceUnavailable", Class::SlowDown),
            (429, "", Class::SlowDown),
            (400, "RequestTimeout", Class::Timeout),
            (500, "InternalError", Class::ServerError),
            (500, "OperationTimedOut", Class::Timeout),
            (403, "AccessDenied", Class::Permanent),
            (404, "NoSuchKey", Class::Permanent),
            (400, "InvalidArgument", Class::Permanent),
            (400, "ExpiredToken", Class::Expired),
            (200, "InternalError", Class::ServerError),
            (200, "SlowDown", Class::SlowDown),
            (301, "PermanentRedirect", Class::Permanent),
        ] {
            assert_eq!(Class::of_status(status, code), class, "{status} {code}");
        }
    }
}
