//! The logs of services and of the daemon itself, kept short.
//!
//! **Invariant**: a log keeps its last [`KEPT`] bytes at least and twice that and a few seconds' worth at
//! most. Whoever writes never notices: what is old is given back to the file system as a hole at the
//! beginning, so no line is moved, and none that comes meanwhile is lost.

use crate::state::Instance;
use rustix::{
    fs::{FallocateFlags, SeekFrom, fallocate, seek},
    io::Errno,
};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Duration,
};

/// What a log keeps, in bytes.
pub(super) const KEPT: u64 = 8 << 20;
/// How often they are looked at.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// Holes begin and end with whole blocks.
const BLOCK: u64 = 4096;

/// Shortens every log of an instance that is too long.
pub(super) fn shorten(instance: &Instance) {
    let services = fs::read_dir(instance.log_dir()).into_iter().flatten().flatten();
    let logs = services.map(|entry| entry.path()).chain([super::log_file(instance)]);
    for log in logs {
        match shorten_one(&log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("log {}: cannot be kept short: {error}", log.display());
            }
            _ => {}
        }
    }
}

fn shorten_one(log: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(log)?;
    let data = file.metadata()?;
    if data.blocks() * 512 <= 2 * KEPT {
        return Ok(());
    }
    let old = data.len().saturating_sub(KEPT) / BLOCK * BLOCK;
    match fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, old) {
        // A file system without holes: short is better than whole, and whoever reads it is told.
        Err(Errno::OPNOTSUPP) => {
            file.set_len(0)?;
            tracing::warn!("log {}: emptied: its file system has no holes", log.display());
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Where a log begins: behind the hole, with a whole line.
pub(crate) fn beginning(log: &File) -> io::Result<u64> {
    let first = match seek(log, SeekFrom::Data(0)) {
        // Nothing but hole, or nothing at all.
        Err(Errno::NXIO) => log.metadata()?.len(),
        first => first?,
    };
    if first == 0 {
        return Ok(0);
    }
    let mut reader = io::BufReader::new(log);
    io::Seek::seek(&mut reader, io::SeekFrom::Start(first))?;
    let skipped = io::BufRead::skip_until(&mut reader, b'\n')?;
    Ok(first + skipped as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_long_log_keeps_its_end() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let line = |number: usize| format!("{number:>99}\n");
        let lines = 2 * KEPT as usize / 100 + 1000;
        for number in 0..lines {
            log.write_all(line(number).as_bytes()).unwrap();
        }
        assert_eq!(beginning(log.as_file()).unwrap(), 0);
        shorten_one(log.path()).unwrap();
        let data = log.as_file().metadata().unwrap();
        assert!(data.blocks() * 512 <= KEPT + 2 * BLOCK, "{} blocks", data.blocks());
        assert_eq!(data.len(), 100 * lines as u64);
        let begins = beginning(log.as_file()).unwrap();
        assert_eq!(begins % 100, 0, "a whole line");
        assert!(data.len() - begins > KEPT - 100);
        let kept = fs::read(log.path()).unwrap().split_off(begins as usize);
        assert_eq!(&kept[..100], line(begins as usize / 100).as_bytes());
        assert!(kept.ends_with(line(lines - 1).as_bytes()));
    }

    #[test]
    fn a_short_log_stays() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        log.write_all(b"a\nb\n").unwrap();
        shorten_one(log.path()).unwrap();
        assert_eq!(fs::read(log.path()).unwrap(), b"a\nb\n");
        assert_eq!(beginning(log.as_file()).unwrap(), 0);
    }
}
