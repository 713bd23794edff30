//! Lists as streams of messages: every item exactly once, at least one in each message, then the end.

use std::pin::Pin;

use futures_util::{Stream, stream};
use prost::Message;
use tonic::Status;

/// What a streaming call answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How large a message gets, in bytes, before the next one is begun. Far below the 16 MiB that clients take, and large
/// enough that a node's usual list is one message.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// The items as messages, each made by `wrap`.
pub(super) fn answers<T, M>(items: Vec<T>, wrap: impl Fn(Vec<T>) -> M) -> Answers<M>
where
    T: Message,
    M: Send + 'static,
{
    let messages: Vec<_> = parts(items)
        .into_iter()
        .map(|part| Ok(wrap(part)))
        .collect();
    Box::pin(stream::iter(messages))
}

fn parts<T: Message>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0;
    for item in items {
        let length = item.encoded_len();
        if !part.is_empty() && bytes + length > MESSAGE_BYTES {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += length;
        part.push(item);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::wire::runtime::PodSandbox;
    use proptest::prelude::*;

    fn sandbox(index: usize, handler_bytes: usize) -> PodSandbox {
        PodSandbox {
            id: index.to_string(),
            runtime_handler: "x".repeat(handler_bytes),
            ..PodSandbox::default()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_item_comes_once_and_in_order(
            lengths in prop::collection::vec(0..MESSAGE_BYTES * 3 / 2, 0..8),
        ) {
            let items: Vec<_> = lengths.iter().enumerate().map(|(index, length)| sandbox(index, *length)).collect();
            let parts = parts(items.clone());
            prop_assert!(parts.iter().all(|part| !part.is_empty()));
            let fits = |part: &Vec<PodSandbox>| {
                let bytes: usize = part.iter().map(Message::encoded_len).sum();
                part.len() == 1 || bytes <= MESSAGE_BYTES
            };
            prop_assert!(parts.iter().all(fits));
            prop_assert_eq!(parts.concat(), items);
        }
    }

    #[test]
    fn no_items_are_no_message() {
        assert!(parts::<PodSandbox>(Vec::new()).is_empty());
    }
}
