//! Network interfaces: figures of the pod, since its containers share them.

use super::{Figures, Metric, Value, counter, labelled};
use crate::pod::InterfaceStatistics;

pub(super) const METRICS: &[Metric] = &[
    counter(
        "container_network_receive_bytes_total",
        &["interface"],
        "Cumulative count of bytes received.",
        |figures| by_interface(figures, |interface| interface.rx_bytes),
    ),
    counter(
        "container_network_receive_packets_total",
        &["interface"],
        "Cumulative count of packets received.",
        |figures| by_interface(figures, |interface| interface.rx_packets),
    ),
    counter(
        "container_network_receive_packets_dropped_total",
        &["interface"],
        "Cumulative count of packets dropped while receiving.",
        |figures| by_interface(figures, |interface| interface.rx_dropped),
    ),
    counter(
        "container_network_receive_errors_total",
        &["interface"],
        "Cumulative count of errors encountered while receiving.",
        |figures| by_interface(figures, |interface| interface.rx_errors),
    ),
    counter(
        "container_network_transmit_bytes_total",
        &["interface"],
        "Cumulative count of bytes transmitted.",
        |figures| by_interface(figures, |interface| interface.tx_bytes),
    ),
    counter(
        "container_network_transmit_packets_total",
        &["interface"],
        "Cumulative count of packets transmitted.",
        |figures| by_interface(figures, |interface| interface.tx_packets),
    ),
    counter(
        "container_network_transmit_packets_dropped_total",
        &["interface"],
        "Cumulative count of packets dropped while transmitting.",
        |figures| by_interface(figures, |interface| interface.tx_dropped),
    ),
    counter(
        "container_network_transmit_errors_total",
        &["interface"],
        "Cumulative count of errors encountered while transmitting.",
        |figures| by_interface(figures, |interface| interface.tx_errors),
    ),
];

fn by_interface(figures: &Figures, value: fn(&InterfaceStatistics) -> u64) -> Vec<Value> {
    let interfaces = figures.interfaces.iter();
    interfaces
        .map(|interface| labelled([&interface.name], value(interface)))
        .collect()
}
