//! Tables for people, aligned or as Markdown, and rows for spreadsheets.

/// Rows under a heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    /// Cells, as many as columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns, without rows.
    pub fn new(columns: &[&str]) -> Self {
        Table {
            columns: columns.iter().map(|&c| c.into()).collect(),
            rows: Vec::new(),
        }
    }

    /// Columns aligned by spaces, each line indented by two and ended by a line break.
    pub fn text(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String]| {
            let padded: Vec<String> = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| {
                    // A width in a format string ends at 65,535.
                    let pad = width.saturating_sub(cell.chars().count());
                    format!("{cell}{}", " ".repeat(pad))
                })
                .collect();
            format!("  {}\n", padded.join("  ").trim_end())
        };
        let mut out = line(&self.columns);
        self.rows.iter().for_each(|row| out += &line(row));
        out
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells
                .iter()
                .map(|c| c.replace('|', "\\|").replace('\n', " "))
                .collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut out = line(&self.columns);
        out += &format!("|{}\n", " --- |".repeat(self.columns.len()));
        self.rows.iter().for_each(|row| out += &line(row));
        out
    }

    /// Comma-separated values (RFC 4180, with line feeds).
    pub fn csv(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|c| csv_cell(c)).collect();
            cells.join(",") + "\n"
        };
        let mut out = line(&self.columns);
        self.rows.iter().for_each(|row| out += &line(row));
        out
    }
}

fn csv_cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_their_column() {
        let mut table = Table::new(&["a", "b"]);
        table.rows.push(vec!["x,\"y\"".into(), "é|".into()]);
        assert_eq!(table.csv(), "a,b\n\"x,\"\"y\"\"\",é|\n");
        assert_eq!(
            table.markdown(),
            "| a | b |\n| --- | --- |\n| x,\"y\" | é\\| |\n"
        );
        assert_eq!(table.text(), "  a      b\n  x,\"y\"  é|\n");
    }

    #[test]
    fn a_cell_of_twelve_thousand_epochs_has_its_width() {
        let mut table = Table::new(&["a", "b"]);
        let long = "x".repeat(100_000);
        table.rows = vec![vec![long, "y".into()], vec!["z".into(), "y".into()]];
        let text = table.text();
        assert!(
            text.lines()
                .all(|line| line.len() == 100_005 || line.ends_with('b')),
            "{}",
            text.len()
        );
    }
}
