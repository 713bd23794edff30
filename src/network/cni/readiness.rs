//! Whether pods can be attached, and why not: the files, the programs, their versions, and what STATUS says.
//!
//! Files and programs are looked at each time. What a program must be run for is remembered: the versions that it
//! supports until it is replaced, and the answers of STATUS for two seconds, as clients ask for them in bursts.

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
const FRESH: Duration = Duration::from_secs(2);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    versions: Mutex<HashMap<Program, Vec<String>>>,
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

#[derive(Debug)]
struct Answer {
    network: Arc<NetworkList>,
    until: Instant,
    trouble: Option<String>,
}

impl Readiness {
    /// Why pods cannot be attached to the network; `None` if they can.
    pub(super) async fn trouble(
        &self,
        network: &Arc<NetworkList>,
        directories: &[PathBuf],
        timeout: Duration,
    ) -> Option<String> {
        let chain = Chain {
            network,
            directories,
            deadline: Instant::now() + timeout,
        };
        for plugin in &network.plugins {
            let program = match chain.program(plugin) {
                Ok(program) => program,
                Err(missing) => return Some(missing.to_string()),
            };
            let wanted = network.version.to_string();
            let versions = self.versions(&chain, plugin, &program).await;
            if !versions.is_empty() && !versions.contains(&wanted) {
                return Some(format!(
                    "CNI plugin {:?} ({}) does not support cniVersion {wanted} of network {:?}, but {}",
                    plugin_type(plugin),
                    program.display(),
                    network.name,
                    versions.join(", ")
                ));
            }
        }
        self.status(&chain, network).await
    }

    /// What a program supports; nothing if it does not say.
    async fn versions(
        &self,
        chain: &Chain<'_>,
        plugin: &super::list::Object,
        path: &Path,
    ) -> Vec<String> {
        let Ok(file) = path.metadata() else {
            return Vec::new();
        };
        let program = Program {
            path: path.to_owned(),
            inode: file.ino(),
            changed: (file.ctime(), file.ctime_nsec()),
        };
        if let Some(known) = self.remembered().get(&program) {
            return known.clone();
        }
        let versions = match chain.versions(plugin).await {
            Ok(versions) => versions,
            Err(error) => {
                tracing::debug!(
                    error = error::chain(&error),
                    "a CNI plugin does not tell its versions"
                );
                Vec::new()
            }
        };
        let mut remembered = self.remembered();
        remembered.retain(|other, _| other.path != program.path);
        remembered.insert(program, versions.clone());
        versions
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<Program, Vec<String>>> {
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
