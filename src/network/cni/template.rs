//! Fills a template of a CNI configuration with the node's pod networks, which the kubelet tells once it knows them.
//!
//! Templates are those that node images have for containerd. Of Go's language they use, and this knows: `{{.PodCIDR}}`,
//! `{{range .PodCIDRRanges}}` and `{{range $i, $r := .Routes}}` with `{{.}}` or the variables inside, `{{if $i}}` (not the
//! first), `{{end}}`, comments and the trimming dashes. Anything else is refused by name. Pure.

use std::net::IpAddr;

/// Why a template cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The client's value is no list of networks.
    #[error("{text:?} is not an IP network, as 10.244.0.0/24")]
    Network {
        /// What was there instead.
        text: String,
    },
    /// An action that is not known, or that has no end.
    #[error("the template's action {{{{{action}}}}} is not supported: {why}")]
    Action {
        /// What stands between the braces.
        action: String,
        /// What is known instead.
        why: &'static str,
    },
}

/// What is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Networks {
    /// `PodCIDRRanges`; the first one is `PodCIDR`.
    ranges: Vec<String>,
    /// `Routes`: the default route of each family.
    routes: Vec<String>,
}

impl Networks {
    /// From CRI `NetworkConfig.pod_cidr`: one network, or one of each family with a comma between.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut ranges, mut routes) = (Vec::new(), Vec::new());
        for text in text.split(',').map(str::trim) {
            let wrong = || TemplateError::Network {
                text: text.to_owned(),
            };
            let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
            let address: IpAddr = address.parse().map_err(|_no_address| wrong())?;
            let (longest, route) = match address {
                IpAddr::V4(_) => (32, "0.0.0.0/0"),
                IpAddr::V6(_) => (128, "::/0"),
            };
            if !prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest) {
                return Err(wrong());
            }
            ranges.push(text.to_owned());
            if !routes.iter().any(|known| known == route) {
                routes.push(route.to_owned());
            }
        }
        // As containerd has it: IPv4 first.
        routes.sort();
        Ok(Self { ranges, routes })
    }
}

/// Fills the template.
pub(super) fn fill(template: &str, networks: &Networks) -> Result<String, TemplateError> {
    let tokens = tokens(template)?;
    let mut rest = tokens.as_slice();
    let parts = parse(&mut rest, None)?;
    let mut text = String::new();
    render(&parts, networks, &[], &mut text)?;
    Ok(text)
}

#[derive(Debug)]
enum Token<'a> {
    Text(&'a str),
    Action(&'a str),
}

#[derive(Debug)]
enum Part<'a> {
    Text(&'a str),
    /// `.`, `.PodCIDR` or a variable.
    Value(&'a str),
    Range {
        list: &'a str,
        index: Option<&'a str>,
        item: Option<&'a str>,
        body: Vec<Part<'a>>,
    },
    If {
        variable: &'a str,
        body: Vec<Part<'a>>,
    },
}

/// A turn of a range: its variables, and where it is.
#[derive(Debug, Clone, Copy)]
struct Turn<'a> {
    index: Option<&'a str>,
    item: Option<&'a str>,
    position: usize,
    value: &'a str,
}

fn refused(action: &str, why: &'static str) -> TemplateError {
    TemplateError::Action {
        action: action.to_owned(),
        why,
    }
}

fn tokens(template: &str) -> Result<Vec<Token<'_>>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = template;
    let mut trim_start = false;
    while let Some((text, after)) = rest.split_once("{{") {
        let (action, behind) = after
            .split_once("}}")
            .ok_or_else(|| refused(after.lines().next().unwrap_or_default(), "it has no end"))?;
        let dashed = action
            .strip_prefix('-')
            .filter(|inner| inner.starts_with(char::is_whitespace));
        let text = if trim_start { text.trim_start() } else { text };
        tokens.push(Token::Text(match dashed {
            Some(_) => text.trim_end(),
            None => text,
        }));
        let inner = dashed.unwrap_or(action);
        let undashed = inner
            .strip_suffix('-')
            .filter(|inner| inner.ends_with(char::is_whitespace));
        trim_start = undashed.is_some();
        let inner = undashed.unwrap_or(inner).trim();
        if !(inner.starts_with("/*") && inner.ends_with("*/")) {
            tokens.push(Token::Action(inner));
        }
        rest = behind;
    }
    tokens.push(Token::Text(if trim_start {
        rest.trim_start()
    } else {
        rest
    }));
    Ok(tokens)
}

/// The parts up to the end of `block`, or of the template.
fn parse<'a>(
    tokens: &mut &[Token<'a>],
    block: Option<&'a str>,
) -> Result<Vec<Part<'a>>, TemplateError> {
    let mut parts = Vec::new();
    while let Some((token, rest)) = tokens.split_first() {
        *tokens = rest;
        let action = match token {
            Token::Text(text) => {
                parts.push(Part::Text(text));
                continue;
            }
            Token::Action(action) => *action,
        };
        let (word, argument) = action
            .split_once(char::is_whitespace)
            .unwrap_or((action, ""));
        let argument = argument.trim();
        match word {
            "end" if block.is_some() => return Ok(parts),
            "range" => {
                let (index, item, list) = range_header(argument).ok_or_else(|| {
                    refused(
                        action,
                        "range takes .PodCIDRRanges or .Routes, with or without $i, $x :=",
                    )
                })?;
                let body = parse(tokens, Some(action))?;
                parts.push(Part::Range {
                    list,
                    index,
                    item,
                    body,
                });
            }
            "if" if argument.starts_with('$') => {
                let body = parse(tokens, Some(action))?;
                parts.push(Part::If {
                    variable: argument,
                    body,
                });
            }
            _ if argument.is_empty() && word.starts_with(['.', '$']) => {
                parts.push(Part::Value(word));
            }
            _ => return Err(refused(action, "known are .PodCIDR, range, if $index, end")),
        }
    }
    match block {
        None => Ok(parts),
        Some(action) => Err(refused(action, "it has no {{end}}")),
    }
}

/// `.List`, `$x := .List` or `$i, $x := .List`.
fn range_header(argument: &str) -> Option<(Option<&str>, Option<&str>, &str)> {
    let (variables, list) = match argument.split_once(":=") {
        Some((variables, list)) => (variables.trim(), list.trim()),
        None => ("", argument),
    };
    let (index, item) = match variables.split_once(',') {
        Some((index, item)) => (Some(index.trim()), Some(item.trim())),
        None => (None, Some(variables).filter(|item| !item.is_empty())),
    };
    let named = |variable: Option<&str>| variable.is_none_or(|name| name.starts_with('$'));
    (named(index) && named(item) && [".PodCIDRRanges", ".Routes"].contains(&list))
        .then_some((index, item, list))
}

fn render<'a>(
    parts: &'a [Part<'a>],
    networks: &'a Networks,
    turns: &[Turn<'a>],
    text: &mut String,
) -> Result<(), TemplateError> {
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Value(name) => text.push_str(&value(name, networks, turns)?),
            Part::Range {
                list,
                index,
                item,
                body,
            } => {
                let list = match *list {
                    ".Routes" => &networks.routes,
                    _ => &networks.ranges,
                };
                for (position, value) in list.iter().enumerate() {
                    let mut turns = turns.to_vec();
                    turns.push(Turn {
                        index: *index,
                        item: *item,
                        position,
                        value,
                    });
                    render(body, networks, &turns, text)?;
                }
            }
            Part::If { variable, body } => {
                let turn = turns
                    .iter()
                    .rev()
                    .find(|turn| turn.index == Some(variable))
                    .ok_or_else(|| refused(variable, "if takes the index of a range around it"))?;
                if turn.position > 0 {
                    render(body, networks, turns, text)?;
                }
            }
        }
    }
    Ok(())
}

fn value(name: &str, networks: &Networks, turns: &[Turn<'_>]) -> Result<String, TemplateError> {
    if name == ".PodCIDR" {
        return Ok(networks.ranges.first().cloned().unwrap_or_default());
    }
    if name == "."
        && let Some(turn) = turns.last()
    {
        return Ok(turn.value.to_owned());
    }
    for turn in turns.iter().rev() {
        if turn.item == Some(name) {
            return Ok(turn.value.to_owned());
        }
        if turn.index == Some(name) {
            return Ok(turn.position.to_string());
        }
    }
    Err(refused(name, "no such value here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, networks: &str) -> Result<String, String> {
        let networks = Networks::parse(networks).map_err(|error| error.to_string())?;
        fill(template, &networks).map_err(|error| error.to_string())
    }

    const BOTH: &str = "10.244.3.0/24, fd00:3::/64";

    #[test]
    fn templates_of_node_images_are_filled() {
        for (template, expected) in [
            (
                r#""subnet": "{{.PodCIDR}}""#,
                r#""subnet": "10.244.3.0/24""#,
            ),
            (
                r#"[{{range $i, $range := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$range}}"}]{{end}}]"#,
                r#"[[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd00:3::/64"}]]"#,
            ),
            (
                "{{- range .Routes }}\n<{{ . }}>\n{{- end }}.",
                "\n<0.0.0.0/0>\n<::/0>.",
            ),
            (
                "{{range $i, $r := .Routes}}{{$i}}={{$r}} {{end}}",
                "0=0.0.0.0/0 1=::/0 ",
            ),
            ("a {{- /* no word */ -}} b", "ab"),
            ("nothing to fill }} in", "nothing to fill }} in"),
        ] {
            assert_eq!(filled(template, BOTH).unwrap(), expected, "{template}");
        }
        assert_eq!(
            filled("{{range .Routes}}{{.}}{{end}}", "fd00::/64").unwrap(),
            "::/0"
        );
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (template, expected) in [
            (
                "{{.Hostname}}",
                ".Hostname}} is not supported: no such value here",
            ),
            ("{{range .PodCIDRRanges}}", "it has no {{end}}"),
            (
                "{{range .Other}}{{end}}",
                "range takes .PodCIDRRanges or .Routes",
            ),
            ("{{if .PodCIDR}}{{end}}", "known are"),
            ("{{if $i}}{{end}}", "if takes the index"),
            ("{{end}}", "known are"),
            ("{{.}}", "no such value here"),
            ("{{.PodCIDR", "it has no end"),
        ] {
            let error = filled(template, BOTH).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
        for networks in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/8,"] {
            let error = filled("", networks).unwrap_err();
            assert!(
                error.ends_with("is not an IP network, as 10.244.0.0/24"),
                "{error}"
            );
        }
    }
}
