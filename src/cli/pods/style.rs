//! How lists look.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::cli::arguments::{LabelFilter, ListFormat, ListStyle};
use crate::cli::table;
use crate::cli::writer::Writer;

/// The digits of an id that are shown, as crictl has it.
const SHORT: usize = 13;

/// An id or the digest of an image, as far as it is shown.
pub(in crate::cli) fn shown(id: &str, style: &ListStyle) -> String {
    match style.no_trunc {
        true => id.to_owned(),
        false => short(id),
    }
}

/// The first digits of an id or digest.
pub(in crate::cli) fn short(id: &str) -> String {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.chars().take(SHORT).collect()
}

/// The image of a container: an id is cut, a name is not.
pub(super) fn image(image: &str, style: &ListStyle) -> String {
    let is_id = image.starts_with("sha256:") || image.len() == 64 && is_hexadecimal(image);
    match is_id {
        true => shown(image, style),
        false => image.to_owned(),
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether all wanted labels are there.
pub(super) fn has_labels(labels: &BTreeMap<String, String>, wanted: &[LabelFilter]) -> bool {
    wanted.iter().all(|filter| {
        let found = labels.get(&filter.key);
        found.is_some_and(|value| filter.value.as_ref().is_none_or(|wanted| wanted == value))
    })
}

/// The list, in whichever way it is wanted: ids, a table of `narrow` columns, of all, or the values themselves.
pub(super) fn print<W: Write, T: Serialize, const N: usize>(
    output: &mut Writer<W>,
    style: &ListStyle,
    values: &[T],
    (head, narrow): ([&str; N], usize),
    (row, id): (impl Fn(&T) -> [String; N], impl Fn(&T) -> String),
) -> io::Result<()> {
    if style.quiet {
        for value in values {
            output.line(id(value))?;
        }
        return Ok(());
    }
    match style.output {
        ListFormat::Json => output.json(&values),
        ListFormat::Yaml => output.yaml(&values),
        ListFormat::Wide | ListFormat::Table => {
            let columns = if style.output == ListFormat::Wide {
                N
            } else {
                narrow
            };
            let rows: Vec<Vec<String>> = values
                .iter()
                .map(|value| row(value).into_iter().take(columns).collect())
                .collect();
            for line in table::any_lines(&head[..columns], &rows) {
                output.line(line)?;
            }
            Ok(())
        }
    }
}
