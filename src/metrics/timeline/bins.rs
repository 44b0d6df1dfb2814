//! Bins whose width doubles when they are all in use: adding neighbours keeps every sum exact.

/// What a bin holds.
pub(super) trait Row: Clone + Default {
    /// Takes in the next bin's.
    fn absorb(&mut self, next: &Self);
}

impl<const N: usize> Row for [u64; N]
where
    [u64; N]: Default,
{
    fn absorb(&mut self, next: &Self) {
        for (sum, value) in self.iter_mut().zip(next) {
            *sum += value;
        }
    }
}

/// At most `limit` rows; row `i` holds the positions `i * width..(i + 1) * width`.
#[derive(Debug, Clone)]
pub(super) struct Bins<R> {
    width: u64,
    limit: usize,
    rows: Vec<R>,
}

impl<R: Row> Bins<R> {
    /// Without rows. `width` is that of a bin before anything is folded, above 0.
    pub(super) fn new(width: u64, limit: usize) -> Self {
        Bins {
            width,
            limit,
            rows: Vec::new(),
        }
    }

    /// Positions per bin.
    pub(super) fn width(&self) -> u64 {
        self.width
    }

    /// The rows in use.
    pub(super) fn rows(&self) -> &[R] {
        &self.rows
    }

    /// The row of a position; folds until there is one.
    pub(super) fn row(&mut self, at: u64) -> &mut R {
        let mut bin = at / self.width;
        while bin >= self.limit as u64 {
            self.fold();
            bin = at / self.width;
        }
        let bin = bin as usize;
        if bin >= self.rows.len() {
            self.rows.resize(bin + 1, R::default());
        }
        &mut self.rows[bin]
    }

    /// Makes bins at least this wide; `width` is this one's times a power of two.
    pub(super) fn widen(&mut self, width: u64) {
        while self.width < width {
            self.fold();
        }
    }

    fn fold(&mut self) {
        self.width *= 2;
        let half = self.rows.len().div_ceil(2);
        for i in 0..half {
            let mut sum = std::mem::take(&mut self.rows[2 * i]);
            if let Some(next) = self.rows.get(2 * i + 1) {
                sum.absorb(next);
            }
            self.rows[i] = sum;
        }
        self.rows.truncate(half);
    }

    /// Bytes of the rows that there may be.
    #[cfg(test)]
    pub(super) fn most_bytes(&self) -> usize {
        self.limit * size_of::<R>()
    }
}

impl<const N: usize> Bins<[u64; N]>
where
    [u64; N]: Default,
{
    /// Adds `value` to a column, evenly over `from..to`; all of it at `from` where that is empty. The parts add up to `value`.
    pub(super) fn spread(&mut self, column: usize, from: u64, to: u64, value: u64) {
        if value == 0 {
            return;
        }
        let last = to.saturating_sub(1).max(from);
        // Folds now, so that the width stays while the value is divided.
        self.row(last);
        let width = self.width;
        if from / width == last / width {
            self.row(from)[column] += value;
            return;
        }
        let len = u128::from(to - from);
        let mut left = value;
        let mut at = from;
        while at < to {
            let end = to.min((at / width + 1) * width);
            let share = match end == to {
                true => left,
                false => (u128::from(value) * u128::from(end - at) / len) as u64,
            };
            self.rows[(at / width) as usize][column] += share;
            left -= share;
            at = end;
        }
    }

    /// Takes `value` out of a column again, from the bin of `at` backwards.
    pub(super) fn take_back(&mut self, column: usize, at: u64, mut value: u64) {
        self.row(at);
        let last = (at / self.width) as usize;
        for row in self.rows[..=last].iter_mut().rev() {
            let part = row[column].min(value);
            row[column] -= part;
            value -= part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_divided_by_time() {
        let mut bins = Bins::<[u64; 1]>::new(100, 4);
        bins.spread(0, 50, 250, 200);
        assert_eq!(bins.rows(), [[50], [100], [50]]);
        bins.spread(0, 399, 399, 7);
        assert_eq!(bins.rows(), [[50], [100], [50], [7]]);
        // The fifth bin does not fit: neighbours are added.
        bins.row(400)[0] += 1;
        assert_eq!(bins.width(), 200);
        assert_eq!(bins.rows(), [[150], [57], [1]]);
        bins.widen(800);
        assert_eq!(bins.rows(), [[208]]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(parts in prop::collection::vec((0..5_000_u64, 0..3_000_u64, 0..1_000_000_u64), 1..40)) {
            let mut bins = Bins::<[u64; 2]>::new(10, 8);
            for (from, len, value) in &parts {
                bins.spread(1, *from, from + len, *value);
            }
            let sum: u64 = bins.rows().iter().map(|row| row[1]).sum();
            prop_assert_eq!(sum, parts.iter().map(|(_, _, value)| value).sum::<u64>());
            prop_assert!(bins.rows().len() <= 8);
            prop_assert!(bins.rows().iter().all(|row| row[0] == 0));
        }
    }
}
