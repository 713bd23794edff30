//! Whether pods can be attached, and why not: the files, the programs, their versions, and what STATUS says.
//!
//! Files and programs are looked at each time. What a program must be run for is remembered: the versions that it
//! supports until it is replaced, why it does not tell them for a minute, and the answers of STATUS for half a second,
//! as clients ask for them in bursts.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::chain::Chain;
use super::error::{self, CniError};
use super::list::{NetworkList, plugin_type};

/// How long an answer of STATUS is good for.
const FRESH: Duration = Duration::from_millis(500);
/// How long a program that does not tell its versions is not asked again.
const SILENCE: Duration = Duration::from_secs(60);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    versions: Mutex<HashMap<Program, Versions>>,
    /// One STATUS at a time: whoever comes meanwhile gets its answer.
    status: tokio::sync::Mutex<Option<Answer>>,
}

/// A program file: another file of that name is another program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Program {
    path: PathBuf,
    inode: u64,
    changed: (i64, i64),
}

/// What VERSION said.
#[derive(Debug, Clone)]
enum Versions {
    Supported(Vec<String>),
    /// Why it says nothing, and when it is asked again. A reason to warn, not to attach no pods: they do without.
    Untold {
        why: String,
        until: Instant,
    },
}

#[derive(Debug)]
struct Answer {
    network: Arc<NetworkList>,
    until: Instant,
    trouble: Option<String>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(in crate::network) struct Found {
    /// Why pods cannot be attached; `None` if they can.
    pub(in crate::network) trouble: Option<String>,
    /// What does not work as it should all the same, each a sentence.
    pub(in crate::network) warnings: Vec<String>,
}

impl Readiness {
    /// Whether pods can be attached to the network. `timeout` is for each of VERSION and STATUS.
    pub(super) async fn look(
        &self,
        network: &Arc<NetworkList>,
        directories: &[PathBuf],
        timeout: Duration,
    ) -> Found {
        let chain = || Chain {
            network,
            directories,
            deadline: Instant::now() + timeout,
        };
        let mut found = Found::default();
        for plugin in &network.plugins {
            let program = match chain().program(plugin) {
                Ok(program) => program,
                Err(missing) => {
                    found.trouble = Some(missing.to_string());
                    return found;
                }
            };
            let wanted = network.version.to_string();
            match self.versions(&chain(), plugin, &program).await {
                Versions::Supported(versions)
                    if !versions.is_empty() && !versions.contains(&wanted) =>
                {
                    found.trouble = Some(format!(
                        "CNI plugin {:?} ({}) does not support cniVersion {wanted} of network {}, but {}",
                        plugin_type(plugin),
                        program.display(),
                        network.shown(),
                        versions.join(", ")
                    ));
                    return found;
                }
                Versions::Supported(_) => {}
                Versions::Untold { why, .. } => found.warnings.push(format!(
                    "it is unknown whether a CNI plugin supports cniVersion {wanted}: {why}"
                )),
            }
        }
        found.trouble = self.status(&chain(), network).await;
        found
    }

    /// What a program supports.
    async fn versions(
        &self,
        chain: &Chain<'_>,
        plugin: &super::list::Object,
        path: &Path,
    ) -> Versions {
        let Ok(file) = path.metadata() else {
            return Versions::Supported(Vec::new());
        };
        let program = Program {
            path: path.to_owned(),
            inode: file.ino(),
            changed: (file.ctime(), file.ctime_nsec()),
        };
        match self.remembered().get(&program) {
            Some(Versions::Untold { until, .. }) if *until <= Instant::now() => {}
            Some(known) => return known.clone(),
            None => {}
        }
        let versions = match chain.versions(plugin).await {
            Ok(versions) => Versions::Supported(versions),
            Err(error) => {
                let why = error::chain(&error);
                tracing::warn!(error = why, "a CNI plugin does not tell its versions");
                Versions::Untold {
                    why,
                    until: Instant::now() + SILENCE,
                }
            }
        };
        let mut remembered = self.remembered();
        remembered.retain(|other, _| other.path != program.path);
        remembered.insert(program, versions.clone());
        versions
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<Program, Versions>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn status(&self, chain: &Chain<'_>, network: &Arc<NetworkList>) -> Option<String> {
        let mut last = self.status.lock().await;
        if let Some(answer) = &*last
            && answer.network == *network
            && Instant::now() < answer.until
        {
            return answer.trouble.clone();
        }
        let trouble = chain.status().await.err().map(|error| describe(&error));
        *last = Some(Answer {
            network: Arc::clone(network),
            until: Instant::now() + FRESH,
            trouble: trouble.clone(),
        });
        trouble
    }
}

/// The codes of STATUS are told in words beside the plugin's own.
fn describe(error: &CniError) -> String {
    /// Specification 1.1.0, section 2.
    const UNAVAILABLE: u64 = 50;
    const LIMITED: u64 = 51;
    let text = error::chain(error);
    match error {
        CniError::Plugin {
            source: error::PluginError::Refused { code, .. },
            ..
        } => match *code {
            UNAVAILABLE => format!("{text}; it cannot attach pods"),
            LIMITED => format!(
                "{text}; it cannot attach pods, and those that run may have lost their network"
            ),
            _ => text,
        },
        _ => text,
    }
}
