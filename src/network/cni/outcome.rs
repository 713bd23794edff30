//! What ADD gives back: kept as it came, because the next plugin, CHECK and DEL get it again; read for the addresses.
//!
//! All forms of the specification are read: `ip4` and `ip6` (0.1.0, 0.2.0), `interfaces` and `ips` (from 0.3.0).

use std::net::IpAddr;

use serde_json::Value;

use super::error::OutcomeError;

/// The addresses of the pod's interface: the first IPv4 address first, as containerd has it, then all others in the
/// order of the result.
pub(super) fn addresses(result: &Value, interface: &str) -> Result<Vec<IpAddr>, OutcomeError> {
    let Value::Object(object) = result else {
        return Err(OutcomeError::NotAnObject {
            found: kind(result).to_owned(),
        });
    };
    let mut found = Vec::new();
    for key in ["ip4", "ip6"] {
        if let Some(text) = object.get(key).and_then(|part| part.get("ip")) {
            found.push(address(text)?);
        }
    }
    let interfaces = array(object.get("interfaces"));
    for ip in array(object.get("ips")) {
        if belongs_to(ip, interfaces, interface) {
            found.push(address(ip.get("address").unwrap_or(&Value::Null))?);
        }
    }
    if found.is_empty() {
        return Err(OutcomeError::NoAddress {
            interface: interface.to_owned(),
        });
    }
    if let Some(main) = found.iter().position(IpAddr::is_ipv4) {
        let main = found.remove(main);
        found.insert(0, main);
    }
    Ok(found)
}

/// Whether an address is one of the pod's interface: it says so by index, or does not say.
fn belongs_to(ip: &Value, interfaces: &[Value], interface: &str) -> bool {
    let Some(index) = ip.get("interface").and_then(Value::as_u64) else {
        return true;
    };
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let Some(owner) = interfaces.get(index) else {
        return true;
    };
    let in_sandbox = owner
        .get("sandbox")
        .and_then(Value::as_str)
        .is_some_and(|sandbox| !sandbox.is_empty());
    in_sandbox && owner.get("name").and_then(Value::as_str) == Some(interface)
}

fn address(value: &Value) -> Result<IpAddr, OutcomeError> {
    let parsed = value.as_str().and_then(|text| {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix.parse::<u8>().ok()? <= longest).then_some(address)
    });
    parsed.ok_or_else(|| OutcomeError::Address {
        text: match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        },
    })
}

fn array(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(result: Value) -> Result<Vec<String>, String> {
        addresses(&result, "eth0")
            .map(|all| all.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_the_specification_is_read() {
        let oldest = json!({
            "cniVersion": "0.2.0",
            "ip4": { "ip": "10.1.2.3/24", "gateway": "10.1.2.1" },
            "ip6": { "ip": "fd00::3/64" },
        });
        assert_eq!(texts(oldest).unwrap(), ["10.1.2.3", "fd00::3"]);
        let older = json!({
            "cniVersion": "0.3.1",
            "interfaces": [{ "name": "cni0" }, { "name": "eth0", "sandbox": "/run/netns/x" }],
            "ips": [{ "version": "4", "address": "10.1.2.3/24", "interface": 1 }],
        });
        assert_eq!(texts(older).unwrap(), ["10.1.2.3"]);
        let newest = json!({
            "cniVersion": "1.1.0",
            "ips": [{ "address": "10.1.2.3/24" }],
        });
        assert_eq!(texts(newest).unwrap(), ["10.1.2.3"]);
    }

    #[test]
    fn ipv4_is_the_main_address_and_the_rest_keeps_its_order() {
        let result = json!({ "ips": [
            { "address": "fd00::3/64" }, { "address": "10.0.0.3/8" },
            { "address": "fd00::2/64" }, { "address": "10.0.0.2/8" },
        ]});
        assert_eq!(
            texts(result).unwrap(),
            ["10.0.0.3", "fd00::3", "fd00::2", "10.0.0.2"]
        );
        let result = json!({ "ips": [{ "address": "fd00::3/64" }] });
        assert_eq!(texts(result).unwrap(), ["fd00::3"]);
    }

    #[test]
    fn addresses_of_other_interfaces_are_not_the_pods() {
        let result = json!({
            "interfaces": [
                { "name": "eth0" }, { "name": "net1", "sandbox": "/n" }, { "name": "eth0", "sandbox": "/n" },
            ],
            "ips": [
                { "address": "10.0.0.1/8", "interface": 0 }, { "address": "10.0.0.2/8", "interface": 1 },
                { "address": "10.0.0.3/8", "interface": 2 },
            ],
        });
        assert_eq!(texts(result).unwrap(), ["10.0.0.3"]);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for (result, expected) in [
            (json!([]), "it is a list, not a JSON object"),
            (json!({}), "it has no address for the pod's eth0"),
            (json!({ "ips": 3 }), "it has no address for the pod's eth0"),
            (
                json!({ "ips": [{ "address": "10.0.0.1" }] }),
                "\"10.0.0.1\" is not an address with a prefix length",
            ),
            (
                json!({ "ips": [{ "address": "10.0.0.1/33" }] }),
                "\"10.0.0.1/33\" is not an address with a prefix length",
            ),
            (
                json!({ "ips": [{}] }),
                "\"null\" is not an address with a prefix length",
            ),
        ] {
            assert_eq!(texts(result).unwrap_err(), expected);
        }
    }
}
