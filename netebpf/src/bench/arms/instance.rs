//! netebpf on its host.

use super::{
    super::{
        BenchError,
        host::{self, APP, Family, PUBLISHED, Place, STREAMS, WEB},
        left::Left,
        process,
        rules::Published,
    },
    Kind, Site,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// netebpf on its host.
pub(in crate::bench) struct Instance {
    site: Site,
    /// In the place of the machine's, which are no part of what is measured.
    settings: PathBuf,
    left: Left,
}

impl Instance {
    pub(super) fn up(site: Site, settings: &Path, left: &Left) -> Result<Self, BenchError> {
        let instance = Self { site, settings: settings.to_owned(), left: left.clone() };
        instance.make(&[])?;
        for name in ["web", "app"] {
            host::use_reno(&site.endpoint(name))?;
        }
        Ok(instance)
    }

    /// `up`, with these options.
    pub(super) fn make(&self, options: &[&str]) -> Result<(), BenchError> {
        let of_driver = match self.site.kind {
            Kind::NetebpfShortcut => "driver_opts: {netebpf.socket_shortcut: \"true\"}",
            Kind::NetebpfNetkit => "driver_opts: {netebpf.device: netkit}",
            _ => "",
        };
        self.bring_up(&topology_text(&self.site.published(), of_driver), options)
    }

    /// `up`, with this topology. Not by a file: one that is killed would leave it. Away from a directory that has an `.env`.
    pub(super) fn bring_up(&self, topology: &str, options: &[&str]) -> Result<(), BenchError> {
        let mut up = self.command()?;
        up.args(["up", "--file", "-"]).args(options).current_dir("/");
        process::told(&mut up, topology).map(drop)
    }

    /// A command of netebpf about it.
    pub(in crate::bench) fn command(&self) -> Result<Command, BenchError> {
        let name = self.site.name();
        let mut command = process::inside(&name, process::netebpf()?);
        command.args(["--instance", &name, "--settings"]).arg(&self.settings);
        Ok(command)
    }

    pub(super) fn forget_flows(&self) -> Result<(), BenchError> {
        process::output(self.command()?.args(["conntrack", "rm", "--all"])).map(drop)
    }

    fn down(&self) -> Result<(), BenchError> {
        process::output(self.command()?.args(["down", "--all"])).map(drop)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.left.note(self.down());
    }
}

fn topology_text(ports: &[Published], options: &str) -> String {
    let published = |Published { host, endpoint, transport }: &Published| match *host {
        PUBLISHED | STREAMS => format!("\"{host}:{endpoint}/{transport}\""),
        further => format!("\"0.0.0.0:{further}:{endpoint}\""),
    };
    let ports = ports.iter().map(published).collect::<Vec<_>>().join(", ");
    let addresses = |place: Place| {
        let [v4, v6] = Family::BOTH.map(|family| place.of(family));
        format!("networks: {{front: {{ipv4_address: {v4}, ipv6_address: \"{v6}\"}}}}")
    };
    format!(
        "name: bench
networks:
  front:
    enable_ipv6: true
    {options}
    ipam: {{config: [{{subnet: 172.18.0.0/16, gateway: 172.18.0.1}}, {{subnet: \"fd18::/64\", gateway: \"fd18::1\"}}]}}
services:
  web:
    {}
    ports: [{ports}]
  app:
    {}
",
        addresses(WEB),
        addresses(APP)
    )
}
