//! From the limits of an OCI specification to the files of cgroup v2: pure.

use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources};

use super::error::CgroupError;

/// Whether a value has to be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Necessity {
    /// A limit that somebody relies on: a missing controller is an error (or a warning, by configuration).
    Limit,
    /// What a cgroup without the file has anyway, or what clients send without meaning it: `max`, the least cpu shares,
    /// no huge pages, no swap.
    Default,
}

/// One write to a file of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Name of the file; what is before its first dot names the controller.
    pub file: String,
    /// What is written, without a line feed.
    pub value: String,
    /// The OCI field that it comes from.
    pub field: String,
    /// Whether it has to be in force.
    pub necessity: Necessity,
}

impl Write {
    /// The controller that has the file.
    pub fn controller(&self) -> &str {
        self.file
            .split_once('.')
            .map_or(self.file.as_str(), |(controller, _)| controller)
    }
}

/// Microseconds of a CFS period where none is given: the kernel's own default.
const DEFAULT_PERIOD: u64 = 100_000;

/// Controllers whose files `unified` may name. Never `cgroup`: `cgroup.procs` and `cgroup.kill` are no limits.
const CONTROLLERS: [&str; 9] = [
    "cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma",
];

/// What has to be written for `resources`, in order: typed limits first, `unified` last, as it is the last word.
///
/// Device rules are not looked at.
///
/// # Errors
///
/// A limit that cgroup v2 does not have, or a value that cannot be.
pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>, CgroupError> {
    refuse_what_v2_lacks(resources)?;
    let mut writes = Vec::new();
    if let Some(cpu) = resources.cpu() {
        cpu_writes(cpu, &mut writes)?;
    }
    if let Some(memory) = resources.memory() {
        memory_writes(memory, &mut writes)?;
    }
    if let Some(pids) = resources.pids() {
        pids_writes(pids, &mut writes);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        huge_page_writes(limit, &mut writes)?;
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        writes.push(unified_write(file, value)?);
    }
    Ok(writes)
}

/// cgroup v1 cpu shares (2 to 262144, default 1024) as a cgroup v2 weight (1 to 10000, default 100).
///
/// The formula of runc 1.3.2 and crun 1.23: the exponent is quadratic in log2(shares), chosen such that the two
/// ends and the defaults meet. The older linear one gave 1024 shares a weight of 39.
pub fn cpu_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "below 2^18: exact in an f64 (52 bits)"
    )]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10000, and a whole number after ceil"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

fn push(
    writes: &mut Vec<Write>,
    file: &str,
    value: impl ToString,
    field: &str,
    necessity: Necessity,
) {
    writes.push(Write {
        file: file.to_owned(),
        value: value.to_string(),
        field: field.to_owned(),
        necessity,
    });
}

fn limit_error(field: &str, value: impl ToString, reason: &'static str) -> CgroupError {
    CgroupError::Limit {
        field: field.to_owned(),
        value: value.to_string(),
        reason,
    }
}

/// `max` for what is negative.
fn or_max(value: i64) -> (String, Necessity) {
    if value < 0 {
        ("max".to_owned(), Necessity::Default)
    } else {
        (value.to_string(), Necessity::Limit)
    }
}

fn cpu_writes(cpu: &LinuxCpu, writes: &mut Vec<Write>) -> Result<(), CgroupError> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        // The kubelet gives 2, the least there is, to everything that asks for nothing.
        let necessity = if shares <= 2 {
            Necessity::Default
        } else {
            Necessity::Limit
        };
        push(
            writes,
            "cpu.weight",
            cpu_weight(shares),
            "cpu.shares",
            necessity,
        );
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let (quota, necessity) = or_max(quota.unwrap_or(-1));
        let period = period.unwrap_or(DEFAULT_PERIOD);
        push(
            writes,
            "cpu.max",
            format!("{quota} {period}"),
            "cpu.quota",
            necessity,
        );
    }
    if let Some(burst) = cpu.burst() {
        push(
            writes,
            "cpu.max.burst",
            burst,
            "cpu.burst",
            Necessity::Limit,
        );
    }
    if let Some(idle) = cpu.idle() {
        push(writes, "cpu.idle", idle, "cpu.idle", Necessity::Limit);
    }
    for (file, field, value) in [
        ("cpuset.cpus", "cpu.cpus", cpu.cpus()),
        ("cpuset.mems", "cpu.mems", cpu.mems()),
    ] {
        let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else {
            continue;
        };
        if value.contains(|c: char| !c.is_ascii_digit() && c != ',' && c != '-') {
            return Err(limit_error(field, value, "not a list like 0-3,5"));
        }
        push(writes, file, value, field, Necessity::Limit);
    }
    Ok(())
}

fn memory_writes(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<(), CgroupError> {
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(limit) = limit {
        let (value, necessity) = or_max(limit);
        push(writes, "memory.max", value, "memory.limit", necessity);
    }
    if let Some(swap) = memory.swap().filter(|swap| *swap != 0) {
        let field = "memory.swap";
        let (value, necessity) = match limit.filter(|limit| *limit > 0) {
            _ if swap < 0 => or_max(swap),
            None => {
                return Err(limit_error(
                    field,
                    swap,
                    "swap has no limit of its own without one of memory",
                ));
            }
            Some(limit) if swap < limit => {
                return Err(limit_error(
                    field,
                    swap,
                    "memory and swap together, so not less than memory.limit",
                ));
            }
            // A kernel without swap accounting has no file, and no swap to be had is what is asked for.
            Some(limit) if swap == limit => ("0".to_owned(), Necessity::Default),
            Some(limit) => ((swap - limit).to_string(), Necessity::Limit),
        };
        push(writes, "memory.swap.max", value, field, necessity);
    }
    if let Some(reservation) = memory.reservation().filter(|value| *value > 0) {
        push(
            writes,
            "memory.low",
            reservation,
            "memory.reservation",
            Necessity::Limit,
        );
    }
    Ok(())
}

fn pids_writes(pids: &LinuxPids, writes: &mut Vec<Write>) {
    // OCI: 0 and below mean no limit.
    let (value, necessity) = or_max(if pids.limit() <= 0 { -1 } else { pids.limit() });
    push(writes, "pids.max", value, "pids.limit", necessity);
}

/// The limit and the limit of reservations, which fail instead of killing by SIGBUS.
fn huge_page_writes(
    limit: &LinuxHugepageLimit,
    writes: &mut Vec<Write>,
) -> Result<(), CgroupError> {
    let size = limit.page_size();
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let right = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(&size[digits.len()..], "KB" | "MB" | "GB");
    if !right {
        return Err(limit_error(
            "hugepageLimits.pageSize",
            size,
            "not a size like 2MB or 1GB",
        ));
    }
    // The kubelet sends 0 for every page size of the node that a container does not ask for.
    let (value, necessity) = match limit.limit() {
        0 => ("0".to_owned(), Necessity::Default),
        bytes => or_max(bytes),
    };
    for file in [
        format!("hugetlb.{size}.max"),
        format!("hugetlb.{size}.rsvd.max"),
    ] {
        push(writes, &file, &value, "hugepageLimits.limit", necessity);
    }
    Ok(())
}

fn unified_write(file: &str, value: &str) -> Result<Write, CgroupError> {
    let field = format!("unified[{file:?}]");
    let known = file.split_once('.').is_some_and(|(controller, rest)| {
        CONTROLLERS.contains(&controller)
            && !rest.is_empty()
            && rest
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
    });
    if !known {
        return Err(limit_error(
            &field,
            value,
            "not the name of a controller's file",
        ));
    }
    if value.is_empty() || value.contains('\0') {
        return Err(limit_error(&field, value, "empty, or with a NUL byte"));
    }
    Ok(Write {
        file: file.to_owned(),
        value: value.to_owned(),
        field,
        // The kubelet sends it with every container; it says how a limit kills, and is none itself.
        necessity: if file == "memory.oom.group" {
            Necessity::Default
        } else {
            Necessity::Limit
        },
    })
}

/// What OCI can say and cgroup v2 (or Carpel) cannot do. The CRI has none of it.
fn refuse_what_v2_lacks(resources: &LinuxResources) -> Result<(), CgroupError> {
    let cpu = resources.cpu().as_ref();
    let memory = resources.memory().as_ref();
    let asked = [
        (
            "cpu.realtimeRuntime",
            cpu.is_some_and(|cpu| cpu.realtime_runtime().is_some()),
        ),
        (
            "cpu.realtimePeriod",
            cpu.is_some_and(|cpu| cpu.realtime_period().is_some()),
        ),
        (
            "memory.kernel",
            memory.is_some_and(|memory| memory.kernel().is_some()),
        ),
        (
            "memory.kernelTCP",
            memory.is_some_and(|memory| memory.kernel_tcp().is_some()),
        ),
        (
            "memory.swappiness",
            memory.is_some_and(|memory| memory.swappiness().is_some()),
        ),
        (
            "memory.disableOOMKiller",
            memory.is_some_and(|memory| memory.disable_oom_killer() == Some(true)),
        ),
        ("blockIO", resources.block_io().is_some()),
        ("network", resources.network().is_some()),
        ("rdma", resources.rdma().is_some()),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(limit_error(
            field,
            "set",
            "not available on cgroup v2 by this field; use unified",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
