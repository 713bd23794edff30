//! Sandboxes and their containers: state machines, procedures, records, recovery.

mod admission;
mod attach;
mod clock;
mod container_sources;
mod container_state;
mod create_container;
mod driver;
mod ends;
mod error;
mod events;
mod exec;
mod exec_stream;
mod exit_file;
mod files;
mod host_ports;
mod identifier;
mod image_volumes;
mod index;
mod metrics;
mod parts;
mod pods;
mod port_forward;
mod procedure;
mod process_file;
mod process_streams;
mod reconnect;
mod record;
mod recovery;
mod remove_container;
mod remove_sandbox;
mod resources;
mod run_sandbox;
mod sandbox_state;
mod shim_message;
mod slot;
mod start_container;
mod statistics;
mod stop_container;
mod stop_sandbox;
mod sysctls;
mod told;
mod update_container;
mod view;

pub use attach::{AtStdinEnd, Attachment};
pub use error::{PodError, PodErrorKind, Subject};
pub use events::PodEvents;
pub use exec_stream::RunningExec;
pub use metrics::{ContainerFigures, SandboxFigures};
pub use parts::*;
pub use pods::Pods;
pub use process_streams::{
    ProcessInput, ProcessOutput, ProcessStreams, Terminal, TerminalSize, WantedStreams,
};
pub use recovery::{recorded_name, recorded_sandboxes};
pub use view::*;
