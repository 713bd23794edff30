//! Programs, interpreted as the kernel does, against what the profiles mean.

use std::collections::BTreeSet;

use carpel_linux::namespace::Namespaces;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator, LinuxSyscall,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::architecture::Architecture;
use super::compile::instructions;
use super::program::Instruction;
use super::{SeccompError, compile, default_profile, parse};

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

/// The kernel's interpreter (net/core/filter.c), for the instructions that a seccomp filter may have.
fn interpret(program: &[Instruction], call: &Call) -> u32 {
    let word = |offset: u32| match offset {
        0 => call.number,
        4 => call.architecture,
        16..64 => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            u32::try_from(argument >> (8 * (offset % 8)) & 0xffff_ffff).unwrap()
        }
        _ => panic!("a load of {offset}"),
    };
    let (mut accumulator, mut next) = (0_u32, 0_usize);
    loop {
        let Instruction {
            code,
            jump_true,
            jump_false,
            value,
        } = program[next];
        next += 1;
        let mut jump =
            |holds: bool| next += usize::from(if holds { jump_true } else { jump_false });
        match code {
            0x20 => accumulator = word(value),
            0x54 => accumulator &= value,
            0x05 => next += value as usize,
            0x15 => jump(accumulator == value),
            0x25 => jump(accumulator > value),
            0x35 => jump(accumulator >= value),
            0x06 => return value,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

/// What a profile means, from its text and nothing that the compiler uses but the tables of numbers.
fn meaning(profile: &LinuxSeccomp, native: Architecture, call: &Call) -> u32 {
    let other = profile.default_action().as_u32(profile.default_errno_ret());
    let mut listed: BTreeSet<Architecture> = profile
        .architectures()
        .iter()
        .flatten()
        .filter_map(|name| Architecture::of_profile(*name))
        .filter(|architecture| native.family().contains(architecture))
        .collect();
    listed.insert(native);
    let x86_64 = Architecture::X86_64.audit();
    if call.architecture == x86_64 && call.number == u32::MAX && native.audit() == x86_64 {
        return other;
    }
    let is_x32 = call.architecture == x86_64 && call.number >= 0x4000_0000;
    let Some(architecture) = listed.into_iter().find(|architecture| {
        architecture.audit() == call.architecture && (*architecture == Architecture::X32) == is_x32
    }) else {
        return KILL_PROCESS;
    };
    let entries: Vec<&LinuxSyscall> = profile.syscalls().iter().flatten().collect();
    let mut highest = None;
    for entry in &entries {
        for name in entry.names() {
            highest = highest.max(architecture.number(name));
            let bare = entry.args().as_ref().is_none_or(Vec::is_empty);
            if let Some((carrier, argument)) = architecture.carrier(name).filter(|_| bare) {
                highest = highest.max(architecture.number(carrier));
                if architecture.number(carrier) == Some(call.number)
                    && call.arguments[0] & 0xffff_ffff == argument
                {
                    return entry.action().as_u32(entry.errno_ret());
                }
            }
            if architecture.number(name) == Some(call.number)
                && holds(entry, architecture.is_narrow(), call)
            {
                return entry.action().as_u32(entry.errno_ret());
            }
        }
    }
    match highest {
        Some(highest) if call.number > highest => match profile.default_action() {
            Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace => other,
            _ => ERRNO | ENOSYS,
        },
        _ => other,
    }
}

fn holds(entry: &LinuxSyscall, narrow: bool, call: &Call) -> bool {
    let conditions: Vec<&LinuxSeccompArg> = entry.args().iter().flatten().collect();
    let indexes: BTreeSet<usize> = conditions
        .iter()
        .map(|condition| condition.index())
        .collect();
    let one = |condition: &&LinuxSeccompArg| {
        let cut = |value: u64| if narrow { value & 0xffff_ffff } else { value };
        let argument = cut(call.arguments[condition.index()]);
        let value = cut(condition.value());
        match condition.op() {
            Operator::ScmpCmpNe => argument != value,
            Operator::ScmpCmpLt => argument < value,
            Operator::ScmpCmpLe => argument <= value,
            Operator::ScmpCmpEq => argument == value,
            Operator::ScmpCmpGe => argument >= value,
            Operator::ScmpCmpGt => argument > value,
            Operator::ScmpCmpMaskedEq => {
                argument & value == condition.value_two().unwrap_or(0) & value
            }
        }
    };
    if indexes.len() < conditions.len() {
        conditions.iter().any(one)
    } else {
        conditions.iter().all(one)
    }
}

const NAMES: [&str; 20] = [
    "read",
    "write",
    "socket",
    "sendto",
    "semop",
    "shmctl",
    "socketcall",
    "ipc",
    "ioctl",
    "clone",
    "clone3",
    "personality",
    "set_tls",
    "openat",
    "open",
    "pwritev2",
    "umount",
    "umount2",
    "statmount",
    "no_such_call",
];

const VALUES: [u64; 9] = [
    0,
    1,
    7,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7e02_0000,
    0x8000_0000_0000_0000,
    u64::MAX,
];

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![select(&VALUES[..]), 0_u64..24, any::<u64>()]
}

fn action() -> impl Strategy<Value = (Action, Option<u32>)> {
    let with_errno = select(&[Action::ScmpActErrno, Action::ScmpActTrace][..]);
    prop_oneof![
        select(
            &[
                Action::ScmpActAllow,
                Action::ScmpActKill,
                Action::ScmpActKillThread,
                Action::ScmpActKillProcess,
                Action::ScmpActTrap,
                Action::ScmpActLog,
            ][..]
        )
        .prop_map(|action| (action, None)),
        (with_errno, proptest::option::of(0_u32..4096)),
    ]
}

fn condition() -> impl Strategy<Value = LinuxSeccompArg> {
    let operators = [
        Operator::ScmpCmpNe,
        Operator::ScmpCmpLt,
        Operator::ScmpCmpLe,
        Operator::ScmpCmpEq,
        Operator::ScmpCmpGe,
        Operator::ScmpCmpGt,
        Operator::ScmpCmpMaskedEq,
    ];
    let two = proptest::option::of(value());
    (0_usize..6, select(operators.to_vec()), value(), two).prop_map(|(index, op, value, two)| {
        let argument = LinuxSeccompArgBuilder::default()
            .index(index)
            .op(op)
            .value(value)
            .value_two(two.unwrap_or(0));
        argument.build().unwrap()
    })
}

fn entry() -> impl Strategy<Value = LinuxSyscall> {
    let names = proptest::collection::vec(select(&NAMES[..]), 1..4);
    let conditions = proptest::collection::vec(condition(), 0..4);
    (names, action(), conditions).prop_map(|(names, (action, errno), conditions)| {
        let mut entry = LinuxSyscall::default();
        entry.set_names(names.into_iter().map(str::to_owned).collect());
        entry.set_action(action);
        entry.set_errno_ret(errno);
        entry.set_args((!conditions.is_empty()).then_some(conditions));
        entry
    })
}

fn profile() -> impl Strategy<Value = LinuxSeccomp> {
    let architectures = [
        Arch::ScmpArchX86_64,
        Arch::ScmpArchX86,
        Arch::ScmpArchX32,
        Arch::ScmpArchAarch64,
        Arch::ScmpArchArm,
        Arch::ScmpArchMips,
    ];
    let listed = proptest::option::of(proptest::sample::subsequence(architectures.to_vec(), 0..6));
    let entries = proptest::collection::vec(entry(), 0..12);
    (action(), listed, entries).prop_map(|((action, errno), listed, entries)| {
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(action);
        profile.set_default_errno_ret(errno);
        profile.set_architectures(listed);
        profile.set_syscalls(Some(entries));
        profile
    })
}

fn number(architecture: Architecture) -> impl Strategy<Value = u32> {
    let named: Vec<u32> = NAMES
        .iter()
        .filter_map(|name| architecture.number(name))
        .collect();
    prop_oneof![
        8 => select(named.clone()),
        2 => (select(named), 0_u32..2).prop_map(|(number, more)| number + more),
        1 => select(&[0_u32, 500, 0x3fff_ffff, 0x4000_0000, 0x4000_0208, u32::MAX - 1, u32::MAX][..]),
        1 => any::<u32>(),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    select(&Architecture::ALL[..])
        .prop_flat_map(|architecture| {
            let audits = prop_oneof![9 => Just(architecture.audit()), 1 => any::<u32>()];
            (
                audits,
                number(architecture),
                proptest::array::uniform6(value()),
            )
        })
        .prop_map(|(architecture, number, arguments)| Call {
            number,
            architecture,
            arguments,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_program_does_what_its_profile_means(
        profile in profile(),
        native in select(&[Architecture::X86_64, Architecture::Aarch64][..]),
        calls in proptest::collection::vec(call(), 64),
    ) {
        let program = instructions(&profile, native).unwrap();
        for call in &calls {
            prop_assert_eq!(
                interpret(&program, call),
                meaning(&profile, native, call),
                "{:x?}", call
            );
        }
    }
}

/// What the default profile answers to a call of this machine.
fn answer(capabilities: &[caps::Capability], name: &str, arguments: [u64; 6]) -> u32 {
    let bits = capabilities
        .iter()
        .fold(0, |bits, one| bits | one.bitmask());
    let native = Architecture::native().unwrap();
    let program = instructions(&default_profile(bits), native).unwrap();
    let call = Call {
        number: native.number(name).unwrap(),
        architecture: native.audit(),
        arguments,
    };
    interpret(&program, &call)
}

#[test]
fn the_default_profile_gives_what_a_capability_opens() {
    use caps::Capability::{CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SYS_TIME};
    let (denied, missing) = (ERRNO | EPERM, ERRNO | ENOSYS);
    let first = |value: u64| [value, 0, 0, 0, 0, 0];
    let none = first(0);
    for (capabilities, name, arguments, expected) in [
        (&[][..], "read", none, ALLOW),
        (&[], "mount", none, denied),
        (&[CAP_SYS_ADMIN], "mount", none, ALLOW),
        (&[], "clone", first(0x11), ALLOW),
        (&[], "clone", first(0x1000_0000), denied),
        (&[], "clone", first(0xf_0000_0000_0011), ALLOW),
        (&[CAP_SYS_ADMIN], "clone", first(0x1000_0000), ALLOW),
        (&[], "clone3", none, missing),
        (&[CAP_SYS_ADMIN], "clone3", none, ALLOW),
        (&[], "unshare", none, denied),
        (&[], "socket", first(2), ALLOW),
        (&[], "socket", first(40), denied),
        (&[], "personality", first(0xffff_ffff), ALLOW),
        (&[], "personality", first(0x4_0000), denied),
        (&[], "keyctl", none, denied),
        (&[CAP_SYS_ADMIN], "keyctl", none, denied),
        (&[], "io_uring_setup", none, denied),
        (&[CAP_SYS_ADMIN], "userfaultfd", none, denied),
        (&[], "chroot", none, denied),
        (&[CAP_SYS_CHROOT], "chroot", none, ALLOW),
        (&[CAP_SYS_TIME], "clock_settime", none, ALLOW),
        (&[], "ptrace", none, ALLOW),
    ] {
        let answer = answer(capabilities, name, arguments);
        assert_eq!(
            answer, expected,
            "{name} {arguments:x?} with {capabilities:?}"
        );
    }
}

#[test]
fn what_is_newer_than_the_default_profile_is_missing_not_denied() {
    let native = Architecture::native().unwrap();
    let program = instructions(&default_profile(0), native).unwrap();
    let call = Call {
        number: 1000,
        architecture: native.audit(),
        arguments: [0; 6],
    };
    assert_eq!(interpret(&program, &call), ERRNO | ENOSYS);
}

#[test]
fn the_default_profile_names_real_calls_and_stays_small() {
    let profile = default_profile(u64::MAX);
    for entry in profile.syscalls().iter().flatten() {
        for name in entry.names() {
            let known = Architecture::ALL
                .iter()
                .any(|architecture| architecture.number(name).is_some());
            assert!(known, "{name}");
        }
    }
    let native = Architecture::native().unwrap();
    let length = instructions(&default_profile(0), native).unwrap().len();
    assert!(length < 600, "{length} instructions");
    assert!(!native.names().is_empty());
}

fn refused(change: impl Fn(&mut LinuxSeccomp)) -> String {
    let mut profile = default_profile(0);
    change(&mut profile);
    let compiled = compile(&profile).map(|filter| filter.program.len());
    compiled.unwrap_err().to_string()
}

fn refused_entry(change: impl Fn(&mut LinuxSyscall)) -> String {
    refused(|profile| {
        let mut entry = LinuxSyscall::default();
        entry.set_names(vec!["read".to_owned()]);
        change(&mut entry);
        profile.set_syscalls(Some(vec![entry]));
    })
}

#[test]
fn profiles_are_read_from_json_and_those_of_docker_refused() {
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
        "comment": "for the test", "args": [{"index": 1, "value": 448, "op": "SCMP_CMP_NE"}]}]}"#;
    let profile = parse(text.as_bytes()).unwrap();
    assert_eq!(profile.default_action(), Action::ScmpActAllow);
    let entry = &profile.syscalls().as_ref().unwrap()[0];
    assert_eq!(
        (entry.names()[0].as_str(), entry.errno_ret()),
        ("mkdir", Some(95))
    );
    let refused = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
    for text in ["", "{", "{}", r#"{"defaultAction": "SCMP_ACT_NONE"}"#] {
        assert_eq!(
            refused(text),
            "not a seccomp profile of the OCI format",
            "{text}"
        );
    }
    let docker = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;
    assert_eq!(
        refused(docker),
        "syscalls[0].excludes: of Docker's format, not of OCI's: it would be left out"
    );
    let map = r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{}]}"#;
    assert!(refused(map).starts_with("archMap: "));
}

#[test]
fn a_listener_needs_a_place_a_reason_and_a_way() {
    let with = |members: &str| {
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {members}}}"#);
        compile(&parse(text.as_bytes()).unwrap())
    };
    let path = r#""listenerPath": "/run/listener.sock", "listenerMetadata": "m""#;
    let entry = |name: &str| {
        format!(r#""syscalls": [{{"names": ["{name}"], "action": "SCMP_ACT_NOTIFY"}}]"#)
    };
    let filter = with(&format!("{path}, {}", entry("mkdir"))).unwrap();
    assert!(filter.notifies);
    assert!(!carpel_linux::seccomp::allows(
        &filter.program,
        libc::SYS_mkdir,
        &[]
    ));
    assert!(!with(r#""syscalls": []"#).unwrap().notifies);
    let refused = |members: &str| with(members).unwrap_err().to_string();
    assert!(!with(path).unwrap().notifies, "as runc has it");
    assert_eq!(
        refused(r#""listenerMetadata": "m""#),
        "listenerMetadata: without listenerPath there is nobody to tell it to"
    );
    assert_eq!(
        refused(&format!("{path}, {}", entry("sendmsg"))),
        "sendmsg is not allowed without conditions: with SCMP_ACT_NOTIFY it is needed to hand the listener on"
    );
    assert_eq!(
        refused(&format!(r#""listenerPath": "a.sock", {}"#, entry("mkdir"))),
        "listenerPath: \"a.sock\" is not an absolute path"
    );
    assert_eq!(
        refused(r#""flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: no entry has the action SCMP_ACT_NOTIFY"
    );
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let notify = refused_entry(|entry| {
        entry.set_action(Action::ScmpActNotify);
    });
    assert_eq!(
        notify,
        "syscalls[0].action: SCMP_ACT_NOTIFY without listenerPath, a socket to send the listener to"
    );
    let useless = refused_entry(|entry| {
        entry.set_errno_ret(Some(1));
    });
    assert_eq!(
        useless,
        "syscalls[0].errnoRet: SCMP_ACT_ALLOW returns no error number"
    );
    let errno = refused_entry(|entry| {
        entry.set_action(Action::ScmpActErrno);
        entry.set_errno_ret(Some(5000));
    });
    assert_eq!(
        errno,
        "syscalls[0].errnoRet: 5000 is no error number: the highest is 4095"
    );
    let argument = refused_entry(|entry| {
        let argument = LinuxSeccompArgBuilder::default().index(6_usize).build();
        entry.set_args(Some(vec![argument.unwrap()]));
    });
    assert_eq!(
        argument,
        "syscalls[0].args[0].index: 6 is no argument of a system call: they are 0 to 5"
    );
    let flag = refused(|profile| {
        profile.set_flags(Some(vec![Flag::SeccompFilterFlagWaitKillableRecv]));
    });
    assert!(flag.contains("WAIT_KILLABLE"), "{flag}");
}

#[test]
fn a_profile_that_the_kernel_would_not_take_is_refused() {
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActAllow);
    let entries = (0..1100_u64).map(|value| {
        let argument = LinuxSeccompArgBuilder::default().value(value).build();
        let mut entry = LinuxSyscall::default();
        entry.set_names(vec!["ioctl".to_owned()]);
        entry.set_action(Action::ScmpActTrap);
        entry.set_args(Some(vec![argument.unwrap()]));
        entry
    });
    profile.set_syscalls(Some(entries.collect()));
    let compiled = compile(&profile).map(|filter| filter.program.len());
    assert!(
        matches!(compiled, Err(SeccompError::TooLong { .. })),
        "{compiled:?}"
    );
}

#[test]
fn flags_are_the_profiles_or_those_of_runc() {
    let flags = |flags: Option<Vec<Flag>>| {
        let mut profile = default_profile(0);
        profile.set_flags(flags);
        compile(&profile).unwrap().flags
    };
    assert_eq!(flags(None), 4);
    assert_eq!(flags(Some(Vec::new())), 0);
    let all = vec![
        Flag::SeccompFilterFlagLog,
        Flag::SeccompFilterFlagTsync,
        Flag::SeccompFilterFlagSpecAllow,
    ];
    assert_eq!(flags(Some(all)), 7);
}

#[test]
fn the_kernel_loads_the_default_profile_and_it_denies() {
    // In a thread of its own: the filter stays until the thread ends.
    let filter = compile(&default_profile(0)).unwrap();
    let denied = std::thread::spawn(move || {
        carpel_linux::process::set_no_new_privileges().unwrap();
        carpel_linux::seccomp::load_filter(&filter.program, filter.flags).unwrap();
        let mounted = carpel_linux::namespace::unshare(Namespaces::MOUNT);
        (mounted.map_err(|error| error.errno()), std::process::id())
    });
    let (unshared, pid) = denied.join().unwrap();
    assert_eq!(unshared, Err(rustix::io::Errno::PERM));
    assert_eq!(pid, std::process::id());
}
