//! The difference between what is desired and what the kernel has, as a list of actions.
//!
//! **Invariant**: pure. The same input gives the same plan, a plan that was performed leaves an empty
//! one, and what somebody broke by hand is a difference like any other: `up`, start-up, recovery and
//! repair are one and the same.
//!
//! Deliberately absent: knowing what an object was made for. What carries the instance's mark and is
//! not desired goes; what is desired and not there is made.

mod action;
mod diff;
mod gso;
mod observed;
mod places;
mod published;
mod scope;
pub(crate) mod sysctls;
mod target;
mod xdp;

pub use action::{Action, AnyAddress, PortChanges, PublishChange};
pub use gso::{GsoChoice, GsoSizes, LOOPBACK};
pub use observed::{Attached, Link, Mechanism, Observed, Refusals, SourceRange, Tables, Uplink};
pub use scope::{Others, Scope};
pub use xdp::XdpChoice;

use target::Target;

use crate::model::Desired;
use std::path::PathBuf;

/// What is desired cannot be had: nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// An interface of our name that we did not make.
    #[error(
        "interface {name} is there already and was not made by this instance: remove or rename it"
    )]
    NotOurs {
        /// Its name.
        name: String,
    },
    /// Two would overwrite each other's sysctls, and each other's filters where there is no TCX.
    #[error(
        "instance {other:?} has networks in this network namespace already: take it down, or run this \
         one in a namespace of its own"
    )]
    OtherInstance {
        /// The one that was here first.
        other: String,
    },
    /// The endpoint's namespace is somebody else's.
    #[error(
        "endpoint {endpoint:?}: {path} is there already and was not made by this instance; \
         `netns: {path}` uses it as it is, another name for the endpoint avoids it",
        path = .path.display()
    )]
    NamespaceExists {
        /// The endpoint.
        endpoint: String,
        /// The namespace.
        path: PathBuf,
    },
    /// The endpoint's namespace has an interface of that name.
    #[error(
        "endpoint {endpoint:?}: its namespace has an interface {name} already, not made by this instance"
    )]
    InterfaceExists {
        /// The endpoint.
        endpoint: String,
        /// The interface.
        name: String,
    },
    /// Every place in the table of interfaces is taken.
    #[error(
        "the host has too many interfaces: no index is left that the packet path can tell apart"
    )]
    NoPlace,
    /// Every slot is taken.
    #[error("the instance has too many interfaces: {} at most", netebpf_common::abi::MAX_SLOTS - 1)]
    NoSlot,
}

/// What there is to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The steps, in order.
    pub actions: Vec<Action>,
    /// What is desired and cannot be had now, but does not stand in the way of the rest.
    pub notes: Vec<String>,
    /// Whether somebody asks for XDP just now: it fails where every driver refuses.
    pub asks_for_xdp: bool,
}

/// Makes the plan.
pub fn plan(desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
    let target = Target::new(desired, observed)?;
    let actions = diff::diff(&target, observed);
    Ok(Plan { actions, notes: target.notes, asks_for_xdp: false })
}

#[cfg(test)]
mod tests;
