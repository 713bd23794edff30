//! `make demo`: pods from Kubernetes manifests on a private Carpel, shown as a person wants to see them, and everything removed at the
//! end.
//!
//! The demo runs in a network and a mount namespace of its own, with state, sockets and cgroups of its own. Every process
//! that it causes stays its descendant (it is their subreaper), so that at the end it can tell that none is left. It
//! uses the program `carpel` beside it for what a person would type, and speaks CRI to look and to clean up.

mod act;
mod busybox;
mod client;
mod error;
mod image;
mod namespaces;
mod processes;
mod screen;
mod stage;
mod timeline;

/// The CRI as any client has it: made from `proto/cri/api.proto` by the package's build script.
#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "made by a generator; the demo needs a part of it"
)]
mod runtime_v1 {
    tonic::include_proto!("runtime.v1");
}

use std::fmt;
use std::process::ExitCode;

use error::DemoError;
use screen::Screen;
use stage::Stage;

/// The build script leaves it out, so that no credentials are printed by mistake.
impl fmt::Debug for runtime_v1::AuthConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AuthConfig")
    }
}

fn main() -> ExitCode {
    let mut screen = Screen::stdout();
    let outcome = namespaces::enter().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(DemoError::Runtime)?;
        runtime.block_on(show(&mut screen))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The play, and whatever ends it, the removal of the stage.
async fn show(screen: &mut Screen) -> Result<(), DemoError> {
    let mut interrupted = std::pin::pin!(stage::interrupted()?);
    let mut stage = Stage::build()?;
    let outcome = tokio::select! {
        outcome = act::play(&mut stage, screen) => outcome,
        signal = &mut interrupted => Err(DemoError::Interrupted { signal }),
    };
    if let Err(error) = &outcome {
        screen.error(error);
        stage.show_log(screen);
    }
    screen.heading("Everything is removed");
    // A second Ctrl-C does not stop the removal: it has deadlines of its own.
    stage.remove(screen).await?;
    // It is printed already; what is left to say is the exit code.
    outcome.or(Err(DemoError::Unfinished))
}
