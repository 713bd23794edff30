//! The pod of the demo: a web server that reads its settings from a file of the host, and a client that asks it.

use std::path::Path;

use super::image::REFERENCE;
use crate::runtime_v1 as cri;

/// What the server reads.
pub(crate) const SETTINGS: &str = "PORT=8080\nGREETING=\"hello from a file of the host\"\n";

/// Where it reads it.
pub(crate) const SETTINGS_PATH: &str = "/etc/demo/web.conf";

const WEB: &str = r#"
. /etc/demo/web.conf
echo "web: settings read, port $PORT"
echo "$GREETING" > /srv/index.html
trap 'echo "web: told to stop"; kill $!; exit 0' TERM
httpd -f -vv -p 127.0.0.1:$PORT -h /srv &
wait $!
"#;

const CLIENT: &str = r#"
trap 'echo "client: told to stop"; exit 0' TERM
number=0
while true; do
    number=$((number + 1))
    echo "client: answer $number: $(wget -q -O - http://127.0.0.1:8080/ 2>&1)"
    sleep 0.5 &
    wait $!
done
"#;

pub(crate) fn sandbox(logs: &Path) -> cri::PodSandboxConfig {
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: "demo".to_owned(),
            uid: "00000000-0000-4000-8000-00000000de30".to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        hostname: "demo".to_owned(),
        log_directory: logs.display().to_string(),
        linux: Some(cri::LinuxPodSandboxConfig {
            security_context: Some(cri::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The server, with the settings mounted read-only.
pub(crate) fn web(settings: &Path) -> cri::ContainerConfig {
    cri::ContainerConfig {
        mounts: vec![cri::Mount {
            container_path: SETTINGS_PATH.to_owned(),
            host_path: settings.display().to_string(),
            readonly: true,
            ..Default::default()
        }],
        ..container("web", WEB)
    }
}

/// Asks the server twice a second.
pub(crate) fn client() -> cri::ContainerConfig {
    container("client", CLIENT)
}

fn container(name: &str, script: &str) -> cri::ContainerConfig {
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        }),
        image: Some(cri::ImageSpec {
            image: REFERENCE.to_owned(),
            ..Default::default()
        }),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: format!("{name}.log"),
        linux: Some(cri::LinuxContainerConfig {
            security_context: Some(cri::LinuxContainerSecurityContext {
                namespace_options: Some(namespaces()),
                no_new_privs: true,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Network and ipc shared by the pod; each container counts its own processes.
fn namespaces() -> cri::NamespaceOption {
    cri::NamespaceOption {
        network: cri::NamespaceMode::Pod.into(),
        ipc: cri::NamespaceMode::Pod.into(),
        pid: cri::NamespaceMode::Container.into(),
        ..Default::default()
    }
}
