//! The values of `--output`, as kubectl writes them.

use std::str::FromStr;

use super::json_path::Template;

/// How objects are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum GetFormat {
    /// More columns.
    Wide,
    /// Secrets with their values.
    Yaml,
    /// Secrets with their values.
    Json,
    /// TYPE/NAME, one a line.
    Name,
    /// What a template says.
    JsonPath(Template),
    /// A name and a path for each column.
    CustomColumns(Vec<(String, Template)>),
}

impl FromStr for GetFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, value) = match text.split_once('=') {
            Some((word, value)) => (word, Some(value)),
            None => (text, None),
        };
        match (word, value) {
            ("wide", None) => Ok(Self::Wide),
            ("yaml", None) => Ok(Self::Yaml),
            ("json", None) => Ok(Self::Json),
            ("name", None) => Ok(Self::Name),
            ("jsonpath", Some(template)) => template
                .parse()
                .map(Self::JsonPath)
                .map_err(|error: super::json_path::BadPath| error.to_string()),
            ("custom-columns", Some(columns)) => columns.split(',').map(column).collect(),
            ("jsonpath" | "custom-columns", None) => {
                Err(format!("{word} wants what to print: {word}=…"))
            }
            _ => Err(
                "it is wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=NAME:PATH,…"
                    .to_owned(),
            ),
        }
    }
}

impl FromIterator<(String, Template)> for GetFormat {
    fn from_iter<I: IntoIterator<Item = (String, Template)>>(columns: I) -> Self {
        Self::CustomColumns(columns.into_iter().collect())
    }
}

fn column(text: &str) -> Result<(String, Template), String> {
    let (name, path) = text.split_once(':').ok_or_else(|| {
        format!("unexpected custom-columns spec: {text}, expected <header>:<json-path-expr>")
    })?;
    let path = Template::relaxed(path).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_kubectl() {
        assert_eq!("wide".parse(), Ok(GetFormat::Wide));
        assert!(matches!(
            "jsonpath={.a}".parse(),
            Ok(GetFormat::JsonPath(_))
        ));
        let columns: GetFormat = "custom-columns=A:.a,B:b".parse().unwrap();
        assert!(matches!(columns, GetFormat::CustomColumns(columns) if columns.len() == 2));
        for (wrong, why) in [
            ("go-template={{.}}", "it is wide"),
            ("jsonpath", "jsonpath wants"),
            ("jsonpath={.a", "unclosed action"),
            ("custom-columns=A", "<header>:<json-path-expr>"),
        ] {
            let error = wrong.parse::<GetFormat>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
