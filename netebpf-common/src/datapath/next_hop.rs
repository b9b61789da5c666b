//! Where packets go on out of an uplink.
//!
//! The kernel is asked once a second for each destination on each CPU: its answer costs as much as all the rest that is
//! done with a packet. A route that changes is followed a second later at most, with or without the user side; the next
//! hop's neighbour is the kernel's to know, for each packet.

use super::{conntrack::SECOND, host::Host, nat::below, table::State};
use crate::abi::{Address, NextHop};

/// The next hop to an address by an interface. `None` when the kernel does not send there by that one.
#[inline(always)]
pub(super) fn find<'a, S: State, H: Host>(
    state: &'a S,
    host: &mut H,
    destination: &Address,
    egress: u32,
    now: u64,
) -> Option<&'a NextHop> {
    let [high, low] = destination.halves();
    let hop = state.next_hop(place(high ^ low, egress))?;
    let known = hop.destination[0].load() == high
        && hop.destination[1].load() == low
        && hop.ifindex() == egress
        && now.wrapping_sub(hop.asked.load()) < SECOND;
    if !known {
        if !host.next_hop(destination, egress, hop) {
            return None;
        }
        hop.destination[0].store(high);
        hop.destination[1].store(low);
        hop.asked.store(now);
    }
    Some(hop)
}

/// Where it is remembered. Of two that share a place each is asked for again and again.
#[inline(always)]
const fn place(destination: u64, egress: u32) -> u32 {
    // Of a product the upper bits depend on all of the factor, the others on what is below them.
    let mixed = (destination ^ egress as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    below(NextHop::PLACES, (mixed >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, net::Ipv6Addr};

    /// Neighbours of one network have places of their own, nearly all of them.
    #[test]
    fn neighbours_are_spread() {
        let v4 = |host| Address::v4([10, 0, 0, host]);
        let v6 = |host: u8| Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, host.into()).into();
        for address in [&v4 as &dyn Fn(u8) -> Address, &v6] {
            let hosts = (0..=u8::MAX).map(|host| address(host).halves());
            let places: HashSet<_> = hosts.map(|[high, low]| place(high ^ low, 2)).collect();
            assert!(places.len() > 150, "{}", places.len());
        }
    }
}
