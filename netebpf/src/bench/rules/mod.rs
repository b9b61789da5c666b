//! Placeholder until the rules are merged.
use super::process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Backend {
    IptablesLegacy,
    IptablesNft,
    Netavark,
    NetavarkFlowtable,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code)]
pub(in crate::bench) struct Published {
    pub host: u16,
    pub endpoint: u16,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(String);

pub(in crate::bench) fn lacks(backend: Backend, _: &str) -> Result<Option<String>, RulesError> {
    Ok((backend as u8 > 1).then(|| "later".to_owned()))
}

pub(in crate::bench) fn load(
    backend: Backend,
    host: &str,
    _: &[Published],
) -> Result<(), RulesError> {
    let text = include_str!("../../../../xtask/src/bench/docker.rules");
    for (program, text) in [
        ("iptables", text.to_owned()),
        (
            "ip6tables",
            text.replace("172.18.0.2/32", "fd18::2/128")
                .replace("172.18.0.2:80", "[fd18::2]:80")
                .replace("172.18.0.0/16", "fd18::/64")
                .replace("172.17.0.0/16", "fd17::/64")
                .replace("127.0.0.0/8", "::1/128"),
        ),
    ] {
        let kind = if backend == Backend::IptablesLegacy { "legacy" } else { "nft" };
        process::told(&mut process::inside(host, format!("{program}-{kind}-restore")), &text)
            .map_err(|e| RulesError(e.to_string()))?;
    }
    Ok(())
}

pub(in crate::bench) fn has_bridge_netfilter(host: &str) -> bool {
    let mut sysctl = process::inside(host, "sysctl");
    let value = process::output(sysctl.args(["-n", "net.bridge.bridge-nf-call-iptables"]));
    value.is_ok_and(|value| value.trim() == "1")
}
