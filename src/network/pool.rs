//! The addresses of a subnet and who has them: pure, in memory; `record` makes it durable.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use super::subnet::Ipv4Subnet;

/// How many addresses rest at the most.
const RESTING: usize = 4096;

/// Hands out the addresses of a subnet in turn. One that was freed rests, so that nobody who still has it in mind meets
/// another pod: it is used again when no other is left, the one that rested longest first.
#[derive(Debug)]
pub(super) struct AddressPool {
    first: u32,
    last: u32,
    /// The last address given out; the search goes on behind it.
    latest: u32,
    /// Address → sandbox; nobody for one that rests.
    holders: BTreeMap<u32, Option<String>>,
    /// Those that rest, the longest first.
    resting: VecDeque<u32>,
}

impl AddressPool {
    /// All addresses of the subnet are free.
    pub(super) fn new(subnet: Ipv4Subnet) -> Self {
        let (first, last) = subnet.pod_addresses();
        Self {
            first: u32::from(first),
            last: u32::from(last),
            latest: u32::from(last),
            holders: BTreeMap::new(),
            resting: VecDeque::new(),
        }
    }

    /// Notes an address that a sandbox has from before a restart. Addresses outside the subnet (it was
    /// reconfigured) need no note. Refused with the other holder's id if two claim it.
    pub(super) fn reserve(&mut self, address: Ipv4Addr, sandbox: &str) -> Result<(), String> {
        let address = u32::from(address);
        if !(self.first..=self.last).contains(&address) {
            return Ok(());
        }
        match self.holders.get(&address) {
            Some(Some(holder)) if holder != sandbox => Err(holder.clone()),
            _ => {
                self.resting.retain(|resting| *resting != address);
                self.holders.insert(address, Some(sandbox.to_owned()));
                self.latest = address;
                Ok(())
            }
        }
    }

    /// The next free address, or nothing if all are taken.
    pub(super) fn allocate(&mut self, sandbox: &str) -> Option<Ipv4Addr> {
        let found = self
            .gap(self.latest.saturating_add(1), self.last)
            .or_else(|| self.gap(self.first, self.latest))
            .or_else(|| self.resting.pop_front())?;
        self.latest = found;
        self.holders.insert(found, Some(sandbox.to_owned()));
        Some(Ipv4Addr::from(found))
    }

    /// Takes an address back, if this sandbox has it.
    pub(super) fn release(&mut self, address: Ipv4Addr, sandbox: &str) {
        let address = u32::from(address);
        let Some(holder) = self.holders.get_mut(&address) else {
            return;
        };
        if holder.as_deref() != Some(sandbox) {
            return;
        }
        *holder = None;
        self.resting.push_back(address);
        if self.resting.len() > RESTING
            && let Some(rested) = self.resting.pop_front()
        {
            self.holders.remove(&rested);
        }
    }

    /// Makes another sandbox the holder of an address.
    pub(super) fn hand_over(&mut self, address: Ipv4Addr, from: &str, to: &str) {
        if let Some(Some(holder)) = self.holders.get_mut(&u32::from(address))
            && holder == from
        {
            to.clone_into(holder);
        }
    }

    /// How many addresses nobody has.
    pub(super) fn free(&self) -> u32 {
        let held = self.holders.len().saturating_sub(self.resting.len());
        self.size()
            .saturating_sub(u32::try_from(held).unwrap_or(u32::MAX))
    }

    /// How many addresses there are.
    pub(super) fn size(&self) -> u32 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// The first address of `from..=to` that nobody has and that does not rest.
    fn gap(&self, from: u32, to: u32) -> Option<u32> {
        if from > to {
            return None;
        }
        let mut candidate = from;
        for taken in self.holders.range(from..=to).map(|(address, _)| *address) {
            if taken > candidate {
                break;
            }
            candidate = taken.saturating_add(1);
        }
        (candidate <= to).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn small() -> AddressPool {
        AddressPool::new("10.63.0.0/29".parse().unwrap())
    }

    #[test]
    fn a_freed_address_waits_for_its_turn() {
        let mut pool = small();
        let first = pool.allocate("a").unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 63, 0, 2));
        pool.release(first, "a");
        assert_eq!(pool.allocate("b"), Some(Ipv4Addr::new(10, 63, 0, 3)));
        for sandbox in ["c", "d", "e"] {
            assert_ne!(pool.allocate(sandbox).unwrap(), first);
        }
        assert_eq!(pool.allocate("f"), Some(first));
    }

    #[test]
    fn a_full_pool_says_so_and_works_again_after_a_release() {
        let mut pool = small();
        assert_eq!(pool.size(), 5);
        let taken: Vec<_> = (0..5)
            .map(|number| pool.allocate(&number.to_string()).unwrap())
            .collect();
        assert_eq!(pool.allocate("late"), None);
        pool.release(taken[3], "somebody else");
        assert_eq!(pool.allocate("late"), None);
        pool.release(taken[3], "3");
        assert_eq!(pool.allocate("late"), Some(taken[3]));
    }

    #[test]
    fn what_is_reserved_is_not_given_out_and_two_claims_are_refused() {
        let mut pool = small();
        pool.reserve(Ipv4Addr::new(10, 63, 0, 3), "old").unwrap();
        assert_eq!(
            pool.reserve(Ipv4Addr::new(10, 63, 0, 3), "other"),
            Err("old".to_owned())
        );
        pool.reserve(Ipv4Addr::new(192, 168, 0, 3), "elsewhere")
            .unwrap();
        let given: BTreeSet<_> = (0..4)
            .map(|number| pool.allocate(&number.to_string()).unwrap())
            .collect();
        assert!(!given.contains(&Ipv4Addr::new(10, 63, 0, 3)));
        assert_eq!(pool.allocate("full"), None);
    }

    /// What happens to a pool.
    #[derive(Debug, Clone)]
    enum Step {
        /// The sandbox of this number gets an address, or gives its own back.
        Toggle(u8),
        /// The daemon starts again: it knows the holders by their records.
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![20 => (0u8..16).prop_map(Step::Toggle), 1 => Just(Step::Restart)]
    }

    proptest! {
        #[test]
        fn no_address_has_two_holders_and_what_was_freed_rests(
            steps in proptest::collection::vec(step(), 1..300)
        ) {
            let subnet: Ipv4Subnet = "10.63.0.0/28".parse().unwrap();
            let mut pool = AddressPool::new(subnet);
            let mut held: BTreeMap<u8, Ipv4Addr> = BTreeMap::new();
            let mut rests: Vec<Ipv4Addr> = Vec::new();
            for step in steps {
                match step {
                    Step::Restart => {
                        pool = AddressPool::new(subnet);
                        rests.clear();
                        for (sandbox, address) in &held {
                            pool.reserve(*address, &sandbox.to_string()).unwrap();
                        }
                    }
                    Step::Toggle(sandbox) => {
                        let name = sandbox.to_string();
                        if let Some(address) = held.remove(&sandbox) {
                            pool.release(address, &name);
                            rests.push(address);
                        } else if let Some(address) = pool.allocate(&name) {
                            prop_assert!(!held.values().any(|other| *other == address));
                            prop_assert!(address >= Ipv4Addr::new(10, 63, 0, 2));
                            prop_assert!(address <= Ipv4Addr::new(10, 63, 0, 14));
                            if rests.contains(&address) {
                                prop_assert_eq!(held.len() + rests.len(), 13, "others were left");
                                prop_assert_eq!(address, rests.remove(0), "others rested longer");
                            }
                            held.insert(sandbox, address);
                        } else {
                            prop_assert_eq!(held.len(), 13);
                        }
                    }
                }
                prop_assert_eq!(usize::try_from(pool.free()).unwrap(), 13 - held.len());
            }
        }
    }

    #[test]
    fn a_large_subnet_forgets_who_rested_long() {
        let mut pool = AddressPool::new("10.63.0.0/16".parse().unwrap());
        for number in 0..10_000 {
            let address = pool.allocate("pod").unwrap();
            assert_eq!(u32::from(address), 0x0a3f_0002 + number);
            pool.release(address, "pod");
        }
        assert_eq!(pool.resting.len(), RESTING);
        assert_eq!(pool.holders.len(), RESTING);
        assert_eq!(pool.free(), pool.size());
    }
}
