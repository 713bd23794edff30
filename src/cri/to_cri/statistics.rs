//! What sandboxes and containers use.

use super::{container, sandbox};
use crate::cri::wire::runtime as wire;
use crate::pod::{
    ContainerStatistics, CpuStatistics, InterfaceStatistics, MemoryStatistics, Pressure,
    PressureLine, Pressures, SandboxStatistics, WritableLayer,
};

/// A container's use of the machine.
pub(in crate::cri) fn container_stats(statistics: &ContainerStatistics) -> wire::ContainerStats {
    let view = &statistics.container;
    wire::ContainerStats {
        attributes: Some(wire::ContainerAttributes {
            id: view.id.clone(),
            metadata: Some(container::metadata(&view.config.metadata)),
            labels: view.config.labels.clone(),
            annotations: view.config.annotations.clone(),
        }),
        cpu: Some(cpu(&statistics.cpu, &statistics.pressures)),
        memory: memory(statistics.memory.as_ref(), &statistics.pressures),
        writable_layer: statistics.writable_layer.as_ref().map(writable_layer),
        swap: statistics.memory.as_ref().and_then(swap),
        io: io(&statistics.pressures, statistics.cpu.timestamp),
    }
}

/// A sandbox's use of the machine.
pub(in crate::cri) fn sandbox_stats(statistics: &SandboxStatistics) -> wire::PodSandboxStats {
    let view = &statistics.sandbox;
    let timestamp = statistics.cpu.timestamp;
    wire::PodSandboxStats {
        attributes: Some(wire::PodSandboxAttributes {
            id: view.id.clone(),
            metadata: Some(sandbox::metadata(&view.config.metadata)),
            labels: view.config.labels.clone(),
            annotations: view.config.annotations.clone(),
        }),
        linux: Some(wire::LinuxPodSandboxStats {
            cpu: Some(cpu(&statistics.cpu, &statistics.pressures)),
            memory: memory(statistics.memory.as_ref(), &statistics.pressures),
            network: network(&statistics.interfaces, timestamp),
            process: statistics.process_count.map(|count| wire::ProcessUsage {
                timestamp,
                process_count: number(count),
            }),
            containers: statistics.containers.iter().map(container_stats).collect(),
            io: io(&statistics.pressures, timestamp),
        }),
        windows: None,
    }
}

fn number(value: u64) -> Option<wire::UInt64Value> {
    Some(wire::UInt64Value { value })
}

fn cpu(cpu: &CpuStatistics, pressures: &Pressures) -> wire::CpuUsage {
    wire::CpuUsage {
        timestamp: cpu.timestamp,
        usage_core_nano_seconds: number(cpu.usage_nanoseconds),
        // The kubelet wants it also in the first answer, when there is nothing to compare with.
        usage_nano_cores: number(cpu.usage_nano_cores),
        psi: pressures.cpu.as_ref().map(pressure),
    }
}

fn memory(memory: Option<&MemoryStatistics>, pressures: &Pressures) -> Option<wire::MemoryUsage> {
    let memory = memory?;
    Some(wire::MemoryUsage {
        timestamp: memory.timestamp,
        working_set_bytes: number(memory.working_set_bytes),
        available_bytes: number(memory.available_bytes),
        usage_bytes: number(memory.usage_bytes),
        rss_bytes: number(memory.rss_bytes),
        page_faults: number(memory.page_faults),
        major_page_faults: number(memory.major_page_faults),
        psi: pressures.memory.as_ref().map(pressure),
    })
}

fn io(pressures: &Pressures, timestamp: i64) -> Option<wire::IoUsage> {
    let psi = pressure(pressures.io.as_ref()?);
    Some(wire::IoUsage {
        timestamp,
        psi: Some(psi),
    })
}

fn pressure(pressure: &Pressure) -> wire::PsiStats {
    let line = |line: &PressureLine| wire::PsiData {
        total: line.total_microseconds,
        avg10: line.average10,
        avg60: line.average60,
        avg300: line.average300,
    };
    wire::PsiStats {
        full: Some(line(&pressure.full)),
        some: Some(line(&pressure.some)),
    }
}

fn swap(memory: &MemoryStatistics) -> Option<wire::SwapUsage> {
    Some(wire::SwapUsage {
        timestamp: memory.timestamp,
        swap_available_bytes: number(memory.swap_available_bytes),
        swap_usage_bytes: number(memory.swap_usage_bytes?),
    })
}

fn writable_layer(layer: &WritableLayer) -> wire::FilesystemUsage {
    wire::FilesystemUsage {
        timestamp: layer.timestamp,
        fs_id: Some(wire::FilesystemIdentifier {
            mountpoint: layer.mountpoint.clone(),
        }),
        used_bytes: number(layer.used_bytes),
        inodes_used: number(layer.inodes_used),
    }
}

/// The first interface is the default one, and is not repeated among the others.
fn network(interfaces: &[InterfaceStatistics], timestamp: i64) -> Option<wire::NetworkUsage> {
    let (first, others) = interfaces.split_first()?;
    Some(wire::NetworkUsage {
        timestamp,
        default_interface: Some(interface(first)),
        interfaces: others.iter().map(interface).collect(),
    })
}

fn interface(interface: &InterfaceStatistics) -> wire::NetworkInterfaceUsage {
    wire::NetworkInterfaceUsage {
        name: interface.name.clone(),
        rx_bytes: number(interface.rx_bytes),
        rx_errors: number(interface.rx_errors),
        tx_bytes: number(interface.tx_bytes),
        tx_errors: number(interface.tx_errors),
    }
}
