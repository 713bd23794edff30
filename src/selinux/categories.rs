//! Pairs of categories, one for each pod: what keeps pods of one type from each other's files. Pure.

use std::collections::BTreeMap;

/// Categories of the policies that there are: c0 to c1023.
const CATEGORIES: u64 = 1024;

/// The pairs that are taken, by whom.
#[derive(Debug, Default)]
pub(super) struct Categories {
    taken: BTreeMap<String, String>,
}

impl Categories {
    /// The categories of a pod, `c1,c2`: those that it has, else a pair that nobody has. Where the search begins comes from
    /// the pod's id, so that a pair is not given to the next pod as soon as it is free: files of the last one may be left.
    pub(super) fn of(&mut self, id: &str) -> Option<String> {
        if let Some(taken) = self.taken.get(id) {
            return Some(taken.clone());
        }
        let pairs = CATEGORIES * (CATEGORIES - 1) / 2;
        let start = seed(id) % pairs;
        let free = (0..pairs)
            .map(|step| pair((start + step) % pairs))
            .find(|pair| !self.taken.values().any(|taken| taken == pair))?;
        self.taken.insert(id.to_owned(), free.clone());
        Some(free)
    }

    /// A pod has these: a daemon before has given them.
    pub(super) fn remember(&mut self, id: &str, categories: &str) {
        self.taken.insert(id.to_owned(), categories.to_owned());
    }

    /// A pod is gone.
    pub(super) fn release(&mut self, id: &str) {
        self.taken.remove(id);
    }
}

/// FNV-1a (draft-eastlake-fnv): spreads ids, and stays what it is from one release to the next.
fn seed(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The pair of that number: `c0,c1`, `c0,c2`, …, the first one the lower.
fn pair(mut number: u64) -> String {
    let mut first = 0;
    while number >= CATEGORIES - 1 - first {
        number -= CATEGORIES - 1 - first;
        first += 1;
    }
    format!("c{first},c{}", first + 1 + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_pair_of_its_own() {
        assert_eq!(pair(0), "c0,c1");
        assert_eq!(pair(1022), "c0,c1023");
        assert_eq!(pair(1023), "c1,c2");
        assert_eq!(pair(CATEGORIES * (CATEGORIES - 1) / 2 - 1), "c1022,c1023");
    }

    #[test]
    fn no_two_pods_have_the_same_and_one_keeps_its_own() {
        let mut categories = Categories::default();
        let ids: Vec<String> = (0..2000).map(|number| format!("pod-{number}")).collect();
        let given: std::collections::BTreeSet<String> =
            ids.iter().map(|id| categories.of(id).unwrap()).collect();
        assert_eq!(given.len(), ids.len());
        let first = categories.of("pod-0").unwrap();
        assert!(given.contains(&first));
        categories.release("pod-0");
        // A pod that had it before this daemon began is found in the way.
        categories.remember("old", &first);
        assert_ne!(categories.of("pod-0").unwrap(), first);
    }
}
