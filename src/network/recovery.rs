//! What a start does about sandboxes that are recorded and no more.

use super::bridge;
use super::error::NetworkError;
use super::namespace;
use super::record::{Record, Records};
use super::route::RouteSocket;

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
