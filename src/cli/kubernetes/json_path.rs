//! kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}{.metadata.name}{"\n"}{end}`
//! (client-go, `util/jsonpath`). What is not there is nothing. Pure.

use serde_json::Value;

use super::json_path_parser::{Filter, Operand, Operator, Path, Piece, Step, pieces};

/// A template, ready to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Template(Vec<Piece>);

/// A template that is none: what is wrong, and with which part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} in JSONPath {text:?}")]
pub(in crate::cli) struct BadPath {
    pub(super) problem: String,
    pub(super) text: String,
}

impl std::str::FromStr for Template {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        pieces(text).map(Self)
    }
}

impl Template {
    /// A path alone, with or without braces and its first dot: as custom columns and `--sort-by` have it.
    pub(in crate::cli) fn relaxed(text: &str) -> Result<Self, BadPath> {
        let inner = text.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        let inner = inner.unwrap_or(text);
        if inner.contains(['{', '}']) {
            let problem = "unexpected brace".to_owned();
            let text = text.to_owned();
            return Err(BadPath { problem, text });
        }
        let dotted = match inner.starts_with(['.', '[', '$', '@']) {
            true => inner.to_owned(),
            false => format!(".{inner}"),
        };
        format!("{{{dotted}}}").parse()
    }

    /// The text.
    pub(super) fn fill_in(&self, object: &Value) -> String {
        let mut text = String::new();
        print(&self.0, object, object, &mut text);
        text
    }

    /// What its paths lead to.
    pub(super) fn values<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let paths = self.0.iter().filter_map(|piece| match piece {
            Piece::Path(path) => Some(select(path, object, object)),
            _ => None,
        });
        paths.flatten().collect()
    }
}

/// A value as kubectl prints it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn print(pieces: &[Piece], root: &Value, at: &Value, text: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Text(own) => text.push_str(own),
            Piece::Path(path) => {
                let found: Vec<String> = select(path, root, at).into_iter().map(shown).collect();
                text.push_str(&found.join(" "));
            }
            Piece::Range(path, inner) => {
                for each in select(path, root, at) {
                    print(inner, root, each, text);
                }
            }
        }
    }
}

fn select<'a>(path: &Path, root: &'a Value, at: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![if path.is_from_root { root } else { at }];
    for step in &path.steps {
        found = found
            .into_iter()
            .flat_map(|value| take(step, root, value))
            .collect();
    }
    found
}

fn take<'a>(step: &Step, root: &'a Value, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::All => children(value),
        Step::Everything => {
            let mut all = vec![value];
            for child in children(value) {
                all.extend(take(step, root, child));
            }
            all
        }
        Step::Index(index) => {
            let items = items(value);
            let index = from_end(*index, items.len());
            usize::try_from(index)
                .ok()
                .and_then(|index| items.get(index))
                .into_iter()
                .collect()
        }
        Step::Slice { start, end, step } => slice(items(value), (*start, *end), *step),
        Step::Union(steps) => steps
            .iter()
            .flat_map(|step| take(step, root, value))
            .collect(),
        Step::Filter(filter) => children(value)
            .into_iter()
            .filter(|child| holds(filter, root, child))
            .collect(),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn from_end(index: i64, length: usize) -> i64 {
    match index < 0 {
        true => index.saturating_add(i64::try_from(length).unwrap_or(i64::MAX)),
        false => index,
    }
}

fn slice(
    items: &[Value],
    (start, end): (Option<i64>, Option<i64>),
    step: Option<usize>,
) -> Vec<&Value> {
    let bound = |index: Option<i64>, default: usize| match index {
        Some(index) => usize::try_from(from_end(index, items.len()))
            .unwrap_or(0)
            .min(items.len()),
        None => default,
    };
    let (start, end) = (bound(start, 0), bound(end, items.len()));
    let part = items.get(start..end).unwrap_or_default();
    part.iter().step_by(step.unwrap_or(1).max(1)).collect()
}

fn holds(filter: &Filter, root: &Value, at: &Value) -> bool {
    let of = |operand: &Operand| match operand {
        Operand::Literal(value) => vec![value.clone()],
        Operand::Path(path) => select(path, root, at).into_iter().cloned().collect(),
    };
    let left = of(&filter.left);
    let Some((operator, right)) = &filter.compared else {
        return !left.is_empty();
    };
    let right = of(right);
    let (Some(left), Some(right)) = (left.first(), right.first()) else {
        return false;
    };
    let order = match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.partial_cmp(&right),
        _ => Some(shown(left).cmp(&shown(right))),
    };
    order.is_some_and(|order| match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str) -> String {
        let pod = |name: &str, phase: &str, restarts: i64| {
            json!({
                "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "shop" } },
                "spec": { "containers": [{ "name": "a", "image": "x:1" }, { "name": "b", "image": "y:2" }] },
                "status": { "phase": phase, "restarts": restarts },
            })
        };
        let list =
            json!({ "kind": "List", "items": [pod("web", "Running", 0), pod("db", "Pending", 3)] });
        let template: Template = template.parse().unwrap_or_else(|error| panic!("{error}"));
        template.fill_in(&list)
    }

    /// As `kubectl get pods -o jsonpath=…` answers.
    #[test]
    fn templates_say_what_kubectl_says() {
        for (template, wanted) in [
            ("{.items[*].metadata.name}", "web db"),
            ("{.items[0].metadata.name}", "web"),
            ("{.items[-1:].metadata.name}", "db"),
            ("{.items[0:1].metadata.name}", "web"),
            ("{$.kind}: {.items[1]['metadata'].name}.", "List: db."),
            (
                "{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{'\\n'}{end}",
                "web\tRunning\ndb\tPending\n",
            ),
            (
                "{.items[?(@.status.phase==\"Pending\")].metadata.name}",
                "db",
            ),
            ("{.items[?(@.status.restarts > 2)].metadata.name}", "db"),
            (
                "{.items[?(@.status.phase != 'Pending')].metadata.name}",
                "web",
            ),
            ("{.items[?(@.metadata.labels)].metadata.name}", "web db"),
            (
                "{.items[0].metadata.labels.app\\.kubernetes\\.io/name}",
                "shop",
            ),
            ("{.items[0]..image}", "x:1 y:2"),
            ("{.items[0].spec.containers[0,1].name}", "a b"),
            ("{.items[0].status}", r#"{"phase":"Running","restarts":0}"#),
            ("{.items[0].none.such}", ""),
            ("{range .items[*]}{$.kind} {end}", "List List "),
            ("no path", "no path"),
        ] {
            assert_eq!(filled(template), wanted, "{template}");
        }
    }

    #[test]
    fn a_template_that_is_none_says_what_is_wrong() {
        for (template, problem) in [
            ("{.items", "unclosed action"),
            ("{.items[0}", "unterminated array"),
            ("{range .items[*]}x", "unclosed range"),
            ("{end}", "end without range"),
            ("{.items[?(@.x ~ 1)]}", "unrecognized filter"),
            ("{.items[x]}", "invalid array index"),
        ] {
            let error = template.parse::<Template>().unwrap_err();
            assert!(error.to_string().contains(problem), "{template}: {error}");
        }
    }

    #[test]
    fn a_path_alone_needs_no_braces() {
        let object = json!({ "metadata": { "name": "web" } });
        for text in ["metadata.name", ".metadata.name", "{.metadata.name}"] {
            assert_eq!(Template::relaxed(text).unwrap().fill_in(&object), "web");
        }
    }
}
