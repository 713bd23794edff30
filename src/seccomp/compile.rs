//! From rules to a program: for each architecture a binary search over the numbers, as the kernel runs a filter once for
//! every number when it is loaded, and at every call whose arguments it looks at.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag};

use super::architecture::{Architecture, X32_BIT};
use super::error::SeccompError;
use super::listener;
use super::program::{
    Instruction, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, Label, Program,
};
use super::rules::{Calls, Clause, Comparison, Condition, KILL_PROCESS, rules};

/// BPF_MAXINSNS, linux/bpf_common.h.
const INSTRUCTIONS_MAX: usize = 4096;

// Offsets into `struct seccomp_data`, linux/seccomp.h, of a little-endian machine.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const ARGUMENT_BYTES: u32 = 8;
const HIGH_HALF: u32 = 4;

// SECCOMP_FILTER_FLAG_*, linux/seccomp.h.
const FLAG_TSYNC: u32 = 1;
const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
const FLAG_WAIT_KILLABLE: u32 = 1 << 5;

/// What a shim loads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `struct sock_filter`, 8 bytes each, in this machine's order.
    pub program: Vec<u8>,
    /// SECCOMP_FILTER_FLAG_*.
    pub flags: u32,
    /// Somebody has to be given the filter's listener: there are calls whose action is SCMP_ACT_NOTIFY.
    pub notifies: bool,
}

/// Compiles a profile for this machine.
///
/// # Errors
///
/// What the profile asks for and is not to be had, by the name of the field.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    let native = Architecture::native().ok_or(SeccompError::Machine)?;
    let notifies = listener::is_wanted(profile)?;
    let instructions = instructions(profile, native)?;
    let bytes = instructions.iter().flat_map(|instruction| {
        let [c0, c1] = instruction.code.to_ne_bytes();
        let [k0, k1, k2, k3] = instruction.value.to_ne_bytes();
        let (yes, no) = (instruction.jump_true, instruction.jump_false);
        [c0, c1, yes, no, k0, k1, k2, k3]
    });
    let program: Vec<u8> = bytes.collect();
    if notifies {
        listener::check_handover(&program)?;
    }
    Ok(Filter {
        program,
        flags: flags(profile),
        notifies,
    })
}

/// Without any, the mitigation that costs every program of a kernel before 5.16 is left off, as runc has it.
fn flags(profile: &LinuxSeccomp) -> u32 {
    let Some(listed) = profile.flags() else {
        return FLAG_SPEC_ALLOW;
    };
    let bits = listed.iter().map(|flag| match flag {
        Flag::SeccompFilterFlagLog => FLAG_LOG,
        Flag::SeccompFilterFlagTsync => FLAG_TSYNC,
        Flag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagWaitKillableRecv => FLAG_WAIT_KILLABLE,
    });
    bits.fold(0, |all, bit| all | bit)
}

/// The program of a profile on a machine of that architecture.
pub(super) fn instructions(
    profile: &LinuxSeccomp,
    native: Architecture,
) -> Result<Vec<Instruction>, SeccompError> {
    let rules = rules(profile, native)?;
    let mut program = Program::default();
    let mut dispatch = program.ret(KILL_PROCESS);
    let mut kinds: Vec<u32> = Vec::new();
    for calls in &rules.calls {
        let kind = calls.architecture.audit();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let mut sections = Vec::new();
    // The machine's own architecture is written last, so it is asked for first.
    for kind in kinds.into_iter().rev() {
        let calls = rules.calls.iter();
        let calls: Vec<&Calls> = calls
            .filter(|calls| calls.architecture.audit() == kind)
            .collect();
        sections.push((kind, section(&mut program, &calls)));
    }
    for (kind, section) in sections {
        dispatch = program.branch(JUMP_EQUAL, kind, section, dispatch);
    }
    let start = program.load(ARCHITECTURE, dispatch);
    let instructions = program.finish(start);
    if instructions.len() > INSTRUCTIONS_MAX {
        return Err(SeccompError::TooLong {
            instructions: instructions.len(),
        });
    }
    Ok(instructions)
}

/// The numbers from `first` to the next range's get what is at the label.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u32,
    label: Label,
}

/// All calls of one kind: those of x86-64 and those of x32 differ by their numbers alone.
fn section(program: &mut Program, calls: &[&Calls]) -> Label {
    let mut ranges = Vec::new();
    let find = |is_x32: bool| {
        let mut calls = calls.iter();
        calls.find(|calls| (calls.architecture == Architecture::X32) == is_x32)
    };
    let is_x86_64 = calls
        .iter()
        .any(|calls| calls.architecture.audit() == Architecture::X86_64.audit());
    match find(false) {
        Some(calls) => add_ranges(program, &mut ranges, 0, calls),
        None => add(&mut ranges, 0, program.ret(KILL_PROCESS)),
    }
    if is_x86_64 {
        match find(true) {
            Some(calls) => add_ranges(program, &mut ranges, X32_BIT, calls),
            None => add(&mut ranges, X32_BIT, program.ret(KILL_PROCESS)),
        }
        // -1 is no call: a tracer has taken the call away, and the kernel asks once more.
        if let Some(calls) = calls.first() {
            add(&mut ranges, u32::MAX, program.ret(calls.other));
        }
    }
    let tree = tree(program, &ranges);
    program.load(NUMBER, tree)
}

fn add_ranges(program: &mut Program, ranges: &mut Vec<Range>, first: u32, calls: &Calls) {
    let mut next = first;
    for (number, clauses) in &calls.clauses {
        if *number > next {
            add(ranges, next, program.ret(calls.other));
        }
        let label = chain(program, clauses, calls);
        add(ranges, *number, label);
        next = number.saturating_add(1);
    }
    add(ranges, next, program.ret(calls.newer));
}

/// Adds a range; one that goes on as the one before needs no end there.
fn add(ranges: &mut Vec<Range>, first: u32, label: Label) {
    if ranges.last().is_none_or(|last| last.label != label) {
        ranges.push(Range { first, label });
    }
}

/// Clauses one after another.
fn chain(program: &mut Program, clauses: &[Clause], calls: &Calls) -> Label {
    let mut otherwise = program.ret(calls.other);
    for clause in clauses.iter().rev() {
        let mut holds = program.ret(clause.action);
        for condition in clause.conditions.iter().rev() {
            let narrow = calls.architecture.is_narrow();
            holds = compare(program, condition, narrow, (holds, otherwise));
        }
        otherwise = holds;
    }
    otherwise
}

/// One condition: the high half decides unless it is equal, then the low half.
fn compare(
    program: &mut Program,
    condition: &Condition,
    narrow: bool,
    (yes, no): (Label, Label),
) -> Label {
    let value = condition.value;
    let (mask, code, yes, no) = match condition.comparison {
        Comparison::Equal => (u64::MAX, JUMP_EQUAL, yes, no),
        Comparison::NotEqual => (u64::MAX, JUMP_EQUAL, no, yes),
        Comparison::Greater => (u64::MAX, JUMP_GREATER, yes, no),
        Comparison::LessOrEqual => (u64::MAX, JUMP_GREATER, no, yes),
        Comparison::GreaterOrEqual => (u64::MAX, JUMP_GREATER_OR_EQUAL, yes, no),
        Comparison::Less => (u64::MAX, JUMP_GREATER_OR_EQUAL, no, yes),
        Comparison::MaskedEqual { mask } => (mask, JUMP_EQUAL, yes, no),
    };
    let argument = u32::try_from(condition.argument).unwrap_or(0);
    let offset = FIRST_ARGUMENT + ARGUMENT_BYTES * argument;
    let mut next = program.branch(code, low(value), yes, no);
    if low(mask) != u32::MAX {
        next = program.and(low(mask), next);
    }
    next = program.load(offset, next);
    if narrow {
        return next;
    }
    next = program.branch(JUMP_EQUAL, high(value), next, no);
    if code != JUMP_EQUAL {
        // Greater by its high half alone.
        next = program.branch(JUMP_GREATER, high(value), yes, next);
    }
    if high(mask) != u32::MAX {
        next = program.and(high(mask), next);
    }
    program.load(offset + HIGH_HALF, next)
}

/// A binary search for the range of a number.
fn tree(program: &mut Program, ranges: &[Range]) -> Label {
    match ranges {
        [] => program.ret(KILL_PROCESS),
        [only] => only.label,
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let first = above.first().map_or(0, |range| range.first);
            let above = tree(program, above);
            let below = tree(program, below);
            program.branch(JUMP_GREATER_OR_EQUAL, first, above, below)
        }
    }
}

fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}
