//! The values of `wait --for`, as kubectl writes them.

use std::str::FromStr;

use super::json_path::Template;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum WaitFor {
    /// A condition has this status.
    Condition {
        /// Its type.
        name: String,
        /// `True`, unless it is said otherwise.
        status: String,
    },
    /// What the path leads to is there, and has this value if one is given.
    JsonPath {
        /// Where it is.
        path: Template,
        /// What it is.
        value: Option<String>,
    },
    /// It is there.
    Create,
    /// It is gone.
    Delete,
}

impl FromStr for WaitFor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "delete" => return Ok(Self::Delete),
            "create" => return Ok(Self::Create),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let (path, value) = match rest.rsplit_once("}=") {
                Some((path, value)) => (
                    format!("{path}}}"),
                    Some(value.trim_matches('"').to_owned()),
                ),
                None => (rest.to_owned(), None),
            };
            let path = Template::relaxed(&path).map_err(|error| error.to_string())?;
            return Ok(Self::JsonPath { path, value });
        }
        let condition = text.strip_prefix("condition=");
        let condition = condition.filter(|condition| !condition.is_empty());
        let condition = condition
            .ok_or("it is condition=NAME[=STATUS], create, delete or jsonpath='{PATH}'[=VALUE]")?;
        let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
        Ok(Self::Condition {
            name: name.to_owned(),
            status: status.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_written_as_for_kubectl() {
        let condition = |name: &str, status: &str| WaitFor::Condition {
            name: name.to_owned(),
            status: status.to_owned(),
        };
        assert_eq!("condition=Ready".parse(), Ok(condition("Ready", "True")));
        assert_eq!(
            "condition=Ready=False".parse(),
            Ok(condition("Ready", "False"))
        );
        assert_eq!("delete".parse(), Ok(WaitFor::Delete));
        assert_eq!("create".parse(), Ok(WaitFor::Create));
        let path = |value: Option<&str>| WaitFor::JsonPath {
            path: Template::relaxed(".status.phase").unwrap(),
            value: value.map(str::to_owned),
        };
        assert_eq!(
            "jsonpath={.status.phase}=Succeeded".parse(),
            Ok(path(Some("Succeeded")))
        );
        assert_eq!("jsonpath={.status.phase}".parse(), Ok(path(None)));
        assert!("Ready".parse::<WaitFor>().is_err());
        assert!("jsonpath={.status".parse::<WaitFor>().is_err());
    }
}
