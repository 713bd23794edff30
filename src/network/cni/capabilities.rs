//! What plugins are told about a pod: the capabilities' values of CNI's conventions, and CNI_ARGS. Pure.

use serde_json::{Value, json};

use super::super::request::PodRequest;
use super::error::CniError;
use super::list::Object;

/// The annotations of Kubernetes that ask for bandwidth, in bits a second.
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// As the kubelet's own network had it: a rate from one thousand to 10^15.
const BANDWIDTH: std::ops::RangeInclusive<u64> = 1_000..=1_000_000_000_000_000;
/// The burst that goes with a rate, in bits, as the kubelet's own network had it.
const BURST: i32 = i32::MAX;
/// Annotations of ours for capabilities that Kubernetes has no word for: lists are separated by commas.
const ADDRESSES: &str = "network.carpel/ips";
const MAC: &str = "network.carpel/mac";
const INFINIBAND: &str = "network.carpel/infiniband-guid";
const ALIASES: &str = "network.carpel/aliases";
/// containerd's name for all annotations of a pod.
const ALL_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// Every capability that something is known for. A plugin gets those that it declares.
pub(super) fn capabilities(pod: &PodRequest) -> Result<Object, CniError> {
    let mut known = Object::new();
    let mut know = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            known.insert(name.to_owned(), value);
        }
    };
    let annotation = |name: &str| pod.annotations.get(name).map(|text| text.trim());
    let text = |name| annotation(name).map(Value::from);
    know("portMappings", ports(pod));
    know("bandwidth", bandwidth(pod)?);
    know("dns", dns(pod));
    know("ips", annotation(ADDRESSES).map(list));
    know("mac", text(MAC));
    know("infinibandGUID", text(INFINIBAND));
    know(
        "aliases",
        Some(annotation(ALIASES).map_or_else(|| json!([pod.name]), list)),
    );
    know(
        "cgroupPath",
        Some(pod.cgroup_parent.as_str())
            .filter(|parent| !parent.is_empty())
            .map(Value::from),
    );
    know(
        ALL_ANNOTATIONS,
        (!pod.annotations.is_empty()).then(|| json!(pod.annotations)),
    );
    Ok(known)
}

/// CNI_ARGS, as kubelets have always had it.
pub(super) fn arguments(pod: &PodRequest, sandbox: &str) -> Result<String, CniError> {
    let values = [
        ("K8S_POD_NAMESPACE", pod.namespace.as_str()),
        ("K8S_POD_NAME", pod.name.as_str()),
        ("K8S_POD_INFRA_CONTAINER_ID", sandbox),
        ("K8S_POD_UID", pod.uid.as_str()),
    ];
    let mut text = "IgnoreUnknown=1".to_owned();
    for (key, value) in values {
        // There is no way to quote.
        if value.contains([';', '=', '\0', '\n']) {
            return Err(CniError::Value {
                what: key,
                value: value.to_owned(),
            });
        }
        text.push_str(&format!(";{key}={value}"));
    }
    Ok(text)
}

fn ports(pod: &PodRequest) -> Option<Value> {
    let ports: Vec<Value> = pod
        .ports
        .iter()
        .map(|port| {
            let address = port.host_address;
            json!({
                "hostPort": port.host_port,
                "containerPort": port.port,
                "protocol": port.transport.to_string(),
                "hostIP": address.map_or_else(String::new, |address| address.to_string()),
            })
        })
        .collect();
    (!ports.is_empty()).then(|| ports.into())
}

fn bandwidth(pod: &PodRequest) -> Result<Option<Value>, CniError> {
    let mut value = Object::new();
    for (annotation, rate, burst) in [
        (INGRESS, "ingressRate", "ingressBurst"),
        (EGRESS, "egressRate", "egressBurst"),
    ] {
        let Some(text) = pod.annotations.get(annotation) else {
            continue;
        };
        let bits = quantity(text.trim()).filter(|bits| BANDWIDTH.contains(bits));
        let bits = bits.ok_or_else(|| CniError::Value {
            what: annotation,
            value: text.clone(),
        })?;
        value.insert(rate.to_owned(), bits.into());
        value.insert(burst.to_owned(), BURST.into());
    }
    Ok((!value.is_empty()).then(|| value.into()))
}

fn dns(pod: &PodRequest) -> Option<Value> {
    let dns = pod.dns.as_ref()?;
    Some(json!({
        "servers": dns.servers,
        "searches": dns.searches,
        "options": dns.options,
    }))
}

fn list(text: &str) -> Value {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

/// A quantity of Kubernetes (`10M`, `1.5G`, `100Ki`, `1e6`) as a whole number, rounded up as there.
fn quantity(text: &str) -> Option<u64> {
    let end = text
        .find(|digit: char| !digit.is_ascii_digit() && digit != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let factor = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1_u128 << 40,
        "Pi" => 1_u128 << 50,
        exponent => {
            let power = exponent.strip_prefix(['e', 'E'])?;
            10_u128.checked_pow(power.parse().ok()?)?
        }
    };
    u64::try_from(digits.checked_mul(factor)?.div_ceil(scale)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::port::{HostPort, Transport};
    use super::super::super::request::Resolver;
    use super::*;

    fn pod() -> PodRequest {
        PodRequest {
            name: "web".into(),
            namespace: "default".into(),
            uid: "1-2".into(),
            ..PodRequest::default()
        }
    }

    #[test]
    fn arguments_are_those_of_kubernetes_and_cannot_be_forged() {
        assert_eq!(
            arguments(&pod(), "c0ffee").unwrap(),
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c0ffee;\
             K8S_POD_UID=1-2"
        );
        let forged = PodRequest {
            name: "web;K8S_POD_NAME=other".into(),
            ..pod()
        };
        let error = arguments(&forged, "c").unwrap_err();
        assert!(
            error.to_string().starts_with("K8S_POD_NAME \"web;"),
            "{error}"
        );
    }

    #[test]
    fn every_capability_has_the_form_of_the_conventions() {
        let full = PodRequest {
            annotations: [
                (INGRESS, "10M"),
                (EGRESS, "1.5G"),
                (ADDRESSES, "10.0.0.9/24, fd00::9/64"),
                (MAC, "02:00:00:00:00:01"),
                (INFINIBAND, "c2:b0"),
                (ALIASES, "a,b"),
            ]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
            ports: vec![HostPort {
                transport: Transport::Sctp,
                host_port: 8080,
                port: 80,
                host_address: Some([127, 0, 0, 1].into()),
            }],
            dns: Some(Resolver {
                servers: vec!["10.96.0.10".into()],
                searches: vec!["svc".into()],
                options: vec!["ndots:5".into()],
            }),
            cgroup_parent: "/kubepods/pod1".into(),
            ..pod()
        };
        let mut known = capabilities(&full).unwrap();
        let all = known.remove(ALL_ANNOTATIONS).unwrap();
        assert_eq!(all[MAC], "02:00:00:00:00:01");
        assert_eq!(
            Value::Object(known),
            json!({
                "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "sctp", "hostIP": "127.0.0.1" }],
                "bandwidth": {
                    "ingressRate": 10_000_000, "ingressBurst": 2_147_483_647,
                    "egressRate": 1_500_000_000, "egressBurst": 2_147_483_647,
                },
                "dns": { "servers": ["10.96.0.10"], "searches": ["svc"], "options": ["ndots:5"] },
                "ips": ["10.0.0.9/24", "fd00::9/64"],
                "mac": "02:00:00:00:00:01",
                "infinibandGUID": "c2:b0",
                "aliases": ["a", "b"],
                "cgroupPath": "/kubepods/pod1",
            })
        );
        assert_eq!(
            Value::Object(capabilities(&pod()).unwrap()),
            json!({ "aliases": ["web"] })
        );
    }

    #[test]
    fn bandwidth_is_a_quantity_within_bounds() {
        for (text, bits) in [
            ("1000", Some(1_000)),
            ("1k", Some(1_000)),
            ("1Ki", Some(1_024)),
            (".5M", Some(500_000)),
            ("1e6", Some(1_000_000)),
            ("1P", Some(1_000_000_000_000_000)),
            ("999", None),
            ("2P", None),
            ("", None),
            ("10X", None),
            ("-1M", None),
            ("1.2.3M", None),
            ("1e99", None),
        ] {
            let mut asking = pod();
            asking.annotations.insert(EGRESS.into(), text.into());
            let rate = capabilities(&asking)
                .ok()
                .and_then(|known| known["bandwidth"]["egressRate"].as_u64());
            assert_eq!(rate, bits, "{text:?}");
        }
    }
}
