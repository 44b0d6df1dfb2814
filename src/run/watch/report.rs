//! What is seen of a host when nothing moves, and the message that is made of it.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::board::{Board, FROZEN_NS};
use crate::host::process::State;
use crate::loader::Activity;

/// How much longer a host that hangs waits for the others to fall silent too, so that one message tells of all.
const GRACE_NS: u64 = 3_000_000_000;

/// Silent ranks of a host that a message names.
const NAMED: usize = 6;

/// A host at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) node: usize,
    pub(super) host: String,
    /// Nanoseconds in which none of its ranks moved.
    pub(super) quiet_ns: u64,
    /// Ranks that the others wait for, each with what it is in.
    pub(super) silent: Vec<String>,
    pub(super) more: usize,
    /// How many ranks only wait for others.
    pub(super) waiting: usize,
}

impl Sight {
    /// What the pages of a host show. Nothing before `awake_since` counts as quiet. The kernel is asked about processes only
    /// where all has been quiet for `asks_from` nanoseconds: every rank looks several times a second.
    pub(super) fn of(board: &Board, awake_since: u64, asks_from: u64, now: u64) -> Sight {
        let last = board
            .pages
            .iter()
            .map(|page| page.last_moved().max(page.busy_end().min(now)))
            .fold(awake_since, u64::max);
        let quiet_ns = now.saturating_sub(last);
        let mut silent: Vec<String> = Vec::new();
        let mut waiting = 0;
        for (page, &rank) in board.pages.iter().zip(&board.ranks) {
            let asked = (quiet_ns >= asks_from).then(|| page.process().state());
            let lifeless = lifeless(page, asked.flatten(), now);
            match silence(board, page, lifeless, quiet_ns, now) {
                Some(what) => silent.push(format!(
                    "rank {rank} on {}{}: {what}",
                    board.hosts[board.node],
                    process_of(page)
                )),
                None => waiting += 1,
            }
        }
        let more = silent.len().saturating_sub(NAMED);
        silent.truncate(NAMED);
        Sight {
            node: board.node,
            host: board.hosts[board.node].clone(),
            quiet_ns,
            silent,
            more,
            waiting,
        }
    }
}

/// The process of a rank, for messages; nothing where it is not known.
fn process_of(page: &Activity) -> String {
    match page.process().id {
        0 => String::new(),
        id => format!(" (process {id})"),
    }
}

/// Why nothing can come from the process of a rank; None where it runs. The kernel knows best, where it was asked; a process
/// that gives no sign of life may be stopped too.
fn lifeless(page: &Activity, state: Option<State>, now: u64) -> Option<String> {
    match state {
        Some(State::Stopped) => return Some("its process is stopped".into()),
        Some(State::Gone) => return Some("its process has ended".into()),
        Some(State::Runs) | None => {}
    }
    let life = now.saturating_sub(page.last_sign_of_life());
    let is_frozen = page.last_sign_of_life() > 0 && life > FROZEN_NS;
    is_frozen.then(|| {
        let seconds = life as f64 / 1e9;
        format!("its process has given no sign of life for {seconds:.0} s (stopped?)")
    })
}

/// What a rank is in; None where it only waits for others.
fn silence(
    board: &Board,
    page: &Activity,
    lifeless: Option<String>,
    quiet_ns: u64,
    now: u64,
) -> Option<String> {
    let age = |since: u64| now.saturating_sub(since) as f64 / 1e9;
    // An I/O that began while things still moved is what hangs, whatever the main thread does meanwhile.
    let io = page
        .oldest()
        .filter(|io| !page.is_waiting() || now.saturating_sub(io.since_ns) >= quiet_ns / 2);
    if page.is_waiting() && lifeless.is_none() && io.is_none() {
        return None;
    }
    let (phase, epoch, step) = page.place();
    let mut text = phase.name().to_owned();
    if epoch > 0 {
        let _ = write!(text, ", epoch {epoch}, step {step}");
    }
    if let Some(lifeless) = lifeless {
        let _ = write!(text, "; {lifeless}");
    }
    let task = page.current_task();
    if let Some((task, since)) = &task {
        let _ = write!(text, "; {task}, begun {:.1} s ago", age(*since));
    }
    match io {
        Some(io) => {
            let name = board.names.of(io.file);
            let age = age(io.since_ns);
            let _ = write!(
                text,
                "; oldest I/O: {name} at byte {}, {age:.1} s old",
                io.offset
            );
        }
        None if task.is_none() => text.push_str("; no I/O outstanding"),
        None => {}
    }
    Some(text)
}

/// A host as the watchdog that speaks knows it.
pub(super) enum Known {
    /// It tells what it sees.
    Heard(Sight),
    /// It told, and does no longer, for this long.
    Lost { host: String, silent_ns: u64 },
    /// It never told.
    Unheard { host: String },
}

/// The message at the end of a job in which nothing moves.
pub(super) struct Verdict(String);

impl Verdict {
    /// Of a host alone.
    pub(super) fn of_host(sight: &Sight, timeout: Duration) -> Verdict {
        let mut text = headline(&[&sight.host], sight.quiet_ns, timeout);
        tell(&mut text, std::iter::once(sight));
        Verdict(text)
    }

    /// Of all hosts, when nothing has moved on them for `limit_ns`, or on one of them that the others wait for.
    pub(super) fn of_hosts(all: &[Known], limit_ns: u64, timeout: Duration) -> Option<Verdict> {
        let heard = || {
            all.iter().filter_map(|known| match known {
                Known::Heard(sight) => Some(sight),
                _ => None,
            })
        };
        let is_stuck = |s: &&Sight| s.quiet_ns >= limit_ns + GRACE_NS && !s.silent.is_empty();
        let all_quiet = heard().all(|s| s.quiet_ns >= limit_ns);
        if !all_quiet && !heard().any(|s| is_stuck(&s)) {
            return None;
        }
        let quiet: Vec<&Sight> = heard().filter(|s| s.quiet_ns >= limit_ns).collect();
        let quiet_ns = quiet.iter().map(|s| s.quiet_ns).min().unwrap_or(limit_ns);
        let names: Vec<&str> = quiet.iter().map(|s| s.host.as_str()).collect();
        let mut text = headline(&names, quiet_ns, timeout);
        for known in all {
            match known {
                Known::Heard(_) => {}
                Known::Lost { host, silent_ns } => {
                    let _ = write!(
                        text,
                        "\n  silent: all ranks on {host}: not heard of for {:.0} s (host down, or its network cut?)",
                        *silent_ns as f64 / 1e9
                    );
                }
                Known::Unheard { host } => {
                    let _ = write!(
                        text,
                        "\n  unknown: {host}: its watchdog was never heard of (UDP between the hosts blocked?)"
                    );
                }
            }
        }
        tell(&mut text, quiet.into_iter());
        Some(Verdict(text))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn headline(hosts: &[&str], quiet_ns: u64, timeout: Duration) -> String {
    const SHOWN: usize = 8;
    let mut names = hosts[..hosts.len().min(SHOWN)].join(", ");
    if hosts.len() > SHOWN {
        let _ = write!(names, " and {} more hosts", hosts.len() - SHOWN);
    }
    format!(
        "nothing has moved on {names} for {:.0} s (--stall-timeout {} s); the job ends with status 1.",
        quiet_ns as f64 / 1e9,
        timeout.as_secs()
    )
}

/// Ranks that only wait for others are counted, the rest are named.
fn tell<'a>(text: &mut String, sights: impl Iterator<Item = &'a Sight>) {
    let (mut waiting, mut silent) = (0, 0);
    for sight in sights {
        for line in &sight.silent {
            let _ = write!(text, "\n  silent: {line}");
        }
        if sight.more > 0 {
            let _ = write!(
                text,
                "\n  silent: {} more rank(s) on {}",
                sight.more, sight.host
            );
        }
        silent += sight.silent.len();
        waiting += sight.waiting;
    }
    if waiting > 0 {
        let _ = match silent {
            0 => write!(text, "\n  all {waiting} rank(s) heard of wait for others"),
            _ => write!(text, "\n  waiting for them: {waiting} rank(s)"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::host::process::{Identity, start_tick};
    use crate::loader::Phase;
    use crate::run::watch::board::Names;

    const S: u64 = 1_000_000_000;
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Two ranks of a host.
    fn board() -> Board {
        let words: &'static [AtomicU64] = (0..1 + 2 * Activity::words(1))
            .map(|_| AtomicU64::new(0))
            .collect::<Vec<_>>()
            .leak();
        Board {
            pages: words[1..]
                .chunks_exact(Activity::words(1))
                .map(Activity::new)
                .collect(),
            ranks: vec![2, 3],
            node: 1,
            hosts: vec!["a".into(), "b".into()],
            spoken: &words[0],
            names: Names::default(),
        }
    }

    fn sight(host: &str, quiet_s: u64, silent: &[&str]) -> Sight {
        Sight {
            node: 0,
            host: host.into(),
            quiet_ns: quiet_s * S,
            silent: silent.iter().map(|&text| text.into()).collect(),
            more: 0,
            waiting: 1,
        }
    }

    #[test]
    fn a_rank_in_a_collective_waits_and_one_with_old_io_or_without_life_is_silent() {
        let board = board();
        let now = crate::clock::now_ns() + 100 * S;
        for page in &board.pages {
            page.waits(true);
        }
        let seen = Sight::of(&board, now - 20 * S, S, now);
        assert_eq!((seen.silent.len(), seen.waiting), (0, 2));
        assert_eq!(seen.quiet_ns, 20 * S);
        board.pages[1].io_begins(0, 7, 4096);
        let seen = Sight::of(&board, now - 20 * S, S, now);
        assert_eq!(seen.waiting, 1);
        assert!(
            seen.silent[0].starts_with("rank 3 on b: ")
                && seen.silent[0].contains("file 7 at byte 4096"),
            "{seen:?}"
        );
        board.pages[0].sign_of_life();
        let seen = Sight::of(&board, now - 20 * S, S, now);
        assert!(seen.silent[0].contains("no sign of life"), "{seen:?}");
    }

    /// The kernel knows of a stopped process at once, and of one that has ended.
    #[test]
    fn a_rank_in_a_collective_whose_process_is_stopped_or_gone_is_silent() {
        let board = board();
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        for page in &board.pages {
            page.waits(true);
            page.sign_of_life();
            page.belongs_to(Identity::own());
        }
        board.pages[1].belongs_to(Identity {
            id: child.id(),
            start: start_tick(child.id()).unwrap(),
            ..Identity::own()
        });
        let now = crate::clock::now_ns();
        let silent = |asks_from| Sight::of(&board, now - 2 * S, asks_from, now).silent;
        assert_eq!(silent(S), Vec::<String>::new());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        let named = format!(
            "rank 3 on b (process {pid}): start; its process is stopped; no I/O outstanding"
        );
        assert_eq!(silent(S), [named]);
        assert_eq!(silent(3 * S), Vec::<String>::new());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(silent(S)[0].contains("its process has ended"));
    }

    #[test]
    fn a_task_names_what_is_done_and_known_waits_are_not_quiet() {
        let board = board();
        let now = crate::clock::now_ns();
        board.pages[0].enter(Phase::Find, 0, 0);
        let task = board.pages[0].task("read /data/manifest");
        let seen = Sight::of(&board, now - 20 * S, S, now);
        assert!(
            seen.silent[0].contains("looking for the dataset; read /data/manifest, begun"),
            "{seen:?}"
        );
        std::mem::forget(task);
        board.pages[1].pauses_until(now + S);
        assert_eq!(Sight::of(&board, now - 20 * S, S, now).quiet_ns, 0);
    }

    #[test]
    fn one_message_tells_of_all_hosts() {
        let limit = 10 * S;
        let verdict = |all: &[Known]| {
            Verdict::of_hosts(all, limit, TIMEOUT).map(|verdict| verdict.to_string())
        };
        let heard = |host, quiet_s, silent: &[&str]| Known::Heard(sight(host, quiet_s, silent));
        let lost = || Known::Lost {
            host: "c".into(),
            silent_ns: 11 * S,
        };
        // Something still moves.
        assert!(verdict(&[heard("a", 11, &[]), heard("b", 1, &[])]).is_none());
        // Only what hangs for longer than it takes the others to fall silent.
        assert!(verdict(&[heard("a", 1, &[]), heard("b", 12, &["rank 3 on b: x"])]).is_none());
        let text = verdict(&[heard("a", 1, &[]), heard("b", 14, &["rank 3 on b: x"])]).unwrap();
        assert!(text.contains("moved on b for 14 s") && text.contains("silent: rank 3 on b: x"));
        let text = verdict(&[heard("a", 11, &[]), heard("b", 12, &["rank 3 on b: x"])]).unwrap();
        assert!(
            text.contains("moved on a, b for 11 s (--stall-timeout 10 s)")
                && text.contains("waiting for them: 2 rank(s)"),
            "{text}"
        );
        let text = verdict(&[heard("a", 11, &[]), lost()]).unwrap();
        assert!(
            text.contains("silent: all ranks on c: not heard of for 11 s"),
            "{text}"
        );
    }
}
