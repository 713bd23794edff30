//! Debian's docker-registry inside a node, in front of the node's own one: what a pull with TLS and a password meets.

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;

use crate::node::Node;
use crate::wait::wait_for;

/// Where Debian has it.
pub const PROGRAM: &str = "/usr/bin/docker-registry";

/// The user carpel with the password `secret`, by bcrypt with the fewest rounds.
const PASSWORDS: &str = "carpel:$2b$05$JVqIzh1i1h/6GjFZIBBOiuS4PwoS40x3a6qTD9dRD7j0JDLb6OhZ.\n";

/// docker-registry inside a node.
#[derive(Debug)]
pub struct Cache<'a> {
    node: &'a Node,
    /// Where it listens, as HOST:PORT.
    pub address: String,
    folder: PathBuf,
    nsenter: std::process::Child,
}

impl<'a> Cache<'a> {
    /// Starts one that anybody may ask by plain HTTP.
    #[must_use]
    pub fn open(node: &'a Node, port: u16) -> Self {
        Self::start(node, port, "")
    }

    /// Starts one that speaks TLS and wants a password; `ca.pem` in its folder is its authority.
    #[must_use]
    pub fn locked(node: &'a Node, port: u16) -> Self {
        let folder = folder(node, port);
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(parameters, key);
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        write(&folder.join("ca.pem"), &authority);
        write(&folder.join("cert.pem"), &certificate.pem());
        write(&folder.join("key.pem"), &key.serialize_pem());
        write(&folder.join("passwords"), PASSWORDS);
        let path = folder.display();
        let rest = format!(
            "  tls:\n    certificate: {path}/cert.pem\n    key: {path}/key.pem\n\
             auth:\n  htpasswd:\n    realm: test\n    path: {path}/passwords\n"
        );
        Self::start(node, port, &rest)
    }

    fn start(node: &'a Node, port: u16, rest: &str) -> Self {
        let folder = folder(node, port);
        let address = format!("127.0.0.1:{port}");
        let path = folder.display();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {path}/storage\n\
             proxy:\n  remoteurl: http://127.0.0.1:5000\nhttp:\n  addr: {address}\n{rest}"
        );
        let file = folder.join("config.yml");
        write(&file, &config);
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let script = format!(
            "echo $$ >{path}/pid; exec {PROGRAM} serve {}",
            file.display()
        );
        let nsenter = node
            .command("sh")
            .args(["-c", &script])
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let cache = Self {
            node,
            address,
            folder,
            nsenter,
        };
        wait_for("docker-registry to listen", Duration::from_secs(20), || {
            let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
            let status = node
                .command("bash")
                .args(["-c", &connect])
                .output()
                .unwrap()
                .status;
            status.success().then_some(())
        });
        cache
    }

    /// The file of the authority of its certificate.
    #[must_use]
    pub fn authority(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }

    /// Ends it.
    pub fn stop(mut self) {
        let pid = std::fs::read_to_string(self.folder.join("pid")).unwrap();
        self.node.signal("KILL", pid.trim().parse().unwrap());
        self.nsenter.wait().unwrap();
    }
}

fn folder(node: &Node, port: u16) -> PathBuf {
    let folder = node.work.join(format!("cache-{port}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Puts a text into a file, also in the place of another one.
pub fn write(path: &Path, text: &str) {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Rules for registry.k8s.io, in effect at once.
pub fn rule(node: &Node, text: &str) {
    write(&node.work.join("certs.d/registry.k8s.io/hosts.toml"), text);
}
