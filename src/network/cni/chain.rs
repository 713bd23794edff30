//! The verbs of the specification over a network's list of plugins.
//!
//! ADD, CHECK, STATUS and GC go through the list forwards, DEL backwards. Every plugin gets its own part of the
//! configuration with the network's name and version, what it can take of the pod's capabilities, and the result so far.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::{CniError, PluginError};
use super::list::{NetworkList, Object, plugin_type};
use super::plugin::{self, Invocation};
use super::version::SpecVersion;

/// A network and what is needed to run its plugins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain<'a> {
    /// The network.
    pub(super) network: &'a NetworkList,
    /// Where the plugins are.
    pub(super) directories: &'a [PathBuf],
    /// When the verb has to be done by all of them.
    pub(super) deadline: Instant,
}

/// Whom a verb is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The sandbox.
    pub(super) container: &'a str,
    /// The path of its namespace; `None` if that is gone.
    pub(super) namespace: Option<&'a Path>,
    /// The interface in it.
    pub(super) interface: &'a str,
    /// CNI_ARGS.
    pub(super) arguments: &'a str,
    /// What is known about the pod, by the names of the capabilities.
    pub(super) capabilities: &'a Object,
}

impl Chain<'_> {
    /// Attaches; the result of the last plugin.
    pub(super) async fn add(&self, target: Target<'_>) -> Result<Value, CniError> {
        let mut result = Value::Null;
        for plugin in &self.network.plugins {
            result = self.run("ADD", plugin, Some(target), Some(&result)).await?;
        }
        Ok(result)
    }

    /// Detaches. Without an error if there is nothing to detach, as the specification asks of plugins.
    pub(super) async fn delete(
        &self,
        target: Target<'_>,
        result: Option<&Value>,
    ) -> Result<(), CniError> {
        let result = result.filter(|_| self.network.version >= SpecVersion::WITH_CHECK);
        for plugin in self.network.plugins.iter().rev() {
            self.run("DEL", plugin, Some(target), result).await?;
        }
        Ok(())
    }

    /// Asks whether an attachment is as ADD left it. Nothing is asked if the network does not want that.
    pub(super) async fn check(&self, target: Target<'_>, result: &Value) -> Result<(), CniError> {
        if self.network.version < SpecVersion::WITH_CHECK || self.network.disable_check {
            return Ok(());
        }
        for plugin in &self.network.plugins {
            self.run("CHECK", plugin, Some(target), Some(result))
                .await?;
        }
        Ok(())
    }

    /// Asks whether pods can be attached. Nothing is asked before specification 1.1.0.
    pub(super) async fn status(&self) -> Result<(), CniError> {
        if self.network.version < SpecVersion::WITH_STATUS {
            return Ok(());
        }
        for plugin in &self.network.plugins {
            self.run("STATUS", plugin, None, None).await?;
        }
        Ok(())
    }

    /// Names the attachments that live, so that the plugins free everything else. All plugins are told, whatever one
    /// of them says or if it hangs: each has `timeout` for itself. The first error is returned. Nothing is said before
    /// specification 1.1.0.
    pub(super) async fn collect(
        &self,
        living: &[(String, String)],
        timeout: Duration,
    ) -> Result<(), CniError> {
        if self.network.version < SpecVersion::WITH_STATUS || self.network.disable_gc {
            return Ok(());
        }
        let living: Vec<Value> = living
            .iter()
            .map(|(container, interface)| json!({ "containerID": container, "ifname": interface }))
            .collect();
        let mut first = Ok(());
        for plugin in &self.network.plugins {
            let mut plugin = plugin.clone();
            // The specification had another name for it at first, and plugins read either.
            for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
                plugin.insert(key.to_owned(), living.clone().into());
            }
            let chain = Chain {
                deadline: Instant::now() + timeout,
                ..*self
            };
            first = first.and(chain.run("GC", &plugin, None, None).await.map(drop));
        }
        first
    }

    /// Which versions of the specification a plugin supports.
    pub(super) async fn versions(&self, plugin: &Object) -> Result<Vec<String>, CniError> {
        let answer = self.run("VERSION", plugin, None, None).await?;
        let versions = answer.get("supportedVersions").and_then(Value::as_array);
        Ok(versions
            .into_iter()
            .flatten()
            .filter_map(|version| version.as_str().map(str::to_owned))
            .collect())
    }

    /// The program of a plugin.
    pub(super) fn program(&self, plugin: &Object) -> Result<PathBuf, CniError> {
        let name = plugin_type(plugin);
        let executable = |path: &PathBuf| {
            path.metadata()
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        self.directories
            .iter()
            .map(|directory| directory.join(name))
            .find(executable)
            .ok_or_else(|| CniError::PluginMissing {
                plugin: name.to_owned(),
                network: self.network.shown(),
                directories: self
                    .directories
                    .iter()
                    .map(|directory| directory.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    async fn run(
        &self,
        verb: &'static str,
        plugin: &Object,
        target: Option<Target<'_>>,
        result: Option<&Value>,
    ) -> Result<Value, CniError> {
        let program = self.program(plugin)?;
        let failed = |source: PluginError| CniError::Plugin {
            verb,
            plugin: plugin_type(plugin).to_owned(),
            network: self.network.shown(),
            source,
        };
        let input = input(self.network, plugin, target, result);
        let invocation = Invocation {
            program: &program,
            environment: self.environment(verb, target),
            input: input.as_bytes(),
            deadline: self.deadline,
        };
        plugin::run(invocation).await.map_err(failed)
    }

    fn environment(
        &self,
        verb: &'static str,
        target: Option<Target<'_>>,
    ) -> Vec<(&'static str, OsString)> {
        let mut directories = OsString::new();
        for directory in self.directories {
            if !directories.is_empty() {
                directories.push(":");
            }
            directories.push(directory);
        }
        let mut environment: Vec<(&'static str, OsString)> =
            vec![("CNI_COMMAND", verb.into()), ("CNI_PATH", directories)];
        if let Some(target) = target {
            let namespace = target.namespace.map(|path| path.as_os_str().to_owned());
            environment.extend([
                ("CNI_CONTAINERID", target.container.into()),
                ("CNI_NETNS", namespace.unwrap_or_default()),
                ("CNI_IFNAME", target.interface.into()),
                ("CNI_ARGS", target.arguments.into()),
            ]);
        }
        environment
    }
}

/// What a plugin reads: its own configuration, completed.
fn input(
    network: &NetworkList,
    plugin: &Object,
    target: Option<Target<'_>>,
    result: Option<&Value>,
) -> String {
    let mut input = plugin.clone();
    input.insert("name".to_owned(), network.name.clone().into());
    input.insert("cniVersion".to_owned(), network.version.to_string().into());
    if let Some(result) = result.filter(|result| !result.is_null()) {
        input.insert("prevResult".to_owned(), result.clone());
    }
    if let Some(target) = target {
        let runtime = runtime_config(plugin, target.capabilities);
        if !runtime.is_empty() {
            input.insert("runtimeConfig".to_owned(), runtime.into());
        }
    }
    Value::Object(input).to_string()
}

/// What is known about the pod and the plugin says that it can take.
fn runtime_config(plugin: &Object, known: &Object) -> Object {
    let taken = plugin.get("capabilities").and_then(Value::as_object);
    taken
        .into_iter()
        .flatten()
        .filter(|(_, takes)| takes.as_bool() == Some(true))
        .filter_map(|(name, _)| Some((name.clone(), known.get(name)?.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_told_its_part_and_what_it_can_take() {
        let plugin = json!({
            "type": "portmap", "snat": true, "name": "wrong", "cniVersion": "0.1.0",
            "capabilities": { "portMappings": true, "mac": false, "ips": true },
        });
        let list = json!({ "name": "n", "cniVersion": "1.0.0", "plugins": [plugin] });
        let (network, _) = NetworkList::from_list(list.as_object().unwrap()).unwrap();
        let known = json!({ "portMappings": [{ "hostPort": 80 }], "mac": "02:00:00:00:00:01" });
        let target = Target {
            container: "c",
            namespace: None,
            interface: "eth0",
            arguments: "",
            capabilities: known.as_object().unwrap(),
        };
        let result = json!({ "ips": [] });
        let text = input(&network, &network.plugins[0], Some(target), Some(&result));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            json!({
                "type": "portmap", "snat": true, "name": "n", "cniVersion": "1.0.0",
                "capabilities": { "portMappings": true, "mac": false, "ips": true },
                "runtimeConfig": { "portMappings": [{ "hostPort": 80 }] },
                "prevResult": { "ips": [] },
            })
        );
        let text = input(&network, &network.plugins[0], None, Some(&Value::Null));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.get("prevResult").is_none() && value.get("runtimeConfig").is_none());
    }
}
