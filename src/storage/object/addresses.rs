//! The addresses of one host: looked up by name, kept for a while, connected to side by side, left out while silent.
//!
//! Source: RFC 8305 (Happy Eyeballs).

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::failure::Class;
use super::wait;
use crate::storage::telemetry::AddressTelemetry;

/// How long an answer of the name service is used.
const LIFE: Duration = Duration::from_secs(30);
/// How long one address is waited for before the next is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Broken or silent connections in a row after which an address is left out; one that refuses is left out at once.
const STRIKES: u64 = 3;
/// How long it is left out for the first time; doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The addresses of a host and how they fare.
#[derive(Default)]
pub(super) struct Addresses {
    found: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
    health: Mutex<BTreeMap<SocketAddr, Health>>,
    turn: AtomicUsize,
}

#[derive(Debug, Clone, Default)]
struct Health {
    strikes: u64,
    down_until: Option<Instant>,
    connections: u64,
    connect_time: Duration,
    failures: u64,
    times_down: u64,
}

impl Health {
    fn is_up(&self, now: Instant) -> bool {
        self.down_until.is_none_or(|end| now >= end)
    }

    fn strike(&mut self, weight: u64) {
        self.failures += 1;
        self.strikes += weight;
        if self.strikes >= STRIKES {
            let doublings = (self.strikes / STRIKES - 1).min(16) as u32;
            let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
            let now = Instant::now();
            self.times_down += u64::from(self.is_up(now));
            self.down_until = Some(now + pause);
        }
    }
}

/// Those that are up first, beginning with number `turn`; families alternate.
fn in_order(
    all: &[SocketAddr],
    turn: usize,
    is_up: impl Fn(&SocketAddr) -> bool,
) -> Vec<SocketAddr> {
    let turned = || (0..all.len()).map(|step| all[(turn + step) % all.len()]);
    let (mut up, down): (Vec<_>, Vec<_>) = turned().partition(&is_up);
    let first_is_six = up.first().is_some_and(SocketAddr::is_ipv6);
    let (mut same, mut other): (Vec<_>, Vec<_>) =
        up.drain(..).partition(|a| a.is_ipv6() == first_is_six);
    same.reverse();
    other.reverse();
    let mut order = Vec::with_capacity(all.len());
    while !(same.is_empty() && other.is_empty()) {
        order.extend(same.pop());
        order.extend(other.pop());
    }
    order.extend(down);
    order
}

impl Addresses {
    /// Looks the name up, unless that was done a short while ago. A name service that fails costs nothing while the last
    /// answer is there.
    fn look_up(&self, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        let kept = self.found.lock().clone();
        if let Some((at, list)) = &kept
            && at.elapsed() < LIFE
        {
            return Ok(list.clone());
        }
        let found: io::Result<Arc<[SocketAddr]>> =
            wait::aside(|| (host, port).to_socket_addrs().map(Iterator::collect));
        match (found, kept) {
            (Ok(list), _) if !list.is_empty() => {
                *self.found.lock() = Some((Instant::now(), list.clone()));
                Ok(list)
            }
            (_, Some((_, list))) => Ok(list),
            (Ok(_), None) => Err(io::Error::other("the name has no address")),
            (Err(e), None) => Err(e),
        }
    }

    /// The addresses in the order in which they are to be tried.
    ///
    /// Errors: the name cannot be resolved.
    pub(super) fn candidates(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let all = self.look_up(host, port)?;
        let turn = self.turn.fetch_add(1, Relaxed);
        let health = self.health.lock();
        let now = Instant::now();
        Ok(in_order(&all, turn, |address| {
            health.get(address).is_none_or(|h| h.is_up(now))
        }))
    }

    /// Connects to the first that answers: the next one is tried beside those that are slow to.
    ///
    /// Errors: the last one's.
    pub(super) fn connect(
        self: &Arc<Self>,
        candidates: &[SocketAddr],
        limit: Duration,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        if let [only] = candidates {
            return Ok((self.connect_to(*only, limit)?, *only));
        }
        wait::aside(|| self.connect_to_any(candidates, limit))
    }

    fn connect_to_any(
        self: &Arc<Self>,
        candidates: &[SocketAddr],
        limit: Duration,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        let (to_us, results) = channel();
        let mut waiting = candidates.iter();
        let mut under_way = 0;
        let mut last = io::Error::other("the name has no address");
        let mut is_next_due = true;
        loop {
            if is_next_due && let Some(address) = waiting.next().copied() {
                let (own, to_us) = (self.clone(), to_us.clone());
                let attempt = move || {
                    // Nobody waits any more where another was faster.
                    let _ = to_us.send((own.connect_to(address, limit), address));
                };
                std::thread::Builder::new()
                    .name("connect".into())
                    .spawn(attempt)?;
                under_way += 1;
            }
            is_next_due = true;
            if under_way == 0 {
                return Err(last);
            }
            let patience = if waiting.len() > 0 {
                STAGGER
            } else {
                limit * 2
            };
            match results.recv_timeout(patience) {
                Ok((Ok(socket), address)) => return Ok((socket, address)),
                Ok((Err(e), _)) => {
                    under_way -= 1;
                    last = e;
                }
                Err(RecvTimeoutError::Timeout) if waiting.len() > 0 => {}
                Err(_) => return Err(last),
            }
        }
    }

    fn connect_to(&self, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let start = Instant::now();
        let connected = wait::connect(address, limit);
        let mut all = self.health.lock();
        let health = all.entry(address).or_default();
        match &connected {
            Ok(_) => {
                health.connections += 1;
                health.connect_time += start.elapsed();
            }
            Err(_) => health.strike(STRIKES),
        }
        connected
    }

    /// A request over a connection to it was answered.
    pub(super) fn succeeded(&self, address: SocketAddr) {
        if let Some(health) = self.health.lock().get_mut(&address)
            && health.strikes > 0
        {
            health.strikes = 0;
            health.down_until = None;
        }
    }

    /// A request over a connection to it failed. True: another address can be asked at once.
    pub(super) fn failed(&self, address: SocketAddr, class: Class) -> bool {
        if !matches!(class, Class::Timeout | Class::Reset | Class::Truncated) {
            return false;
        }
        let mut all = self.health.lock();
        all.entry(address).or_default().strike(1);
        let now = Instant::now();
        let found = self.found.lock();
        found.as_ref().is_some_and(|(_, list)| {
            list.iter()
                .any(|a| *a != address && all.get(a).is_none_or(|h| h.is_up(now)))
        })
    }

    /// False: connections to it are not used for the time being.
    pub(super) fn is_up(&self, address: SocketAddr) -> bool {
        let all = self.health.lock();
        all.get(&address).is_none_or(|h| h.is_up(Instant::now()))
    }

    /// Connections made, and their time.
    pub(super) fn totals(&self) -> (u64, Duration) {
        let all = self.health.lock();
        all.values().fold((0, Duration::ZERO), |(n, time), h| {
            (n + h.connections, time + h.connect_time)
        })
    }

    pub(super) fn telemetry(&self, host: &str) -> Vec<AddressTelemetry> {
        let all = self.health.lock();
        let of = |(address, h): (&SocketAddr, &Health)| AddressTelemetry {
            host: host.into(),
            address: address.to_string(),
            connections: h.connections,
            connect_s: h.connect_time.as_secs_f64(),
            failures: h.failures,
            times_down: h.times_down,
        };
        all.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate_and_those_that_are_down_come_last() {
        let all = addresses(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let order = in_order(&all, 0, |_| true);
        assert_eq!(
            order,
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1"])
        );
        let order = in_order(&all, 3, |a| *a != all[3]);
        assert_eq!(
            order,
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1"])
        );
        assert!(in_order(&[], 7, |_| true).is_empty());
    }

    #[test]
    fn a_refusing_address_costs_no_attempt_of_the_others_and_is_left_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let bad = closed.local_addr().unwrap();
        drop(closed);
        let all = Arc::new(Addresses::default());
        *all.found.lock() = Some((Instant::now(), vec![bad, good].into()));
        let order = all.candidates("any", 1).unwrap();
        assert_eq!(order, [bad, good]);
        let (_, reached) = all.connect(&order, Duration::from_secs(9)).unwrap();
        assert_eq!(reached, good);
        assert!(!all.is_up(bad));
        for _ in 0..4 {
            assert_eq!(all.candidates("any", 1).unwrap()[0], good);
        }
        let seen = all.telemetry("any");
        let of = |a: SocketAddr| seen.iter().find(|t| t.address == a.to_string()).unwrap();
        assert_eq!(
            (of(bad).failures, of(bad).times_down, of(bad).connections),
            (1, 1, 0)
        );
        assert_eq!((of(good).failures, of(good).connections), (0, 1));
    }

    #[test]
    fn an_address_that_falls_silent_is_left_out_until_it_answers() {
        let list = addresses(&["127.0.0.1:1", "127.0.0.2:1"]);
        let all = Addresses::default();
        *all.found.lock() = Some((Instant::now(), list.clone().into()));
        for _ in 0..2 {
            assert!(all.failed(list[0], Class::Timeout), "there is another");
            assert!(all.is_up(list[0]));
        }
        all.failed(list[0], Class::Timeout);
        assert!(!all.is_up(list[0]));
        assert!(!all.failed(list[0], Class::SlowDown), "that is an answer");
        all.succeeded(list[0]);
        assert!(all.is_up(list[0]));
    }

    #[test]
    fn an_answer_of_dns_is_used_for_its_life() {
        let list: Arc<[SocketAddr]> = addresses(&["192.0.2.1:7"]).into();
        let aged = |age: Duration, host: &str| {
            let all = Addresses::default();
            let at = Instant::now().checked_sub(age).unwrap();
            *all.found.lock() = Some((at, list.clone()));
            all.candidates(host, 7).unwrap()
        };
        assert_eq!(aged(Duration::ZERO, "localhost"), *list);
        let anew = aged(LIFE, "localhost");
        assert!(anew.iter().all(|a| a.ip().is_loopback()), "{anew:?}");
        // While nobody answers, what was known is as good as it can be.
        assert_eq!(aged(LIFE, "store.invalid"), *list);
    }

    #[test]
    fn another_address_is_tried_beside_one_that_is_silent() {
        use std::os::fd::AsRawFd;

        let [silent, good] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        // The kernel drops what asks for a connection where nobody accepts those before it.
        // SAFETY: the descriptor is open; this changes its backlog alone.
        assert_eq!(unsafe { libc::listen(silent.as_raw_fd(), 0) }, 0);
        let [silent_at, good] = [&silent, &good].map(|l| l.local_addr().unwrap());
        let waits = Duration::from_millis(200);
        let mut queue = Vec::new();
        while let Ok(one) = TcpStream::connect_timeout(&silent_at, waits) {
            queue.push(one);
        }
        let all = Arc::new(Addresses::default());
        let limit = Duration::from_secs(30);
        let (_, reached) = all.connect(&[silent_at, good], limit).unwrap();
        assert_eq!(reached, good);
    }
}
