//! Columns that line up.

use std::fmt;

/// Rows of a name and a cell for every column.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    pub(super) fn row(&mut self, name: impl Into<String>, cells: Vec<String>) {
        self.rows.push((name.into(), cells));
    }

    /// A row without cells, for what follows it.
    pub(super) fn heading(&mut self, name: impl Into<String>) {
        self.row(name, Vec::new());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &String| text.chars().count();
        let names = self
            .rows
            .iter()
            .map(|(name, _)| width(name))
            .max()
            .unwrap_or(0);
        let columns = self
            .rows
            .iter()
            .map(|(_, cells)| cells.len())
            .max()
            .unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|(_, cells)| cells.get(column))
                    .map(width)
                    .max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        for (name, cells) in &self.rows {
            let mut line = format!("{name:names$}");
            for (cell, width) in cells.iter().zip(&widths) {
                line += &format!("  {cell:>width$}");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        table.heading("all");
        table.row("a", vec!["1".into(), "µs".into()]);
        table.row("long", vec!["100".into(), "x".into()]);
        assert_eq!(table.to_string(), "all\na       1  µs\nlong  100   x\n");
    }
}
