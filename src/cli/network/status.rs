//! `carpel network status`.

use std::io::Write;

use crate::cli::arguments::{NetworkStatusArguments, TableOrJson};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;
use crate::config::{Config, NetworkMode};
use crate::daemon::{self, NodeNetwork};
use crate::network::{InspectedPod, Presence};

/// The network as `--output json` shows it.
#[derive(serde::Serialize)]
struct ShownNetwork<'a> {
    mode: NetworkMode,
    bridge: &'a str,
    bridge_present: bool,
    bridge_addresses: &'a [String],
    mtu_bytes: u32,
    subnet: String,
    subnet_v6: Option<String>,
    table: &'a str,
    table_present: Option<bool>,
    prepared: usize,
    pods: Vec<ShownPod<'a>>,
    warnings: &'a [String],
}

#[derive(serde::Serialize)]
struct ShownPod<'a> {
    sandbox_id: &'a str,
    name: &'a str,
    namespace: &'a str,
    addresses: Vec<String>,
    host_interface: &'a str,
    host_interface_present: bool,
    network_namespace: Option<String>,
    host_ports: Vec<String>,
}

pub(super) fn status<W: Write>(
    arguments: &NetworkStatusArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let config = Config::read_or_default(arguments.file.path.as_deref())?;
    let found = daemon::inspect_network(&config)?;
    match arguments.output {
        TableOrJson::Json => output.json(&shown(&config, &found))?,
        TableOrJson::Table => {
            for line in lines(&config, &found) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

fn shown<'a>(config: &'a Config, found: &'a NodeNetwork) -> ShownNetwork<'a> {
    let network = &found.network;
    ShownNetwork {
        mode: config.network.mode,
        bridge: config.network.bridge.as_str(),
        bridge_present: network.bridge == Presence::Present,
        bridge_addresses: &network.bridge_addresses,
        mtu_bytes: network.mtu,
        subnet: config.network.subnet.to_string(),
        subnet_v6: config.network.subnet_v6.map(|subnet| subnet.to_string()),
        table: &network.table,
        table_present: match network.table_presence {
            Presence::Present => Some(true),
            Presence::Absent => Some(false),
            Presence::Unknown => None,
        },
        prepared: network.prepared,
        pods: network
            .pods
            .iter()
            .map(|pod| {
                let (namespace, name) = found.name_of(&pod.sandbox);
                ShownPod {
                    sandbox_id: &pod.sandbox,
                    name,
                    namespace,
                    addresses: addresses(pod),
                    host_interface: &pod.host_interface,
                    host_interface_present: pod.interface == Presence::Present,
                    network_namespace: pod
                        .namespace
                        .as_ref()
                        .map(|path| path.display().to_string()),
                    host_ports: ports(pod),
                }
            })
            .collect(),
        warnings: &network.warnings,
    }
}

/// The network in a few lines, then a row for each pod, then what to look after.
fn lines(config: &Config, found: &NodeNetwork) -> Vec<String> {
    let network = &found.network;
    let or_none = |texts: &[String]| {
        if texts.is_empty() {
            "no address".to_owned()
        } else {
            texts.join(", ")
        }
    };
    let mut lines = vec![
        format!("mode      {}", mode(config)),
        match network.bridge {
            Presence::Present => format!(
                "bridge    {}: {}, MTU {}",
                config.network.bridge.as_str(),
                or_none(&network.bridge_addresses),
                network.mtu
            ),
            Presence::Absent | Presence::Unknown => {
                format!("bridge    {}: not there", config.network.bridge.as_str())
            }
        },
        match config.network.subnet_v6 {
            Some(subnet_v6) => format!("subnets   {}, {subnet_v6}", config.network.subnet),
            None => format!("subnet    {}", config.network.subnet),
        },
        format!(
            "nftables  table inet {}: {}",
            network.table,
            match network.table_presence {
                Presence::Present => "there",
                Presence::Absent => "not there",
                Presence::Unknown => "the kernel does not tell",
            }
        ),
        format!(
            "pods      {}, {} networks made ahead",
            network.pods.len(),
            network.prepared
        ),
    ];
    if !network.pods.is_empty() {
        lines.push(String::new());
        let head = [
            "POD",
            "NAMESPACE",
            "SANDBOX",
            "ADDRESSES",
            "INTERFACE",
            "HOST PORTS",
        ];
        lines.extend(table::lines(head, &rows(found)));
    }
    lines.extend(
        network
            .warnings
            .iter()
            .map(|warning| format!("\nwarning: {warning}")),
    );
    lines
}

/// As the configuration file has it.
fn mode(config: &Config) -> String {
    let value = serde_json::to_value(config.network.mode).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn rows(found: &NodeNetwork) -> Vec<[String; 6]> {
    let row = |pod: &InspectedPod| {
        let (namespace, name) = found.name_of(&pod.sandbox);
        let interface = match pod.interface {
            Presence::Present => pod.host_interface.clone(),
            Presence::Absent | Presence::Unknown if pod.host_interface.is_empty() => String::new(),
            Presence::Absent | Presence::Unknown => format!("{} (gone)", pod.host_interface),
        };
        [
            name.to_owned(),
            namespace.to_owned(),
            pod.sandbox.chars().take(13).collect(),
            addresses(pod).join(","),
            interface,
            ports(pod).join(","),
        ]
    };
    found.network.pods.iter().map(row).collect()
}

fn addresses(pod: &InspectedPod) -> Vec<String> {
    let addresses = pod.attachment.iter().flat_map(|found| found.addresses());
    addresses.map(|address| address.to_string()).collect()
}

fn ports(pod: &InspectedPod) -> Vec<String> {
    pod.ports
        .iter()
        .map(|port| format!("{port}->{}", port.port))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::network::{Attachment, HostPort, NetworkInspection, Transport};

    fn found() -> NodeNetwork {
        let pod = InspectedPod {
            sandbox: "0123456789abcdef".into(),
            namespace: Some("/run/netns/carpel-0123456789abcdef".into()),
            attachment: Some(Attachment {
                interface: "eth0".into(),
                address: "10.63.0.2".parse().unwrap(),
                prefix_length: 16,
                gateway: "10.63.0.1".parse().unwrap(),
                mac: "02:ca:0a:3f:00:02".into(),
                ipv6: None,
            }),
            host_interface: "carpel01234567".into(),
            interface: Presence::Present,
            ports: vec![HostPort {
                transport: Transport::Tcp,
                host_port: 8080,
                host_address: None,
                port: 80,
            }],
        };
        NodeNetwork {
            network: NetworkInspection {
                bridge: Presence::Present,
                bridge_addresses: vec!["10.63.0.1/16".into()],
                mtu: 1500,
                table: "carpel".into(),
                table_presence: Presence::Present,
                pods: vec![
                    pod.clone(),
                    InspectedPod {
                        sandbox: "feedfacefeedface".into(),
                        interface: Presence::Absent,
                        ports: Vec::new(),
                        ..pod
                    },
                ],
                prepared: 2,
                warnings: vec!["beware".into()],
            },
            names: BTreeMap::from([(
                "0123456789abcdef".to_owned(),
                ("shop".to_owned(), "web".to_owned()),
            )]),
        }
    }

    #[test]
    fn the_table_has_the_network_the_pods_and_the_warnings() {
        let lines = lines(&Config::default(), &found()).join("\n");
        assert_eq!(
            lines,
            "mode      auto\n\
             bridge    carpel0: 10.63.0.1/16, MTU 1500\n\
             subnet    10.63.0.0/16\n\
             nftables  table inet carpel: there\n\
             pods      2, 2 networks made ahead\n\
             \n\
             POD  NAMESPACE  SANDBOX        ADDRESSES  INTERFACE              HOST PORTS\n\
             web  shop       0123456789abc  10.63.0.2  carpel01234567         tcp/8080->80\n\
             \x20               feedfacefeedf  10.63.0.2  carpel01234567 (gone)\n\
             \n\
             warning: beware"
        );
    }

    #[test]
    fn json_has_what_programs_look_for() {
        let config = Config::default();
        let shown = serde_json::to_value(shown(&config, &found())).unwrap();
        assert_eq!(shown["bridge_present"], true);
        assert_eq!(shown["subnet"], "10.63.0.0/16");
        assert_eq!(shown["subnet_v6"], serde_json::Value::Null);
        assert_eq!(shown["pods"][0]["name"], "web");
        assert_eq!(shown["pods"][0]["host_ports"][0], "tcp/8080->80");
        assert_eq!(shown["pods"][1]["host_interface_present"], false);
    }
}
