//! From a query to its answer.
//!
//! **Invariant**: a function of its arguments and nothing else. An answer is never longer than the asker
//! can take, and says so where something is left out (RFC 1035 §4.1.1, RFC 6891 §6.2).

use super::{
    TTL,
    names::{Forward, View},
    question::{self, HEADER, LONGEST_NAME, Question, Refusal},
};
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};
use std::net::IpAddr;

/// How a query came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// In a datagram: an answer has to fit what the asker takes.
    Udp,
    /// By a connection.
    Tcp,
}

/// What becomes of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nobody is answered.
    Silence,
    /// The answer is written.
    Answer,
    /// Others have to be asked.
    Forward,
}

/// The longest datagram that we take and send.
pub(super) const LARGEST_DATAGRAM: u16 = 4096;

/// The length of our OPT record.
const OPT: usize = 11;

/// Answers a query from what the asker sees. `turn` decides which of several addresses comes first.
pub fn answer(
    query: &[u8],
    view: &View,
    turn: u32,
    transport: Transport,
    out: &mut Vec<u8>,
) -> Outcome {
    out.clear();
    let question = match question::read(query) {
        Ok(question) => question,
        Err(Refusal::Silence) => return Outcome::Silence,
        Err(Refusal::Code { id, flags, code }) => {
            out.extend(id.to_be_bytes());
            out.extend([0x80 | flags, 0x80 | code.low()]);
            out.extend([0; 8]);
            return Outcome::Answer;
        }
    };
    let mut writer = Writer::new(&question, transport, out);
    if question.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        writer.finish(ResponseCode::BADVERS, false);
        return Outcome::Answer;
    }
    if matches!(question.kind, RecordType::AXFR | RecordType::IXFR) {
        writer.finish(ResponseCode::NotImp, false);
        return Outcome::Answer;
    }
    let mut space = [0; LONGEST_NAME];
    let key = question.key(&mut space);
    let (v4, v6) = (question.wants(RecordType::A), question.wants(RecordType::AAAA));
    if let Some(found) = view.find(key, v4, v6) {
        writer.addresses(&found, turn);
        writer.finish(ResponseCode::NoError, true);
        return Outcome::Answer;
    }
    let reversed = reversed(&question, key);
    match reversed.map(|address| (address, view.name_of(address))) {
        Some((_, Some(name))) => {
            if question.wants(RecordType::PTR) {
                writer.record(RecordType::PTR, &name);
            }
            writer.finish(ResponseCode::NoError, true);
            Outcome::Answer
        }
        // Nobody outside could know, and nobody outside has to know that somebody asks.
        Some((address, None)) if view.is_ours(address) => {
            writer.finish(ResponseCode::NXDomain, true);
            Outcome::Answer
        }
        _ if view.forward == Forward::Never => {
            writer.finish(ResponseCode::ServFail, false);
            Outcome::Answer
        }
        _ => Outcome::Forward,
    }
}

/// An answer that consists of a code.
pub(super) fn failure(
    question: &Question<'_>,
    transport: Transport,
    code: ResponseCode,
    out: &mut Vec<u8>,
) {
    out.clear();
    Writer::new(question, transport, out).finish(code, false);
}

/// An answer that says that there is more than fits: whoever wants it asks again by TCP.
pub(super) fn truncated(question: &Question<'_>, code: ResponseCode, out: &mut Vec<u8>) {
    out.clear();
    let mut writer = Writer::new(question, Transport::Udp, out);
    writer.truncated = true;
    writer.finish(code, false);
}

/// How long an answer may be.
pub(super) fn limit(question: &Question<'_>, transport: Transport) -> usize {
    match (transport, &question.edns) {
        (Transport::Tcp, _) => u16::MAX.into(),
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(512, LARGEST_DATAGRAM).into(),
    }
}

/// The address that a reverse name stands for; none where it is another name or a part of one.
fn reversed(question: &Question<'_>, key: &[u8]) -> Option<IpAddr> {
    if !key.ends_with(b"\x04arpa\0") {
        return None;
    }
    let net = question.name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

impl Question<'_> {
    /// Whether records of a type are an answer to it.
    fn wants(&self, kind: RecordType) -> bool {
        (self.kind == kind || self.kind == RecordType::ANY)
            && matches!(self.class, DNSClass::IN | DNSClass::ANY)
    }
}

/// Writes an answer behind the question.
struct Writer<'q, 'o> {
    question: &'q Question<'q>,
    out: &'o mut Vec<u8>,
    limit: usize,
    records: u16,
    truncated: bool,
}

impl<'q, 'o> Writer<'q, 'o> {
    fn new(question: &'q Question<'q>, transport: Transport, out: &'o mut Vec<u8>) -> Self {
        out.extend([0; HEADER]);
        out.extend(question.raw);
        let opt = if question.edns.is_some() { OPT } else { 0 };
        let limit = limit(question, transport) - opt;
        Self { question, out, limit, records: 0, truncated: false }
    }

    /// Records of addresses, beginning with another one each turn.
    fn addresses(&mut self, all: &[IpAddr], turn: u32) {
        let first = usize::try_from(turn).unwrap_or_default().checked_rem(all.len()).unwrap_or(0);
        let (later, sooner) = all.split_at(first);
        for address in sooner.iter().chain(later) {
            match address {
                IpAddr::V4(v4) => self.record(RecordType::A, &v4.octets()),
                IpAddr::V6(v6) => self.record(RecordType::AAAA, &v6.octets()),
            }
        }
    }

    /// A record of the name that was asked for, where there is room.
    fn record(&mut self, kind: RecordType, data: &[u8]) {
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        if self.truncated || self.out.len() + 12 + data.len() > self.limit {
            self.truncated = true;
            return;
        }
        // A pointer to the name in the question.
        self.out.extend([0xc0, HEADER as u8]);
        self.out.extend(u16::from(kind).to_be_bytes());
        self.out.extend(u16::from(DNSClass::IN).to_be_bytes());
        self.out.extend(TTL.to_be_bytes());
        self.out.extend(length.to_be_bytes());
        self.out.extend(data);
        self.records += 1;
    }

    /// The header, and our OPT record where the query has one.
    fn finish(self, code: ResponseCode, authoritative: bool) {
        let asked = &self.question.header;
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let first = 0x80
            | bit(authoritative, 0x04)
            | bit(self.truncated, 0x02)
            | bit(asked.recursion_desired, 0x01);
        let second = 0x80 | bit(asked.checking_disabled, 0x10) | code.low();
        if let Some(edns) = &self.question.edns {
            let dnssec = bit(edns.flags().dnssec_ok, 0x80);
            self.out.push(0);
            self.out.extend(u16::from(RecordType::OPT).to_be_bytes());
            self.out.extend(LARGEST_DATAGRAM.to_be_bytes());
            self.out.extend([code.high(), 0, dnssec, 0, 0, 0]);
        }
        let [id_high, id_low] = asked.id.to_be_bytes();
        let [count_high, count_low] = self.records.to_be_bytes();
        let additional = u8::from(self.question.edns.is_some());
        self.out[..HEADER].copy_from_slice(&[
            id_high, id_low, first, second, 0, 1, count_high, count_low, 0, 0, 0, additional,
        ]);
    }
}
