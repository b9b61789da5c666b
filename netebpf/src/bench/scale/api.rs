//! A call of the daemon's API without a process: what a command takes beside that is its own start.

use super::super::BenchError;
use crate::state::Instance;
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

/// Posts, and waits until it is done.
pub(super) fn post(
    instance: &Instance,
    path: &str,
    body: &serde_json::Value,
) -> Result<(), BenchError> {
    let socket = instance.socket();
    let failed = || BenchError::io(format!("ask {}", socket.display()));
    let mut stream = UnixStream::connect(&socket).map_err(failed())?;
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: netebpf\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(failed())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed())?;
    match answer.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(BenchError::Talk("daemon", answer)),
    }
}
