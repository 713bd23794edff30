//! `carpel explain`: what the agent does with a field of a manifest. What a field means is in the documentation of Kubernetes.

use std::io::Write;

use carpel_agent::manifest::{self, Explained, Kind};

use crate::cli::arguments::ExplainFieldArguments;
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;

pub(in crate::cli) fn run<W: Write>(
    arguments: &ExplainFieldArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let (kind, path) = match arguments.field.split_once('.') {
        Some((kind, path)) => (kind, path),
        None => (&*arguments.field, ""),
    };
    let kind: Kind = kind.parse().map_err(CliError::Kind)?;
    let unknown = || CliError::NoSuchField {
        kind,
        path: path.to_owned(),
    };
    let Explained { own, below } = manifest::explain(kind, path).ok_or_else(unknown)?;
    output.line(format!("KIND:     {kind}"))?;
    output.line("VERSION:  v1")?;
    if let Some(own) = own {
        output.line(format!("FIELD:    {}", own.path))?;
        output.line(format!("SUPPORT:  {}", own.support))?;
    }
    let depth = path.split('.').filter(|part| !part.is_empty()).count();
    let is_shown =
        |field: &str| arguments.recursive || field.split('.').count() == depth.saturating_add(1);
    let rows: Vec<Vec<String>> = below
        .iter()
        .filter(|field| is_shown(&field.path))
        .map(|field| vec![field.path.clone(), field.support.clone()])
        .collect();
    if !rows.is_empty() {
        output.line("")?;
        for line in table::any_lines(&["FIELDS", "SUPPORT"], &rows) {
            output.line(&line)?;
        }
    }
    Ok(())
}
