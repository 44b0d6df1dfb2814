//! What happened to a rank from outside: an endpoint of its object store was taken out, the CPU limit of its host held it
//! back. Each rank keeps its own, rank 0 makes events of all of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::event::{Event, EventLog};

/// Incidents that a rank keeps.
const KEPT: usize = 32;

/// Incidents of the same kind that are no further apart are one, ns.
const GAP_NS: u64 = 1_000_000_000;

/// Bytes that the incidents of all ranks may take on their way to rank 0.
pub(super) const BYTES: usize = 384 << 10;

/// One incident of a rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Incident(
    /// Offset at which it was seen to begin, ns.
    u64,
    /// Offset at which it was seen last, ns.
    u64,
    /// URL of the endpoint that was taken out; None: the CPU limit held the host back.
    Option<String>,
    /// How often, or for how many ns.
    u64,
);

/// Those of one rank; bounded.
#[derive(Debug, Clone, Default)]
pub(super) struct Incidents {
    list: Vec<Incident>,
    /// Those for which there was no room.
    more: u64,
}

/// Those of one rank on their way to rank 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sent {
    list: Vec<Incident>,
    more: u64,
}

impl Incidents {
    /// Adds what was seen between two offsets, ns. `endpoint`: the URL of one that was taken out, `amount` times; None: the CPU
    /// limit held the host back for `amount` ns.
    pub(super) fn add(&mut self, endpoint: Option<&str>, from: u64, until: u64, amount: u64) {
        let last = self
            .list
            .iter_mut()
            .rfind(|last| last.2.as_deref() == endpoint);
        match last.filter(|last| from.saturating_sub(last.1) <= GAP_NS) {
            Some(last) => {
                last.1 = until;
                last.3 += amount;
            }
            None => (self.list).push(Incident(from, until, endpoint.map(Into::into), amount)),
        }
        if self.list.len() > KEPT {
            self.shorten();
        }
    }

    /// Makes one of the two neighbours of the same kind that are shortest together; without such the last one is counted only.
    fn shorten(&mut self) {
        let list = &self.list;
        let next = |i: usize| (i + 1..list.len()).find(|j| list[*j].2 == list[i].2);
        let pairs = (0..list.len()).filter_map(|i| Some((i, next(i)?)));
        match pairs.min_by_key(|(i, j)| list[*j].1.saturating_sub(list[*i].0)) {
            Some((i, j)) => {
                let one = self.list.remove(j);
                self.list[i].1 = one.1;
                self.list[i].3 += one.3;
            }
            None => {
                self.list.pop();
                self.more += 1;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// As many as `share` bytes hold; the others are counted.
    pub(super) fn sent(&self, share: usize) -> Sent {
        let mut sent = Sent {
            list: self.list.clone(),
            more: self.more,
        };
        while !sent.list.is_empty()
            && serde_json::to_vec(&sent).map_or(0, |text| text.len()) > share
        {
            sent.list.pop();
            sent.more += 1;
        }
        sent
    }
}

/// The same incident on ranks that saw it at the same time.
struct Group {
    from: u64,
    until: u64,
    endpoint: Option<String>,
    /// Rank and amount of each.
    ranks: Vec<(usize, u64)>,
}

/// Events of what all ranks sent; `host` names the host of a rank.
pub(super) fn events(all: Vec<(usize, Sent)>, host: impl Fn(usize) -> String) -> EventLog {
    let mut log = EventLog::default();
    let more: u64 = all.iter().map(|(_, sent)| sent.more).sum();
    if more > 0 {
        log.dropped.insert("incidents".into(), more);
    }
    let mut list: Vec<(usize, Incident)> = (all.into_iter())
        .flat_map(|(rank, sent)| sent.list.into_iter().map(move |one| (rank, one)))
        .collect();
    list.sort_by(|(_, a), (_, b)| (&a.2, a.0).cmp(&(&b.2, b.0)));
    let mut groups: Vec<Group> = Vec::new();
    for (rank, Incident(from, until, endpoint, amount)) in list {
        match groups.last_mut() {
            Some(group) if group.endpoint == endpoint && from <= group.until => {
                group.until = group.until.max(until);
                match group.ranks.iter_mut().find(|(known, _)| *known == rank) {
                    Some((_, sum)) => *sum += amount,
                    None => group.ranks.push((rank, amount)),
                }
            }
            _ => groups.push(Group {
                from,
                until,
                endpoint,
                ranks: vec![(rank, amount)],
            }),
        }
    }
    groups.iter().for_each(|group| log.push(group.event(&host)));
    log
}

impl Group {
    fn event(&self, host: &impl Fn(usize) -> String) -> Event {
        let hit = self.ranks.len();
        let worst = (self.ranks.iter()).max_by_key(|(rank, n)| (*n, std::cmp::Reverse(*rank)));
        let (rank, most) = worst.copied().unwrap_or_default();
        let on = host(rank);
        let (kind, text, fields) = match &self.endpoint {
            Some(url) => {
                let times: u64 = self.ranks.iter().map(|(_, n)| n).sum();
                let who = match hit {
                    1 => format!("rank {rank} on {on}"),
                    _ => format!("{hit} ranks, most often by rank {rank} on {on}"),
                };
                let text = format!("{url} was taken out by {who}: {times} time(s)");
                let fields =
                    json!({"url": url, "times": times, "ranks": hit, "rank": rank, "host": on});
                ("endpoint_down", text, fields)
            }
            // The first rank of each host looks.
            None => {
                let seconds = most as f64 / 1e9;
                let others = match hit {
                    1 => String::new(),
                    _ => format!(", the longest of {hit} hosts"),
                };
                let text = format!("the CPU limit held {on} back for {seconds:.3} s{others}");
                let fields = json!({"throttled_s": seconds, "hosts": hit, "host": on});
                ("throttled", text, fields)
            }
        };
        Event {
            at_ns: self.from,
            until_ns: Some(self.until),
            kind: kind.into(),
            text,
            fields: match fields {
                Value::Object(fields) => fields,
                _ => Map::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn ranks_that_see_the_same_are_one_event_and_the_worst_is_named() {
        let (mut one, mut other, mut late) = (
            Incidents::default(),
            Incidents::default(),
            Incidents::default(),
        );
        one.add(Some("http://a"), 10 * S, 11 * S, 1);
        other.add(Some("http://a"), 10 * S, 11 * S, 2);
        other.add(Some("http://a"), 11 * S, 12 * S, 1);
        other.add(None, 20 * S, 21 * S, S / 2);
        late.add(Some("http://a"), 60 * S, 61 * S, 1);
        late.add(None, 20 * S, 22 * S, S);
        let all = [one, other, late].map(|incidents| incidents.sent(BYTES));
        let all = all.into_iter().enumerate().collect();
        let log = events(all, |rank| format!("node{rank}"));
        let seen: Vec<_> = (log.events.iter())
            .map(|e| {
                (
                    e.at_ns / S,
                    e.fields["host"].as_str().unwrap(),
                    e.text.as_str(),
                )
            })
            .collect();
        let expected = [
            (
                10,
                "node1",
                "http://a was taken out by 2 ranks, most often by rank 1 on node1: 4 time(s)",
            ),
            (
                20,
                "node2",
                "the CPU limit held node2 back for 1.000 s, the longest of 2 hosts",
            ),
            (
                60,
                "node2",
                "http://a was taken out by rank 2 on node2: 1 time(s)",
            ),
        ];
        assert_eq!(seen, expected);
        assert_eq!(log.events[0].until_ns, Some(12 * S));
        assert!(log.dropped.is_empty());
    }

    #[test]
    fn their_number_and_size_are_bounded_and_sums_stay() {
        let mut incidents = Incidents::default();
        for i in 0..10_000 {
            incidents.add(None, 10 * i * S, (10 * i + 1) * S, 3);
        }
        assert!(incidents.list.len() <= KEPT, "{}", incidents.list.len());
        let sum = |sent: &Sent| sent.list.iter().map(|one| one.3).sum::<u64>();
        assert_eq!(sum(&incidents.sent(BYTES)), 30_000);
        let few = incidents.sent(128);
        assert!(!few.list.is_empty() && few.more > 0, "{few:?}");
        for i in 0..100 {
            incidents.add(Some(&format!("http://{i}")), 0, 1, 1);
        }
        assert!(incidents.list.len() <= KEPT && incidents.more > 0);
    }
}
