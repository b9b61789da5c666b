//! How long the packets are that endpoints' TCP hands down, to be cut into segments where they leave: BIG TCP.
//!
//! **Invariant**: an interface of ours is never asked for more than it takes, nor for less than Linux gives every one.
//! What an uplink takes is its owner's to say and never changed: a packet too long for it is cut by the kernel before it
//! gets there, and then it would have been better short.

use super::{Link, Uplink};
use crate::model::{BigTcp, Network};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A device that the kernel makes out of nothing, as it does veths, and so takes as much; every namespace has it.
pub const LOOPBACK: &str = "lo";

/// The longest packets, in bytes, that an interface is given to be cut into segments (`gso_max_size`,
/// `gso_ipv4_max_size`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GsoSizes {
    /// IPv4 (Linux 6.3).
    pub v4: u32,
    /// IPv6 (Linux 5.19).
    pub v6: u32,
}

impl GsoSizes {
    /// What every interface has unless somebody says otherwise (`GSO_LEGACY_MAX_SIZE`).
    pub const USUAL: Self = Self::both(1 << 16);
    /// As long as it makes a difference (docs/performance.md).
    pub const BIG: Self = Self::both(3 << 16);

    const fn both(bytes: u32) -> Self {
        Self { v4: bytes, v6: bytes }
    }

    /// The lesser of each.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self { v4: self.v4.min(other.v4), v6: self.v6.min(other.v6) }
    }
}

impl fmt::Display for GsoSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { v4, v6 } if v4 == v6 => write!(f, "{v4}"),
            Self { v4, v6 } => write!(f, "{v4} (IPv4), {v6} (IPv6)"),
        }
    }
}

impl Default for GsoSizes {
    fn default() -> Self {
        Self::USUAL
    }
}

/// What was chosen for the endpoints of a network, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GsoChoice {
    /// The longest packets.
    pub sizes: GsoSizes,
    /// Why, in words.
    pub reason: String,
}

impl fmt::Display for GsoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sizes, self.reason)
    }
}

impl GsoChoice {
    /// For a network of a host with these uplinks. `device` as for [`Self::new`].
    pub fn of(network: &Network, mode: BigTcp, uplinks: &[Uplink], device: Option<&Link>) -> Self {
        let uplinks = if network.internal { &[] } else { uplinks };
        Self::new(mode, uplinks, device)
    }

    /// Chooses, where these uplinks are on the way. `device` is [`LOOPBACK`].
    fn new(mode: BigTcp, uplinks: &[Uplink], device: Option<&Link>) -> Self {
        let most = device.map_or(GsoSizes::USUAL, |device| device.gso_limits);
        let choice = |sizes: GsoSizes, reason: String| {
            // Fewer than usual would be slower between endpoints, and they may be most of what there is.
            let sizes = sizes.least(most);
            let usual = GsoSizes::USUAL;
            Self {
                sizes: GsoSizes { v4: sizes.v4.max(usual.v4), v6: sizes.v6.max(usual.v6) },
                reason,
            }
        };
        if mode == BigTcp::Off {
            return choice(GsoSizes::USUAL, "switched off".to_owned());
        }
        if most == GsoSizes::USUAL {
            return choice(GsoSizes::USUAL, "the kernel has none".to_owned());
        }
        if mode == BigTcp::On {
            return choice(GsoSizes::BIG, "asked for".to_owned());
        }
        let smallest = uplinks.iter().min_by_key(|uplink| uplink.gso.v4.min(uplink.gso.v6));
        match smallest {
            Some(smallest) => choice(
                uplinks.iter().map(|uplink| uplink.gso).fold(GsoSizes::BIG, GsoSizes::least),
                format!("as uplink {} takes them", smallest.name),
            ),
            None => choice(GsoSizes::BIG, "no uplink is on the way".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(v4: u32, v6: u32) -> Link {
        Link { gso_limits: GsoSizes { v4, v6 }, ..Link::default() }
    }

    fn uplink(v4: u32, v6: u32) -> Uplink {
        Uplink { gso: GsoSizes { v4, v6 }, ..crate::plan::tests::uplink("up0", 2, &["192.0.2.1"]) }
    }

    #[test]
    fn the_shortest_of_all_uplinks_counts() {
        const MOST: u32 = 8 * 65_535;
        let sizes = |v4, v6| GsoSizes { v4, v6 };
        let new = device(MOST, MOST);
        // Linux 5.19 to 6.2, and before.
        let (v6_only, old) = (device(65_536, MOST), device(65_536, 65_536));
        for (mode, uplinks, device, expected) in [
            (BigTcp::Auto, vec![uplink(65_536, 65_536)], &new, GsoSizes::USUAL),
            (BigTcp::Auto, vec![uplink(100_000, MOST)], &new, sizes(100_000, 196_608)),
            (
                BigTcp::Auto,
                vec![uplink(MOST, MOST), uplink(90_000, 80_000)],
                &new,
                sizes(90_000, 80_000),
            ),
            (BigTcp::Auto, vec![uplink(30_000, 30_000)], &new, GsoSizes::USUAL),
            (BigTcp::Auto, vec![], &new, GsoSizes::BIG),
            (BigTcp::Auto, vec![], &v6_only, sizes(65_536, 196_608)),
            (BigTcp::On, vec![uplink(65_536, 65_536)], &new, GsoSizes::BIG),
            (BigTcp::On, vec![uplink(MOST, MOST)], &v6_only, sizes(65_536, 196_608)),
            (BigTcp::On, vec![], &old, GsoSizes::USUAL),
            (BigTcp::Off, vec![uplink(MOST, MOST)], &new, GsoSizes::USUAL),
        ] {
            let choice = GsoChoice::new(mode, &uplinks, Some(device));
            assert_eq!(choice.sizes, expected, "{mode:?} {uplinks:?} {device:?}");
        }
        assert_eq!(GsoChoice::new(BigTcp::On, &[], None).sizes, GsoSizes::USUAL);
    }
}
