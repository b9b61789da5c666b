//! A card that is lent to a throw-away namespace.
//!
//! **Invariant**: it is nobody's before, and back afterwards, switched off as it was. It keeps its name, so that where this
//! is killed the kernel, which brings cards back from namespaces that go, brings it back under that name.

use super::{
    super::{BenchError, Stop, host::Namespace, process},
    CardError,
};
use serde::Deserialize;
use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long two cards may take to agree on a speed.
const CARRIER: Duration = Duration::from_secs(10);

/// What `ip -json address` says, as far as it is looked at.
#[derive(Deserialize)]
struct Said {
    ifname: String,
    #[serde(default)]
    link: Option<String>,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    master: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<std::net::IpAddr>,
}

impl Said {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|of| of == flag)
    }

    /// Whose it is, if anybody's.
    fn user(&self, all: &[Self]) -> Option<String> {
        let address = self.addr_info.iter().find_map(|address| address.local);
        // The two ends of a veth name each other, and neither stands on the other.
        let is_above = |of: &&Self| {
            of.link.as_deref() == Some(&self.ifname) && self.link.as_ref() != Some(&of.ifname)
        };
        let above = all.iter().find(is_above);
        address
            .map(|address| format!("it has the address {address}"))
            .or_else(|| self.master.as_ref().map(|master| format!("it is a port of {master}")))
            .or_else(|| above.map(|above| format!("{} stands on it", above.ifname)))
            .or_else(|| {
                self.has("UP").then(|| {
                    format!("it is up (`ip link set {} down` where nobody needs it)", self.ifname)
                })
            })
    }
}

fn said(mut ip: Command) -> Result<Vec<Said>, BenchError> {
    let said = process::output(&mut ip)?;
    serde_json::from_str(&said).map_err(|_| BenchError::Talk("ip", said))
}

/// Two cards that are there and that nobody uses; the first one's driver.
pub(super) fn are_nobodys(names: &[String; 2]) -> Result<Option<String>, BenchError> {
    if names[0] == names[1] {
        return Err(CardError::Same(names[0].clone()).into());
    }
    let mut ip = Command::new("ip");
    ip.args(["-json", "address", "show"]);
    let all = said(ip)?;
    for name in names {
        let Some(card) = all.iter().find(|of| of.ifname == *name) else {
            let there: Vec<&str> = all.iter().map(|of| of.ifname.as_str()).collect();
            let there = format!("there are {}", there.join(", "));
            return Err(CardError::Missing(name.clone(), there).into());
        };
        if card.link_type != "ether" {
            return Err(CardError::NoEthernet(name.clone()).into());
        }
        if let Some(how) = card.user(&all) {
            return Err(CardError::InUse { card: name.clone(), how }.into());
        }
    }
    let driver = fs::read_link(format!("/sys/class/net/{}/device/driver", names[0])).ok();
    Ok(driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())))
}

/// One that is in a namespace of ours.
#[derive(Debug)]
pub(in crate::bench) struct Card {
    name: String,
    namespace: String,
    left: super::super::left::Left,
}

impl Card {
    /// Moves it there.
    pub(super) fn lend(name: &str, to: &Namespace) -> Result<Self, BenchError> {
        let mut ip = Command::new("ip");
        process::output(ip.args(["link", "set", name, "netns", &to.name]))?;
        let (name, namespace) = (name.to_owned(), to.name.clone());
        Ok(Self { name, namespace, left: to.left.clone() })
    }

    /// Until there is somebody at its other end.
    pub(super) fn waits_for_its_wire(&self, stop: Stop<'_>) -> Result<(), BenchError> {
        let deadline = Instant::now() + CARRIER;
        loop {
            stop()?;
            let mut ip = Command::new("ip");
            ip.args(["-n", &self.namespace, "-json", "address", "show", "dev", &self.name]);
            if said(ip)?.iter().any(|card| card.has("LOWER_UP")) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(CardError::NoCarrier(self.name.clone()).into());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn back(&self) -> Result<(), BenchError> {
        let home = std::process::id().to_string();
        let set = |words: &[&str]| {
            let mut ip = Command::new("ip");
            ip.args(["-n", &self.namespace, "link", "set", &self.name]).args(words);
            process::output(&mut ip).map(drop)
        };
        // Whatever became of the first, it goes home.
        let down = set(&["down"]);
        set(&["netns", &home]).and(down)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.left.note(self.back());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_it_is() {
        let all: Vec<Said> = serde_json::from_str(
            r#"[{"ifname": "free", "link_type": "ether", "flags": ["BROADCAST"]},
                {"ifname": "up", "flags": ["UP"]},
                {"ifname": "has", "addr_info": [{"local": "192.0.2.1"}]},
                {"ifname": "port", "master": "br0", "flags": ["UP"]},
                {"ifname": "vlan", "link": "trunk"},
                {"ifname": "trunk"},
                {"ifname": "end", "link": "other"},
                {"ifname": "other", "link": "end"}]"#,
        )
        .unwrap();
        let user = |name: &str| all.iter().find(|of| of.ifname == name).unwrap().user(&all);
        assert_eq!([user("free"), user("end")], [None, None]);
        for (name, word) in
            [("up", "is up"), ("has", "192.0.2.1"), ("port", "br0"), ("trunk", "vlan")]
        {
            assert!(user(name).is_some_and(|how| how.contains(word)), "{name}");
        }
    }
}
