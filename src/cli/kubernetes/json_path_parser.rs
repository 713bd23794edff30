//! Reads JSONPath templates into what `json_path` evaluates.

use serde_json::Value;

use super::json_path::BadPath;

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it is.
    Text(String),
    /// What it leads to.
    Path(Path),
    /// The rest for each of what it leads to.
    Range(Path, Vec<Piece>),
}

/// From the root, or from where a range or a filter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) is_from_root: bool,
    pub(super) steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    /// Every item, or the value of every field.
    All,
    /// This value and all below it.
    Everything,
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: Option<usize>,
    },
    Union(Vec<Step>),
    Filter(Filter),
}

/// Of items: those of which it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) left: Operand,
    /// Without one, the left side must be there.
    pub(super) compared: Option<(Operator, Operand)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    Literal(Value),
    Path(Path),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longer ones first: `<=` begins like `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

fn bad(problem: &str, text: &str) -> BadPath {
    BadPath {
        problem: problem.to_owned(),
        text: text.to_owned(),
    }
}

/// The parts of a template.
///
/// # Errors
/// What is wrong with it.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, BadPath> {
    let mut open: Vec<(Path, Vec<Piece>)> = Vec::new();
    let mut now = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            now.push(Piece::Text(before.to_owned()));
        }
        let end = end_of(after, '}').ok_or_else(|| bad("unclosed action", template))?;
        let action = after[..end].trim();
        rest = &after[end + 1..];
        if let Some(literal) = literal_text(action) {
            now.push(Piece::Text(literal));
        } else if let Some(over) = action.strip_prefix("range ") {
            open.push((path(over.trim())?, std::mem::take(&mut now)));
        } else if action == "end" {
            let (over, outer) = open
                .pop()
                .ok_or_else(|| bad("end without range", template))?;
            let inner = std::mem::replace(&mut now, outer);
            now.push(Piece::Range(over, inner));
        } else {
            now.push(Piece::Path(path(action)?));
        }
    }
    if !open.is_empty() {
        return Err(bad("unclosed range", template));
    }
    if !rest.is_empty() {
        now.push(Piece::Text(rest.to_owned()));
    }
    Ok(now)
}

/// Where `closing` is, outside of quotes and of brackets within.
fn end_of(text: &str, closing: char) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_usize;
    let mut is_escaped = false;
    for (index, character) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if character == '\\' {
            is_escaped = true;
        } else if quote.is_some() {
            quote = quote.filter(|&open| open != character);
        } else if matches!(character, '"' | '\'') {
            quote = Some(character);
        } else if character == closing && depth == 0 {
            return Some(index);
        } else if matches!(character, '[' | '(') {
            depth += 1;
        } else if matches!(character, ']' | ')') {
            depth = depth.checked_sub(1)?;
        } else if character == closing {
            return Some(index);
        }
    }
    None
}

/// A text in quotes, with the escapes of Go.
fn literal_text(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|it| matches!(it, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            _ if character == quote => return None,
            _ => out.push(character),
        }
    }
    Some(out)
}

fn path(text: &str) -> Result<Path, BadPath> {
    let is_from_root = text.starts_with('$');
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Everything);
            rest = after;
            if !rest.starts_with('[') {
                rest = field(rest, &mut steps)?;
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            // `{.}` is the value itself.
            rest = match after.is_empty() || after.starts_with('[') {
                true => after,
                false => field(after, &mut steps)?,
            };
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = end_of(after, ']').ok_or_else(|| bad("unterminated array", text))?;
            steps.push(bracket(&after[..end])?);
            rest = &after[end + 1..];
        } else {
            return Err(bad("unrecognized character", text));
        }
    }
    Ok(Path {
        is_from_root,
        steps,
    })
}

/// A name up to the next dot or bracket; a backslash takes away their meaning.
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, BadPath> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((index, character)) = characters.next() {
        match character {
            '.' | '[' => {
                end = index;
                break;
            }
            '\\' => name.extend(characters.next().map(|(_, character)| character)),
            ' ' => return Err(bad("unexpected space", text)),
            _ => name.push(character),
        }
    }
    match &*name {
        "" => return Err(bad("a field without a name", text)),
        "*" => steps.push(Step::All),
        _ => steps.push(Step::Field(name)),
    }
    Ok(&text[end..])
}

fn bracket(text: &str) -> Result<Step, BadPath> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(filtered) = text.strip_prefix("?(").and_then(|it| it.strip_suffix(')')) {
        return filter(filtered.trim()).map(Step::Filter);
    }
    if let Some(name) = literal_text(text) {
        return Ok(Step::Field(name));
    }
    if text.contains(',') {
        let steps: Result<Vec<Step>, BadPath> = text.split(',').map(bracket).collect();
        return steps.map(Step::Union);
    }
    let wrong = || bad("invalid array index", text);
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_no_number| wrong()),
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [index] => number(index)?.map(Step::Index).ok_or_else(wrong),
        [start, end] => Ok(Step::Slice {
            start: number(start)?,
            end: number(end)?,
            step: None,
        }),
        [start, end, step] => Ok(Step::Slice {
            start: number(start)?,
            end: number(end)?,
            step: match step.trim() {
                "" => None,
                step => Some(step.parse().map_err(|_no_number| wrong())?),
            },
        }),
        _ => Err(wrong()),
    }
}

fn filter(text: &str) -> Result<Filter, BadPath> {
    let found = OPERATORS.iter().find_map(|(sign, operator)| {
        let (left, right) = text.split_once(sign)?;
        Some((left, *operator, right))
    });
    let wrong = || bad("unrecognized filter", text);
    let operand = |text: &str| match text.trim() {
        text if text.starts_with(['@', '$', '.']) => path(text).map(Operand::Path),
        text => match literal_text(text) {
            Some(literal) => Ok(Operand::Literal(Value::String(literal))),
            None => serde_json::from_str(text)
                .map(Operand::Literal)
                .map_err(|_no_value| wrong()),
        },
    };
    match found {
        Some((left, operator, right)) => Ok(Filter {
            left: operand(left)?,
            compared: Some((operator, operand(right)?)),
        }),
        None if text.contains(' ') => Err(wrong()),
        None => Ok(Filter {
            left: operand(text)?,
            compared: None,
        }),
    }
}
