//! The host: the kernel's clock, its routes, its sockets.

use super::Room;
use aya_ebpf::{
    bindings::{
        BPF_F_CURRENT_NETNS, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS,
        BPF_FIB_LOOKUP_OUTPUT, BPF_FIB_LOOKUP_SKIP_NEIGH, bpf_fib_lookup, bpf_redir_neigh,
        bpf_sock_tuple,
    },
    helpers::generated::{
        bpf_fib_lookup as fib_lookup, bpf_get_prandom_u32, bpf_ktime_get_coarse_ns,
        bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp,
    },
    maps::lpm_trie::Key,
};
use core::{
    arch::asm,
    intrinsics::{AtomicOrdering, atomic_xadd},
    mem,
};
use netebpf_common::{
    abi::{Address, FlowKey, NextHop, Protocol, SharedWord},
    datapath::{Datagram, Host, New, Route, State},
};

/// `TCP_SYN_SENT` of Linux.
const SYN_SENT: u32 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// What the kernel is asked with; too large for the stack beside everything else.
pub struct Query {
    route: bpf_fib_lookup,
    socket: bpf_sock_tuple,
    /// For `bpf_redirect_neigh`.
    pub hop: bpf_redir_neigh,
    /// The key of the trie of ranges.
    pub range: Key<[u32; 4]>,
    /// The key of the trie of sources.
    pub source: Key<[u32; 5]>,
}

/// What a program knows its packet by.
pub trait Context {
    /// Takes a place for the flow that stands in this CPU's [`Room`], see [`Host::claim`]: what it works on has to be [lent](lend).
    fn claim(context: *mut Self);
    /// Opens it, see [`Host::open`]; likewise.
    fn open(context: *mut Self);
}

/// Gives a part of [`Room`] away, to a function that takes it out of there: the compiler has to believe that it was read, and
/// written where it may be.
#[inline(always)]
pub fn lend<T>(part: *const T) {
    // SAFETY: a pointer is copied onto itself, no less: an `asm!` without instructions gets line information that the kernel
    // refuses.
    unsafe { asm!("{0} = {0}", in(reg) part) };
}

/// The kernel, asked through the program's context.
pub struct KernelHost<C> {
    context: *mut C,
}

impl<C> KernelHost<C> {
    #[inline(always)]
    pub fn new(context: *mut C) -> Self {
        Self { context }
    }

    /// With a length, the kernel reports the route's MTU instead of comparing the device's; one byte is never too long.
    #[inline(always)]
    fn lookup(&mut self, query: &mut bpf_fib_lookup, flags: u32) -> u32 {
        query.__bindgen_anon_1.tot_len = 1;
        // SAFETY: the context and the query are valid, and the query's size is passed.
        unsafe {
            fib_lookup(self.context.cast(), query, mem::size_of::<bpf_fib_lookup>() as i32, flags)
                as u32
        }
    }
}

/// Begins a question about a route; whatever the last one left in it is written over.
#[inline(always)]
fn ask(query: &mut bpf_fib_lookup, source: &Address, destination: &Address, ifindex: u32) {
    query.l4_protocol = 0;
    query.sport = 0;
    query.dport = 0;
    query.__bindgen_anon_2.flowinfo = 0;
    query.__bindgen_anon_5.tbid = 0;
    query.ifindex = ifindex;
    if destination.is_mapped() {
        query.family = AF_INET;
        query.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination.last_four());
        query.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(source.last_four());
    } else {
        query.family = AF_INET6;
        query.__bindgen_anon_4.ipv6_dst = destination.words();
        query.__bindgen_anon_3.ipv6_src = source.words();
    }
}

impl<C: Context> Host for KernelHost<C> {
    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: no arguments.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn add(&self, counter: &SharedWord, amount: u64) {
        // SAFETY: a shared word may be changed through a shared reference, and this is the one BPF
        // instruction that adds atomically; what it returns must go unused (instruction set 1).
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter.as_ptr(), amount);
        }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: no arguments.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn route(&mut self, datagram: &Datagram, ingress: u32) -> Route {
        let Some(Query { route: query, .. }) = Room::query() else { return Route::None };
        ask(query, &datagram.source, &datagram.destination, ingress);
        query.l4_protocol = datagram.protocol;
        query.sport = u16::from_ne_bytes(datagram.key.source_port);
        query.dport = u16::from_ne_bytes(datagram.key.destination_port);
        if query.family == AF_INET {
            query.__bindgen_anon_2.tos = datagram.traffic_class;
        }
        match self.lookup(query, BPF_FIB_LOOKUP_SKIP_NEIGH) {
            BPF_FIB_LKUP_RET_SUCCESS => {
                // SAFETY: every bit pattern is a number.
                let mtu = unsafe { query.__bindgen_anon_1.mtu_result };
                Route::Forward { ifindex: query.ifindex, mtu: u32::from(mtu) }
            }
            // A local or broadcast address, or no route at all: the stack knows which.
            BPF_FIB_LKUP_RET_NOT_FWDED => Route::Host,
            _ => Route::None,
        }
    }

    #[inline(always)]
    fn next_hop(&mut self, destination: &Address, egress: u32, hop: &NextHop) -> bool {
        // No source: both families' "unspecified" is all zero in the last four bytes.
        let Some(Query { route: query, .. }) = Room::query() else { return false };
        ask(query, &Address::NONE, destination, egress);
        let flags = BPF_FIB_LOOKUP_OUTPUT | BPF_FIB_LOOKUP_SKIP_NEIGH;
        if self.lookup(query, flags) != BPF_FIB_LKUP_RET_SUCCESS || query.ifindex != egress {
            return false;
        }
        // SAFETY: every bit pattern is an address; the kernel left the next hop's in the destination's
        // place, and its family, which for IPv4 over IPv6 next hops (RFC 5549) is not the packet's.
        let (address, mtu) = unsafe {
            let address = if query.family == AF_INET {
                Address::v4(query.__bindgen_anon_4.ipv4_dst.to_ne_bytes())
            } else {
                Address::from_halves(mem::transmute::<[u32; 4], [u64; 2]>(
                    query.__bindgen_anon_4.ipv6_dst,
                ))
            };
            (address, query.__bindgen_anon_1.mtu_result)
        };
        hop.set(egress, u32::from(mtu), &address);
        true
    }

    #[inline(always)]
    fn socket_receives(&mut self, tuple: &FlowKey) -> bool {
        self.socket(tuple).is_some()
    }

    #[inline(always)]
    fn socket_connects(&mut self, tuple: &FlowKey) -> bool {
        tuple.protocol == Protocol::Tcp as u32 && self.socket(tuple) == Some(SYN_SENT)
    }

    #[inline(always)]
    fn claim<S: State>(&mut self, _: &S, new: &mut New) {
        lend(new);
        C::claim(self.context);
    }

    #[inline(always)]
    fn open<S: State>(&mut self, _: &S, datagram: &Datagram, new: &mut New) {
        lend(new);
        lend(datagram);
        C::open(self.context);
    }
}

impl<C> KernelHost<C> {
    /// The state of the socket that receives what has this tuple; 0 for one of UDP.
    #[inline(always)]
    fn socket(&mut self, tuple: &FlowKey) -> Option<u32> {
        if tuple.protocol == Protocol::Icmp as u32 {
            return None;
        }
        let Query { socket: key, .. } = Room::query()?;
        let size = if tuple.source.is_mapped() {
            let ipv4 = &mut key.__bindgen_anon_1;
            // SAFETY: the union's members are plain integers.
            let ipv4 = unsafe { &mut ipv4.ipv4 };
            ipv4.saddr = u32::from_ne_bytes(tuple.source.last_four());
            ipv4.daddr = u32::from_ne_bytes(tuple.destination.last_four());
            ipv4.sport = u16::from_ne_bytes(tuple.source_port);
            ipv4.dport = u16::from_ne_bytes(tuple.destination_port);
            mem::size_of_val(ipv4)
        } else {
            // SAFETY: as above.
            let ipv6 = unsafe { &mut key.__bindgen_anon_1.ipv6 };
            ipv6.saddr = tuple.source.words();
            ipv6.daddr = tuple.destination.words();
            ipv6.sport = u16::from_ne_bytes(tuple.source_port);
            ipv6.dport = u16::from_ne_bytes(tuple.destination_port);
            mem::size_of_val(ipv6)
        } as u32;
        let netns = BPF_F_CURRENT_NETNS as i64 as u64;
        // SAFETY: the tuple is valid and its size is that of its family; a socket that is found is
        // released at once.
        unsafe {
            // The two have types of their own for the verifier, so nothing but the release is common to them. The
            // state is read volatile: the compiler may not read it after the release.
            let (socket, state) = if tuple.protocol == Protocol::Tcp as u32 {
                let socket = bpf_skc_lookup_tcp(self.context.cast(), key, size, netns, 0);
                if socket.is_null() {
                    return None;
                }
                (socket, (&raw const (*socket).state).read_volatile())
            } else {
                let socket = bpf_sk_lookup_udp(self.context.cast(), key, size, netns, 0);
                if socket.is_null() {
                    return None;
                }
                (socket, 0)
            };
            bpf_sk_release(socket.cast());
            Some(state)
        }
    }
}
