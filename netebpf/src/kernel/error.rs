//! What can go wrong between us and the kernel.

use super::{AttachError, BpfError, NetlinkError, NetnsError, SysctlError};

/// Something that the kernel refused; each variant names operation and object.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Links, addresses, routes.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Namespaces.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Programs and maps.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// The programs were refused, and the kernel lacks what they need.
    #[error("load the programs: {missing} (netebpf doctor shows all): {source}")]
    Feature {
        /// What is missing, what that means and how to get it.
        missing: String,
        /// What the kernel said.
        source: Box<BpfError>,
    },
    /// Sysctls.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The netlink socket.
    #[error("open a netlink socket: {0}")]
    Socket(#[source] std::io::Error),
    /// An endpoint's interface vanished while it was being configured.
    #[error("{namespace} has no interface {name}", namespace = .namespace.display())]
    NoInterface {
        /// The namespace.
        namespace: std::path::PathBuf,
        /// The interface.
        name: String,
    },
    /// What we keep in our own directory.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl From<AttachError> for KernelError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Bpf(error) => Self::Bpf(error),
            AttachError::Netlink(error) => Self::Netlink(error),
        }
    }
}
