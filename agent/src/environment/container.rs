//! The variables of one container and its command line (kubelet, `makeEnvironmentVariables`).

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, Pod,
};

use super::{EnvironmentError, expand, field, resource};
use crate::facts::Facts;
use crate::manifest::{DEFAULT_NAMESPACE, names};
use crate::store::Store;

/// The value that a file in a volume of the pod gives; nothing if it has none and need not have one.
pub type FileValue<'a> = &'a dyn Fn(&FileKeySelector) -> Result<Option<String>, EnvironmentError>;

/// What a container is made of, to look things up in.
struct Context<'a> {
    pod: &'a Pod,
    container: &'a Container,
    facts: &'a Facts,
    store: &'a Store,
    file_value: FileValue<'a>,
}

/// The variables of a container, each name once. What comes later overrides: `envFrom` in its order, then `env` in its order;
/// `$(NAME)` in a value names a variable before it.
///
/// # Errors
/// What is referred to and not optional is not there. The text is the kubelet's.
pub fn of_container(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    store: &Store,
    file_value: FileValue<'_>,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let context = Context {
        pod,
        container,
        facts,
        store,
        file_value,
    };
    let mut environment = Vec::new();
    for source in container.env_from.iter().flatten() {
        context.add_all(&mut environment, source)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = context.value(&environment, variable)? {
            set(&mut environment, &variable.name, value);
        }
    }
    Ok(environment)
}

/// The command and the arguments of a container with `$(NAME)` expanded. Empty ones are the image's.
#[must_use]
pub fn command_line(
    container: &Container,
    environment: &[(String, String)],
) -> (Vec<String>, Vec<String>) {
    let expand_all = |words: &Option<Vec<String>>| {
        let words = words.iter().flatten();
        words
            .map(|word| expand(word, |name| value_of(environment, name)))
            .collect()
    };
    (expand_all(&container.command), expand_all(&container.args))
}

impl Context<'_> {
    fn namespace(&self) -> &str {
        let namespace = self.pod.metadata.namespace.as_deref();
        namespace.unwrap_or(DEFAULT_NAMESPACE)
    }

    /// All keys of a Secret or `ConfigMap`; those that can be no name of a variable are passed over.
    fn add_all(
        &self,
        environment: &mut Vec<(String, String)>,
        source: &EnvFromSource,
    ) -> Result<(), EnvironmentError> {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut add = |key: &String, value: String| {
            let name = format!("{prefix}{key}");
            if names::variable(&name).is_none() {
                set(environment, &name, value);
            }
        };
        if let Some(reference) = &source.config_map_ref {
            match self.store.config_map(self.namespace(), &reference.name) {
                Some(map) => map
                    .data
                    .iter()
                    .flatten()
                    .for_each(|(key, value)| add(key, value.clone())),
                None if reference.optional == Some(true) => {}
                None => return Err(no_config_map(&reference.name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match self.store.secret(self.namespace(), &reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        add(key, self.text("Secret", &reference.name, key, &value.0)?);
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(no_secret(&reference.name)),
            }
        }
        Ok(())
    }

    /// The value of a variable; nothing if what it refers to is optional and not there.
    fn value(
        &self,
        environment: &[(String, String)],
        variable: &EnvVar,
    ) -> Result<Option<String>, EnvironmentError> {
        match &variable.value_from {
            Some(source) => self.value_from(source),
            None => {
                let text = variable.value.as_deref().unwrap_or_default();
                Ok(Some(expand(text, |name| value_of(environment, name))))
            }
        }
    }

    fn value_from(&self, source: &EnvVarSource) -> Result<Option<String>, EnvironmentError> {
        if let Some(selector) = &source.field_ref {
            return field(self.pod, &selector.field_path, self.facts).map(Some);
        }
        if let Some(selector) = &source.resource_field_ref {
            return resource(self.pod, Some(self.container), selector, self.facts).map(Some);
        }
        if let Some(selector) = &source.file_key_ref {
            return (self.file_value)(selector);
        }
        if let Some(selector) = &source.config_map_key_ref {
            let is_optional = selector.optional == Some(true);
            let map = self.store.config_map(self.namespace(), &selector.name);
            let Some(map) = map else {
                return or_none(is_optional, no_config_map(&selector.name));
            };
            let value = map.data.as_ref().and_then(|data| data.get(&selector.key));
            return match value {
                Some(value) => Ok(Some(value.clone())),
                None => or_none(
                    is_optional,
                    EnvironmentError::NoConfigMapKey {
                        key: selector.key.clone(),
                        namespace: self.namespace().to_owned(),
                        name: selector.name.clone(),
                    },
                ),
            };
        }
        if let Some(selector) = &source.secret_key_ref {
            let is_optional = selector.optional == Some(true);
            let secret = self.store.secret(self.namespace(), &selector.name);
            let Some(secret) = secret else {
                return or_none(is_optional, no_secret(&selector.name));
            };
            let value = secret
                .data
                .as_ref()
                .and_then(|data| data.get(&selector.key));
            return match value {
                Some(value) => self
                    .text("Secret", &selector.name, &selector.key, &value.0)
                    .map(Some),
                None => or_none(
                    is_optional,
                    EnvironmentError::NoSecretKey {
                        key: selector.key.clone(),
                        namespace: self.namespace().to_owned(),
                        name: selector.name.clone(),
                    },
                ),
            };
        }
        Ok(Some(String::new()))
    }

    fn text(
        &self,
        kind: &'static str,
        name: &str,
        key: &str,
        bytes: &[u8],
    ) -> Result<String, EnvironmentError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_invalid) => Err(EnvironmentError::NotText {
                key: key.to_owned(),
                kind,
                namespace: self.namespace().to_owned(),
                name: name.to_owned(),
            }),
        }
    }
}

fn or_none(is_optional: bool, error: EnvironmentError) -> Result<Option<String>, EnvironmentError> {
    match is_optional {
        true => Ok(None),
        false => Err(error),
    }
}

fn no_config_map(name: &str) -> EnvironmentError {
    EnvironmentError::NoConfigMap {
        name: name.to_owned(),
    }
}

fn no_secret(name: &str) -> EnvironmentError {
    EnvironmentError::NoSecret {
        name: name.to_owned(),
    }
}

fn value_of<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    environment
        .iter()
        .find_map(|(key, value)| (key == name).then_some(value.as_str()))
}

/// Overrides in place, so that names keep the order in which they were first said.
fn set(environment: &mut Vec<(String, String)>, name: &str, value: String) {
    match environment.iter_mut().find(|(key, _)| key == name) {
        Some((_, current)) => *current = value,
        None => environment.push((name.to_owned(), value)),
    }
}
