//! The two network cards of the machine in QEMU (virtio-net), for what only a driver can do: XDP before there is a socket
//! buffer.
//!
//! **Invariant**: they are the two ports of a hub inside QEMU, so what one sends the other receives, and nobody else.
//!
//! QEMU's hubs know of no checksums and segments that somebody else finishes, so the cards offer neither, and every frame is
//! as on a real wire. Each card has one queue, as hubs have.

/// Their names in the machine: nothing renames them there.
pub(super) const NAMES: [&str; 2] = ["eth0", "eth1"];

/// What the machine loads for them.
pub(super) const MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];

/// QEMU's arguments.
pub(super) fn arguments() -> Vec<String> {
    let card = |name: &str| {
        let port = format!("hubport,hubid=0,id={name}");
        // Nothing starts from it, so it needs none of the files that a card starts a machine with.
        let device = format!("virtio-net-pci,netdev={name},romfile=");
        ["-netdev".to_owned(), port, "-device".to_owned(), device]
    };
    NAMES.into_iter().flat_map(card).collect()
}
