//! `carpel get`: objects as a table, or as they are.

use std::io::Write;

use serde_json::{Value, json};

use super::api::{Agent, text};
use super::columns::Columns;
use super::get_format::GetFormat;
use super::json_path::{Template, shown as shown_value};
use super::manifests;
use super::resource::{Scope, Wanted, fetch, wanted};
use crate::cli::arguments::GetArguments;
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::{self, Writer};

pub(in crate::cli) fn run<W: Write>(
    arguments: &GetArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let agent = Agent::of(&arguments.agent)?;
    let scope = Scope {
        namespace: (!arguments.all_namespaces).then_some(arguments.namespace.name()),
        labels: arguments.selection.selector.as_ref(),
        fields: arguments.selection.field_selector.as_ref(),
    };
    let wanted = match arguments.filename.is_empty() {
        true => wanted(&arguments.words)?,
        false => manifests::wanted(&arguments.filename, &arguments.namespace)?,
    };
    let columns = |wanted: &Wanted, is_one_of_many: bool| Columns {
        resource: wanted.resource,
        wide: arguments.output == Some(GetFormat::Wide),
        namespaces: arguments.all_namespaces,
        labels: arguments.show_labels,
        kinds: is_one_of_many,
    };
    if arguments.watch {
        let [wanted] = &*wanted else {
            return Err(CliError::WatchMany);
        };
        return watch(
            &agent,
            wanted,
            scope,
            (columns(wanted, false), arguments),
            output,
        );
    }
    let mut groups = Vec::new();
    let mut errors = Vec::new();
    for wanted in &wanted {
        let mut found = fetch(&agent, wanted, scope)?;
        if let Some(path) = &arguments.sort_by {
            sort(&mut found.objects, path);
        }
        errors.append(&mut found.errors);
        groups.push((wanted, found.objects));
    }
    match &arguments.output {
        None | Some(GetFormat::Wide) => {
            let is_empty = groups.iter().all(|(_, objects)| objects.is_empty());
            if is_empty && errors.is_empty() {
                let place = match scope.namespace {
                    Some(namespace) => format!(" in {namespace} namespace"),
                    None => String::new(),
                };
                writer::complain(&format!("No resources found{place}."));
            }
            let shown = groups.iter().filter(|(_, objects)| !objects.is_empty());
            for (index, (wanted, objects)) in shown.enumerate() {
                if index > 0 {
                    output.line("")?;
                }
                let columns = columns(wanted, groups.len() > 1);
                let rows: Vec<Vec<String>> = objects.iter().map(|it| columns.row(it)).collect();
                print_table(&columns.head(), &rows, arguments.no_headers, output)?;
            }
        }
        Some(format) => print(format, arguments, &groups, output)?,
    }
    match errors.pop() {
        None => Ok(()),
        Some(last) => {
            errors.iter().for_each(|error| writer::report(error));
            Err(last)
        }
    }
}

fn print<W: Write>(
    format: &GetFormat,
    arguments: &GetArguments,
    groups: &[(&Wanted, Vec<Value>)],
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    match format {
        GetFormat::Json => output.json(&whole(groups))?,
        GetFormat::Yaml => output.yaml(&whole(groups))?,
        GetFormat::JsonPath(template) => {
            output.bytes(template.fill_in(&whole(groups)).as_bytes())?
        }
        GetFormat::CustomColumns(columns) => {
            let objects = groups.iter().flat_map(|(_, objects)| objects);
            let rows: Vec<Vec<String>> = objects.map(|it| custom_row(columns, it)).collect();
            let head: Vec<&str> = columns.iter().map(|(name, _)| &**name).collect();
            print_table(&head, &rows, arguments.no_headers, output)?;
        }
        GetFormat::Name | GetFormat::Wide => {
            for (wanted, objects) in groups {
                for object in objects {
                    let name = text(object, "/metadata/name");
                    output.line(format!("{}/{name}", wanted.resource.singular()))?;
                }
            }
        }
    }
    Ok(())
}

fn print_table<W: Write>(
    head: &[&str],
    rows: &[Vec<String>],
    no_headers: bool,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let lines = table::any_lines(head, rows);
    for line in lines.iter().skip(usize::from(no_headers)) {
        output.line(line)?;
    }
    Ok(())
}

/// kubectl joins what a column finds with commas.
fn custom_row(columns: &[(String, Template)], object: &Value) -> Vec<String> {
    let cell = |template: &Template| {
        let found: Vec<String> = template
            .values(object)
            .into_iter()
            .map(shown_value)
            .collect();
        match found.is_empty() {
            true => "<none>".to_owned(),
            false => found.join(","),
        }
    };
    columns.iter().map(|(_, template)| cell(template)).collect()
}

fn sort(objects: &mut [Value], path: &Template) {
    let key = |object: &Value| path.values(object).first().map(|&value| value.clone());
    objects.sort_by(|one, other| match (key(one), key(other)) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one
            .as_f64()
            .unwrap_or(0.0)
            .total_cmp(&other.as_f64().unwrap_or(0.0)),
        (one, other) => one
            .map(|value| shown_value(&value))
            .cmp(&other.map(|value| shown_value(&value))),
    });
}

/// One object that was named stands alone.
fn whole(groups: &[(&Wanted, Vec<Value>)]) -> Value {
    let names: usize = groups.iter().map(|(wanted, _)| wanted.names.len()).sum();
    let mut items: Vec<Value> = Vec::new();
    for (_, objects) in groups {
        items.extend(objects.iter().cloned());
    }
    match (names, items.len()) {
        (1, 1) => items.remove(0),
        _ => {
            json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" }, "items": items })
        }
    }
}

/// Line by line as things change: the widths of columns are those of the first lines, then at least a name's.
fn watch<W: Write>(
    agent: &Agent,
    wanted: &Wanted,
    scope: Scope<'_>,
    (columns, arguments): (Columns, &GetArguments),
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let path = format!("{}?watch=true", scope.path(wanted.resource));
    let head = columns.head();
    let mut widths: Vec<usize> = head.iter().map(|name| name.len().max(12)).collect();
    let mut print_row = |cells: &[String], output: &mut Writer<W>| {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        output.line(padded.join("  ").trim_end())?;
        output.flush()
    };
    let whole = arguments
        .output
        .as_ref()
        .filter(|it| **it != GetFormat::Wide);
    if !arguments.no_headers && whole.is_none() {
        let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
        print_row(&head, output)?;
    }
    let mut last: Vec<(String, Vec<String>)> = Vec::new();
    agent.watch(&path, None, |_, object| {
        let name = text(object, "/metadata/name");
        let is_named = wanted.names.is_empty() || wanted.names.iter().any(|it| it == name);
        if !is_named || !scope.fits(object) {
            return Ok(false);
        }
        if let Some(format) = whole {
            match format {
                GetFormat::Json => output.json_line(object)?,
                GetFormat::Yaml => {
                    output.line("---")?;
                    output.yaml(object)?;
                }
                other => {
                    let one = Wanted {
                        names: vec![name.to_owned()],
                        ..wanted.clone()
                    };
                    print(other, arguments, &[(&one, vec![object.clone()])], output)?;
                    if matches!(other, GetFormat::JsonPath(_)) {
                        output.line("")?;
                    }
                }
            }
            output.flush()?;
            return Ok(false);
        }
        let row = columns.row(object);
        let key = format!("{}/{name}", text(object, "/metadata/namespace"));
        // A change that no column shows is none.
        if !last
            .iter()
            .any(|(known, before)| *known == key && *before == row)
        {
            last.retain(|(known, _)| *known != key);
            print_row(&row, output)?;
            last.push((key, row));
        }
        Ok(false)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_columns_say_none_where_nothing_is() {
        let GetFormat::CustomColumns(columns) =
            "custom-columns=NAME:.metadata.name,IMAGES:.spec.containers[*].image,NODE:.spec.nodeName"
                .parse()
                .unwrap()
        else {
            panic!("no columns");
        };
        let pod = json!({ "metadata": { "name": "web" }, "spec": { "containers": [{ "image": "x" }, { "image": "y" }] } });
        assert_eq!(custom_row(&columns, &pod), ["web", "x,y", "<none>"]);
    }

    #[test]
    fn objects_are_sorted_by_a_path() {
        let pod = |name: &str, count: i64| json!({ "metadata": { "name": name }, "count": count });
        let mut pods = [pod("b", 10), pod("a", 9), pod("c", 1)];
        sort(&mut pods, &Template::relaxed(".count").unwrap());
        let names: Vec<&str> = pods.iter().map(|pod| text(pod, "/metadata/name")).collect();
        assert_eq!(names, ["c", "a", "b"]);
        sort(&mut pods, &Template::relaxed("metadata.name").unwrap());
        assert_eq!(text(&pods[0], "/metadata/name"), "a");
    }
}
