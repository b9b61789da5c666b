//! Identifiers: Docker's 64 hexadecimal digits, and interface names that fit the kernel.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// 64 lower-case hexadecimal digits; shown as the first 12.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id(String);

impl Id {
    /// A new one.
    pub fn random() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Always the same one for a text.
    pub fn derived(text: &str) -> Self {
        Self(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// A new one whose first `digits` none of the others has, so that interfaces named after them (see
    /// [`InterfaceName::veth`]) have names of their own.
    pub fn fresh<'a>(digits: usize, others: impl Iterator<Item = &'a Self> + Clone) -> Self {
        loop {
            let id = Self::random();
            if others.clone().all(|other| other.0[..digits] != id.0[..digits]) {
                return id;
            }
        }
    }

    /// The first 12 digits, as Docker shows them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// All 64.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// A name that the kernel takes for an interface: 1 to 15 bytes, no `/`, no white space, no `:`, and
/// neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// Why a name is none that an interface can have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterfaceNameError {
    /// More than 15 bytes.
    #[error("interface name {0:?} is {len} bytes long; the kernel takes 15 at most", len = .0.len())]
    TooLong(String),
    /// Empty, `.`, `..`, or a character that the kernel refuses or, `%`, replaces.
    #[error(
        "interface name {0:?} is empty, \".\" or \"..\", or has a \"/\", \":\", \"%\" or white space in it"
    )]
    Invalid(String),
}

impl InterfaceName {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, InterfaceNameError> {
        let name = name.into();
        if name.len() > 15 {
            return Err(InterfaceNameError::TooLong(name));
        }
        let bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
        if name.is_empty() || name == "." || name == ".." || name.contains(bad) {
            return Err(InterfaceNameError::Invalid(name));
        }
        Ok(Self(name))
    }

    /// The bridge of a network.
    pub fn bridge(network: &Id) -> Self {
        Self(format!("nb-{}", network.short()))
    }

    /// The interface that every namespace has.
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }

    /// What the names of an endpoint's interfaces begin with when nobody says: `eth0`, `eth1` ….
    pub const PREFIX: &str = "eth";

    /// Whether names can begin with this and end with a number.
    ///
    /// # Errors
    /// As [`Self::new`], of the longest such name.
    pub fn check_prefix(prefix: &str) -> Result<(), InterfaceNameError> {
        Self::new(format!("{prefix}{}", u16::MAX)).map(drop)
    }

    /// A name with a prefix that [`Self::check_prefix`] has let pass.
    pub fn numbered(prefix: &str, number: u16) -> Self {
        Self(format!("{prefix}{number}"))
    }

    /// How many digits of an endpoint's identifier a veth's name has room for.
    pub const ENDPOINT_DIGITS: usize = 7;
    /// How many of a network's.
    pub const NETWORK_DIGITS: usize = 5;

    /// The host-side veth of an endpoint on a network: the first digits of both identifiers.
    pub fn veth(endpoint: &Id, network: &Id) -> Self {
        let endpoint = &endpoint.short()[..Self::ENDPOINT_DIGITS];
        let network = &network.short()[..Self::NETWORK_DIGITS];
        Self(format!("nv{endpoint}-{network}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InterfaceNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
