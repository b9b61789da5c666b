//! What was served the last time.
//!
//! **Invariant**: pure. Only what differs from the last time is looked at again.

use super::resolv_conf::ResolvConf;
use crate::model::Desired;
use std::{collections::BTreeSet, sync::Arc};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Served {
    desired: Desired,
    host: Option<Arc<ResolvConf>>,
}

/// Who has to be looked at.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Changes {
    /// Those that are not what they were, or are not any more.
    pub(super) endpoints: BTreeSet<String>,
    /// Everybody: a network or the host is not what it was.
    pub(super) all: bool,
}

impl Served {
    /// What differs from the last time, which is forgotten.
    pub(super) fn changes(&mut self, desired: &Desired, host: &Arc<ResolvConf>) -> Changes {
        let same_host = self.host.as_ref().is_some_and(|before| Arc::ptr_eq(before, host));
        let all = !same_host || self.desired.networks != desired.networks;
        let endpoints = self.desired.differing(desired).cloned().collect();
        self.desired.clone_from(desired);
        self.host = Some(Arc::clone(host));
        Changes { endpoints, all }
    }
}
