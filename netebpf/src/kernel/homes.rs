//! In which network namespaces the endpoints are whose sockets may take the shortcut.
//!
//! **Invariant**: only the namespace that an endpoint is in now stands for its address: programs that see the sockets
//! of the whole machine must not take another's for the endpoint's.

use super::{Kernel, KernelError, NetnsError, namespace_cookie, netns};
use crate::model::Desired;
use netebpf_common::abi::Address;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    path::{Path, PathBuf},
};

/// Cookies of namespaces, and which ones these were.
pub(super) type Homes = HashMap<PathBuf, (netns::Stamp, u64)>;

impl Kernel {
    /// Makes known where the endpoints of `desired` are.
    pub(crate) fn set_homes(&mut self, desired: &Desired) -> Result<(), KernelError> {
        let (mut homes, mut wanted, mut failed) = (Homes::new(), BTreeMap::new(), None);
        let with_shortcut = desired.networks.values().filter(|network| network.shortcut);
        let with_shortcut: BTreeSet<&str> = with_shortcut.map(|n| n.name.as_str()).collect();
        // Most hosts have none, and then nobody is looked at.
        let endpoints = desired.endpoints.values().filter(|_| !with_shortcut.is_empty());
        for endpoint in endpoints.filter(|endpoint| !endpoint.namespace.is_shared()) {
            let attachments = endpoint.attachments.iter();
            let on_one = attachments.filter(|joined| with_shortcut.contains(&*joined.network));
            let addresses = on_one.flat_map(|attachment| {
                let v4 = attachment.v4.map(IpAddr::from);
                v4.into_iter().chain(attachment.v6.map(IpAddr::from))
            });
            let addresses: Vec<Address> = addresses.map(Address::from).collect();
            if addresses.is_empty() {
                continue;
            }
            let path = endpoint.namespace.path();
            // One that goes at this moment must not keep the others from what they are.
            let (stamp, cookie) = match self.home(path) {
                Ok(Some(home)) => home,
                Ok(None) => continue,
                Err(error) => {
                    failed.get_or_insert(error);
                    continue;
                }
            };
            homes.insert(path.to_owned(), (stamp, cookie));
            wanted.extend(addresses.into_iter().map(|address| (address, cookie)));
        }
        self.homes = homes;
        self.bpf.set_homes(&wanted)?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn home(&self, path: &Path) -> Result<Option<(netns::Stamp, u64)>, NetnsError> {
        let Some(stamp) = netns::stamp(path)? else { return Ok(None) };
        if let Some(known) = self.homes.get(path).filter(|known| known.0 == stamp) {
            return Ok(Some(*known));
        }
        let cookie = netns::run_in(path, namespace_cookie)?;
        let cookie = cookie.map_err(|source| NetnsError::System {
            path: path.to_owned(),
            operation: "ask for its cookie",
            source,
        })?;
        Ok(Some((stamp, cookie)))
    }
}
