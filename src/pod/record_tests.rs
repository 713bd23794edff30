//! The records on disk are those of the golden files: a daemon reads what an older one wrote.
//!
//! `CARPEL_REGENERATE=1 cargo test -p carpel --lib pod::record` writes the golden files anew: only together with a new
//! version, unless fields were added that have a default.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::container_state::Exit;
use super::*;
use crate::oci::{ContainerMetadata, SandboxMetadata};

/// Both ways: what is written now is the golden file, and the golden file is read as what was written.
fn is_golden<T>(name: &str, record: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/state")
        .join(name);
    let text = serde_json::to_string_pretty(record).unwrap() + "\n";
    if std::env::var_os("CARPEL_REGENERATE").is_some() {
        let mut file = fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name}");
    assert_eq!(
        serde_json::from_str::<T>(&golden).unwrap(),
        *record,
        "{name}"
    );
}

fn container(id: &str, phase: ContainerPhase) -> Container {
    Container {
        id: id.to_owned(),
        config: Arc::new(ContainerConfig {
            metadata: ContainerMetadata {
                name: "web".to_owned(),
                attempt: 2,
            },
            command: vec!["/bin/web".to_owned()],
            log_path: "web/2.log".to_owned(),
            ..ContainerConfig::default()
        }),
        created_at: 1_700_000_000_000_000_001,
        image: ImageNames {
            id: "sha256:aa".to_owned(),
            name: "docker.io/library/web:1".to_owned(),
            reference: "docker.io/library/web@sha256:bb".to_owned(),
            volumes: BTreeMap::from([(0, "sha256:cc".to_owned())]),
        },
        log_path: PathBuf::from("/var/log/pods/web/2.log"),
        resources: LinuxResources {
            memory_limit_bytes: 1 << 26,
            ..LinuxResources::default()
        },
        stop_signal: 15,
        user: Some(ResolvedUser {
            uid: 1000,
            gid: 1000,
            supplemental_groups: vec![1000, 20],
            home: "/home/web".to_owned(),
        }),
        phase,
        removing: false,
    }
}

#[test]
fn the_identity_of_a_sandbox_is_written_as_in_its_golden_file() {
    let record = SandboxRecord {
        selinux_categories: String::new(),
        version: VERSION,
        id: "p1".to_owned(),
        boot_id: "8f9b0a4e-0000-4000-8000-000000000001".to_owned(),
        created_at: 1_700_000_000_000_000_000,
        runtime_handler: String::new(),
        config: SandboxConfig {
            metadata: SandboxMetadata {
                name: "web-0".to_owned(),
                uid: "u1".to_owned(),
                namespace: "default".to_owned(),
                attempt: 1,
            },
            hostname: "web-0".to_owned(),
            log_directory: "/var/log/pods".to_owned(),
            ..SandboxConfig::default()
        },
    };
    is_golden("sandbox.json", &record);
}

#[test]
fn the_identity_of_a_container_is_written_as_in_its_golden_file() {
    let made = container("c1", ContainerPhase::Created { pid: 78 });
    is_golden("container.json", &ContainerRecord::of(&made));
}

#[test]
fn the_live_state_is_written_as_in_its_golden_file() {
    let containers = [
        ("c1", ContainerPhase::Creating),
        ("c2", ContainerPhase::Created { pid: 78 }),
        ("c3", ContainerPhase::Starting { pid: 79 }),
        (
            "c4",
            ContainerPhase::Running {
                pid: 80,
                started_at: 1_700_000_000_000_000_002,
            },
        ),
        (
            "c5",
            ContainerPhase::Exited(Exit {
                code: 137,
                reason: "OOMKilled".to_owned(),
                message: String::new(),
                finished_at: 1_700_000_000_000_000_003,
                started_at: 1_700_000_000_000_000_002,
            }),
        ),
    ];
    let record = LiveRecord {
        version: VERSION,
        phase: SandboxPhase::Stopped { leftovers: true },
        addresses: vec!["10.88.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        network_namespace: PathBuf::from("/run/netns/carpel-p1"),
        infra_pid: 77,
        resources: None,
        containers: containers
            .into_iter()
            .map(|(id, phase)| (id.to_owned(), LiveContainer::of(&container(id, phase))))
            .collect(),
    };
    is_golden("state.json", &record);
}
