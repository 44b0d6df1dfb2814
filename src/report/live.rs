//! Lines that are drawn over each other, and how much of one a terminal holds.

use clap::ValueEnum;

/// `--progress`: how a run shows that it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Progress {
    /// A live line where there is a terminal, else a line now and then
    #[default]
    Auto,
    /// A line each 10 seconds
    Lines,
    /// One line that is drawn again each second
    Live,
    /// Nothing
    None,
}

/// As many parts, in their order, as fit into `columns`; the first is cut where even that is too long.
pub(crate) fn fit(parts: &[String], columns: usize) -> String {
    let mut out: String = match parts.first() {
        Some(first) => first.chars().take(columns).collect(),
        None => return String::new(),
    };
    for part in &parts[1..] {
        if out.chars().count() + 2 + part.chars().count() > columns {
            break;
        }
        out = format!("{out}  {part}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let parts = ["epoch 1/2".to_owned(), "AU 98 %".into(), "ETA 7 s".into()];
        assert_eq!(fit(&parts, 80), "epoch 1/2  AU 98 %  ETA 7 s");
        assert_eq!(fit(&parts, 20), "epoch 1/2  AU 98 %");
        assert_eq!(fit(&parts, 5), "epoch");
        assert_eq!(fit(&[], 5), "");
    }
}
