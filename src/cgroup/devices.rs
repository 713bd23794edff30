//! From device rules to the BPF program that decides about them: pure. Loading it is not this file's business.
//!
//! What is asked for (read, write, mknod, or several at once) is allowed if each part of it is; a part is decided by the
//! last rule that names both the device and the part. What no rule names is refused. runc decides in the same order.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};

use super::error::CgroupError;

/// `BPF_DEVCG_ACC_*` of linux/bpf.h: mknod, read, write.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const EVERYTHING: u8 = MKNOD | READ | WRITE;

/// The devices that the processes of a cgroup may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAccess {
    /// All of them: there is no program.
    All,
    /// Those that the rules allow.
    Rules(Vec<DeviceRule>),
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    allow: bool,
    /// `BPF_DEVCG_DEV_*`; none: both.
    kind: Option<Kind>,
    /// None: all.
    major: Option<u32>,
    /// None: all.
    minor: Option<u32>,
    /// Bits of `BPF_DEVCG_ACC_*`.
    access: u8,
}

/// `BPF_DEVCG_DEV_*` of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block = 1,
    Character = 2,
}

impl DeviceRule {
    /// Of all devices and all that can be done with them.
    fn is_about_everything(&self) -> bool {
        self.kind.is_none()
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == EVERYTHING
    }
}

/// The rules of `resources` (OCI config-linux.md, "Allowed Device list"). Without a list, all devices may be used.
///
/// # Errors
///
/// A rule of an unknown type or access, or of a number that no device has.
pub fn device_access(resources: &LinuxResources) -> Result<DeviceAccess, CgroupError> {
    let Some(specified) = resources.devices() else {
        return Ok(DeviceAccess::All);
    };
    let mut rules = Vec::with_capacity(specified.len());
    for (index, rule) in specified.iter().enumerate() {
        rules.push(parsed(index, rule)?);
    }
    // What was said before a rule about everything has no effect.
    if let Some(last) = rules.iter().rposition(DeviceRule::is_about_everything) {
        rules.drain(..last);
    }
    let all = rules.first().is_some_and(DeviceRule::is_about_everything)
        && rules.iter().all(|rule| rule.allow);
    Ok(if all {
        DeviceAccess::All
    } else {
        DeviceAccess::Rules(rules)
    })
}

fn parsed(index: usize, rule: &LinuxDeviceCgroup) -> Result<DeviceRule, CgroupError> {
    let refused = |key: &str, value: String, reason| CgroupError::Limit {
        field: format!("linux.resources.devices[{index}].{key}"),
        value,
        reason,
    };
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Kind::Block),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Kind::Character),
        Some(other) => {
            return Err(refused("type", format!("{other:?}"), "not a, b or c"));
        }
    };
    let number = |key, value: Option<i64>| match value {
        // runc writes -1 for a wildcard.
        None | Some(-1) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(refused(key, value.to_string(), "not a number of a device")),
        },
    };
    let mut access = 0;
    for letter in rule.access().as_deref().unwrap_or("rwm").chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return Err(refused("access", letter.to_string(), "not r, w or m")),
        };
    }
    Ok(DeviceRule {
        allow: rule.allow(),
        kind,
        major: number("major", rule.major())?,
        minor: number("minor", rule.minor())?,
        access,
    })
}

/// A register of the program.
#[derive(Debug, Clone, Copy)]
enum Register {
    /// What the program answers: 1 allow, 0 refuse.
    Answer = 0,
    /// `struct bpf_cgroup_dev_ctx` of linux/bpf.h, when the program starts.
    Context = 1,
    /// `BPF_DEVCG_DEV_*` of the request.
    Kind = 2,
    /// The bits of the request that no rule has decided yet.
    Undecided = 3,
    Major = 4,
    Minor = 5,
}

// Opcodes of the kernel's Documentation/bpf/standardization/instruction-set.rst.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_IF_NOT_EQUAL: u8 = 0x56;
const JUMP_IF_ANY_BIT: u8 = 0x46;
const EXIT: u8 = 0x95;

/// `struct bpf_insn` in this machine's byte order.
fn instruction(code: u8, registers: u8, offset: i16, immediate: u32) -> u64 {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

/// An instruction with one register and a constant.
fn with(code: u8, register: Register, offset: i16, immediate: u32) -> u64 {
    let destination = register as u8;
    let registers = if cfg!(target_endian = "little") {
        destination
    } else {
        destination << 4
    };
    instruction(code, registers, offset, immediate)
}

/// Loads a word of the context.
fn load(register: Register, offset: i16) -> u64 {
    let (destination, source) = (register as u8, Register::Context as u8);
    let registers = if cfg!(target_endian = "little") {
        destination | source << 4
    } else {
        destination << 4 | source
    };
    instruction(LOAD_WORD, registers, offset, 0)
}

fn answer(allow: bool) -> [u64; 2] {
    [
        with(MOVE, Register::Answer, 0, allow.into()),
        instruction(EXIT, 0, 0, 0),
    ]
}

/// The program, one number for each instruction.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut program = vec![
        // access_type: the kind in the lower half, what is asked for in the upper one.
        load(Register::Kind, 0),
        with(AND, Register::Kind, 0, 0xffff),
        load(Register::Undecided, 0),
        with(SHIFT_RIGHT, Register::Undecided, 0, 16),
        load(Register::Major, 4),
        load(Register::Minor, 8),
        // access(2) with X_OK asks for nothing of this.
        with(JUMP_IF_NOT_EQUAL, Register::Undecided, 2, 0),
    ];
    program.extend(answer(true));
    let mut otherwise = false;
    for rule in rules.iter().rev() {
        if rule.is_about_everything() {
            // Rules before this one are never reached, which the verifier would refuse.
            otherwise = rule.allow;
            break;
        }
        if rule.access != 0 {
            program.extend(one(rule));
        }
    }
    program.extend(answer(otherwise));
    program
}

/// The instructions of one rule: they answer, or go on with what they have not decided.
fn one(rule: &DeviceRule) -> Vec<u64> {
    let bits = u32::from(rule.access);
    let verdict = if rule.allow {
        let rest = u32::from(EVERYTHING) & !bits;
        vec![
            with(AND, Register::Undecided, 0, rest),
            with(JUMP_IF_NOT_EQUAL, Register::Undecided, 2, 0),
        ]
    } else {
        vec![
            with(JUMP_IF_ANY_BIT, Register::Undecided, 1, bits),
            instruction(JUMP, 0, 2, 0),
        ]
    };
    let conditions = [
        (Register::Kind, rule.kind.map(|kind| kind as u32)),
        (Register::Major, rule.major),
        (Register::Minor, rule.minor),
    ];
    // Over the conditions behind this one, two instructions of the verdict and two of the answer.
    let mut offset = 4;
    let mut reversed = Vec::new();
    for (register, wanted) in conditions.into_iter().rev() {
        if let Some(wanted) = wanted {
            reversed.push(with(JUMP_IF_NOT_EQUAL, register, offset, wanted));
            offset += 1;
        }
    }
    reversed.reverse();
    reversed.extend(verdict);
    reversed.extend(answer(rule.allow));
    reversed
}

#[cfg(test)]
#[path = "devices_tests.rs"]
mod tests;
