//! `carpel config`: prints, checks and explains the configuration file.

use std::io::Write;

use super::arguments::ConfigCommand;
use super::error::CliError;
use super::writer::Writer;
use crate::config::{Config, DEFAULT_PATH, commented_default};

pub(super) fn run<W: Write>(
    command: &ConfigCommand,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    match command {
        ConfigCommand::Default => output.line(commented_default()?.trim_end())?,
        ConfigCommand::Check { file } => {
            Config::read_or_default(file.as_deref())?;
            let name = file
                .as_deref()
                .unwrap_or_else(|| std::path::Path::new(DEFAULT_PATH));
            output.line(format!("{}: no mistakes", name.display()))?;
        }
        ConfigCommand::Show { file } => {
            let config = Config::read_or_default(file.path.as_deref())?;
            output.line(toml::to_string_pretty(&config)?.trim_end())?;
        }
    }
    Ok(())
}
