//! What may happen between any two steps of a packet.

use std::cell::RefCell;

/// A table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableName {
    /// Interfaces.
    Interfaces,
    /// Endpoints by address.
    Endpoints,
    /// Ranges of addresses.
    Networks,
    /// Who may use published ports.
    Sources,
    /// Published ports.
    Published,
    /// The bitmap of them.
    PublishedPorts,
    /// Ports for the host and its endpoints.
    LocalPorts,
    /// The host's addresses.
    HostAddresses,
    /// What programs called those whom they talk to.
    Peers,
    /// Namespaces of endpoints.
    Homes,
    /// Ports of resolvers.
    Resolvers,
    /// The index of flows.
    Index,
    /// The array of flows.
    Flows,
    /// What owners use.
    Usage,
    /// First fragments.
    Fragments,
    /// Ports of sockets.
    Mappings,
    /// Settings.
    Settings,
}

/// What a packet is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Look something up.
    Get(TableName),
    /// Insert something new.
    Insert(TableName),
    /// Take a free place for a flow.
    Claim,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing special.
    Succeeds,
    /// The entry is gone before it is found; an insertion finds no room.
    Fails,
}

type Script = Box<dyn FnMut(Operation) -> Fate>;

/// Decides the fate of each operation. Without a script, all succeed.
#[derive(Default)]
pub struct Chaos(RefCell<Option<Script>>);

impl Chaos {
    /// Follows a script from now on. While the script itself runs, nothing else is disturbed: it may
    /// send another packet through the same tables.
    pub fn follow(&self, script: impl FnMut(Operation) -> Fate + 'static) {
        self.0.replace(Some(Box::new(script)));
    }

    /// Follows none any more.
    pub fn rest(&self) {
        self.0.replace(None);
    }

    pub(super) fn fails(&self, operation: Operation) -> bool {
        let Some(mut script) = self.0.take() else { return false };
        let fate = script(operation);
        self.0.borrow_mut().get_or_insert(script);
        fate == Fate::Fails
    }
}

impl std::fmt::Debug for Chaos {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Chaos")
    }
}
