//! Subnets out of pools.

use super::range::{address, number, overlaps};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A range that subnets are taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// The whole range.
    pub base: IpNet,
    /// The prefix length of a subnet, not shorter than that of `base`.
    pub size: u8,
}

/// The first subnet of the pools, of one family, that overlaps nothing that is taken.
pub fn choose_subnet(pools: &[Pool], v6: bool, taken: &[IpNet]) -> Option<IpNet> {
    pools
        .iter()
        .filter(|pool| pool.base.addr().is_ipv6() == v6)
        .find_map(|pool| first_free(pool, taken))
}

fn first_free(pool: &Pool, taken: &[IpNet]) -> Option<IpNet> {
    let mut start = number(pool.base.network());
    loop {
        let candidate = IpNet::new(address(start, &pool.base)?, pool.size).ok()?;
        if !pool.base.contains(&candidate) {
            return None;
        }
        // What is in the way is left behind in one step: a pool of 2^64 subnets is no longer a search
        // than there are networks.
        let Some(other) = taken.iter().find(|other| overlaps(other, &candidate)) else {
            return Some(candidate);
        };
        let end = number(other.broadcast()).max(number(candidate.broadcast()));
        start = end.checked_add(1)?;
    }
}
