//! The addresses of a subnet and who has them: pure, in memory; `record` makes it durable.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::subnet::Ipv4Subnet;

/// Hands out the addresses of a subnet in turn, so that one just freed is the last to be used again.
#[derive(Debug)]
pub(super) struct AddressPool {
    first: u32,
    last: u32,
    /// The last address given out; the search goes on behind it.
    latest: u32,
    /// Address → sandbox.
    holders: BTreeMap<u32, String>,
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
            Some(holder) if holder != sandbox => Err(holder.clone()),
            _ => {
                self.holders.insert(address, sandbox.to_owned());
                self.latest = address;
                Ok(())
            }
        }
    }

    /// The next free address, or nothing if all are taken.
    pub(super) fn allocate(&mut self, sandbox: &str) -> Option<Ipv4Addr> {
        let found = self
            .gap(self.latest.saturating_add(1), self.last)
            .or_else(|| self.gap(self.first, self.latest))?;
        self.latest = found;
        self.holders.insert(found, sandbox.to_owned());
        Some(Ipv4Addr::from(found))
    }

    /// Takes an address back, if this sandbox has it.
    pub(super) fn release(&mut self, address: Ipv4Addr, sandbox: &str) {
        let address = u32::from(address);
        if self
            .holders
            .get(&address)
            .is_some_and(|holder| holder == sandbox)
        {
            self.holders.remove(&address);
        }
    }

    /// How many addresses there are.
    pub(super) fn size(&self) -> u32 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// The first free address of `from..=to`.
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

    proptest! {
        #[test]
        fn no_address_has_two_holders(steps in proptest::collection::vec(0usize..12, 1..200)) {
            let mut pool = AddressPool::new("10.63.0.0/28".parse().unwrap());
            let mut held: BTreeMap<usize, Ipv4Addr> = BTreeMap::new();
            for sandbox in steps {
                if let Some(address) = held.remove(&sandbox) {
                    pool.release(address, &sandbox.to_string());
                } else {
                    let address = pool.allocate(&sandbox.to_string());
                    prop_assert!(address.is_some(), "13 addresses suffice for 12 sandboxes");
                    let address = address.unwrap();
                    prop_assert!(!held.values().any(|other| *other == address));
                    prop_assert!(address >= Ipv4Addr::new(10, 63, 0, 2));
                    prop_assert!(address <= Ipv4Addr::new(10, 63, 0, 14));
                    held.insert(sandbox, address);
                }
            }
        }
    }
}
