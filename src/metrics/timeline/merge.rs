//! From the recordings of all ranks to one timeline. What travels is bounded: two reductions and small rounds for the longest
//! waits, whose sizes do not depend on the number of ranks; then one part of about 1.3 KB per rank, and one per host, whose
//! sizes are cut to [`HOST_BYTES`] in all.

use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::bins::{Bins, Row};
use super::gauges::SAMPLED;
use super::incidents::{self, Sent};
use super::latency::{BUCKETS, EpochHistograms, LatencyMaps, StageCounts, StageLatency, edges_ns};
use super::longest::{KEPT, Selection, of_key};
use super::ranks::RankEpochs;
use super::recorder::{LOOPED, Recorded, StepRow};
use super::series::{Column, Series};
use super::steps::{Extremes, LongWait, StepBins, Steps};
use super::{ClockKind, EventLog, SCHEMA, Timeline};
use crate::cluster::Cluster;
use crate::metrics::histogram::bucket_values;
use crate::stage::Stage;
use crate::util::varint;

/// All columns in the order in which they travel.
fn columns() -> impl Iterator<Item = Column> {
    LOOPED.into_iter().chain(SAMPLED)
}

const COLUMNS: usize = LOOPED.len() + SAMPLED.len();
const STAGES: usize = Stage::ALL.len();
/// Bins of a host's series, at most.
const HOST_BINS: usize = 256;
/// Bytes that the series of all hosts may take on their way to rank 0; there are fewer bins where they would be more.
pub(super) const HOST_BYTES: u64 = 1 << 20;
/// Words of all histograms; epochs are folded further where they would be more.
const HISTOGRAM_WORDS: usize = 64 << 10;

/// The common shape of all recordings: maxima over ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Width and number of a series' bins.
    bin: [u64; 2],
    /// Of heat maps.
    heat: [u64; 2],
    /// Of steps, and bins of the first ones.
    step: [u64; 3],
    /// Steps, epochs, length.
    totals: [u64; 3],
    /// Width and number of columns of the tables by epoch.
    epoch: [u64; 2],
    /// Width and number of entries of histograms.
    entry: [u64; 2],
    /// 1 for a column that a rank could not count.
    missing: [u64; COLUMNS],
    /// Per stage the complement of the lowest bucket with counts, and the highest plus one.
    buckets: [[u64; 2]; STAGES],
    /// The same for the buckets of histograms.
    indices: [[u64; 2]; STAGES],
}

impl Shape {
    fn words(&mut self) -> impl Iterator<Item = &mut u64> {
        (self.bin.iter_mut())
            .chain(&mut self.heat)
            .chain(&mut self.step)
            .chain(&mut self.totals)
            .chain(&mut self.epoch)
            .chain(&mut self.entry)
            .chain(&mut self.missing)
            .chain(self.buckets.as_flattened_mut())
            .chain(self.indices.as_flattened_mut())
    }

    /// For a reduction by maximum. Widths are made equal first: the numbers of bins follow from them.
    pub(super) fn into_words(mut self) -> Vec<u64> {
        self.words().map(|word| *word).collect()
    }

    pub(super) fn set_words(&mut self, words: &[u64]) {
        self.words()
            .zip(words)
            .for_each(|(mine, word)| *mine = *word);
    }

    fn span(range: [u64; 2]) -> std::ops::Range<usize> {
        // Without counts on any rank both are 0.
        match range {
            [0, 0] => 0..0,
            [low, end] => !low as usize..end as usize,
        }
    }

    fn histogram_words(&self) -> usize {
        let per_entry: usize = self
            .indices
            .iter()
            .map(|range| Self::span(*range).len() + 1)
            .sum();
        per_entry * self.entry[1] as usize
    }
}

/// Number of bins after folding to `width`.
fn folded<R: Row>(bins: &Bins<R>, width: u64) -> u64 {
    (bins.rows().len() as u64 * bins.width()).div_ceil(width)
}

fn range_of(indices: impl Iterator<Item = usize>) -> [u64; 2] {
    indices.fold([0, 0], |[low, end], index| {
        let index = index as u64;
        [low.max(!index), end.max(index + 1)]
    })
}

impl Recorded {
    /// Widths of this rank, to be made equal by a maximum over ranks before [`shape`](Self::shape).
    pub(super) fn widths(&self) -> [u64; 5] {
        let l = &self.looped;
        let series = l.bins.width().max(self.sampled.bins.width());
        let heat = l.heat.extent().0.max(self.sampled.heat.extent().0);
        [
            series,
            heat,
            l.steps.width(),
            l.epochs.width(),
            l.histograms.width(),
        ]
    }

    /// Makes the widths those of all ranks.
    pub(super) fn align(&mut self, [series, heat, steps, epochs, entries]: [u64; 5]) {
        self.looped.bins.widen(series);
        self.sampled.bins.widen(series);
        self.looped.heat.widen(heat);
        self.sampled.heat.widen(heat);
        self.looped.steps.widen(steps);
        self.looped.epochs.widen(epochs);
        self.looped.histograms.widen(entries);
    }

    /// The shape of an aligned recording, to be reduced by maximum.
    pub(super) fn shape(&self) -> Shape {
        let (l, s) = (&self.looped, &self.sampled);
        let [series, heat, steps, epochs, entries] = self.widths();
        let mut missing = [0; COLUMNS];
        for (word, is_missing) in missing[LOOPED.len()..].iter_mut().zip(s.missing) {
            *word = u64::from(is_missing);
        }
        let buckets = std::array::from_fn(|stage| {
            let rows = [&l.heat, &s.heat].into_iter().filter_map(|h| h.of(stage));
            let used = rows.flat_map(Bins::rows).flat_map(|row| {
                let cells = row.0.iter().enumerate();
                cells.filter(|(_, n)| **n > 0).map(|(bucket, _)| bucket)
            });
            range_of(used)
        });
        let indices = std::array::from_fn(|stage| {
            let entries = l.histograms.rows().iter();
            range_of(entries.flat_map(|row| row.0[stage].indices.iter().map(|i| usize::from(*i))))
        });
        Shape {
            bin: [series, folded(&l.bins, series).max(folded(&s.bins, series))],
            heat: [heat, (l.heat.extent().1.max(s.heat.extent().1)) as u64],
            step: [
                steps,
                l.steps.rows().len() as u64,
                l.first.rows().len() as u64,
            ],
            totals: [l.total, l.epochs_done, s.length_ns],
            epoch: [epochs, l.epochs.rows().len() as u64],
            entry: [entries, l.histograms.rows().len() as u64],
            missing,
            buckets,
            indices,
        }
    }

    /// Folds histograms further where those of all ranks would be too many words; the same on every rank.
    pub(super) fn fit(&mut self, shape: &mut Shape) {
        while shape.histogram_words() > HISTOGRAM_WORDS && shape.entry[1] > 1 {
            shape.entry[0] *= 2;
            shape.entry[1] = shape.entry[1].div_ceil(2);
        }
        self.looped.histograms.widen(shape.entry[0]);
    }

    /// What is added over ranks: see [`take_sums`].
    pub(super) fn sums(&self, shape: &Shape) -> Vec<u64> {
        let (l, s) = (&self.looped, &self.sampled);
        let mut out = self.series(shape);
        let nothing = Default::default();
        for (stage, range) in shape.buckets.iter().enumerate() {
            let span = Shape::span(*range);
            for bin in 0..shape.heat[1] as usize {
                let [a, b] = [&l.heat, &s.heat].map(|heat| {
                    let row = heat.of(stage).and_then(|bins| bins.rows().get(bin));
                    row.unwrap_or(&nothing)
                });
                out.extend(span.clone().map(|i| u64::from(a.0[i]) + u64::from(b.0[i])));
            }
        }
        for (bins, len) in [(&l.steps, shape.step[1]), (&l.first, shape.step[2])] {
            let none = StepRow::default();
            for row in (0..len as usize).map(|i| bins.rows().get(i).unwrap_or(&none)) {
                out.push(row.count);
                out.extend(row.of.iter().map(|extent| extent.sum));
            }
        }
        for entry in 0..shape.entry[1] as usize {
            for (stage, range) in shape.indices.iter().enumerate() {
                let span = Shape::span(*range);
                let from = out.len();
                out.resize(from + span.len() + 1, 0);
                let Some(row) = l.histograms.rows().get(entry) else {
                    continue;
                };
                for (index, count) in row.0[stage].pairs() {
                    out[from + usize::from(index) - span.start] = count;
                }
                out[from + span.len()] = row.0[stage].sum_ns;
            }
        }
        out
    }

    /// The series of this rank, column by column.
    fn series(&self, shape: &Shape) -> Vec<u64> {
        let bins = shape.bin[1] as usize;
        let mut out = vec![0; COLUMNS * bins];
        for (bin, row) in self.looped.bins.rows().iter().enumerate() {
            for (column, value) in row.iter().enumerate() {
                out[column * bins + bin] = *value;
            }
        }
        for (bin, row) in self.sampled.bins.rows().iter().enumerate() {
            for (column, value) in row.iter().enumerate() {
                out[(LOOPED.len() + column) * bins + bin] = *value;
            }
        }
        out
    }

    /// What is reduced by maximum.
    pub(super) fn maxima(&self, shape: &Shape) -> Vec<u64> {
        let l = &self.looped;
        let mut out = Vec::new();
        let none = StepRow::default();
        for (bins, len) in [(&l.steps, shape.step[1]), (&l.first, shape.step[2])] {
            for row in (0..len as usize).map(|i| bins.rows().get(i).unwrap_or(&none)) {
                out.extend(row.maxima(self.rank));
            }
        }
        for entry in 0..shape.entry[1] as usize {
            let row = l.histograms.rows().get(entry);
            out.extend((0..STAGES).map(|stage| row.map_or(0, |row| row.0[stage].max_ns)));
        }
        out
    }

    /// 1 where something happened to this rank; the sum over ranks is what [`Self::part`] needs.
    pub(super) fn has_incidents(&self) -> u64 {
        u64::from(!self.sampled.incidents.is_empty())
    }

    /// What rank 0 is sent of this rank alone. `hit`: to how many ranks something happened.
    pub(super) fn part(&self, shape: &Shape, selection: &Selection, hit: u64) -> Vec<u8> {
        let l = &self.looped;
        let mut cells = Vec::new();
        for i in 0..shape.epoch[1] as usize {
            let cell = l.epochs.rows().get(i).cloned().unwrap_or_default();
            let au = cell.au_percent / cell.epochs.max(1) as f64;
            let values = [
                au,
                cell.wait_ns as f64 / 1e9,
                cell.barrier_ns as f64 / 1e9,
                cell.p99_ns as f64 / 1e9,
                cell.bytes as f64,
            ];
            cells.extend(values.iter().flat_map(|v| (*v as f32).to_le_bytes()));
        }
        let waits: Vec<PartWait> = (selection.chosen(&l.longest, self.rank))
            .map(|wait| PartWait {
                wait_ns: wait.wait_ns,
                at_ns: wait.at_ns.0,
                epoch: wait.epoch,
                step: wait.step,
                file: self.name_of(wait.file),
            })
            .collect();
        let tail = Tail {
            waits,
            incidents: (self.sampled.incidents).sent(incidents::BYTES / hit.max(1) as usize),
        };
        if tail != Tail::default() {
            let text = serde_json::to_vec(&tail).expect("plain data becomes JSON");
            cells.extend(text);
        }
        cells
    }

    fn name_of(&self, file: Option<u64>) -> Option<String> {
        let file = file?;
        let found = self.names.iter().find(|(number, _)| *number == file);
        found.map(|(_, name)| name.clone())
    }
}

/// The part of a rank after its table by epoch.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Tail {
    waits: Vec<PartWait>,
    incidents: Sent,
}

/// A wait on its way to rank 0.
#[derive(PartialEq, Serialize, Deserialize)]
struct PartWait {
    wait_ns: u64,
    at_ns: u64,
    epoch: u64,
    step: u64,
    file: Option<String>,
}

/// The series of the ranks of one host, added up: `COLUMNS` columns of bins.
pub(super) struct HostSeries {
    bins: usize,
    words: Vec<u64>,
}

impl HostSeries {
    /// How often bins are folded before there are few enough, and their number then.
    pub(super) fn level(shape: &Shape) -> (u32, usize) {
        let mut level = 0;
        let mut bins = shape.bin[1] as usize;
        while bins > HOST_BINS {
            bins = bins.div_ceil(2);
            level += 1;
        }
        (level, bins)
    }

    /// One rank's words, folded `level` times.
    pub(super) fn of_rank(recorded: &Recorded, shape: &Shape, level: u32) -> Vec<u64> {
        let bins = shape.bin[1] as usize;
        let words = recorded.series(shape);
        (words.chunks(bins.max(1)))
            .flat_map(|column| fold(column, level))
            .collect()
    }

    pub(super) fn new(bins: usize, words: Vec<u64>) -> Self {
        HostSeries { bins, words }
    }

    /// Folded `more` times, column by column, each number as a varint.
    pub(super) fn encode(&self, more: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for column in self.words.chunks(self.bins.max(1)) {
            let column = fold(column, more);
            let used = column.iter().rposition(|v| *v > 0).map_or(0, |at| at + 1);
            varint::put(&mut out, used as u64);
            column[..used]
                .iter()
                .for_each(|v| varint::put(&mut out, *v));
        }
        out
    }
}

fn fold(column: &[u64], level: u32) -> Vec<u64> {
    column.chunks(1 << level).map(|c| c.iter().sum()).collect()
}

/// The inverse of [`HostSeries::encode`] for `bins` bins; what cannot be read is missing.
fn decode(mut bytes: &[u8], bins: usize, width: u64, missing: &[u64; COLUMNS]) -> Series {
    let mut series = Series {
        bin_ns: width,
        bins,
        ..Series::default()
    };
    for (column, missing) in columns().zip(missing) {
        let Ok(used) = varint::take(&mut bytes) else {
            break;
        };
        let mut values = Vec::with_capacity(bins);
        for _ in 0..used.min(bins as u64) {
            values.push(varint::take(&mut bytes).unwrap_or(0));
        }
        values.resize(bins, 0);
        if *missing == 0 {
            series.columns.insert(column, values);
        }
    }
    series
}

/// Folds after [`HostSeries::level`] that the budget may ask for.
pub(super) const MORE_LEVELS: u32 = 8;

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

/// Merges the recordings of all ranks; a collective. The timeline is returned on rank 0 only; of events it has
/// those that ranks saw by themselves.
pub fn merge(cluster: &dyn Cluster, mut own: Recorded) -> Option<Timeline> {
    let mut widths = own.widths();
    cluster.max_u64(&mut widths);
    own.align(widths);
    let mut shape = own.shape();
    let mut words = shape.clone().into_words();
    cluster.max_u64(&mut words);
    shape.set_words(&words);
    own.fit(&mut shape);
    let mut sums = own.sums(&shape);
    cluster.sum_u64(&mut sums);
    let mut maxima = own.maxima(&shape);
    cluster.max_u64(&mut maxima);
    let mut selection = Selection::default();
    for _ in 0..Selection::ROUNDS {
        let mut counts = selection.counts(&own.looped.longest, own.rank);
        cluster.sum_u64(&mut counts);
        selection.narrow(&counts);
    }
    let (level, bins) = HostSeries::level(&shape);
    let host = host_series(cluster, &own, &shape, level, bins);
    let hosts = cluster.host_names().len() as u64;
    let mut sizes: Vec<u64> = (0..=MORE_LEVELS)
        .map(|more| host.as_ref().map_or(0, |h| h.encode(more).len() as u64))
        .collect();
    cluster.max_u64(&mut sizes);
    let more = fitting(&sizes, hosts);
    let mine = host.map_or(Vec::new(), |host| host.encode(more));
    let all = cluster.gather(&mine);
    let mut hit = [own.has_incidents()];
    cluster.sum_u64(&mut hit);
    let parts = cluster.gather(&own.part(&shape, &selection, hit[0]));
    let (parts, all) = parts.zip(all)?;
    let gathered = Gathered {
        sums,
        maxima,
        parts,
        // One rank of each host has sent them; an empty part is that of another rank.
        hosts: all.into_iter().filter(|bytes| !bytes.is_empty()).collect(),
        host_level: level + more,
        host_bins: bins.div_ceil(1 << more),
    };
    let host_of_rank = cluster.node_of_rank();
    let mut merged = timeline(
        &shape,
        &gathered,
        cluster.host_names(),
        host_of_rank,
        own.is_virtual,
    );
    merged.devices = own.sampled.devices.of_host(host_of_rank[own.rank]);
    Some(merged)
}

/// The first level at which all hosts fit into the budget, of the largest host's sizes by level.
pub(super) fn fitting(sizes: &[u64], hosts: u64) -> u32 {
    (sizes.iter())
        .position(|size| size * hosts <= HOST_BYTES)
        .unwrap_or(sizes.len() - 1) as u32
}

/// Adds the series of a host's ranks in memory that they share; on the first rank of each.
fn host_series(
    cluster: &dyn Cluster,
    own: &Recorded,
    shape: &Shape,
    level: u32,
    bins: usize,
) -> Option<HostSeries> {
    let shared = cluster.node_shared(COLUMNS * bins.max(1));
    let words = HostSeries::of_rank(own, shape, level);
    for (sum, word) in shared.iter().zip(&words) {
        if *word > 0 {
            sum.fetch_add(*word, Relaxed);
        }
    }
    cluster.barrier();
    let is_first = cluster.local_rank() == 0;
    is_first.then(|| {
        let words = shared.iter().map(|word| word.load(Relaxed)).collect();
        HostSeries::new(bins, words)
    })
}
