//! A profile's entries by architecture and number: what is compiled.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};

use super::architecture::Architecture;
use super::error::SeccompError;

/// SECCOMP_RET_KILL_PROCESS, linux/seccomp.h: what a call by an architecture gets that the profile does not have.
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
/// SECCOMP_RET_ERRNO with ENOSYS, 38 on every architecture here.
pub(super) const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;
/// MAX_ERRNO, linux/err.h.
const ERRNO_MAX: u32 = 4095;
/// `seccomp_data.args`, linux/seccomp.h.
const ARGUMENTS: usize = 6;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// Of the bits of a mask.
    MaskedEqual {
        mask: u64,
    },
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub argument: usize,
    pub comparison: Comparison,
    pub value: u64,
}

/// What is returned (SECCOMP_RET_*) when all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub conditions: Vec<Condition>,
    pub action: u32,
}

/// The calls of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calls {
    pub architecture: Architecture,
    /// By number; the first clause that holds decides. Nothing follows one without conditions.
    pub clauses: BTreeMap<u32, Vec<Clause>>,
    /// What the other calls get, up to the highest number.
    pub other: u32,
    /// What numbers above all of `clauses` get.
    pub newer: u32,
}

/// A whole profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub calls: Vec<Calls>,
}

/// Reads a profile for a machine of that architecture.
pub(super) fn rules(profile: &LinuxSeccomp, native: Architecture) -> Result<Rules, SeccompError> {
    let other = action(
        profile.default_action(),
        ("defaultErrnoRet", profile.default_errno_ret()),
    )?;
    // A tracer is asked about calls that nobody knows, too.
    let permissive = matches!(
        profile.default_action(),
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace
    );
    let newer = if permissive { other } else { NO_SUCH_CALL };
    let mut entries = Vec::new();
    for (index, entry) in profile.syscalls().iter().flatten().enumerate() {
        entries.push((entry, clauses(index, entry)?));
    }
    let calls = architectures(profile, native)
        .into_iter()
        .map(|architecture| {
            let clauses = by_number(architecture, &entries);
            Calls {
                architecture,
                newer: if clauses.is_empty() { other } else { newer },
                clauses,
                other,
            }
        });
    Ok(Rules {
        calls: calls.collect(),
    })
}

/// The machine's own first, then those of the profile whose programs it runs.
fn architectures(profile: &LinuxSeccomp, native: Architecture) -> Vec<Architecture> {
    let mut found = vec![native];
    let listed = profile.architectures().iter().flatten();
    for architecture in listed.filter_map(|name| Architecture::of_profile(*name)) {
        if native.family().contains(&architecture) && !found.contains(&architecture) {
            found.push(architecture);
        }
    }
    found
}

fn by_number(
    architecture: Architecture,
    entries: &[(&LinuxSyscall, Vec<Clause>)],
) -> BTreeMap<u32, Vec<Clause>> {
    let mut found: BTreeMap<u32, Vec<Clause>> = BTreeMap::new();
    let mut add = |name: &str, clause: Clause| {
        let Some(number) = architecture.number(name) else {
            return;
        };
        let clauses = found.entry(number).or_default();
        // What comes after a clause that always holds is never reached.
        if clauses
            .last()
            .is_none_or(|last| !last.conditions.is_empty())
        {
            clauses.push(clause);
        }
    };
    for (entry, clauses) in entries {
        for name in entry.names() {
            for clause in clauses {
                add(name, clause.clone());
                // The other arguments of a carried call are behind a pointer.
                if let Some((carrier, number)) = architecture.carrier(name)
                    && clause.conditions.is_empty()
                {
                    let condition = Condition {
                        argument: 0,
                        comparison: Comparison::Equal,
                        value: number,
                    };
                    let conditions = vec![condition];
                    let action = clause.action;
                    add(carrier, Clause { conditions, action });
                }
            }
        }
    }
    found
}

/// The clauses of an entry: one, or one for each condition if two of them are about the same argument.
fn clauses(index: usize, entry: &LinuxSyscall) -> Result<Vec<Clause>, SeccompError> {
    let action = action(
        entry.action(),
        (&format!("syscalls[{index}].errnoRet"), entry.errno_ret()),
    )?;
    let mut conditions = Vec::new();
    for (number, argument) in entry.args().iter().flatten().enumerate() {
        conditions.push(condition(
            || format!("syscalls[{index}].args[{number}].index"),
            argument,
        )?);
    }
    let repeated = conditions.iter().enumerate().any(|(number, one)| {
        let before = conditions.iter().take(number);
        before.clone().any(|other| other.argument == one.argument)
    });
    if !repeated {
        return Ok(vec![Clause { conditions, action }]);
    }
    let alone = conditions.into_iter().map(|condition| Clause {
        conditions: vec![condition],
        action,
    });
    Ok(alone.collect())
}

fn condition(
    field: impl Fn() -> String,
    argument: &LinuxSeccompArg,
) -> Result<Condition, SeccompError> {
    if argument.index() >= ARGUMENTS {
        return Err(SeccompError::Argument {
            field: field(),
            index: argument.index(),
        });
    }
    let mut value = argument.value();
    let comparison = match argument.op() {
        Operator::ScmpCmpNe => Comparison::NotEqual,
        Operator::ScmpCmpLt => Comparison::Less,
        Operator::ScmpCmpLe => Comparison::LessOrEqual,
        Operator::ScmpCmpEq => Comparison::Equal,
        Operator::ScmpCmpGe => Comparison::GreaterOrEqual,
        Operator::ScmpCmpGt => Comparison::Greater,
        Operator::ScmpCmpMaskedEq => {
            // Here `value` is the mask. Bits of valueTwo outside of it mean nothing.
            let mask = std::mem::replace(&mut value, argument.value_two().unwrap_or(0));
            value &= mask;
            Comparison::MaskedEqual { mask }
        }
    };
    Ok(Condition {
        argument: argument.index(),
        comparison,
        value,
    })
}

/// SECCOMP_RET_* of an action. Without an error number it is EPERM, OCI config-linux.md.
fn action(action: Action, (errno_field, errno): (&str, Option<u32>)) -> Result<u32, SeccompError> {
    let takes_errno = matches!(action, Action::ScmpActErrno | Action::ScmpActTrace);
    match errno {
        Some(_) if !takes_errno => Err(SeccompError::ErrnoWithoutUse {
            field: errno_field.to_owned(),
            action: action.to_string(),
        }),
        Some(value) if value > ERRNO_MAX => Err(SeccompError::Errno {
            field: errno_field.to_owned(),
            value,
        }),
        _ => Ok(action.as_u32(errno)),
    }
}
