//! Why nothing was measured with two cards.

use super::BenchError;

/// Cards that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// A wire has two ends.
    #[error("--cards: {0} is named twice, and a wire has two ends")]
    Same(String),
    /// Misspelt.
    #[error("--cards: there is no interface {0}: {1}")]
    Missing(String, String),
    /// Loopback, a tunnel.
    #[error("--cards: {0} is no network card: its frames have no Ethernet headers")]
    NoEthernet(String),
    /// It would be taken away from somebody.
    #[error("--cards: {card} is in use: {how}; it would be taken away from this host for minutes")]
    InUse {
        /// Which.
        card: String,
        /// By whom.
        how: String,
    },
    /// Nothing at its other end.
    #[error("--cards: {0} has no carrier: is a cable in it, and its other end in the other card?")]
    NoCarrier(String),
    /// Cabled with somebody else, maybe.
    #[error("--cards: one does not reach the other: {0}; are they cabled with each other?")]
    Apart(Box<BenchError>),
    /// Its driver cannot.
    #[error("--cards: {card} has no native XDP: {said}")]
    NoXdp {
        /// Which.
        card: String,
        /// What netebpf says.
        said: String,
    },
}
