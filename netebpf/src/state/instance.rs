//! Where an instance keeps what it owns: the paths of CONTRACT, in one place.

use netebpf_common::abi::ABI_VERSION;
use std::path::PathBuf;

/// An instance, by its name: 1 to 32 letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance(String);

/// A name that no instance can have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("instance name {0:?}: 1 to 32 letters, digits, \"-\" and \"_\" are allowed")]
pub struct InstanceNameError(String);

impl std::str::FromStr for Instance {
    type Err = InstanceNameError;
    fn from_str(name: &str) -> Result<Self, InstanceNameError> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(good) {
            return Err(InstanceNameError(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }
}

impl Instance {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Control socket, process id and logs.
    pub fn run_dir(&self) -> PathBuf {
        PathBuf::from("/run/netebpf").join(&self.0)
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("api.sock")
    }

    /// The daemon's process id.
    pub fn pid_file(&self) -> PathBuf {
        self.run_dir().join("daemon.pid")
    }

    /// The output of a service.
    pub fn log_file(&self, endpoint: &str) -> PathBuf {
        self.log_dir().join(format!("{endpoint}.log"))
    }

    /// The output of all services.
    pub fn log_dir(&self) -> PathBuf {
        self.run_dir().join("logs")
    }

    /// State that must survive.
    pub fn state_dir(&self) -> PathBuf {
        PathBuf::from("/var/lib/netebpf").join(&self.0)
    }

    /// Pinned programs, links and maps of this layout.
    pub fn pin_dir(&self) -> PathBuf {
        self.pin_root().join(format!("v{ABI_VERSION}"))
    }

    /// Pinned things of every layout.
    pub fn pin_root(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf/netebpf").join(&self.0)
    }

    /// The namespace of an endpoint.
    pub fn namespace(&self, endpoint: &str) -> PathBuf {
        let name = match self.0.as_str() {
            "default" => endpoint.to_owned(),
            instance => format!("{instance}.{endpoint}"),
        };
        PathBuf::from("/run/netns").join(name)
    }

    /// What the alias of each interface that we made begins with.
    pub fn mark(&self) -> String {
        format!("netebpf:{}:", self.0)
    }
}
