//! Settings of the instance, and the ranges of addresses that are ours.

use super::assert_layout;

/// What the packet logic can be told at run time. One entry, changed in place by the user side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Settings {
    /// The first port, or ICMP identifier, that masquerade may choose when the source's is taken.
    pub snat_first: u16,
    /// The last one.
    pub snat_last: u16,
    /// How many flows one endpoint may have at a time.
    pub flow_quota: u32,
    /// How many of those may be unconfirmed (see [`super::Flow::confirmed`]) before the oldest of them makes room for
    /// the next.
    pub embryonic_quota: u32,
    /// Places in the table of flows.
    pub flow_capacity: u32,
    /// The cookie of the network namespace that is the host: programs that see sockets of the whole machine leave those
    /// of others alone. 0 is nobody's.
    pub host_cookie: u64,
}
assert_layout!(Settings, size 24, align 8);

/// How many flows there are unless somebody says otherwise: as many as have an index ([`super::index_entries`]) of 2^18
/// entries. For one more the kernel makes twice the buckets.
pub const FLOW_CAPACITY: u32 = 129_024;

/// As many sockets as can be led to endpoints at once and know what their programs called those.
pub const PEER_CAPACITY: u32 = 65_536;

/// As many packets as can be on their way in fragments at once.
pub const FRAGMENT_CAPACITY: u32 = 16_384;

/// As many sockets as can be without a port of their own at once.
pub const MAPPING_CAPACITY: u32 = 16_384;

/// How many entries a table has that has `usual` ones beside [`FLOW_CAPACITY`] flows: fewer with fewer, for a small host
/// must not pay for a large one. Each of the machine's `cpus` may keep 128 free entries for itself (`LOCAL_FREE_TARGET` of
/// kernel/bpf/bpf_lru_list.c) while another forgets what is in use, so there are as many again beside those.
pub fn in_proportion(usual: u32, flows: u32, cpus: u32) -> u32 {
    let part = u64::from(usual) * u64::from(flows) / u64::from(FLOW_CAPACITY);
    let least = u64::from(cpus) * 256;
    part.max(least).max(1024).min(usual.into()) as u32
}

impl Default for Settings {
    /// Linux's own ephemeral ports, half of the table for any one endpoint, an eighth for what nobody has confirmed:
    /// fewer than there are ports to one destination.
    fn default() -> Self {
        Self {
            snat_first: 32_768,
            snat_last: 60_999,
            flow_quota: FLOW_CAPACITY / 2,
            embryonic_quota: FLOW_CAPACITY / 8,
            flow_capacity: FLOW_CAPACITY,
            host_cookie: 0,
        }
    }
}

/// What a range of addresses is to us: the value of the trie of ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct NetworkRange {
    /// The network that it belongs to, or 0: it is outside, and packets to there keep their source.
    pub network: u32,
}
assert_layout!(NetworkRange, size 4, align 4);

impl NetworkRange {
    /// Outside, and never masqueraded.
    pub const NEVER_MASQUERADED: Self = Self { network: 0 };
}

/// Who may use a published port, as the trie of sources has it: a prefix of these bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct Source {
    /// [`super::Published::sources`].
    pub group: u32,
    /// The first address of the range.
    pub address: [u8; 16],
}
assert_layout!(Source, size 20, align 4);

impl Source {
    /// The bits that stand before the address.
    pub const GROUP_BITS: u32 = 32;
}
