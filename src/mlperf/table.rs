//! Tables for people, aligned or as Markdown, and rows for spreadsheets.

/// Rows under a heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    /// Cells, as many as columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        Table {
            columns: columns.iter().map(|&c| c.into()).collect(),
            rows: Vec::new(),
        }
    }

    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(str::to_owned).to_vec());
    }

    /// The heading and the rows, each as `line` has it; `rule` comes between them.
    fn lines(&self, rule: &str, line: impl Fn(&[String]) -> String) -> String {
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.columns) + rule + &rows
    }

    /// Columns aligned by spaces, each line indented by two and ended by a line break.
    pub fn text(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        self.lines("", |cells| {
            // A width in a format string ends at 65,535.
            let pad = |cell: &String, width: usize| width.saturating_sub(cell.chars().count());
            let padded = cells.iter().zip(&widths);
            let padded: Vec<String> = padded
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(pad(cell, *width))))
                .collect();
            format!("  {}\n", padded.join("  ").trim_end())
        })
    }

    pub fn markdown(&self) -> String {
        let rule = format!("|{}\n", " --- |".repeat(self.columns.len()));
        let cell = |c: &String| c.replace('|', "\\|").replace('\n', " ");
        self.lines(&rule, |cells| {
            let cells: Vec<String> = cells.iter().map(cell).collect();
            format!("| {} |\n", cells.join(" | "))
        })
    }

    /// Comma-separated values (RFC 4180, with line feeds).
    pub fn csv(&self) -> String {
        self.lines("", |cells| {
            let cells: Vec<String> = cells.iter().map(|c| csv_cell(c)).collect();
            cells.join(",") + "\n"
        })
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
        table.row(["x,\"y\"", "é|"]);
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
