//! BIG TCP on a wire: its ends take packets of more than 64 KiB, as the owner of a network card would have it.
//!
//! **Invariant**: the wires of netebpf's host and of the bare veth, which is the limit, take them, and no others: neither
//! Docker nor podman make use of them, and Linux's own forwarding would take those of IPv6 that come in for too long.

use super::{
    BenchError,
    host::{self, Namespace},
};
use crate::{
    kernel::{LinkChange, change_link_in},
    plan::GsoSizes,
};

/// Raises what both ends of a wire take. Where the kernel has no such packets they stay as they are.
pub(super) fn takes_big_tcp(pair: &[Namespace; 2]) -> Result<(), BenchError> {
    let raised = LinkChange { gso: Some(GsoSizes::BIG), ..LinkChange::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::io("the wire"))?;
    for (namespace, end) in pair.iter().zip(host::ENDS) {
        runtime.block_on(change_link_in(&namespace.path(), end, &raised))?;
    }
    Ok(())
}
