//! Connections between endpoints whose networks have the socket shortcut.

use crate::{
    adapters::{Maps, Message, Opened},
    maps,
};
use aya_ebpf::{
    bindings::{BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB},
    macros::{sk_msg, sock_ops},
    programs::{SkMsgContext, SockOpsContext},
};
use netebpf_common::datapath::connection;

/// It goes on.
const SK_PASS: u32 = 1;

/// A connection is there, at one of its ends.
#[sock_ops]
pub fn shortcut_opened(context: SockOpsContext) -> u32 {
    let op = context.op();
    if op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        let opened = Opened::new(context.ops);
        let pair = opened.pair();
        if let Some(sender) = connection::open(&Maps, opened.namespace(), &pair) {
            opened.join(sender);
        }
    }
    SK_PASS
}

/// Data are sent. Those that are not handed over go by TCP.
#[sk_msg]
pub fn shortcut_sent(context: SkMsgContext) -> u32 {
    let message = Message::new(context.msg);
    let size = context.size();
    if let Some(sender) = maps::sender(message.socket()) {
        connection::send(&Maps, sender, &message, size);
    }
    SK_PASS
}
