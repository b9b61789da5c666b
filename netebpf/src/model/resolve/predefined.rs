//! The networks that are there without being made.

use super::{Context, Resolver};
use crate::model::{Desired, Network, Origin, predefined, requests::DEFAULT_NETWORK};

/// Those that are not part of what is desired: `host`, `none`, and `bridge` as the next who joins it would get it. Where
/// it cannot be had it has no subnet.
pub fn predefined_networks(before: &Desired, context: Context<'_>) -> Vec<Network> {
    let missing =
        predefined::PREDEFINED.into_iter().filter(|name| !before.networks.contains_key(*name));
    let bare = |name: &str| predefined::bare(context.instance, name, context.facts.now);
    missing
        .map(|name| match name {
            DEFAULT_NETWORK => would_be(before, context).unwrap_or_else(|| bare(name)),
            name => bare(name),
        })
        .collect()
}

fn would_be(before: &Desired, context: Context<'_>) -> Option<Network> {
    let desired = before.clone();
    let mut resolver = Resolver { context, before, desired, origin: Origin::CommandLine };
    resolver.default_network().ok()?;
    resolver.desired.networks.remove(DEFAULT_NETWORK)
}
