//! `status`: what is desired beside what the kernel has.

use super::Engine;
use crate::{
    daemon::{
        Error,
        api::{FlowUse, Status, SysctlStatus, UplinkStatus},
    },
    kernel::{KernelError, sysctl},
};
use std::collections::BTreeMap;

impl Engine {
    pub(in crate::daemon) async fn status(&mut self) -> Result<Status, Error> {
        let desired = &self.state.desired;
        let uplinks = self.kernel.uplinks(&desired.uplinks).await?;
        let uplinks = uplinks.into_iter().map(|uplink| UplinkStatus {
            name: uplink.name,
            addresses: uplink.addresses.into_iter().collect(),
            mtu: uplink.mtu,
        });
        let mut sysctls = Vec::new();
        for (name, before) in &self.state.runtime.sysctls {
            let now = sysctl::read(name).map_err(KernelError::from)?;
            sysctls.push(SysctlStatus { name: name.clone(), now, before: before.clone() });
        }
        let (mut used, mut counters) = (0, BTreeMap::<_, BTreeMap<_, _>>::new());
        for interface in self.kernel.counters().await? {
            used += interface.flows;
            // An endpoint has an interface a network; its packets are counted together.
            let of = match (interface.kind.as_str(), interface.name) {
                ("endpoint", Some(name)) => name,
                _ => interface.interface,
            };
            for (verdict, packets) in interface.packets {
                *counters.entry(of.clone()).or_default().entry(verdict).or_insert(0) += packets;
            }
        }
        Ok(Status {
            instance: self.instance.name().to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            uplinks: uplinks.collect(),
            hooks: self.kernel.hooks(desired).await?,
            gso: self.kernel.gso(desired).await?,
            networks: desired.networks.values().cloned().collect(),
            endpoints: desired.endpoints.values().map(|endpoint| self.view(endpoint)).collect(),
            sysctls,
            flows: FlowUse { used, capacity: self.kernel.flow_capacity().into() },
            counters,
        })
    }
}
