//! Tables of text, for people.

use comfy_table::{CellAlignment, Table};

/// A column: its heading, and whether its cells are numbers (and stand at the right).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The heading.
    pub(crate) heading: &'static str,
    /// Numbers stand at the right.
    pub(crate) is_number: bool,
}

impl Column {
    /// A column of words.
    pub(crate) const fn words(heading: &'static str) -> Self {
        Self { heading, is_number: false }
    }

    /// A column of numbers.
    pub(crate) const fn numbers(heading: &'static str) -> Self {
        Self { heading, is_number: true }
    }
}

/// The table as lines, without trailing spaces. Cells must be clean of foreign control characters.
pub(crate) fn lines(columns: &[Column], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.heading));
    table.add_rows(rows);
    for (at, column) in columns.iter().enumerate() {
        if let Some(shown) = table.column_mut(at) {
            shown.set_padding((0, 2));
            if column.is_number {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_right_and_no_line_ends_in_a_space() {
        let columns = [Column::words("ID"), Column::numbers("FILES"), Column::words("PATHS")];
        let rows = vec![
            vec!["ab".into(), "7".into(), "/a".into()],
            vec!["cd".into(), "1,204".into(), String::new()],
        ];
        assert_eq!(lines(&columns, rows), ["ID  FILES  PATHS", "ab      7  /a", "cd  1,204"]);
    }
}
