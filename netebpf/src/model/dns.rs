//! What an endpoint's user says about the names that it looks up.

use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

/// `--dns`, `--dns-search` and `--dns-option`; what is empty is the host's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DnsChoice {
    /// Who is asked for names that are not ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Search domains; one `.` is none at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<DnsWord>,
    /// Options, as resolv.conf(5) has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<DnsWord>,
}

impl DnsChoice {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A search domain or an option: what can stand in a resolv.conf without changing what is beside it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsWord(String);

/// Not a word of a resolv.conf.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is neither a domain nor an option of resolv.conf: 1 to 253 visible ASCII characters \
     without \"#\" and \";\" are"
)]
pub struct DnsWordError(String);

impl DnsWord {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsWord {
    type Err = DnsWordError;
    fn from_str(text: &str) -> Result<Self, DnsWordError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for DnsWord {
    type Error = DnsWordError;
    fn try_from(text: String) -> Result<Self, DnsWordError> {
        let good = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | ';');
        if (1..=253).contains(&text.len()) && text.chars().all(good) {
            Ok(Self(text))
        } else {
            Err(DnsWordError(text))
        }
    }
}

impl From<DnsWord> for String {
    fn from(word: DnsWord) -> Self {
        word.0
    }
}

impl fmt::Display for DnsWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
