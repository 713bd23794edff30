//! Limits of a pod whose cgroup is a unit of systemd, as properties of that unit: what is written to the files of one is
//! written anew from its properties at any reload. Pure.

use crate::cgroup::Write;
use crate::systemd::{Property, PropertyValue};

/// Microseconds of a second: quotas of systemd are per second.
const SECOND: u128 = 1_000_000;

/// Files that are a number, or `max`, and the property of each (systemd.resource-control(5)).
const NUMBERS: [(&str, &str); 7] = [
    ("cpu.weight", "CPUWeight"),
    ("memory.max", "MemoryMax"),
    ("memory.high", "MemoryHigh"),
    ("memory.low", "MemoryLow"),
    ("memory.min", "MemoryMin"),
    ("memory.swap.max", "MemorySwapMax"),
    ("pids.max", "TasksMax"),
];

/// What systemd is told, and what it knows no property of (huge pages and the like), which is written to the files.
pub(super) fn split(limits: &[Write]) -> (Vec<Property>, Vec<Write>) {
    let (mut properties, mut files) = (Vec::new(), Vec::new());
    for limit in limits {
        match properties_of(&limit.file, limit.value.trim()) {
            Some(found) => properties.extend(found),
            None => files.push(limit.clone()),
        }
    }
    (properties, files)
}

/// The properties of a file with that content; `None`: there are none.
fn properties_of(file: &str, value: &str) -> Option<Vec<Property>> {
    let one = |name, value| Some(vec![Property { name, value }]);
    if let Some((_, name)) = NUMBERS.iter().find(|(known, _)| *known == file) {
        return one(name, PropertyValue::Number(number(value)?));
    }
    match file {
        "cpu.max" => quota(value),
        "cpuset.cpus" => one("AllowedCPUs", PropertyValue::Mask(mask(value)?)),
        "cpuset.mems" => one("AllowedMemoryNodes", PropertyValue::Mask(mask(value)?)),
        _ => None,
    }
}

fn number(value: &str) -> Option<u64> {
    match value {
        "max" => Some(u64::MAX),
        value => value.parse().ok(),
    }
}

/// `quota period`, in microseconds.
fn quota(value: &str) -> Option<Vec<Property>> {
    let (quota, period) = match value.split_once(' ') {
        Some((quota, period)) => (quota, period.parse().ok()?),
        None => (value, 100_000),
    };
    let per_second = match number(quota)? {
        u64::MAX => u64::MAX,
        quota => {
            let scaled = u128::from(quota) * SECOND;
            u64::try_from(scaled.checked_div(u128::from(period))?).ok()?
        }
    };
    let property = |name, number| Property {
        name,
        value: PropertyValue::Number(number),
    };
    Some(vec![
        property("CPUQuotaPeriodUSec", period),
        property("CPUQuotaPerSecUSec", per_second),
    ])
}

/// A list such as `0-3,8`, a bit each.
fn mask(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        for bit in first..=last {
            let index = usize::from(bit / 8);
            if bits.len() <= index {
                bits.resize(index + 1, 0_u8);
            }
            if let Some(byte) = bits.get_mut(index) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Necessity;

    fn told(file: &str, value: &str) -> (Vec<Property>, usize) {
        let write = Write {
            file: file.into(),
            value: value.into(),
            field: String::new(),
            necessity: Necessity::Limit,
        };
        let (properties, files) = split(&[write]);
        (properties, files.len())
    }

    fn number(name: &'static str, number: u64) -> Property {
        let value = PropertyValue::Number(number);
        Property { name, value }
    }

    #[test]
    fn limits_are_properties_where_systemd_has_them() {
        let memory = told("memory.max", "1048576");
        assert_eq!(memory, (vec![number("MemoryMax", 1 << 20)], 0));
        let swap = told("memory.swap.max", "max");
        assert_eq!(swap, (vec![number("MemorySwapMax", u64::MAX)], 0));
        let quota = |value, period, second| {
            let expected = vec![
                number("CPUQuotaPeriodUSec", period),
                number("CPUQuotaPerSecUSec", second),
            ];
            assert_eq!(told("cpu.max", value), (expected, 0), "{value}");
        };
        quota("25000 50000", 50_000, 500_000);
        quota("200000 100000", 100_000, 2_000_000);
        quota("max 100000", 100_000, u64::MAX);
        let cpus = Property {
            name: "AllowedCPUs",
            value: PropertyValue::Mask(vec![0b1001, 0b11]),
        };
        assert_eq!(told("cpuset.cpus", "0,3,8-9"), (vec![cpus], 0));
    }

    #[test]
    fn what_systemd_does_not_know_is_written_to_its_file() {
        for (file, value) in [
            ("hugetlb.2MB.max", "0"),
            ("memory.max", "?"),
            ("cpu.max", "1 0"),
        ] {
            assert_eq!(told(file, value), (Vec::new(), 1), "{file}");
        }
    }
}
