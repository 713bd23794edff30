//! What an attachment was made with, one file a sandbox: written before the first plugin of ADD runs, and gone when
//! DEL has worked. The file's form is that of the network's other records: a JSON object a line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::list::{NetworkList, Object};

/// A line of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// ADD is about to be called with this.
    AddStarted {
        /// Everything that DEL will need.
        given: Box<Given>,
    },
    /// ADD has worked.
    Attached {
        /// Its result.
        result: Value,
    },
}

/// What the plugins were given for a sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Given {
    /// The network, as it was configured then.
    pub(super) network: NetworkList,
    /// The path of the namespace.
    pub(super) namespace: PathBuf,
    /// The interface in it.
    pub(super) interface: String,
    /// CNI_ARGS.
    pub(super) arguments: String,
    /// The capabilities.
    pub(super) capabilities: Object,
}

/// What the lines of a record add up to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// What the plugins were given.
    pub(super) given: Given,
    /// The result of ADD, if it has worked.
    pub(super) result: Option<Value>,
}

/// Adds lines up; `None` if the first one is torn: then no plugin has run.
pub(super) fn sum(events: Vec<Event>) -> Option<Record> {
    let mut record = None;
    for event in events {
        match event {
            Event::AddStarted { given } => {
                record = Some(Record {
                    given: *given,
                    result: None,
                });
            }
            Event::Attached { result } => {
                if let Some(record) = &mut record {
                    record.result = Some(result);
                }
            }
        }
    }
    record
}
