//! `carpel agent`: the agent alone, for a runtime that is another process, Carpel or not.

use carpel_agent::{Agent, Settings};

use crate::cli::arguments::AgentArguments;
use crate::cli::endpoint;
use crate::cli::error::CliError;
use crate::cli::serve;
use crate::config::{Config, NodeLabel};
use crate::daemon::agent_settings;
use crate::logging;

pub(in crate::cli) fn run(arguments: AgentArguments) -> Result<(), CliError> {
    let mut config = Config::read_or_default(arguments.runtime.file.path.as_deref())?;
    if let Some(level) = arguments.log_level.clone() {
        config.log.level = level;
    }
    if let Some(format) = arguments.log_format {
        config.log.format = format;
    }
    logging::start(&config.log, None)?;
    let settings = settings(config, arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::Threads)?;
    runtime.block_on(async {
        let shutdown = serve::asked_to_stop().map_err(CliError::Signals)?;
        tracing::info!(
            runtime = %settings.runtime_socket.display(),
            socket = %settings.api_socket.display(),
            "carpel agent starts"
        );
        let agent = Agent::open(settings)
            .await
            .map_err(|error| CliError::Daemon(crate::daemon::DaemonError::Agent(error)))?;
        serve::notify(sd_notify::NotifyState::Ready);
        agent.run(shutdown).await;
        tracing::info!("carpel agent has stopped; pods keep running");
        Ok(())
    })
}

/// The configuration file's, with what the command line says on top.
fn settings(mut config: Config, arguments: AgentArguments) -> Result<Settings, CliError> {
    let absolute = |path: std::path::PathBuf| {
        std::path::absolute(&path).map_err(|source| CliError::Path { path, source })
    };
    for label in arguments.node_label {
        let text = label.clone();
        let label =
            NodeLabel::try_from(label).map_err(|problem| CliError::NodeLabel { text, problem })?;
        config.agent.node_labels.push(label);
    }
    config.agent.node_name = arguments.node_name.or(config.agent.node_name);
    let runtime_socket = endpoint::socket_of(&arguments.runtime)?;
    let mut settings = agent_settings(&config);
    settings.runtime_socket = runtime_socket;
    if let Some(path) = arguments.directory {
        settings.directory = absolute(path)?;
    }
    if let Some(path) = arguments.agent_socket {
        settings.api_socket = absolute(path)?;
    }
    if let Some(path) = arguments.manifests {
        settings.manifests_directory = Some(absolute(path)?);
    }
    if let Some(path) = arguments.logs_directory {
        settings.logs_directory = absolute(path)?;
    }
    Ok(settings)
}
