//! Tables for people: columns as wide as they need, two spaces between.

use std::fmt::Write as _;

/// Rows under a heading.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No row yet.
    pub fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned).to_vec()],
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.iter().map(|cell| shown(cell)).collect());
    }
}

/// A peer may have chosen a cell, and must not steer the terminal.
fn shown(cell: &str) -> String {
    let show = |char: char| match char {
        ' '..='~' => char.to_string(),
        char => char.escape_debug().to_string(),
    };
    cell.chars().map(show).collect()
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let mut table = Table::new(["NAME", "N"]);
    table.row(["a-long-name".to_owned(), "1".to_owned()]);
    table.row(["b".to_owned(), String::new()]);
    assert_eq!(table.to_string(), "NAME         N\na-long-name  1\nb\n");
}

#[test]
fn a_cell_steers_no_terminal() {
    assert_eq!(shown("a\u{1b}[31m\r\n\u{202e}"), r"a\u{1b}[31m\r\n\u{202e}");
    assert_eq!(shown("zoë \"x\" \\"), "zoë \"x\" \\");
}
