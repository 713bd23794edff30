//! The policy file: what holds for which names.
//!
//! ```toml
//! [scope."*"]
//! policy = "reject"
//!
//! [scope."registry.example/team"]
//! policy = "cosign"
//! keys = ["/etc/carpel/keys/team.pub"]
//! ```

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Flaw, PolicyError, Problem};
use super::key::PublicKey;
use crate::image::reference::Name;

/// The scope that holds where no other does.
const DEFAULT: &str = "*";

/// A policy file.
#[derive(Debug)]
pub(super) struct Policy {
    scopes: Vec<Scope>,
}

/// What holds for the names that begin in one way.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// `registry`, `registry/beginning/of/repository`, or `*`.
    pub(super) prefix: String,
    pub(super) rule: Rule,
}

/// What a policy asks of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Accept,
    /// They are not let in.
    Reject,
    /// A signature by one of some keys.
    Cosign {
        /// The keys, as the file names them.
        keys: Vec<Key>,
        /// Which name the signature has to be made for.
        identity: Identity,
        /// The beginning of the names that images of this scope were signed under, if it is another one.
        signed_as: Option<String>,
    },
}

/// A public key of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The file; `inline` if it stands in the policy itself.
    pub source: String,
    key: PublicKey,
}

/// Which name a signature has to be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The same repository.
    Repository,
    /// The same repository and tag.
    Exact,
    /// Any: the key alone decides.
    Any,
}

impl Identity {
    /// How the policy file calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Exact => "exact",
            Self::Any => "any",
        }
    }
}

/// What the policy says of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedPolicy {
    /// The policy file.
    pub file: PathBuf,
    /// The part of it that holds.
    pub scope: String,
    /// What it asks.
    pub rule: Rule,
}

impl AppliedPolicy {
    pub(super) fn new(file: &Path, scope: &Scope) -> Self {
        Self {
            file: file.to_owned(),
            scope: scope.prefix.clone(),
            rule: scope.rule.clone(),
        }
    }
}

impl Scope {
    fn holds_for(&self, repository: &str) -> bool {
        self.rest(repository).is_some()
    }

    /// What follows the prefix: nothing, or `/…`.
    fn rest<'a>(&self, repository: &'a str) -> Option<&'a str> {
        if self.prefix == DEFAULT {
            return Some(repository);
        }
        let rest = repository.strip_prefix(&self.prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// The repository that signatures of a name were made for.
    pub(super) fn signed_repository(&self, name: &Name) -> String {
        let repository = name.repository();
        match (&self.rule, self.rest(&repository)) {
            (
                Rule::Cosign {
                    signed_as: Some(prefix),
                    ..
                },
                Some(rest),
            ) => format!("{prefix}{rest}"),
            _ => repository,
        }
    }

    /// Whether one of the keys made a signature.
    pub(super) fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), Problem> {
        let is_good = match &self.rule {
            Rule::Cosign { keys, .. } => keys.iter().any(|key| key.key.made(message, signature)),
            Rule::Accept | Rule::Reject => false,
        };
        match is_good {
            true => Ok(()),
            false => Err(Problem::Key),
        }
    }
}

impl Policy {
    /// Reads a policy file with all its keys; `None` if there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, PolicyError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path).map(Some),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PolicyError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The scope with the longest prefix; a policy always has one.
    pub(super) fn scope_of(&self, name: &Name) -> Scope {
        let repository = name.repository();
        let holding = self
            .scopes
            .iter()
            .filter(|scope| scope.holds_for(&repository));
        let longest = holding.max_by_key(|scope| match scope.prefix.as_str() {
            DEFAULT => 0,
            prefix => prefix.len(),
        });
        // Without a default, which `parse` does not let pass, nothing may come in.
        longest.cloned().unwrap_or_else(|| Scope {
            prefix: DEFAULT.to_owned(),
            rule: Rule::Reject,
        })
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let file = File { text, path };
        let document = DeTable::parse(text).map_err(|error| {
            let message = error.message().split_whitespace().collect::<Vec<_>>();
            let flaw = Flaw::Syntax(message.join(" "));
            file.broken("policy", error.span(), flaw)
        })?;
        let mut scopes = Vec::new();
        for (name, value) in document.get_ref() {
            if name.get_ref() != "scope" {
                return Err(file.broken(name.get_ref(), Some(name.span()), Flaw::Unknown));
            }
            for (prefix, value) in file.table("scope", value)? {
                scopes.push(file.scope(prefix, value)?);
            }
        }
        match scopes.iter().any(|scope| scope.prefix == DEFAULT) {
            true => Ok(Self { scopes }),
            false => Err(file.broken("policy", None, Flaw::NoDefault)),
        }
    }
}

/// The keys of a scope, each with its place.
#[derive(Default)]
struct Read {
    word: Option<(String, Range<usize>)>,
    keys: Option<(Vec<Key>, Range<usize>)>,
    identity: Option<(Identity, Range<usize>)>,
    signed_as: Option<(String, Range<usize>)>,
}

impl Read {
    /// A key that only signatures need.
    fn useless(&self) -> Option<(&'static str, Range<usize>)> {
        let keys = self.keys.as_ref().map(|(_, span)| ("keys", span.clone()));
        let identity = self.identity.as_ref();
        let signed_as = self.signed_as.as_ref();
        keys.or_else(|| identity.map(|(_, span)| ("identity", span.clone())))
            .or_else(|| signed_as.map(|(_, span)| ("signed_as", span.clone())))
    }
}

/// A policy file while it is read.
struct File<'a> {
    text: &'a str,
    path: &'a Path,
}

impl File<'_> {
    fn broken(&self, key: &str, span: Option<Range<usize>>, problem: Flaw) -> PolicyError {
        let start = span.map_or(0, |span| span.start);
        let before = self.text.as_bytes().get(..start).unwrap_or_default();
        PolicyError::Broken {
            path: self.path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            key: key.to_owned(),
            problem,
        }
    }

    fn table<'t, 'd>(
        &self,
        key: &str,
        value: &'t Spanned<DeValue<'d>>,
    ) -> Result<&'t DeTable<'d>, PolicyError> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.broken(key, Some(value.span()), Flaw::Type("table"))),
        }
    }

    fn text<'t>(&self, key: &str, value: &'t Spanned<DeValue<'_>>) -> Result<&'t str, PolicyError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.broken(key, Some(value.span()), Flaw::Type("string"))),
        }
    }

    fn scope(
        &self,
        prefix: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Scope, PolicyError> {
        let called = format!("scope.{:?}", prefix.get_ref());
        let (name, place) = (prefix.get_ref(), prefix.span());
        if name != DEFAULT && !is_prefix(name) {
            return Err(self.broken(&called, Some(place), Flaw::Scope));
        }
        let mut read = Read::default();
        for (key, value) in self.table(&called, value)? {
            let path = format!("{called}.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "policy" => read.word = Some((self.text(&path, value)?.to_owned(), value.span())),
                "keys" => read.keys = Some((self.keys(&path, value)?, key.span())),
                "identity" => read.identity = Some((self.identity(&path, value)?, key.span())),
                "signed_as" => {
                    let text = self.text(&path, value)?;
                    if !is_prefix(text) || name == DEFAULT {
                        return Err(self.broken(&path, Some(value.span()), Flaw::Scope));
                    }
                    read.signed_as = Some((text.to_owned(), key.span()));
                }
                _ => return Err(self.broken(&path, Some(key.span()), Flaw::Unknown)),
            }
        }
        Ok(Scope {
            prefix: name.to_string(),
            rule: self.rule(&called, place, read)?,
        })
    }

    /// What the keys of a scope mean together.
    fn rule(&self, called: &str, scope: Range<usize>, read: Read) -> Result<Rule, PolicyError> {
        let Some((word, place)) = &read.word else {
            return Err(self.broken(called, Some(scope), Flaw::Missing("policy")));
        };
        let place = Some(place.clone());
        let path = format!("{called}.policy");
        match (word.as_str(), read.useless()) {
            ("cosign", _) => {
                let missing = || self.broken(called, place, Flaw::Missing("keys"));
                let (keys, _) = read.keys.ok_or_else(missing)?;
                Ok(Rule::Cosign {
                    keys,
                    identity: read.identity.map_or(Identity::Repository, |(rule, _)| rule),
                    signed_as: read.signed_as.map(|(prefix, _)| prefix),
                })
            }
            ("accept" | "reject", Some((key, span))) => {
                Err(self.broken(&format!("{called}.{key}"), Some(span), Flaw::Useless))
            }
            ("accept", None) => Ok(Rule::Accept),
            ("reject", None) => Ok(Rule::Reject),
            ("keyless", _) => Err(self.broken(&path, place, Flaw::Keyless)),
            (found, _) => {
                let flaw = Flaw::Word {
                    found: found.to_owned(),
                    expected: "accept, reject, cosign",
                };
                Err(self.broken(&path, place, flaw))
            }
        }
    }

    fn identity(&self, path: &str, value: &Spanned<DeValue<'_>>) -> Result<Identity, PolicyError> {
        match self.text(path, value)? {
            "repository" => Ok(Identity::Repository),
            "exact" => Ok(Identity::Exact),
            "any" => Ok(Identity::Any),
            found => {
                let flaw = Flaw::Word {
                    found: found.to_owned(),
                    expected: "repository, exact, any",
                };
                Err(self.broken(path, Some(value.span()), flaw))
            }
        }
    }

    fn keys(&self, path: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<Key>, PolicyError> {
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.broken(path, Some(value.span()), Flaw::Type("list of keys")));
        };
        let mut keys = Vec::new();
        for value in array {
            let text = self.text(path, value)?;
            let broken = |flaw| self.broken(path, Some(value.span()), flaw);
            let is_inline = text.contains("-----BEGIN");
            let pem = match is_inline {
                true => text.as_bytes().to_vec(),
                false if !Path::new(text).is_absolute() => {
                    return Err(broken(Flaw::Type("PEM text or absolute path")));
                }
                false => fs::read(text).map_err(|source| {
                    broken(Flaw::KeyFile {
                        path: text.into(),
                        source,
                    })
                })?,
            };
            keys.push(Key {
                source: match is_inline {
                    true => "inline".to_owned(),
                    false => text.to_owned(),
                },
                key: PublicKey::parse(&pem).ok_or_else(|| broken(Flaw::PublicKey))?,
            });
        }
        match keys.is_empty() {
            true => Err(self.broken(path, Some(value.span()), Flaw::Missing("a key"))),
            false => Ok(keys),
        }
    }
}

/// Whether a text is the beginning of repositories: a registry, or one with parts of a repository.
fn is_prefix(text: &str) -> bool {
    let (registry, rest) = match text.split_once('/') {
        Some((registry, rest)) => (registry, format!("/{rest}")),
        None => (text, String::new()),
    };
    // As in references, a registry is told by its dot or port.
    let is_registry = registry.contains(['.', ':']) || registry == "localhost";
    // The name of an image below it must be one; `docker.io` has `library` put before names without a slash.
    let below = Name::parse(&format!("{registry}{rest}/x/y"));
    is_registry && below.is_ok_and(|name| name.repository() == format!("{text}/x/y"))
}
