//! From the recordings of all ranks to one timeline. What travels is bounded: two reductions and small rounds for the longest
//! waits, whose sizes do not depend on the number of ranks; then one part of about 1.3 KB per rank, and one per host, whose
//! sizes are cut to [`HOST_BYTES`](super::host_series::HOST_BYTES) in all.

use super::Timeline;
use super::assemble::{Gathered, PartWait, Tail, timeline};
use super::bins::{Bins, Row};
use super::host_series::{HostSeries, MORE_LEVELS, fitting, host_series};
use super::incidents;
use super::longest::Selection;
use super::recorder::{LOOPED, Recorded, StepRow};
use super::shape::{COLUMNS, STAGES, Shape};
use crate::cluster::Cluster;

/// Words of all histograms; epochs are folded further where they would be more.
const HISTOGRAM_WORDS: usize = 64 << 10;

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

    /// What is added over ranks: what [`timeline`] takes apart.
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
    pub(super) fn series(&self, shape: &Shape) -> Vec<u64> {
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
