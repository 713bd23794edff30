//! A table whose rows look at the cluster one after the other.

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use carpel_integration::table::{Table, Verdict};

/// What a row does, and how it went.
pub(crate) type Look = fn(&Node, &Cluster<'_>) -> Verdict;

/// Shows all rows, fails if one of them has, and removes what they made.
pub(crate) fn show(node: &Node, cluster: &Cluster<'_>, rows: &[(&str, Look)]) {
    let mut table = Table::default();
    for (what, look) in rows {
        table.row(what, look(node, cluster));
    }
    table.finish();
    cluster.remove_all();
}
