//! `carpel port-forward`: connections to this machine, passed on into a pod.

use std::io::Write;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::target::Target;
use crate::cli::arguments::PortForwardArguments;
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer::{self, Writer};
use crate::streaming::client::{ForwardEnd, Forwarder};

/// A port of this machine, 0 for any that is free, and one of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct PortPair {
    local: u16,
    remote: u16,
}

impl FromStr for PortPair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| {
            let port = text.parse::<u16>().ok().filter(|port| *port > 0);
            port.ok_or("ports are numbers from 1 to 65535, as 8080, 8080:80 or :80")
        };
        match text.split_once(':') {
            None => port(text).map(|port| Self {
                local: port,
                remote: port,
            }),
            Some((local, remote)) => Ok(Self {
                local: match local {
                    "" | "0" => 0,
                    local => port(local)?,
                },
                remote: port(remote)?,
            }),
        }
    }
}

/// Goes on until it is interrupted, or the daemon ends the connection.
pub(in crate::cli) fn run<W: Write>(
    arguments: &PortForwardArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let target = Target {
        address: &arguments.daemon,
        scope: &arguments.scope,
        word: &arguments.pod,
        own: None,
        is_quiet: true,
    };
    let pod = target.pod(&daemon)?;
    let url = daemon.wait(daemon.client().port_forward_url(&pod.id))?;
    let trusted = endpoint::trusted_server(&url, &arguments.daemon)?;
    daemon.wait(async {
        let mut listeners = Vec::new();
        for pair in &arguments.ports {
            let address = SocketAddr::new(arguments.listen, pair.local);
            let failed = |source| CliError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            listeners.push((listener, address, pair.remote));
        }
        let forwarder = Arc::new(Forwarder::open(&url, &trusted).await?);
        let mut tasks = JoinSet::new();
        for (listener, address, remote) in listeners {
            output.line(format!("Forwarding from {address} -> {remote}"))?;
            tasks.spawn(accept(listener, remote, Arc::clone(&forwarder)));
        }
        output.flush()?;
        tokio::select! {
            // Interrupting is how one ends it.
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(CliError::Signals),
            () = forwarder.gone() => Err(CliError::Stream {
                message: "the daemon has ended the connection".to_owned(),
            }),
        }
    })
}

/// Takes connections for one port.
async fn accept(listener: TcpListener, remote: u16, forwarder: Arc<Forwarder>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _address)) => {
                    socket.set_nodelay(true).ok();
                    let forwarder = Arc::clone(&forwarder);
                    connections.spawn(async move {
                        if let ForwardEnd::Refused(why) = forwarder.forward(socket, remote).await {
                            writer::complain(&why);
                        }
                    });
                }
                Err(error) => {
                    writer::complain(&format!("a connection cannot be accepted: {error}"));
                    return;
                }
            },
            // So that those that have ended are forgotten.
            Some(_ended) = connections.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_ports_may_leave_out_the_local_one() {
        let pair = |local, remote| Ok(PortPair { local, remote });
        assert_eq!("80".parse(), pair(80, 80));
        assert_eq!("8080:80".parse(), pair(8080, 80));
        assert_eq!(":80".parse(), pair(0, 80));
        assert_eq!("0:80".parse(), pair(0, 80));
        for text in ["", ":", "80:", "0", "65536", "x:80", "80:81:82"] {
            assert!(text.parse::<PortPair>().is_err(), "{text}");
        }
    }
}
