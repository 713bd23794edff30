//! Which logs are meant, and where their files are.

use std::path::{Path, PathBuf};

use crate::cli::arguments::LogsArguments;
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::kubernetes::named_pod::{NamedPod, NamedPods};
use crate::cli::pods::find::Objects;
use crate::cli::pods::target::{Meant, Target};
use crate::cli::writer;
use crate::cri::{ContainerSummary, PodSummary};

/// A log.
#[derive(Debug)]
pub(super) struct Source {
    pod: String,
    container: String,
    /// The container that writes it; none if that has been removed.
    pub(super) id: Option<String>,
    /// The file that is written last.
    pub(super) path: PathBuf,
}

impl Source {
    /// What its lines begin with, if they are told apart.
    pub(super) fn prefix(&self) -> String {
        format!("[pod/{}/{}] ", self.pod, self.container)
    }
}

/// Logs that are there, and why others are not.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) found: Vec<Source>,
    pub(super) errors: Vec<CliError>,
}

/// The logs that a command line means.
pub(super) fn of(daemon: &Daemon, arguments: &LogsArguments) -> Result<Sources, CliError> {
    let mut sources = Sources::default();
    let own = arguments.of_pod.as_deref();
    let Some(word) = arguments.container.as_deref() else {
        let pods = NamedPods::of(&arguments.scope, &arguments.daemon)?;
        let labels = arguments.selector.as_ref();
        let pods = labels.map_or(Ok(Vec::new()), |labels| pods.selected(labels))?;
        if pods.is_empty() {
            let namespace = arguments.scope.name();
            writer::complain(&format!("No resources found in {namespace} namespace."));
        }
        let objects = Objects::of(daemon)?;
        for pod in &pods {
            sources.add_pod(daemon, &objects, pod, arguments)?;
        }
        return Ok(sources);
    };
    let target = Target {
        address: &arguments.daemon,
        scope: &arguments.scope,
        word,
        own,
        is_quiet: false,
    };
    let meant = target.meant()?;
    let objects = Objects::of(daemon)?;
    match meant {
        Meant::Pod(pod) => sources.add_pod(daemon, &objects, &pod, arguments)?,
        Meant::Other if arguments.all_containers => {
            let pod = target.pod(daemon)?;
            for container in objects.containers_of(&pod) {
                let source = source(daemon, &objects, &pod.name, container, arguments.previous);
                sources.add(source)?;
            }
        }
        Meant::Other => {
            let container = target.other_container(Objects::of(daemon)?)?;
            let pod = objects.pod_of(&container.pod_id);
            let pod = pod.map_or("", |pod: &PodSummary| &pod.name);
            let source = source(daemon, &objects, pod, &container, arguments.previous);
            sources.add(source)?;
        }
    }
    Ok(sources)
}

impl Sources {
    /// The logs of a pod of a manifest.
    fn add_pod(
        &mut self,
        daemon: &Daemon,
        objects: &Objects,
        pod: &NamedPod,
        arguments: &LogsArguments,
    ) -> Result<(), CliError> {
        let names = match arguments.all_containers {
            true => pod.containers(),
            false => match pod.choose(arguments.of_pod.as_deref()) {
                Ok(choice) => {
                    choice.note.iter().for_each(|note| writer::complain(note));
                    vec![choice.container]
                }
                Err(error) => return self.add(Err(error)),
            },
        };
        for name in names {
            let source = match objects.container_of(pod.key(), &name) {
                Some(it) => source(daemon, objects, pod.name(), it, arguments.previous),
                None => Err(pod.why_missing(&name)),
            };
            self.add(source)?;
        }
        Ok(())
    }

    /// One that is not there is no reason to leave out the others.
    fn add(&mut self, source: Result<Source, CliError>) -> Result<(), CliError> {
        match source {
            Ok(source) => self.found.push(source),
            Err(error @ CliError::Client(_)) => return Err(error),
            Err(error) => self.errors.push(error),
        }
        Ok(())
    }
}

fn source(
    daemon: &Daemon,
    objects: &Objects,
    pod: &str,
    container: &ContainerSummary,
    is_previous: bool,
) -> Result<Source, CliError> {
    let (id, path) = match is_previous {
        true => previous(daemon, objects, container)?,
        false => (Some(container.id.clone()), log_path(daemon, &container.id)?),
    };
    Ok(Source {
        pod: pod.to_owned(),
        container: container.name.clone(),
        id,
        path,
    })
}

fn log_path(daemon: &Daemon, id: &str) -> Result<PathBuf, CliError> {
    let details = daemon.wait(daemon.client().container_details(id))?;
    match details.log_path.is_empty() {
        true => Err(CliError::NoLog { id: id.to_owned() }),
        false => Ok(details.log_path.into()),
    }
}

/// The container that ran before under this name, if it is still there, and its log.
fn previous(
    daemon: &Daemon,
    objects: &Objects,
    container: &ContainerSummary,
) -> Result<(Option<String>, PathBuf), CliError> {
    let before = objects
        .containers()
        .iter()
        .filter(|other| other.pod_id == container.pod_id && other.name == container.name)
        .filter(|other| other.attempt < container.attempt)
        .max_by_key(|other| other.attempt);
    if let Some(before) = before {
        return Ok((Some(before.id.clone()), log_path(daemon, &before.id)?));
    }
    // The kubelet keeps logs of containers that it has removed: NAME/0.log, NAME/1.log …
    let path = log_path(daemon, &container.id)?;
    let path = container
        .attempt
        .checked_sub(1)
        .and_then(|attempt| sibling(&path, container.attempt, attempt))
        .filter(|path| path.exists());
    match path {
        Some(path) => Ok((None, path)),
        None => Err(CliError::NoSuchObject {
            kind: "previous container of",
            word: container.name.clone(),
        }),
    }
}

fn sibling(path: &Path, attempt: u32, other: u32) -> Option<PathBuf> {
    let is_of_attempt = path.file_name()?.to_str()? == format!("{attempt}.log");
    is_of_attempt.then(|| path.with_file_name(format!("{other}.log")))
}
