//! What can be wrong with a topology file by itself.

use super::words::WordsError;
use crate::{
    config::{endpoint_options::EndpointOptionError, options::OptionError, ports::PortProblem},
    model::{InterfaceNameError, MacError, Place, requests::NameError},
};
use ipnet::IpNet;

/// Something wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// The line and column.
    pub place: Box<Place>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Nothing in it.
    #[error("the file is empty; it needs at least one service or network")]
    Empty,
    /// More than [`super::MAX_BYTES`].
    #[error("the file has {0} bytes; {max} are read at most", max = super::MAX_BYTES)]
    TooLarge(usize),
    /// No YAML, or a list where a mapping is meant.
    #[error("{0}")]
    Yaml(String),
    /// A key that means nothing.
    #[error("{section}: unknown key {key:?}; known are {known}")]
    UnknownKey {
        /// What has the key.
        section: String,
        /// The key.
        key: String,
        /// All that it could have been.
        known: String,
    },
    /// A dollar sign that begins no variable.
    #[error(
        "{0:?}: invalid interpolation format; ${{NAME}}, ${{NAME:-default}} or ${{NAME:?message}} is meant, or $$ for \
         a dollar sign"
    )]
    Variable(String),
    /// A variable that the file says has to be there.
    #[error("required variable {name} is missing a value: {message}")]
    RequiredVariable {
        /// Its name.
        name: String,
        /// What the file says then.
        message: String,
    },
    /// A NUL, which no command, path or variable can hold.
    #[error("a NUL character stands here; take it out")]
    Nul,
    /// No name and none to be had.
    #[error(
        "the file has no name and stands in no directory to take one from; add a line such as \"name: demo\""
    )]
    NoName,
    /// The `name` of the file.
    #[error("name: {0}")]
    FileName(NameError),
    /// Anything else: of what, and what is wrong with it.
    #[error("{owner}: {fault}")]
    Of {
        /// A network or a service, by its name.
        owner: String,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a network or a service.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// No name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two objects of one name.
    #[error("an earlier one has the name {0:?} already")]
    NameTwice(String),
    /// Not of the type that the key has.
    #[error("{key}: {text:?} is wrong; {meant} is meant")]
    Value {
        /// The key.
        key: &'static str,
        /// What stands there.
        text: String,
        /// What would be right.
        meant: &'static str,
    },
    /// A list or a mapping where something else is meant.
    #[error("{key}: {meant} is meant here")]
    Shape {
        /// The key.
        key: &'static str,
        /// What would be right.
        meant: &'static str,
    },
    /// A driver that we do not have.
    #[error("driver {0:?} is not there; leave the line out, or write \"bridge\"")]
    Driver(String),
    /// An IPAM driver that we do not have.
    #[error("ipam: driver {0:?} is not there; leave the line out, or write \"default\"")]
    IpamDriver(String),
    /// A driver option that cannot be.
    #[error("driver_opts: {0}")]
    Option(#[from] OptionError),
    /// A range of sources that is none.
    #[error("allow_from: {0}")]
    Sources(#[from] crate::config::ports::SourceError),
    /// Gateway, range or reserved addresses without a subnet.
    #[error("ipam: an entry without a subnet; write the subnet that it belongs to")]
    NoSubnet,
    /// Host bits in a subnet.
    #[error("{key}: {text} has host bits set; {right} is meant")]
    HostBits {
        /// The key.
        key: &'static str,
        /// What stands there.
        text: String,
        /// Without the host bits.
        right: IpNet,
    },
    /// Two subnets of one family.
    #[error("ipam: two {0} subnets; a network has one of each family")]
    TwoSubnets(&'static str),
    /// A subnet of a family that is switched off.
    #[error("subnet {0}, but {1} is false; one of the two has to go")]
    FamilyOff(IpNet, &'static str),
    /// Neither family.
    #[error("neither IPv4 nor IPv6; set enable_ipv4 or enable_ipv6 to true")]
    NoFamily,
    /// More than a name for a network that somebody else makes.
    #[error(
        "external: true, so nothing but a name can be said of it; what made it decides the rest"
    )]
    External,
    /// Not an interface name.
    #[error("{key}: {error}")]
    Interface {
        /// The key.
        key: &'static str,
        /// Why not.
        error: InterfaceNameError,
    },
    /// Not an Ethernet address.
    #[error("mac_address: {0}")]
    Mac(#[from] MacError),
    /// An Ethernet address without an interface of its own to have it.
    #[error("conflicting options: mac_address and network_mode; one of the two has to go")]
    MacAndMode,
    /// A service's Ethernet address, and another one on the network that it is for.
    #[error(
        "mac_address: on network {0:?}, which it is for, stands another one; one of the two has to go"
    )]
    TwoMacs(String),
    /// A network that the file does not define.
    #[error("network {name:?} is not defined in this file; {defined}")]
    UnknownNetwork {
        /// The name.
        name: String,
        /// Those that are.
        defined: String,
    },
    /// Networks, and what stands in their place.
    #[error("mutually exclusive network_mode and networks; one of the two has to go")]
    NetworksAndMode,
    /// A service that the file does not have.
    #[error("network_mode: there is no service {0:?} in this file")]
    UnknownService(String),
    /// A driver option of a service's network.
    #[error("driver_opts: {0}")]
    EndpointOption(#[from] EndpointOptionError),
    /// An address that the kernel gives.
    #[error(
        "link_local_ips: {0:?}: each interface has the link-local address that the kernel gives it; leave \
         it out"
    )]
    LinkLocal(String),
    /// One network joined twice.
    #[error("network {0:?} is joined twice")]
    NetworkTwice(String),
    /// A published port.
    #[error("port {text:?}: {problem}")]
    Port {
        /// What stands there.
        text: String,
        /// What is wrong.
        problem: PortProblem,
    },
    /// A published port in the long syntax without a target.
    #[error("port without a target; write the endpoint's port as target: 80")]
    NoTarget,
    /// A command that no shell would read.
    #[error("command: {0}")]
    Command(#[from] WordsError),
    /// A key twice in a list of `KEY=VALUE`.
    #[error("{key}: {name:?} stands there twice")]
    Twice {
        /// Which list.
        key: &'static str,
        /// What stands there twice.
        name: String,
    },
}

impl Problem {
    /// What the parser says, in words that a writer of the file understands.
    pub(super) fn yaml(error: &serde_saphyr::Error) -> Self {
        use serde_saphyr::Error::{Budget, Eof, Message, Unexpected, UnknownAnchor};
        Self::Yaml(match error {
            Unexpected { expected: "mapping start", .. } => {
                "a mapping (\"key: value\") is meant here".to_owned()
            }
            Unexpected { expected: "sequence start", .. } => {
                "a list (\"- item\") is meant here".to_owned()
            }
            Unexpected { expected: "string scalar", .. } => {
                "a single value is meant here, not a list or a mapping".to_owned()
            }
            Unexpected { expected, .. } => format!("not YAML: {expected} is meant here"),
            Eof { .. } => "not YAML: the file ends too early".to_owned(),
            Message { msg, .. } if msg.starts_with("cannot deserialize null into string") => {
                "a value is missing here".to_owned()
            }
            Message { msg, .. } if msg.contains("recursion limit") => {
                "the file is too deeply nested".to_owned()
            }
            Message { msg, .. } if msg.starts_with("multiple YAML documents") => {
                "a second YAML document begins here; a file has one".to_owned()
            }
            Message { msg, .. } => match msg.strip_prefix("duplicate mapping key: ") {
                Some(key) => format!("the key {key:?} stands here a second time"),
                None => format!("not YAML: {msg}"),
            },
            Budget { breach, .. } => {
                format!("the file is too deeply nested or unfolds to too much ({breach:?})")
            }
            UnknownAnchor { .. } => "not YAML: an alias to an anchor that is not there".to_owned(),
            other => format!("not YAML: {other}"),
        })
    }
}
