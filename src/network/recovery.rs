//! What a start does about sandboxes that are recorded and no more.

use super::bridge;
use super::error::NetworkError;
use super::namespace;
use super::record::{Event, Record, Records};
use super::route::RouteSocket;

/// Releases the attachments of sandboxes whose interface is not there any more: a reboot took it, and with it what the
/// host ports led to. Address and ports are free.
pub(super) fn release_what_is_gone(
    records: &Records,
    live: &mut [(String, Record)],
) -> Result<(), NetworkError> {
    let mut routes =
        RouteSocket::open().map_err(|errno| bridge::netlink("open", "rtnetlink", errno))?;
    let links = routes
        .links()
        .map_err(|errno| bridge::netlink("list interfaces", "of the node", errno))?;
    for (sandbox, record) in live {
        let gone = record.add.as_ref().is_some_and(|(_, host_interface)| {
            !links.iter().any(|link| link.name == *host_interface)
        });
        if gone {
            tracing::info!(
                sandbox,
                "the sandbox's interface is gone: its address is free"
            );
            records.append(sandbox, &Event::Released)?;
            record.apply(Event::Released);
        }
    }
    Ok(())
}

/// Removes what a daemon left for a sandbox that is no more; the record last.
pub(super) fn remove_leftover(
    records: &Records,
    sandbox: &str,
    record: &Record,
) -> Result<(), NetworkError> {
    tracing::info!(sandbox, "removing the network of a sandbox that is no more");
    if let Some((_, host_interface)) = &record.add {
        let mut routes =
            RouteSocket::open().map_err(|errno| bridge::netlink("open", "rtnetlink", errno))?;
        bridge::delete_link(&mut routes, host_interface)?;
    }
    if let Some(path) = &record.namespace {
        namespace::remove(path)?;
    }
    records.remove(sandbox)
}
