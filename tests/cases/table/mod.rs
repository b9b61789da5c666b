//! Every case, by what it is about.

mod errors;
mod fragments;
mod guards;
mod hairpin;
mod host_stack;
mod limits;
mod masquerade;
mod neighbours;
mod networks;
mod odd_packets;
mod published;
mod quotas;
mod tcp;
mod untranslated;

use netebpf_common::testkit::Case;

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    [
        networks::cases(),
        guards::cases(),
        neighbours::cases(),
        masquerade::cases(),
        untranslated::cases(),
        published::cases(),
        hairpin::cases(),
        tcp::cases(),
        errors::cases(),
        limits::cases(),
        quotas::cases(),
        odd_packets::cases(),
        fragments::cases(),
        host_stack::cases(),
    ]
    .concat()
}
