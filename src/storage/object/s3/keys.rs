//! The credentials with which requests are signed, kept until shortly before they run out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
};
use aws_smithy_runtime_api::client::identity::Identity;
use parking_lot::Mutex;

use super::super::failure::{Class, Failure, Result};
use super::super::http::Http;
use super::super::{Runtime, causes};

/// Credentials are renewed when a quarter of their life is left, but not earlier than this before their end.
const EARLIEST: Duration = Duration::from_secs(300);
/// The shortest time between two attempts to renew credentials that still hold.
const PAUSE: Duration = Duration::from_secs(10);
/// Requests that were signed with refused credentials come in for so long after new ones are there.
const NEW: Duration = Duration::from_secs(2);

/// Credentials and where they come from. Used by this crate's requests and by the SDK's.
pub(in super::super) struct Keys {
    provider: Option<SharedCredentialsProvider>,
    kept: Mutex<Option<Kept>>,
    /// Held by the one who asks the provider.
    renewing: tokio::sync::Mutex<()>,
    http: Arc<Http>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

#[derive(Clone)]
struct Kept {
    credentials: Credentials,
    identity: Identity,
    obtained: SystemTime,
    /// When new ones are asked for; None: these last for ever.
    due: Option<SystemTime>,
    /// A server refused those before them.
    is_forced: bool,
}

/// When credentials of this life are renewed.
fn due(obtained: SystemTime, end: SystemTime) -> SystemTime {
    let life = end.duration_since(obtained).unwrap_or_default();
    end - (life / 4).min(EARLIEST)
}

impl Kept {
    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| SystemTime::now() >= due)
    }

    fn is_valid(&self) -> bool {
        let end = self.credentials.expiry();
        end.is_none_or(|end| SystemTime::now() < end)
    }
}

impl Keys {
    pub(in super::super) fn new(
        provider: Option<SharedCredentialsProvider>,
        http: &Arc<Http>,
    ) -> Self {
        Keys {
            provider,
            kept: Mutex::new(None),
            renewing: tokio::sync::Mutex::new(()),
            http: http.clone(),
        }
    }

    fn current(&self) -> Option<Kept> {
        self.kept.lock().clone().filter(|kept| !kept.is_due())
    }

    /// What to sign with.
    pub(in super::super) fn identity(&self, runtime: &Runtime) -> Result<Identity> {
        if let Some(kept) = self.current() {
            return Ok(kept.identity);
        }
        runtime.wait(self.ask()).map(|kept| kept.identity)
    }

    /// Asks the provider, unless somebody else has just done so. When it fails, credentials that still hold are used on.
    async fn ask(&self) -> Result<Kept> {
        let _turn = self.renewing.lock().await;
        if let Some(kept) = self.current() {
            return Ok(kept);
        }
        let none = |what: String| Failure {
            code: "NoCredentials".into(),
            ..Failure::new(Class::Permanent, format!("find credentials: {what}"))
        };
        let Some(provider) = &self.provider else {
            return Err(none("there is no source of them".into()));
        };
        let obtained = SystemTime::now();
        let answer = provider.provide_credentials().await;
        let mut kept = self.kept.lock();
        match answer {
            Ok(credentials) => {
                let new = Kept {
                    due: credentials.expiry().map(|end| due(obtained, end)),
                    identity: Identity::from(credentials.clone()),
                    credentials,
                    obtained,
                    is_forced: false,
                };
                *kept = Some(new.clone());
                Ok(new)
            }
            Err(error) => match &mut *kept {
                Some(old) if old.is_valid() => {
                    old.due = Some(SystemTime::now() + PAUSE);
                    self.http.note(
                        "credentials could not be renewed in time; the old ones were used while they lasted",
                    );
                    Ok(old.clone())
                }
                _ => Err(none(causes(&error))),
            },
        }
    }

    /// The server says that the credentials have run out: true when there are new ones now.
    pub(in super::super) fn renew(&self, runtime: &Runtime) -> bool {
        let is_new = |kept: &Kept| kept.obtained.elapsed().is_ok_and(|age| age < NEW);
        let old = {
            let mut kept = self.kept.lock();
            match &*kept {
                Some(new) if new.is_forced && is_new(new) => return true,
                _ => kept.take(),
            }
        };
        let differs = match (runtime.wait(self.ask()), old) {
            (Ok(new), Some(old)) => {
                new.credentials.access_key_id() != old.credentials.access_key_id()
                    || new.credentials.session_token() != old.credentials.session_token()
            }
            (Ok(_), None) => true,
            (Err(_), _) => false,
        };
        if let Some(kept) = &mut *self.kept.lock() {
            kept.is_forced = differs;
        }
        differs
    }
}

/// [`Keys`] as the SDK's source.
#[derive(Debug)]
pub(in super::super) struct ForSdk(pub Arc<Keys>);

impl ProvideCredentials for ForSdk {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            match self.0.current() {
                Some(kept) => Ok(kept.credentials),
                None => self
                    .0
                    .ask()
                    .await
                    .map(|kept| kept.credentials)
                    .map_err(CredentialsError::provider_error),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::http::for_tests;
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn credentials_are_renewed_by_their_own_life() {
        let from = SystemTime::UNIX_EPOCH;
        for (life_s, due_s) in [
            (60, 45),
            (900, 675),
            (1200, 900),
            (3600, 3300),
            (43_200, 42_900),
        ] {
            let end = from + Duration::from_secs(life_s);
            assert_eq!(due(from, end), from + Duration::from_secs(due_s));
        }
        assert_eq!(
            due(from + Duration::from_secs(9), from),
            from,
            "over already"
        );
    }

    /// Gives credentials for an hour, once.
    #[derive(Debug, Default)]
    struct Once(Arc<AtomicU64>);

    impl ProvideCredentials for Once {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let end = SystemTime::now() + Duration::from_secs(3600);
            future::ProvideCredentials::ready(match self.0.fetch_add(1, Relaxed) {
                0 => Ok(Credentials::new("id", "secret", None, Some(end), "test")),
                _ => Err(CredentialsError::provider_error("the token server is away")),
            })
        }
    }

    #[test]
    fn credentials_that_cannot_be_renewed_are_used_while_they_hold() {
        let asked = Arc::new(AtomicU64::new(0));
        let provider = SharedCredentialsProvider::new(Once(asked.clone()));
        let http = for_tests();
        let keys = Keys::new(Some(provider), &http);
        let runtime = Runtime::new(false).unwrap();
        let make_due = |end: Option<SystemTime>| {
            let mut kept = keys.kept.lock();
            let kept = kept.as_mut().unwrap();
            kept.due = Some(SystemTime::UNIX_EPOCH);
            if let Some(end) = end {
                kept.credentials = Credentials::new("id", "secret", None, Some(end), "test");
            }
        };
        keys.identity(&runtime).unwrap();
        assert!(http.notes().is_empty());
        make_due(None);
        keys.identity(&runtime).unwrap();
        assert_eq!(asked.load(Relaxed), 2);
        let notes = http.notes();
        assert!(notes[0].contains("could not be renewed"), "{notes:?}");
        // Not with every request.
        keys.identity(&runtime).unwrap();
        assert_eq!(asked.load(Relaxed), 2);

        make_due(Some(SystemTime::UNIX_EPOCH));
        let failure = keys.identity(&runtime).unwrap_err();
        assert_eq!(failure.code, "NoCredentials");
        assert!(failure.message.contains("is away"), "{failure}");
    }
}
