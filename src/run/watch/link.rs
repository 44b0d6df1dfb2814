//! How watchdogs of different hosts talk, since MPI may be what hangs: small UDP messages, once a second.
//!
//! Two ranks on different hosts speak for the job, the second one some seconds later than the first, in case the first is
//! what fell silent. Of each other host, the lowest rank whose process runs tells them what it sees.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use serde::{Deserialize, Serialize};

use super::report::{Known, Sight};
use crate::cluster::Cluster;
use crate::host;

const SECOND: u64 = 1_000_000_000;

/// A host that was not heard of for this long is lost; it tells once a second.
const LOST_NS: u64 = 5 * SECOND;

/// The second speaker waits this much longer.
const TURN_NS: u64 = 5 * SECOND;

/// Addresses of one speaker that are tried.
const ADDRESSES: usize = 8;

#[derive(Serialize, Deserialize)]
struct Envelope {
    /// Tells messages of this job from any others.
    token: u64,
    message: Message,
}

#[derive(Serialize, Deserialize)]
enum Message {
    Report(Sight),
    Heard,
    /// The job ends; somebody has said why.
    End,
}

/// What all ranks agree on before.
#[derive(Default, Serialize, Deserialize)]
struct Table {
    token: u64,
    /// Where each speaker listens.
    speakers: Vec<Vec<SocketAddr>>,
}

pub(super) enum Heard {
    Nothing,
    /// Another watchdog has spoken.
    Ended,
}

/// This watchdog's end of the talk.
pub(super) struct Link {
    socket: UdpSocket,
    table: Table,
    /// Which speaker this is, if any.
    speaker: Option<usize>,
    node: usize,
    hosts: Vec<String>,
    sent: u64,
    /// When a speaker last answered.
    answered: u64,
    heard: HashMap<usize, (Sight, u64, SocketAddr)>,
}

impl Link {
    /// Agrees on speakers and their addresses. None on a single host, or where there is no UDP. A collective.
    pub(super) fn between_hosts(cluster: &dyn Cluster) -> Option<Link> {
        let hosts = cluster.host_names();
        if hosts.len() < 2 {
            return None;
        }
        let (nodes, rank) = (cluster.node_of_rank(), cluster.rank());
        let second = nodes.iter().position(|&node| node == 1);
        let speakers: Vec<usize> = std::iter::once(0).chain(second).collect();
        let speaker = speakers.iter().position(|&s| s == rank);
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok();
        let socket = socket.filter(|s| s.set_nonblocking(true).is_ok());
        let mine = match (&socket, speaker) {
            (Some(socket), Some(_)) => addresses_of(socket),
            _ => Vec::new(),
        };
        let mine = serde_json::to_vec(&mine).expect("addresses become JSON");
        let mut table = Vec::new();
        if let Some(all) = cluster.gather(&mine) {
            let of = |&rank: &usize| serde_json::from_slice(&all[rank]).unwrap_or_default();
            let token = std::hash::RandomState::new().build_hasher().finish();
            let speakers = speakers.iter().map(of).collect();
            table = serde_json::to_vec(&Table { token, speakers }).expect("a table becomes JSON");
        }
        cluster.broadcast(&mut table);
        Some(Link {
            socket: socket?,
            table: serde_json::from_slice(&table).unwrap_or_default(),
            speaker,
            node: nodes[rank],
            hosts: hosts.to_vec(),
            sent: 0,
            answered: 0,
            heard: HashMap::new(),
        })
    }

    fn send(&self, message: Message, to: SocketAddr) {
        let envelope = Envelope {
            token: self.table.token,
            message,
        };
        // Lost like any datagram may be: it is sent again.
        let bytes = serde_json::to_vec(&envelope).expect("a message becomes JSON");
        let _ = self.socket.send_to(&bytes, to);
    }

    /// Takes in what came, and tells the speakers what is seen here where this rank `reports` for its host.
    pub(super) fn exchange(&mut self, own: &Sight, reports: bool, now: u64) -> Heard {
        let mut bytes = [0; 65536];
        while let Ok((len, from)) = self.socket.recv_from(&mut bytes) {
            let Ok(envelope) = serde_json::from_slice::<Envelope>(&bytes[..len]) else {
                continue;
            };
            if envelope.token != self.table.token {
                continue;
            }
            match envelope.message {
                Message::Report(sight) => {
                    self.send(Message::Heard, from);
                    self.heard.insert(sight.node, (sight, now, from));
                }
                Message::Heard => self.answered = now,
                Message::End => return Heard::Ended,
            }
        }
        if reports && now.saturating_sub(self.sent) >= SECOND {
            self.sent = now;
            for to in self.others() {
                self.send(Message::Report(own.clone()), to);
            }
        }
        Heard::Nothing
    }

    fn others(&self) -> Vec<SocketAddr> {
        let speakers = self.table.speakers.iter().enumerate();
        speakers
            .filter(|(i, _)| Some(*i) != self.speaker)
            .flat_map(|(_, addresses)| addresses.iter().copied())
            .collect()
    }

    /// True where a speaker hears this host.
    pub(super) fn is_heard(&self, now: u64) -> bool {
        self.answered > 0 && now.saturating_sub(self.answered) < LOST_NS
    }

    /// How much later than the first this one speaks for the job; None where others do.
    pub(super) fn turn_to_speak(&self) -> Option<u64> {
        self.speaker.map(|i| i as u64 * TURN_NS)
    }

    pub(super) fn all(&self, own: &Sight, now: u64) -> Vec<Known> {
        let of = |(node, host): (usize, &String)| {
            if node == self.node {
                return Known::Heard(own.clone());
            }
            let host = host.clone();
            match self.heard.get(&node) {
                None => Known::Unheard { host },
                Some((sight, at, _)) => {
                    let silent_ns = now.saturating_sub(*at);
                    if silent_ns >= LOST_NS {
                        return Known::Lost { host, silent_ns };
                    }
                    let mut sight = sight.clone();
                    sight.quiet_ns += silent_ns;
                    Known::Heard(sight)
                }
            }
        };
        self.hosts.iter().enumerate().map(of).collect()
    }

    /// This process was stopped until now: that the others were not heard of is not their fault.
    pub(super) fn wake(&mut self, now: u64) {
        for (sight, at, _) in self.heard.values_mut() {
            *at = now;
            sight.quiet_ns = 0;
        }
    }

    /// Tells the other watchdogs that the job ends and that its cause was said.
    pub(super) fn tell_the_end(&self) {
        let hosts = self.heard.values().map(|(_, _, from)| *from);
        for to in hosts.chain(self.others()) {
            self.send(Message::End, to);
        }
    }
}

/// Where a socket can be reached from other hosts.
fn addresses_of(socket: &UdpSocket) -> Vec<SocketAddr> {
    let Ok(local) = socket.local_addr() else {
        return Vec::new();
    };
    host::network::ipv4_addresses()
        .into_iter()
        .take(ADDRESSES)
        .map(|address| SocketAddr::from((address, local.port())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The speaker on host 0 and a rank of host 1.
    fn pair() -> (Link, Link) {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let (first, second) = (socket(), socket());
        let speakers = vec![vec![first.local_addr().unwrap()]];
        let link = |socket, speaker, node| Link {
            socket,
            table: Table {
                token: 7,
                speakers: speakers.clone(),
            },
            speaker,
            node,
            hosts: vec!["a".into(), "b".into()],
            sent: 0,
            answered: 0,
            heard: HashMap::new(),
        };
        (link(first, Some(0), 0), link(second, None, 1))
    }

    fn sight(node: usize, quiet_ns: u64) -> Sight {
        Sight {
            node,
            host: if node == 0 { "a" } else { "b" }.into(),
            quiet_ns,
            silent: vec!["rank 1".into()],
            more: 0,
            waiting: 0,
        }
    }

    /// Datagrams to the loopback are there at once, but for the scheduler.
    fn until(mut is_so: impl FnMut() -> bool) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(600);
        while !is_so() {
            assert!(std::time::Instant::now() < end);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn what_a_host_tells_is_heard_ages_and_is_lost_when_it_stops() {
        let (mut speaker, mut other) = pair();
        let own = sight(0, 3 * SECOND);
        assert!(matches!(
            speaker.all(&own, SECOND)[1],
            Known::Unheard { .. }
        ));
        // Of another job.
        let foreign = serde_json::to_vec(&Envelope {
            token: 8,
            message: Message::End,
        });
        other
            .socket
            .send_to(&foreign.unwrap(), speaker.table.speakers[0][0])
            .unwrap();
        other.exchange(&sight(1, 2 * SECOND), true, 10 * SECOND);
        until(|| {
            assert!(matches!(
                speaker.exchange(&own, true, 10 * SECOND),
                Heard::Nothing
            ));
            !speaker.heard.is_empty()
        });
        match &speaker.all(&own, 12 * SECOND)[1] {
            Known::Heard(sight) => assert_eq!(sight.quiet_ns, 4 * SECOND),
            _ => panic!("not heard"),
        }
        match &speaker.all(&own, 17 * SECOND)[1] {
            Known::Lost { silent_ns, .. } => assert_eq!(*silent_ns, 7 * SECOND),
            _ => panic!("not lost"),
        }
        // The speaker itself was stopped for a day: nobody is lost for that.
        speaker.wake(86_400 * SECOND);
        assert!(matches!(
            speaker.all(&own, 86_401 * SECOND)[1],
            Known::Heard(_)
        ));
        until(|| {
            other.exchange(&sight(1, 0), false, 11 * SECOND);
            other.is_heard(11 * SECOND)
        });
        assert!(!other.is_heard(20 * SECOND));
        speaker.tell_the_end();
        until(|| {
            matches!(
                other.exchange(&sight(1, 0), false, 12 * SECOND),
                Heard::Ended
            )
        });
    }
}
