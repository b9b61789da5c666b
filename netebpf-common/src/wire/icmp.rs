//! ICMP (RFC 792) and ICMPv6 (RFC 4443).

/// Bytes before the quoted packet of an error, or before the data of an echo.
pub const LENGTH: usize = 8;
/// Offset of the checksum.
pub const CHECKSUM: usize = 2;
/// Offset of an echo's identifier.
pub const IDENTIFIER: usize = 4;

/// What a message is, as far as translation needs to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Echo request: an identifier to translate.
    EchoRequest,
    /// Echo reply.
    EchoReply,
    /// An error that quotes the packet it is about.
    Error,
    /// A redirect: never translated.
    Redirect,
    /// Anything else.
    Other,
}

/// What an ICMP message of this type is. Source quench is none of the errors (RFC 6633).
#[inline(always)]
pub const fn message_v4(kind: u8) -> Message {
    match kind {
        8 => Message::EchoRequest,
        0 => Message::EchoReply,
        3 | 11 | 12 => Message::Error,
        5 => Message::Redirect,
        _ => Message::Other,
    }
}

/// What an ICMPv6 message of this type is.
#[inline(always)]
pub const fn message_v6(kind: u8) -> Message {
    match kind {
        128 => Message::EchoRequest,
        129 => Message::EchoReply,
        1..=4 => Message::Error,
        137 => Message::Redirect,
        _ => Message::Other,
    }
}
