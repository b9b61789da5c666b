//! Reading a query.
//!
//! **Invariant**: everything that is read is checked by hickory's decoder, within the message; what is not
//! a whole, well-formed query with one question is a [`Refusal`], and nothing of it is used but its
//! identifier and opcode.

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

/// A name as it stands in a message, without compression, in lower case.
pub(super) type Key = Box<[u8]>;

/// The length of the longest name (RFC 1035 §2.3.4).
pub(super) const LONGEST_NAME: usize = 255;

/// The header's length.
pub(super) const HEADER: usize = 12;

/// A well-formed query.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) header: Header,
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) class: DNSClass,
    /// The question as it was asked, for the answer: clients compare the case of each letter.
    pub(super) raw: &'a [u8],
    pub(super) edns: Option<Edns>,
}

/// Why a query has no answer of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// An answer, or too short to say anything about.
    Silence,
    /// One with this code and nothing else.
    Code {
        /// The query's.
        id: u16,
        /// The query's, with "recursion desired".
        flags: u8,
        /// Why.
        code: ResponseCode,
    },
}

/// Reads a query.
pub(super) fn read(message: &[u8]) -> Result<Question<'_>, Refusal> {
    let [high, low, rest @ ..] = message else { return Err(Refusal::Silence) };
    let first = rest.first().copied().unwrap_or_default();
    if first & 0x80 != 0 {
        return Err(Refusal::Silence);
    }
    let refusal = |code| {
        // Opcode and "recursion desired".
        Refusal::Code { id: u16::from_be_bytes([*high, *low]), flags: first & 0x79, code }
    };
    let malformed = || refusal(ResponseCode::FormErr);
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).map_err(|_| malformed())?;
    if header.op_code != OpCode::Query {
        return Err(refusal(ResponseCode::NotImp));
    }
    if header.counts.queries != 1 {
        return Err(malformed());
    }
    let query = Query::read(&mut decoder).map_err(|_| malformed())?;
    let raw = &message[HEADER..decoder.index()];
    // A name that points elsewhere would mean something else in an answer.
    let length = query.name.iter().map(|label| 1 + label.len()).sum::<usize>() + 1;
    if length + 4 != raw.len() || length > LONGEST_NAME {
        return Err(malformed());
    }
    let mut edns = None;
    for (count, additional) in [
        (header.counts.answers, false),
        (header.counts.authorities, false),
        (header.counts.additionals, true),
    ] {
        let read = Message::read_records(&mut decoder, count.into(), additional, OpCode::Query);
        edns = read.map_err(|_| malformed())?.1;
    }
    let Query { name, query_type: kind, query_class: class, .. } = query;
    Ok(Question { header, name, kind, class, raw, edns })
}

impl Question<'_> {
    /// The name as the tables have it: it stands so in the question, but for the case.
    pub(super) fn key<'k>(&self, space: &'k mut [u8; LONGEST_NAME]) -> &'k [u8] {
        // The type and the class are behind it; reading has checked its length.
        let name = self.raw.get(..self.raw.len().saturating_sub(4)).unwrap_or_default();
        let key = space.get_mut(..name.len()).unwrap_or_default();
        key.copy_from_slice(name);
        key.make_ascii_lowercase();
        key
    }
}

/// Whether a message is the answer to a question that was sent with this identifier.
pub(super) fn is_answer(message: &[u8], id: u16, asked: &Question<'_>) -> Option<Header> {
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).ok()?;
    let fits = header.id == id
        && header.message_type == MessageType::Response
        && header.op_code == OpCode::Query
        && header.counts.queries == 1;
    let query = Query::read(&mut decoder).ok().filter(|_| fits)?;
    let same = (&query.name, query.query_type, query.query_class)
        == (&asked.name, asked.kind, asked.class);
    same.then_some(header)
}

/// A name as the tables have it.
pub(super) fn key(name: &Name) -> Key {
    wire(name).map(|byte| byte.to_ascii_lowercase()).collect()
}

/// The bytes of a name without compression. The length of a label is at most 63, which is no letter.
fn wire(name: &Name) -> impl Iterator<Item = u8> + '_ {
    let labels = name.iter().flat_map(|label| {
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
        std::iter::once(length).chain(label.iter().copied())
    });
    labels.chain(std::iter::once(0))
}
