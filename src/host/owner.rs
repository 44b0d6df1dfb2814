//! Who holds something that other processes may find when its holder is gone: a lock in a folder that hosts share.

use serde::{Deserialize, Serialize};

use super::process::{Identity, State};

/// A process in words that every host can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Name of its host.
    pub host: String,
    /// Of the host's running system.
    pub boot: String,
    /// The process there.
    #[serde(flatten)]
    pub process: Identity,
}

impl Owner {
    /// This process.
    pub fn here() -> Self {
        Owner {
            host: super::name(),
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            process: Identity::own(),
        }
    }

    /// What it can be judged by from `here`: None where nothing tells whether it runs, of another host or PID namespace.
    fn state(&self, here: &Owner) -> Option<State> {
        if self.host != here.host || self.process.namespace != here.process.namespace {
            return None;
        }
        // The namespace may have its number again after the host was started anew; its processes have not.
        if self.boot != here.boot {
            return Some(State::Gone);
        }
        self.process.state()
    }

    /// True where it surely runs no more.
    pub fn is_gone(&self, here: &Owner) -> bool {
        self.state(here) == Some(State::Gone)
    }

    /// For people: who it is, to be followed by what it does.
    pub fn named(&self, here: &Owner) -> String {
        let (host, id) = (&self.host, self.process.id);
        let elsewhere = if self.is_out_of_sight(here) && *host == here.host {
            " in another PID namespace, such as a container's"
        } else {
            ""
        };
        format!("a job of host {host} (process {id}{elsewhere})")
    }

    /// For people: by what they see that it runs no more. A part of a sentence.
    pub fn signs_of_end(&self, here: &Owner) -> String {
        let (host, id) = (&self.host, self.process.id);
        if !self.is_out_of_sight(here) {
            return format!("`ps -p {id}` on {host} shows no dlio-rs");
        }
        let place = if *host == here.host {
            format!("{host}, outside of containers,")
        } else {
            format!("{host}, which may be a container,")
        };
        format!("its container has ended, or `pgrep -af dlio` on {place} shows no such job")
    }

    fn is_out_of_sight(&self, here: &Owner) -> bool {
        self.state(here).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_pid_namespace_is_judged() {
        let here = Owner::here();
        assert!(!here.is_gone(&here) && !here.is_out_of_sight(&here));
        let mut other = here.clone();
        other.process.start += 1;
        assert!(other.is_gone(&here));
        other.process.namespace += 1;
        assert!(!other.is_gone(&here) && other.is_out_of_sight(&here));
        let mut before = here.clone();
        before.boot = "another".into();
        assert!(before.is_gone(&here));
        before.process.namespace += 1;
        assert!(before.is_out_of_sight(&here));
        before.host = "elsewhere".into();
        assert!(before.is_out_of_sight(&here));
    }
}
