//! A host without netebpf, whose endpoints are made by `ip`: the least that Linux needs for one.
//!
//! **Invariant**: three processes make an endpoint, and two take it away: fewer are not possible, since `ip` works in
//! one namespace at a time. A program that does nothing may be attached to one, by the same place in the kernel as
//! netebpf's: what that takes is the kernel's own.

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
    timed,
};

/// A bridge with `web`, which serves, `app`, and others. Fields go in this order.
pub(super) struct Plain {
    #[expect(dead_code, reason = "held until the host goes")]
    server: Server,
    others: Vec<Namespace>,
    #[expect(dead_code, reason = "held until the host goes")]
    endpoints: Vec<Namespace>,
    host: Namespace,
    #[expect(dead_code, reason = "held until the host goes")]
    neighbour: Namespace,
}

/// The numbers of `web` and `app` are below it.
const FIRST: usize = 10;

impl Plain {
    pub(super) fn new(left: &Left) -> Result<Self, BenchError> {
        let [host, neighbour] = host::pair(&format!("{PREFIX}-plain"), left)?;
        let endpoints = bridge(&host)?;
        let server = serve(&format!("{}-web", host.name))?;
        Ok(Self { server, others: Vec::new(), endpoints, host, neighbour })
    }

    /// An endpoint's namespace.
    pub(super) fn endpoint(&self, name: &str) -> String {
        format!("{}-{name}", self.host.name)
    }

    /// How many others there are.
    pub(super) fn others(&self) -> usize {
        self.others.len()
    }

    /// Another endpoint that stays.
    pub(super) fn add(&mut self) -> Result<(), BenchError> {
        let number = self.others.len();
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
        let (mut made, mut program, name) = (None, None, "probe");
        let attach = timed(|| {
            made = Some(self.attach(name, FIRST)?);
            if with_program {
                program = Some(Idle::attach(&Interface::new(&self.host.name, name))?);
            }
            Ok(())
        })?;
        between(&self.endpoint(name))?;
        let detach = timed(|| {
            self.host.ip([&format!("link delete {name}")])?;
            drop((made, program));
            Ok(())
        })?;
        Ok([attach, detach])
    }

    fn attach(&self, name: &str, number: usize) -> Result<Namespace, BenchError> {
        let [.., high, low] = number.to_be_bytes();
        let inside = Namespace::bare(&self.endpoint(name), &self.host.left)?;
        self.host.ip([
            &format!("link add {name} type veth peer name eth0 netns {}", inside.name),
            &format!("link set {name} master br-front up"),
        ])?;
        inside.ip([
            "link set lo up",
            &format!("address add 172.18.{high}.{low}/16 dev eth0"),
            &format!("address add fd18::{number:x}/64 dev eth0 nodad"),
            "link set eth0 up",
            "route add default via 172.18.0.1",
            // Without `onlink` it is refused while the kernel has not taken note of the carrier.
            "route add default via fd18::1 dev eth0 onlink",
        ])?;
        Ok(inside)
    }
}
