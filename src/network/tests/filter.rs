//! nf_tables on real kernels: what our table does to packets, and whose chains are found to drop them.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::bridge::table_name;
use super::super::nftables::{ForeignDrop, foreign_drops};
use super::ports::{AT_PORT_53, AT_PORT_8080};
use super::{on_a_node, outside, pod, pod_with_ports, without_nat};

/// Feeds rules to nft(8), the other implementation; false without it.
fn nft(arguments: &[&str], input: &str) -> Option<String> {
    let mut child = match Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            println!("SKIP nft: {error}");
            return None;
        }
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "nft {arguments:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn root_nft_reads_our_table_as_we_meant_it() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        if without_nat(&network).await {
            return;
        }
        let ports = [AT_PORT_8080, AT_PORT_53];
        drop(pod_with_ports(&network, "pod", &ports).await);
        let Some(text) = nft(&["list", "table", "inet", "carpel"], "") else {
            return;
        };
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Some versions show the number.
        let text = text.replace("priority -100", "priority dstnat");
        assert_eq!(
            words(&text),
            words(
                "table inet carpel {
                    map host_address_ports_v4 {
                        type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
                        elements = { 127.0.0.1 . udp . 53 : 10.63.0.2 . 5353 }
                    }
                    map host_ports_v4 {
                        type inet_proto . inet_service : ipv4_addr . inet_service
                        elements = { tcp . 8080 : 10.63.0.2 . 80 }
                    }
                    map host_address_ports_v6 {
                        type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
                    }
                    map host_ports_v6 {
                        type inet_proto . inet_service : ipv6_addr . inet_service
                    }
                    chain host_ports {
                        dnat ip to ip daddr . meta l4proto . th dport map @host_address_ports_v4
                        meta nfproto ipv4 dnat ip to meta l4proto . th dport map @host_ports_v4
                    }
                    chain guard {
                        type filter hook prerouting priority raw; policy accept;
                        iifname \"carpel0\" ip daddr 127.0.0.0/8 drop
                    }
                    chain prerouting {
                        type nat hook prerouting priority dstnat; policy accept;
                        fib daddr type local jump host_ports
                    }
                    chain output {
                        type nat hook output priority dstnat; policy accept;
                        fib daddr type local jump host_ports
                    }
                    chain forward {
                        type filter hook forward priority filter; policy accept;
                        iifname \"carpel0\" accept
                        oifname \"carpel0\" accept
                    }
                    chain redirects {
                        type filter hook output priority filter; policy accept;
                        oifname \"carpel0\" icmp type redirect drop
                    }
                    chain postrouting {
                        type nat hook postrouting priority srcnat; policy accept;
                        ip saddr 127.0.0.0/8 oifname \"carpel0\" masquerade
                        ip saddr 10.63.0.0/16 ip daddr != 10.63.0.0/16 oifname != \"carpel0\" masquerade
                        ip saddr 10.63.0.0/16 ip daddr 10.63.0.0/16 ct status dnat masquerade
                    }
                }"
            )
        );
        drop(network);
    });
}

#[test]
fn root_beyond_the_node_a_pod_has_the_address_of_the_node() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        if without_nat(&network).await {
            return;
        }
        let (pod, attachment) = pod(&network, "pod").await;
        let outside = outside(&network).await;
        let there = IpAddr::from([192, 0, 2, 2]);
        let listener = outside
            .inside("listen", || TcpListener::bind((there, 0)).unwrap())
            .unwrap();
        let to = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
        let stream = pod.inside("connect", connect).unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), attachment.address);
        let (mut heard, seen) = listener.accept().unwrap();
        assert_eq!(seen.ip(), IpAddr::from([192, 0, 2, 1]));
        drop(stream);
        assert_eq!(heard.read_to_end(&mut Vec::new()).unwrap(), 0);
    });
}

#[test]
fn root_foreign_chains_that_drop_are_named_with_what_to_do() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        if without_nat(&network).await {
            return;
        }
        assert_eq!(foreign_drops(&table_name("carpel0")).unwrap(), []);
        let rules = "
            table ip filter {
                chain FORWARD { type filter hook forward priority filter; policy drop; counter accept; }
                chain INPUT { type filter hook input priority filter; policy drop; }
            }
            table inet firewalld {
                chain filter_FORWARD {
                    type filter hook forward priority filter + 10; policy accept;
                    ct state established,related accept
                    reject with icmpx admin-prohibited
                }
            }
            table inet harmless {
                chain forward {
                    type filter hook forward priority filter; policy accept;
                    ip saddr 192.0.2.1 drop
                    counter accept
                }
                chain no_hook { counter drop; }
            }
            table inet last {
                chain forward { type filter hook forward priority filter; counter drop; }
            }
            table ip6 six {
                chain forward { type filter hook forward priority filter; policy drop; }
            }
        ";
        if nft(&["-f", "-"], rules).is_none() {
            return;
        }
        let mut drops = foreign_drops(&table_name("carpel0")).unwrap();
        drops.sort_by(|one, other| one.table.cmp(&other.table));
        let expected = |family, table: &str, chain: &str, how| ForeignDrop {
            family,
            table: table.to_owned(),
            chain: chain.to_owned(),
            how,
        };
        assert_eq!(
            drops,
            [
                expected("ip", "filter", "FORWARD", "policy drop"),
                expected("inet", "firewalld", "filter_FORWARD", "last rule reject"),
                expected("inet", "last", "forward", "last rule drop"),
            ]
        );
        let status = network.status().await;
        assert!(status.ready);
        let warned = |text: &str| {
            let found = status.warnings.iter().any(|warning| warning.contains(text));
            assert!(found, "{text}: {:?}", status.warnings);
        };
        warned("chain ip filter FORWARD (policy drop) drops what the node forwards for pods");
        warned("iptables -I FORWARD -i carpel0 -j ACCEPT");
        warned("firewall-cmd --permanent --zone=trusted --add-interface=carpel0");
    });
}
