//! One timeline of what rank 0 got of all ranks.

use serde::{Deserialize, Serialize};

use super::host_series::decode;
use super::incidents::{self, Sent};
use super::latency::{BUCKETS, EpochHistograms, LatencyMaps, StageCounts, StageLatency, edges_ns};
use super::longest::{KEPT, of_key};
use super::ranks::RankEpochs;
use super::series::Series;
use super::shape::{STAGES, Shape, columns};
use super::steps::{Extremes, LongWait, StepBins, Steps};
use super::{ClockKind, EventLog, SCHEMA, Timeline};
use crate::metrics::histogram::bucket_values;
use crate::stage::Stage;

/// The part of a rank after its table by epoch.
#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tail {
    pub(super) waits: Vec<PartWait>,
    pub(super) incidents: Sent,
}

/// A wait on its way to rank 0.
#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct PartWait {
    pub(super) wait_ns: u64,
    pub(super) at_ns: u64,
    pub(super) epoch: u64,
    pub(super) step: u64,
    pub(super) file: Option<String>,
}

/// What rank 0 has of all ranks.
pub(super) struct Gathered {
    pub(super) sums: Vec<u64>,
    pub(super) maxima: Vec<u64>,
    /// In rank order.
    pub(super) parts: Vec<Vec<u8>>,
    /// In the order of hosts, at the level and with this many bins.
    pub(super) hosts: Vec<Vec<u8>>,
    pub(super) host_level: u32,
    pub(super) host_bins: usize,
}

/// Takes numbers off the front.
struct Words<'a>(&'a [u64]);

impl<'a> Words<'a> {
    fn take(&mut self, n: usize) -> &'a [u64] {
        let (front, rest) = self.0.split_at(n);
        self.0 = rest;
        front
    }
}

/// Puts the timeline together; on rank 0. `hosts` and `host_of_rank` are the cluster's.
pub(super) fn timeline(
    shape: &Shape,
    gathered: &Gathered,
    hosts: &[String],
    host_of_rank: &[usize],
    is_virtual: bool,
) -> Timeline {
    let mut sums = Words(&gathered.sums);
    let mut maxima = Words(&gathered.maxima);
    let series = take_series(&mut sums, shape);
    let latency = take_latency(&mut sums, shape);
    let bins = take_steps(&mut sums, &mut maxima, shape.step[0], shape.step[1]);
    let first = take_steps(&mut sums, &mut maxima, 1, shape.step[2]);
    let histograms = take_histograms(&mut sums, &mut maxima, shape);
    let (rank_epochs, longest_waits, sent) = take_parts(shape, &gathered.parts, host_of_rank);
    let host = |rank: usize| (host_of_rank.get(rank).and_then(|at| hosts.get(*at))).cloned();
    let events: EventLog = incidents::events(sent, |rank| host(rank).unwrap_or_default());
    let host_ns = shape.bin[0] << gathered.host_level;
    let host_series = (gathered.hosts.iter())
        .map(|bytes| decode(bytes, gathered.host_bins, host_ns, &shape.missing))
        .collect();
    Timeline {
        schema: SCHEMA.into(),
        clock: match is_virtual {
            true => ClockKind::Virtual,
            false => ClockKind::Monotonic,
        },
        length_ns: shape.totals[2],
        ranks: host_of_rank.len(),
        hosts: hosts.to_vec(),
        host_of_rank: host_of_rank.to_vec(),
        series,
        host_series,
        steps: Steps {
            total: shape.totals[0],
            bins,
            first,
            longest_waits,
        },
        rank_epochs,
        latency,
        histograms,
        events,
        ..Timeline::default()
    }
}

fn take_series(sums: &mut Words, shape: &Shape) -> Series {
    let bins = shape.bin[1] as usize;
    let mut series = Series {
        bin_ns: shape.bin[0],
        bins,
        ..Series::default()
    };
    for (column, missing) in columns().zip(shape.missing) {
        let values = sums.take(bins);
        if missing == 0 {
            series.columns.insert(column, values.to_vec());
        }
    }
    series
}

fn take_latency(sums: &mut Words, shape: &Shape) -> LatencyMaps {
    let mut maps = LatencyMaps {
        bin_ns: shape.heat[0],
        edges_ns: edges_ns(),
        stages: Vec::new(),
    };
    for (&stage, range) in Stage::ALL.iter().zip(shape.buckets) {
        let span = Shape::span(range);
        let mut counts = Vec::new();
        for _ in 0..shape.heat[1] {
            let mut row = vec![0; BUCKETS];
            row[span.clone()].copy_from_slice(sums.take(span.len()));
            counts.push(row);
        }
        if !span.is_empty() {
            maps.stages.push(StageLatency { stage, counts });
        }
    }
    maps
}

fn take_steps(sums: &mut Words, maxima: &mut Words, width: u64, len: u64) -> StepBins {
    let mut out = StepBins {
        width,
        ..StepBins::default()
    };
    for _ in 0..len {
        let [count, added @ ..] = sums.take(4) else {
            break;
        };
        let most = maxima.take(6);
        out.counts.push(*count);
        let all: [&mut Extremes; 3] = [&mut out.wait, &mut out.step, &mut out.barrier];
        for (i, extremes) in all.into_iter().enumerate() {
            let (max, rank) = match count {
                0 => (0, 0),
                _ => of_key(most[i]),
            };
            extremes
                .min_ns
                .push(if *count > 0 { !most[3 + i] } else { 0 });
            extremes.sum_ns.push(added[i]);
            extremes.max_ns.push(max);
            extremes.max_rank.push(rank as u32);
        }
    }
    out
}

fn take_histograms(sums: &mut Words, maxima: &mut Words, shape: &Shape) -> Vec<EpochHistograms> {
    let values = bucket_values();
    let width = shape.entry[0];
    let mut out = Vec::new();
    for entry in 0..shape.entry[1] {
        let longest = maxima.take(STAGES);
        let mut stages = Vec::new();
        for (i, (&stage, range)) in Stage::ALL.iter().zip(shape.indices).enumerate() {
            let span = Shape::span(range);
            let counts = sums.take(span.len());
            let sum_ns = sums.take(1)[0];
            let used: Vec<(u64, u64)> = (span.zip(counts))
                .filter(|(_, count)| **count > 0)
                .map(|(index, count)| (values.get(index).copied().unwrap_or(u64::MAX), *count))
                .collect();
            if used.is_empty() {
                continue;
            }
            let (values_ns, counts) = used.into_iter().unzip();
            stages.push(StageCounts {
                stage,
                values_ns,
                counts,
                sum_ns,
                max_ns: longest[i],
            });
        }
        out.push(EpochHistograms {
            first_epoch: entry * width + 1,
            last_epoch: ((entry + 1) * width).min(shape.totals[1]),
            stages,
        });
    }
    out
}

fn take_parts(
    shape: &Shape,
    parts: &[Vec<u8>],
    host_of_rank: &[usize],
) -> (RankEpochs, Vec<LongWait>, Vec<(usize, Sent)>) {
    let mut table = RankEpochs {
        epochs: shape.totals[1],
        epochs_per_column: shape.epoch[0],
        ..RankEpochs::default()
    };
    let mut waits = Vec::new();
    let mut sent = Vec::new();
    let len = shape.epoch[1] as usize * 5 * size_of::<f32>();
    for (rank, part) in parts.iter().enumerate() {
        let (cells, text) = part.split_at(len.min(part.len()));
        let cells: Vec<f32> = (cells.as_chunks::<4>().0.iter())
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let column = |at: usize| cells.iter().skip(at).step_by(5).copied();
        table.au_percent.push(column(0).collect());
        table.wait_s.push(column(1).collect());
        table.barrier_s.push(column(2).collect());
        table.p99_wait_s.push(column(3).collect());
        table.bytes.push(column(4).map(f64::from).collect());
        let tail: Tail = serde_json::from_slice(text).unwrap_or_default();
        sent.push((rank, tail.incidents));
        waits.extend(tail.waits.into_iter().map(|wait| LongWait {
            wait_ns: wait.wait_ns,
            at_ns: wait.at_ns,
            epoch: wait.epoch,
            step: wait.step,
            rank,
            host: host_of_rank.get(rank).copied().unwrap_or(0),
            file: wait.file,
        }));
    }
    waits.sort_by_key(|wait| (std::cmp::Reverse(wait.wait_ns), wait.at_ns, wait.rank));
    waits.truncate(KEPT);
    (table, waits, sent)
}
