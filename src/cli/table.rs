//! Columns of text, aligned with two spaces between them, as crictl and kubectl print.

/// Lines of a table: the head and the rows, columns as wide as their widest cell.
pub(super) fn lines<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    any_lines(&head, rows)
}

/// The same where the number of columns is known only when it runs. A row with fewer cells has its last ones empty.
pub(super) fn any_lines(head: &[&str], rows: &[impl AsRef<[String]>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let all = || std::iter::once(&*head).chain(rows.iter().map(AsRef::as_ref));
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    all()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// A number of bytes as people read it, in powers of 1000 as crictl has it: `4.51MB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut whole = count;
    let mut thousandths = 0;
    let mut unit = 0;
    while whole >= 1000 && unit + 1 < UNITS.len() {
        thousandths = whole % 1000;
        whole /= 1000;
        unit += 1;
    }
    match (unit, whole) {
        (0, _) => format!("{whole}B"),
        (_, 0..10) => format!("{whole}.{:02}{}", thousandths / 10, UNITS[unit]),
        (_, 10..100) => format!("{whole}.{}{}", thousandths / 100, UNITS[unit]),
        _ => format!("{whole}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["busybox".to_owned(), "1".to_owned()],
            ["a".to_owned(), String::new()],
        ];
        assert_eq!(
            lines(["IMAGE", "TAG"], &rows),
            ["IMAGE    TAG", "busybox  1", "a"]
        );
    }

    #[test]
    fn bytes_have_three_digits() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (4_512_345, "4.51MB"),
            (45_123_456, "45.1MB"),
            (516_000_000, "516MB"),
            (u64::MAX, "18446744TB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }
}
