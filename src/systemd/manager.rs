//! The manager of units: scopes begin and end.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use zbus::{Connection, DynamicType, Message, Variant};

use super::error::SystemdError;

/// systemd's own socket, for root: there before the bus is, and without one.
const PRIVATE_SOCKET: &str = "/run/systemd/private";
const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";

const SERVICE: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// systemd makes a scope in milliseconds; one that reloads all its units takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at where the process is.
const INTERVAL: Duration = Duration::from_millis(2);

/// A scope to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `carpel-<id>.scope`
    pub name: String,
    /// The slice it is in.
    pub slice: String,
    /// For people.
    pub description: String,
    /// The process that it is made of.
    pub pid: u32,
}

/// A property of a unit (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// As D-Bus has it: `MemoryMax`, `CPUQuotaPerSecUSec`.
    pub name: &'static str,
    /// What it is set to.
    pub value: PropertyValue,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyValue {
    /// [`u64::MAX`] is no limit.
    Number(u64),
    /// A set of small numbers, a bit each, the lowest first.
    Mask(Vec<u8>),
}

/// systemd, as process 1 of this machine.
#[derive(Debug, Default)]
pub struct Manager {
    /// Kept between calls; a lost one is replaced.
    connection: Mutex<Option<Connection>>,
}

impl Manager {
    /// Makes a delegated scope and waits until its process is in it.
    ///
    /// # Errors
    ///
    /// systemd does not answer, refuses, or takes too long.
    pub async fn start_scope(&self, scope: &Scope) -> Result<(), SystemdError> {
        let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let body = (&*scope.name, "fail", properties(scope), auxiliary);
        self.call("StartTransientUnit", &scope.name, &body).await?;
        let deadline = Instant::now() + PATIENCE;
        while !is_in(scope.pid, &scope.name) {
            if Instant::now() >= deadline {
                return Err(SystemdError::Late {
                    unit: scope.name.clone(),
                    patience: PATIENCE,
                });
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Ends a scope; one that is gone is fine.
    ///
    /// # Errors
    ///
    /// systemd does not answer, or refuses.
    pub async fn stop_scope(&self, name: &str) -> Result<(), SystemdError> {
        match self.call("StopUnit", name, &(name, "replace")).await {
            Err(SystemdError::Refused { source, .. }) if is_unknown(&source) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Changes properties of a unit until the machine is off: all, or none. systemd writes them to the cgroup soon after.
    ///
    /// # Errors
    ///
    /// systemd does not answer, or refuses one.
    pub async fn set_properties(
        &self,
        unit: &str,
        properties: &[Property],
    ) -> Result<(), SystemdError> {
        let values: Vec<(&str, Variant<'_>)> = properties
            .iter()
            .map(|property| (property.name, variant(&property.value)))
            .collect();
        let body = (unit, true, values);
        self.call("SetUnitProperties", unit, &body).await.map(drop)
    }

    async fn call<B>(
        &self,
        call: &'static str,
        unit: &str,
        body: &B,
    ) -> Result<Message, SystemdError>
    where
        B: serde::ser::Serialize + DynamicType,
    {
        let refused = |source| SystemdError::Refused {
            call,
            unit: unit.to_owned(),
            source,
        };
        let mut held = self.connection.lock().await;
        let connection = match held.as_ref() {
            Some(connection) => connection.clone(),
            None => held.insert(connect().await?).clone(),
        };
        let answer = connection
            .call_method(Some(SERVICE), OBJECT, Some(INTERFACE), call, body)
            .await;
        if !matches!(answer, Ok(_) | Err(zbus::Error::MethodError(..))) {
            // The next call makes a new one.
            *held = None;
        }
        drop(held);
        answer.map_err(refused)
    }
}

/// By the bus, or by systemd's own socket where there is none.
async fn connect() -> Result<Connection, SystemdError> {
    let has_bus = std::path::Path::new(BUS_SOCKET).exists();
    let path = if has_bus { BUS_SOCKET } else { PRIVATE_SOCKET };
    let address = format!("unix:path={path}");
    let builder = zbus::connection::Builder::address(&*address);
    let builder = if has_bus { builder } else { builder.p2p() };
    builder
        .build()
        .await
        .map_err(|source| SystemdError::Connect { address, source })
}

/// Delegate: below it the tree is Carpel's. A pod has as many tasks as its own limits allow, and a scope that failed leaves
/// nothing behind.
fn properties(scope: &Scope) -> Vec<(&'static str, Variant<'_>)> {
    vec![
        ("Description", Variant::from(&*scope.description)),
        ("Slice", Variant::from(&*scope.slice)),
        ("PIDs", Variant::from(vec![scope.pid])),
        ("Delegate", Variant::from(true)),
        ("DefaultDependencies", Variant::from(false)),
        ("TasksMax", Variant::from(u64::MAX)),
        ("CollectMode", Variant::from("inactive-or-failed")),
    ]
}

fn variant(value: &PropertyValue) -> Variant<'_> {
    match value {
        PropertyValue::Number(number) => Variant::from(*number),
        PropertyValue::Mask(bits) => Variant::from(bits.clone()),
    }
}

fn is_unknown(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == NO_SUCH_UNIT)
}

fn is_in(pid: u32, unit: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    text.is_ok_and(|text| is_cgroup_of(&text, unit))
}

/// Does /proc/<pid>/cgroup show the cgroup of this unit?
fn is_cgroup_of(text: &str, unit: &str) -> bool {
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    own.is_some_and(|path| path.rsplit('/').next() == Some(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_the_scope_when_its_cgroup_is() {
        let text = "1:name=x:/a\n0::/kubepods.slice/carpel-1.scope\n";
        assert!(is_cgroup_of(text, "carpel-1.scope"));
        assert!(!is_cgroup_of(text, "carpel-11.scope"));
        assert!(!is_cgroup_of(
            "0::/carpel-1.scope/infra\n",
            "carpel-1.scope"
        ));
    }

    #[test]
    fn limits_have_the_types_that_systemd_wants() {
        let signature = |value: &PropertyValue| variant(value).value_signature().to_string();
        assert_eq!(signature(&PropertyValue::Number(1)), "t");
        assert_eq!(signature(&PropertyValue::Mask(vec![1])), "ay");
    }

    #[test]
    fn a_scope_is_delegated_and_has_the_types_that_systemd_wants() {
        let scope = Scope {
            name: "carpel-1.scope".into(),
            slice: "a-b.slice".into(),
            description: "pod 1".into(),
            pid: 7,
        };
        let signatures: Vec<String> = properties(&scope)
            .iter()
            .map(|(name, value)| format!("{name} {}", value.value_signature()))
            .collect();
        assert_eq!(
            signatures,
            [
                "Description s",
                "Slice s",
                "PIDs au",
                "Delegate b",
                "DefaultDependencies b",
                "TasksMax t",
                "CollectMode s",
            ]
        );
    }
}
