//! The client of `bench --names`: several sockets, each of which has one question under way.
//!
//! **Invariant**: an answer counts when it is to the question that its socket asked last and holds an address. One that
//! does not come is asked for again, and counted as lost.

use anyhow::{Context as _, Result, ensure};
use rustix::event::epoll;
use serde::{Deserialize, Serialize};
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// How long an answer may take before the question is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whom to ask, for what, and how.
#[derive(clap::Args)]
pub(super) struct Queries {
    server: SocketAddr,
    name: String,
    #[arg(long)]
    sockets: u64,
    #[arg(long)]
    milliseconds: u64,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) per_second: f64,
    /// The latency, in microseconds, that one answer in a hundred exceeds.
    pub(super) p99: f64,
    pub(super) answers: u64,
    pub(super) lost: u64,
}

struct Asker {
    socket: UdpSocket,
    question: Vec<u8>,
    asked: Instant,
}

impl Queries {
    /// Asks for the given time, and prints what came of it.
    pub(super) fn ask(&self) -> Result<()> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut askers = Vec::new();
        for number in 0..self.sockets {
            let asker = Asker::new(self.server, &self.name)?;
            let data = epoll::EventData::new_u64(number);
            epoll::add(&ready, &asker.socket, data, epoll::EventFlags::IN)?;
            askers.push(asker);
        }
        let started = Instant::now();
        let time = Duration::from_millis(self.milliseconds);
        let (mut latencies, mut lost): (Vec<u64>, _) = (Vec::new(), 0);
        askers.iter_mut().try_for_each(Asker::ask)?;
        let mut events = Vec::with_capacity(askers.len());
        let wait = rustix::time::Timespec::try_from(PATIENCE)?;
        while started.elapsed() < time {
            events.clear();
            if epoll::wait(&ready, rustix::buffer::spare_capacity(&mut events), Some(&wait))? == 0 {
                ensure!(!latencies.is_empty(), "{} does not answer", self.server);
            }
            for event in &events {
                let number = usize::try_from(event.data.u64())?;
                latencies.extend(askers[number].hear()?);
            }
            // Looked for seldom: whoever waits is asked again once in a while.
            if events.len() < askers.len() {
                for asker in askers.iter_mut().filter(|asker| asker.asked.elapsed() > PATIENCE) {
                    lost += 1;
                    asker.ask()?;
                }
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let answers = latencies.len() as u64;
        ensure!(answers > 0, "{} does not answer", self.server);
        let at = (latencies.len() - 1) * 99 / 100;
        let (_, p99, _) = latencies.select_nth_unstable(at);
        let p99 = *p99 as f64 / 1e3;
        let answered = Answered { per_second: answers as f64 / seconds, p99, answers, lost };
        println!("{}", serde_json::to_string(&answered)?);
        Ok(())
    }
}

impl Asker {
    fn new(server: SocketAddr, name: &str) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(server).with_context(|| format!("cannot ask {server}"))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, question: question(name), asked: Instant::now() })
    }

    /// Asks with the next identifier.
    fn ask(&mut self) -> Result<()> {
        let id = u16::from_be_bytes([self.question[0], self.question[1]]).wrapping_add(1);
        self.question[..2].copy_from_slice(&id.to_be_bytes());
        self.asked = Instant::now();
        self.socket.send(&self.question).context("cannot ask")?;
        Ok(())
    }

    /// Hears an answer and asks again; how long it took, in nanoseconds.
    fn hear(&mut self) -> Result<Option<u64>> {
        let mut answer = [0; 512];
        let length = match self.socket.recv(&mut answer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("no answer"),
        };
        let answer = &answer[..length];
        // One that was given up.
        if answer.get(..2) != self.question.get(..2) {
            return Ok(None);
        }
        let took = self.asked.elapsed();
        let is_answer = answer.len() > self.question.len() && answer[2] & 0x80 != 0;
        let code = answer[3] & 0x0f;
        ensure!(is_answer && code == 0 && answer[7] > 0, "no address in answer, code {code}");
        self.ask()?;
        Ok(Some(u64::try_from(took.as_nanos())?))
    }
}

/// A question for an IPv4 address (RFC 1035 §4.1): recursion desired, one question, A, IN.
fn question(name: &str) -> Vec<u8> {
    let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_question_as_dig_asks_it() {
        assert_eq!(&super::question("web.x")[12..], b"\x03web\x01x\0\0\x01\0\x01");
    }
}
