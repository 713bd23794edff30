//! Which objects a command line means: `pods`, `pods NAME…`, `pod/NAME secret/NAME`, `pods,secrets`, `all`.

use carpel_agent::manifest::{Kind, UnknownKind};
use serde_json::Value;

use super::api::{Agent, list, object_path, objects_path, text};
use super::selector::{FieldSelector, LabelSelector};
use crate::cli::error::CliError;

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// What manifests make.
    Object(Kind),
    /// What has happened.
    Events,
    /// This machine.
    Nodes,
}

impl Resource {
    /// As URLs have it.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.plural(),
            Self::Events => "events",
            Self::Nodes => "nodes",
        }
    }

    /// As `-o name` has it.
    pub(super) fn singular(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.singular(),
            Self::Events => "event",
            Self::Nodes => "node",
        }
    }

    fn parse(word: &str) -> Result<Self, CliError> {
        match word.to_ascii_lowercase().as_str() {
            "events" | "event" | "ev" => Ok(Self::Events),
            "nodes" | "node" | "no" => Ok(Self::Nodes),
            // kubectl's category, as far as there are such kinds here.
            "all" => Ok(Self::Object(Kind::Pod)),
            _ => word.parse().map(Self::Object).map_err(CliError::Kind),
        }
    }

    /// The kind that can be made and deleted.
    pub(super) fn kind(self) -> Result<Kind, CliError> {
        match self {
            Self::Object(kind) => Ok(kind),
            other => Err(CliError::Kind(UnknownKind(other.plural().to_owned()))),
        }
    }
}

/// Some objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Their kind.
    pub(super) resource: Resource,
    /// Their names; none: all.
    pub(super) names: Vec<String>,
}

/// What the words of a command line mean.
///
/// # Errors
/// A kind that does not exist, or both forms in one line.
pub(super) fn wanted(words: &[String]) -> Result<Vec<Wanted>, CliError> {
    let Some((first, names)) = words.split_first() else {
        return Ok(Vec::new());
    };
    if !first.contains('/') {
        return first
            .split(',')
            .map(|kind| {
                Ok(Wanted {
                    resource: Resource::parse(kind)?,
                    names: names.to_vec(),
                })
            })
            .collect();
    }
    let mut all: Vec<Wanted> = Vec::new();
    for word in words {
        let (kind, name) = word.split_once('/').ok_or(CliError::MixedForms)?;
        let resource = Resource::parse(kind)?;
        match all.iter_mut().find(|wanted| wanted.resource == resource) {
            Some(wanted) => wanted.names.push(name.to_owned()),
            None => all.push(Wanted {
                resource,
                names: vec![name.to_owned()],
            }),
        }
    }
    Ok(all)
}

/// Which ones of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Their namespace; `None`: all.
    pub(super) namespace: Option<&'a str>,
    /// With these labels.
    pub(super) labels: Option<&'a LabelSelector>,
    /// With these fields.
    pub(super) fields: Option<&'a FieldSelector>,
}

impl Scope<'_> {
    /// Is it among them?
    pub(super) fn fits(&self, object: &Value) -> bool {
        self.labels.is_none_or(|labels| labels.fits(object))
            && self.fields.is_none_or(|fields| fields.fits(object))
    }

    /// Where objects of that kind are; nodes are in no namespace.
    pub(super) fn path(&self, resource: Resource) -> String {
        let namespace = self.namespace.filter(|_| resource != Resource::Nodes);
        objects_path(resource.plural(), namespace)
    }
}

/// Objects that were found, and what went wrong with the names of others.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In their order.
    pub(super) objects: Vec<Value>,
    /// A name that nobody has is no reason to say nothing of the others.
    pub(super) errors: Vec<CliError>,
}

/// Asks for the objects that are meant.
///
/// # Errors
/// When the agent does not answer, or the command line contradicts itself.
pub(super) fn fetch(agent: &Agent, wanted: &Wanted, scope: Scope<'_>) -> Result<Found, CliError> {
    let mut found = Found::default();
    if wanted.names.is_empty() {
        let answer = agent.get(&scope.path(wanted.resource))?;
        found.objects = list(&answer, "/items").to_vec();
        found.objects.retain(|object| scope.fits(object));
        return Ok(found);
    }
    if scope.labels.is_some() || scope.fields.is_some() {
        return Err(CliError::NamesAndSelector);
    }
    let Some(namespace) = scope.namespace else {
        return Err(CliError::NamesEverywhere);
    };
    for name in &wanted.names {
        match one(agent, wanted.resource, namespace, name) {
            Ok(object) => found.objects.push(object),
            Err(error @ CliError::Agent(carpel_agent::client::ApiError::Refused { .. })) => {
                found.errors.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn one(agent: &Agent, resource: Resource, namespace: &str, name: &str) -> Result<Value, CliError> {
    let path = match resource {
        Resource::Object(kind) => object_path(kind, namespace, name),
        Resource::Nodes => format!("/api/v1/nodes/{name}"),
        Resource::Events => {
            let answer = agent.get(&objects_path(resource.plural(), Some(namespace)))?;
            let mut events = list(&answer, "/items").iter();
            let event = events.find(|event| text(event, "/metadata/name") == name);
            return event.cloned().ok_or_else(|| CliError::NotFound {
                plural: resource.plural(),
                name: name.to_owned(),
            });
        }
    };
    agent.get(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str) -> Vec<(&'static str, Vec<String>)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let all = wanted(&words).unwrap_or_else(|error| panic!("{error}"));
        all.into_iter()
            .map(|it| (it.resource.plural(), it.names))
            .collect()
    }

    #[test]
    fn objects_are_named_as_for_kubectl() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(meant("po"), [("pods", vec![])]);
        assert_eq!(meant("all"), [("pods", vec![])]);
        assert_eq!(meant("pods a b"), [("pods", names(&["a", "b"]))]);
        assert_eq!(meant("po,cm"), [("pods", vec![]), ("configmaps", vec![])]);
        assert_eq!(
            meant("pod/a secret/s pod/b"),
            [("pods", names(&["a", "b"])), ("secrets", names(&["s"]))]
        );
        assert_eq!(meant("no"), [("nodes", vec![])]);
        let mixed = ["pod/a".to_owned(), "b".to_owned()];
        assert!(matches!(wanted(&mixed), Err(CliError::MixedForms)));
        assert!(matches!(
            wanted(&["deployments".to_owned()]),
            Err(CliError::Kind(_))
        ));
    }
}
