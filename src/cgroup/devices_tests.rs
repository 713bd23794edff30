//! The program's verdicts, found by interpreting it, against the rules themselves.

use std::fs;
use std::path::Path;

use oci_spec::runtime::LinuxResources;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::{DeviceAccess, DeviceRule, EVERYTHING, Kind, device_access, program};

/// What a process wants of a device.
#[derive(Debug, Clone, Copy)]
struct Request {
    kind: Kind,
    access: u8,
    major: u32,
    minor: u32,
}

impl Request {
    /// `struct bpf_cgroup_dev_ctx`.
    fn context(self) -> [u32; 3] {
        let kind_and_access = self.kind as u32 | u32::from(self.access) << 16;
        [kind_and_access, self.major, self.minor]
    }
}

/// What the kernel's interpreter does with the ten registers' lower halves, for the instructions that we use; panics on any
/// other, on a jump out of the program, and on a jump back.
fn run(program: &[u64], context: [u32; 3]) -> u32 {
    let mut registers = [0_u32; 11];
    let mut at = 0;
    loop {
        let [code, both, o0, o1, i0, i1, i2, i3] = program[at].to_le_bytes();
        let destination = usize::from(both & 15);
        let offset = usize::try_from(i16::from_le_bytes([o0, o1])).unwrap();
        let constant = u32::from_le_bytes([i0, i1, i2, i3]);
        at += 1;
        match code {
            0x61 => {
                assert_eq!(both >> 4, 1, "only the context is read");
                registers[destination] = context[offset / 4];
            }
            0xb4 => registers[destination] = constant,
            0x54 => registers[destination] &= constant,
            0x74 => registers[destination] >>= constant,
            0x05 => at += offset,
            0x56 if registers[destination] != constant => at += offset,
            0x46 if registers[destination] & constant != 0 => at += offset,
            0x56 | 0x46 => {}
            0x95 => return registers[0],
            other => panic!("instruction {:#04x} at {}", other, at - 1),
        }
    }
}

/// The rules as the documentation words them: each part of the request by the last rule that names it.
fn allowed(rules: &[DeviceRule], request: Request) -> bool {
    [1, 2, 4]
        .into_iter()
        .filter(|part| request.access & part != 0)
        .all(|part| {
            let last = rules.iter().rev().find(|rule| {
                rule.kind.is_none_or(|kind| kind == request.kind)
                    && rule.major.is_none_or(|major| major == request.major)
                    && rule.minor.is_none_or(|minor| minor == request.minor)
                    && rule.access & part != 0
            });
            last.is_some_and(|rule| rule.allow)
        })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Block), Just(Kind::Character)]
}

/// Few numbers, so that rules and requests meet; with the ends of the range, as a constant is signed in an instruction.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..3_u32, Just(u32::MAX), Just(1 << 31)]
}

fn rule() -> impl Strategy<Value = DeviceRule> {
    let numbers = (prop::option::of(number()), prop::option::of(number()));
    (
        any::<bool>(),
        prop::option::of(kind()),
        numbers,
        0..=EVERYTHING,
    )
        .prop_map(|(allow, kind, (major, minor), access)| DeviceRule {
            allow,
            kind,
            major,
            minor,
            access,
        })
}

proptest! {
    #[test]
    fn the_program_decides_as_the_rules_say(
        rules in prop::collection::vec(rule(), 0..8),
        kind in kind(),
        access in 0..=EVERYTHING,
        major in number(),
        minor in number(),
    ) {
        let request = Request { kind, access, major, minor };
        let verdict = run(&program(&rules), request.context());
        prop_assert_eq!(verdict, u32::from(allowed(&rules, request)));
    }
}

fn access_of(json: &str) -> Result<DeviceAccess, String> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    device_access(&resources).map_err(|error| error.to_string())
}

fn rules_of(json: &str) -> Vec<DeviceRule> {
    match access_of(json).unwrap() {
        DeviceAccess::Rules(rules) => rules,
        DeviceAccess::All => panic!("all devices are allowed"),
    }
}

/// `c 1:3 rw` as a request.
fn request(text: &str) -> Request {
    let mut words = text.split([' ', ':']);
    let kind = match words.next() {
        Some("b") => Kind::Block,
        _ => Kind::Character,
    };
    let mut number = || words.next().unwrap().parse().unwrap();
    let (major, minor) = (number(), number());
    let access = words.next().unwrap().chars().fold(0, |bits, letter| {
        bits | match letter {
            'r' => 2,
            'w' => 4,
            _ => 1,
        }
    });
    Request {
        kind,
        access,
        major,
        minor,
    }
}

/// The rules that oci/ gives an ordinary container.
fn default_rules() -> Vec<DeviceRule> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/oci/minimal.config.json");
    let config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    rules_of(&config["linux"]["resources"].to_string())
}

#[test]
fn the_default_rules_allow_what_a_container_needs_and_no_disk() {
    let program = program(&default_rules());
    for (text, verdict) in [
        ("c 1:3 rw", 1),
        ("c 1:5 r", 1),
        ("c 1:9 r", 1),
        ("c 5:0 rw", 1),
        ("c 5:2 rw", 1),
        ("c 136:17 rw", 1),
        // Making a node does no harm as long as it cannot be opened.
        ("b 8:0 m", 1),
        ("c 1:1 m", 1),
        ("b 8:0 r", 0),
        ("b 8:0 rw", 0),
        ("b 8:0 rm", 0),
        // /dev/mem, /dev/kmsg, the console of the host, /dev/net/tun, and a block device with the numbers of /dev/null.
        ("c 1:1 r", 0),
        ("c 1:11 r", 0),
        ("c 5:1 w", 0),
        ("c 10:200 rw", 0),
        ("b 1:3 r", 0),
    ] {
        assert_eq!(run(&program, request(text).context()), verdict, "{text}");
    }
}

/// `CARPEL_REGENERATE=1 cargo test -p carpel --lib cgroup::devices` writes the golden file anew.
#[test]
fn the_program_of_the_default_rules_is_the_golden_one() {
    let text: String = program(&default_rules())
        .iter()
        .map(|instruction| {
            let bytes: Vec<String> = instruction
                .to_le_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            bytes.join(" ") + "\n"
        })
        .collect();
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cgroup/default-devices.bpf");
    if std::env::var_os("CARPEL_REGENERATE").is_some() {
        let mut file = fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }
    assert_eq!(text, fs::read_to_string(path).unwrap());
}

#[test]
fn rules_that_end_in_allowing_everything_need_no_program() {
    for json in [
        "{}",
        r#"{"devices": [{"allow": true, "access": "rwm"}]}"#,
        r#"{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "a", "access": "rwm"},
            {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"}]}"#,
    ] {
        assert_eq!(access_of(json), Ok(DeviceAccess::All), "{json}");
    }
}

#[test]
fn an_empty_list_allows_nothing() {
    let rules = rules_of(r#"{"devices": []}"#);
    assert_eq!(run(&program(&rules), request("c 1:3 r").context()), 0);
}

#[test]
fn the_last_rule_that_names_a_device_decides() {
    let rules = rules_of(
        r#"{"devices": [{"allow": true, "access": "rwm"},
            {"allow": false, "type": "c", "major": 10, "access": "rw"},
            {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "r"}]}"#,
    );
    let program = program(&rules);
    for (text, verdict) in [
        ("c 10:200 r", 1),
        ("c 10:200 rw", 0),
        ("c 10:229 r", 0),
        ("c 10:229 m", 1),
        ("b 10:229 r", 1),
    ] {
        assert_eq!(run(&program, request(text).context()), verdict, "{text}");
    }
}

#[test]
fn a_rule_that_cannot_be_is_refused_with_its_field() {
    for (json, message) in [
        (
            r#"{"devices": [{"allow": true, "access": "rwx"}]}"#,
            "linux.resources.devices[0].access = x: not r, w or m",
        ),
        (
            r#"{"devices": [{"allow": true, "type": "c", "major": -7}]}"#,
            "linux.resources.devices[0].major = -7: not a number of a device",
        ),
        (
            r#"{"devices": [{"allow": true}, {"allow": true, "type": "p"}]}"#,
            "linux.resources.devices[1].type = P: not a, b or c",
        ),
    ] {
        assert_eq!(access_of(json), Err(message.to_owned()));
    }
}
