//! A host without netebpf, whose endpoints are made by the calls that Linux needs for one, and no more.
//!
//! **Invariant**: from the first call to the last one this process alone makes them, as netebpf's daemon does, and waits for
//! none but the kernel. A program that does nothing may be attached to an endpoint, at the same place in the kernel as
//! netebpf's and loaded long before, as these are: what counts of it is the kernel's own time for the attaching.

use super::{
    super::{
        BenchError,
        arms::{bridge, serve},
        host::{self, Namespace},
        left::Left,
        load::frames::{Idle, Interface},
        process::Server,
        sweep::PREFIX,
    },
    calls::Calls,
    timed,
};
use ipnet::IpNet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A bridge with `web`, which serves, `app`, and others. Fields go in this order.
pub(super) struct Plain {
    #[expect(dead_code, reason = "held until the host goes")]
    server: Server,
    others: Vec<Namespace>,
    #[expect(dead_code, reason = "held until the host goes")]
    endpoints: Vec<Namespace>,
    calls: Calls,
    idle: Idle,
    host: Namespace,
    #[expect(dead_code, reason = "held until the host goes")]
    neighbour: Namespace,
}

/// The numbers of `web` and `app` are below it.
const FIRST: u16 = 10;

impl Plain {
    pub(super) fn new(left: &Left) -> Result<Self, BenchError> {
        let [host, neighbour] = host::pair(&format!("{PREFIX}-plain"), left)?;
        let endpoints = bridge(&host)?;
        let server = serve(&format!("{}-web", host.name))?;
        let calls = Calls::new(&host, "br-front")?;
        let idle = Idle::load()?;
        Ok(Self { server, others: Vec::new(), endpoints, calls, idle, host, neighbour })
    }

    /// An endpoint's namespace.
    pub(super) fn endpoint(&self, name: &str) -> String {
        format!("{}-{name}", self.host.name)
    }

    /// How many others there are.
    pub(super) fn others(&self) -> u32 {
        self.others.len() as u32
    }

    /// Another endpoint that stays.
    pub(super) fn add(&mut self) -> Result<(), BenchError> {
        let number = self.others.len() as u16;
        let other = self.attach(&format!("o{number}"), FIRST + 1 + number)?;
        self.others.push(other);
        Ok(())
    }

    /// An endpoint that comes and goes, with a program at its interface or without: its milliseconds to come, and to go,
    /// and what is done between.
    pub(super) fn probe(
        &self,
        with_program: bool,
        between: impl FnOnce(&str) -> Result<(), BenchError>,
    ) -> Result<[f64; 2], BenchError> {
        let (mut made, name) = (None, "probe");
        let mut attach = timed(|| {
            made = Some(self.attach(name, FIRST)?);
            Ok(())
        })?;
        let at = Interface::new(&self.host.name, name);
        let program = with_program.then(|| self.idle.attach(&at)).transpose()?;
        if let Some(program) = &program {
            attach += program.took.as_secs_f64() * 1e3;
        }
        between(&self.endpoint(name))?;
        let detach = timed(|| {
            self.calls.detach(name)?;
            drop(made);
            Ok(())
        })?;
        Ok([attach, detach])
    }

    fn attach(&self, name: &str, number: u16) -> Result<Namespace, BenchError> {
        let inside = Namespace::bare(&self.endpoint(name), &self.host.left)?;
        self.calls.attach(&inside, name, addresses(number))?;
        Ok(inside)
    }
}

/// Of an endpoint on the bridge, each with the length of its subnet.
fn addresses(number: u16) -> [IpNet; 2] {
    let [high, low] = number.to_be_bytes();
    let v4 = Ipv4Addr::new(172, 18, high, low);
    let v6 = Ipv6Addr::new(0xfd18, 0, 0, 0, 0, 0, 0, number);
    [IpNet::new_assert(v4.into(), 16), IpNet::new_assert(v6.into(), 64)]
}
