//! Tables of text, for people.

use comfy_table::{CellAlignment, Table};

/// A column: its heading, and whether its cells are numbers (and stand at the right).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The heading.
    pub(crate) heading: &'static str,
    /// Numbers stand at the right.
    pub(crate) is_number: bool,
    /// It is left out if all its cells are empty.
    pub(crate) is_optional: bool,
}

impl Column {
    /// A column of words.
    pub(crate) const fn words(heading: &'static str) -> Self {
        Self { heading, is_number: false, is_optional: false }
    }

    /// A column of numbers.
    pub(crate) const fn numbers(heading: &'static str) -> Self {
        Self { heading, is_number: true, is_optional: false }
    }
}

impl Column {
    /// The same column, left out if all its cells are empty.
    pub(crate) const fn if_any(self) -> Self {
        Self { is_optional: true, ..self }
    }
}

/// The table as lines, without trailing spaces. Cells must be clean of foreign control characters.
pub(crate) fn lines(columns: &[Column], mut rows: Vec<Vec<String>>) -> Vec<String> {
    let has_any = |at: usize| rows.iter().any(|row| row.get(at).is_some_and(|cell| !cell.is_empty()));
    let shown: Vec<bool> =
        columns.iter().enumerate().map(|(at, column)| !column.is_optional || has_any(at)).collect();
    let of_shown = |at: usize| shown.get(at).copied().unwrap_or(true);
    for row in &mut rows {
        let mut at = 0..;
        row.retain(|_| at.next().is_none_or(of_shown));
    }
    let columns: Vec<Column> =
        columns.iter().zip(&shown).filter_map(|(column, shown)| shown.then_some(*column)).collect();
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
    fn an_optional_column_is_left_out_if_it_is_empty() {
        let columns = [Column::words("ID"), Column::words("TAGS").if_any(), Column::words("PATHS")];
        let row = |tags: &str| vec!["ab".to_owned(), tags.to_owned(), "/a".to_owned()];
        assert_eq!(lines(&columns, vec![row(""), row("")]), ["ID  PATHS", "ab  /a", "ab  /a"]);
        assert_eq!(lines(&columns, vec![row(""), row("x")])[2], "ab  x     /a");
    }

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
