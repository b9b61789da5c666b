//! Driver options of an endpoint on a network, Docker's keys: read from `--driver-opt` and `driver_opts:`.
//!
//! **Invariant**: every key that is taken does what Docker's does; every other one is an error.

use crate::model::{
    Attachment, InterfaceName, InterfaceNameError,
    requests::{AttachmentRequest, is_interface_sysctl},
};

/// The driver option that names the interface.
pub const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// The driver option of sysctls of the interface, which `IFNAME` stands for in their names.
pub const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// The options that mean something.
pub const KNOWN: [&str; 2] = [IFNAME, SYSCTLS];

/// Why an option cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndpointOptionError {
    /// No such key.
    #[error("{0:?} has no meaning here; known are {known}", known = KNOWN.join(", "))]
    Unknown(String),
    /// Not the name of an interface.
    #[error("{IFNAME}: {0}")]
    Interface(#[from] InterfaceNameError),
    /// Not a sysctl of an interface.
    #[error(
        "{SYSCTLS}: {0:?} is wrong; net.ipv4.conf.IFNAME.log_martians=1 is meant, with ipv4 or ipv6, conf \
         or neigh, and the word IFNAME"
    )]
    Sysctl(String),
}

/// Takes one option.
///
/// # Errors
///
/// What is wrong with it.
pub fn set(
    request: &mut AttachmentRequest,
    key: &str,
    value: &str,
) -> Result<(), EndpointOptionError> {
    match key {
        IFNAME => request.interface = Some(InterfaceName::new(value)?),
        SYSCTLS => {
            for text in value.split(',') {
                let (name, value) =
                    sysctl(text).ok_or_else(|| EndpointOptionError::Sysctl(text.to_owned()))?;
                request.sysctls.insert(name, value);
            }
        }
        _ => return Err(EndpointOptionError::Unknown(key.to_owned())),
    }
    Ok(())
}

/// The options that an endpoint has on a network, as Docker shows them: the name of its interface, and its sysctls.
pub fn shown(attachment: &Attachment) -> Vec<(&'static str, String)> {
    let sysctls = attachment.sysctls.iter();
    let sysctls: Vec<_> =
        sysctls.map(|(path, value)| format!("{}={value}", path.replace('/', "."))).collect();
    let sysctls = (!sysctls.is_empty()).then(|| (SYSCTLS, sysctls.join(",")));
    std::iter::once((IFNAME, attachment.interface.to_string())).chain(sysctls).collect()
}

/// `net.ipv4.conf.IFNAME.KEY=VALUE`, as the path below `/proc/sys` and the value.
fn sysctl(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let path = name.replace('.', "/");
    let right = !name.contains('/') && is_interface_sysctl(&path) && !value.is_empty();
    right.then(|| (path, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_and_wrong_ones_refused() {
        let mut request = AttachmentRequest::new("front");
        set(&mut request, IFNAME, "up").unwrap();
        let two = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.hop_limit=9";
        set(&mut request, SYSCTLS, two).unwrap();
        assert_eq!(request.interface.as_ref().map(InterfaceName::as_str), Some("up"));
        let sysctls: Vec<_> = request.sysctls.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            sysctls,
            ["net/ipv4/conf/IFNAME/log_martians=1", "net/ipv6/conf/IFNAME/hop_limit=9"]
        );
        for (key, value) in [
            (IFNAME, "much-too-long-a-name"),
            (SYSCTLS, "net.ipv4.conf.eth0.log_martians=1"),
            (SYSCTLS, "net.ipv4.conf.IFNAME.log_martians"),
            (SYSCTLS, "net.ipv4.conf.IFNAME.=1"),
            (SYSCTLS, "net.ipv4.conf.IFNAME.a/../b=1"),
            (SYSCTLS, "net.ipv4.ip_forward=1"),
            (SYSCTLS, "kernel.msgmax=1"),
            (SYSCTLS, ""),
            ("colour", "red"),
        ] {
            assert!(set(&mut request, key, value).is_err(), "{key}={value}");
        }
    }
}
