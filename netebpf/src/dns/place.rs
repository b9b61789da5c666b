//! One file in its place: made, changed, removed.
//!
//! **Invariant**: only a file whose first line says that this instance made it is ever changed or removed, and
//! only a directory that was made for it goes with it. It appears whole, under its name for the first time, so a
//! crash leaves no file that is nobody's; from then on it is changed in place, so that whoever has it mounted sees
//! the change, and its beginning is ours all the while. What is no regular file is opened by nobody.

use super::files::{NAME, own_directory};
use crate::state::Instance;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use std::{
    fs,
    io::{self, ErrorKind, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// At the end of the first line where the directory was made for the file.
const WITH_DIRECTORY: &str = ", as is its directory";
/// In a directory of everybody's that one of us made; whoever takes the last other thing away takes it, too.
const MADE_BY_US: &str = ".netebpf";
/// How much of a file is read: ours are shorter.
const MOST: u64 = 1 << 16;
/// How often a file is tried to be made: another instance may just remove a directory that has become empty.
const ATTEMPTS: u32 = 10;

/// Writes a file; `false` where somebody else's is in its place.
pub(super) fn write(instance: &Instance, path: &Path, text: &str) -> io::Result<bool> {
    for _ in 0..ATTEMPTS {
        let Some((file, there)) = open(path)? else {
            match create(instance, path, text) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => return made.map(|()| true),
            }
        };
        if !is_marked(instance, &there) && !is_begun(&there, text) {
            return Ok(false);
        }
        let text = first_line_with(text, ending(&there));
        if there != text.as_bytes() {
            change(&file, &text)?;
        }
        return Ok(true);
    }
    Err(ErrorKind::ResourceBusy.into())
}

/// Removes a file of ours, and its directory where that was made for it and nothing else is in it. What is no regular file
/// in a directory is none of ours.
pub(super) fn remove(instance: &Instance, path: &Path) -> io::Result<()> {
    let is = |path: &Path, kind: fn(&fs::Metadata) -> bool| {
        fs::symlink_metadata(path).is_ok_and(|there| kind(&there))
    };
    if !is(path, fs::Metadata::is_file)
        || !path.parent().is_some_and(|p| is(p, fs::Metadata::is_dir))
    {
        return Ok(());
    }
    let Some((_, there)) = open(path)? else { return Ok(()) };
    if !is_marked(instance, &there) {
        return Ok(());
    }
    fs::remove_file(path)?;
    if ending(&there).is_empty() {
        return Ok(());
    }
    if let Some(directory) = path.parent()
        && fs::remove_dir(directory).is_ok()
        && let Some(root) = directory.parent()
    {
        leave(instance, root);
    }
    Ok(())
}

/// Whether a file begins with our mark.
pub(super) fn is_ours(instance: &Instance, path: &Path) -> bool {
    matches!(open(path), Ok(Some((_, there))) if is_marked(instance, &there))
}

fn is_marked(instance: &Instance, there: &[u8]) -> bool {
    there.starts_with(format!("# {}", instance.mark()).as_bytes())
}

/// Whether it is the beginning of our own first line, as the loss of power leaves it, and nothing else.
fn is_begun(there: &[u8], text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    !there.is_empty() && there.len() < line.len() && line.as_bytes().starts_with(there)
}

/// What the first line says of the directory.
fn ending(there: &[u8]) -> &'static str {
    let line = there.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(WITH_DIRECTORY.as_bytes()) { WITH_DIRECTORY } else { "" }
}

fn first_line_with(text: &str, ending: &str) -> String {
    text.replacen('\n', &format!("{ending}\n"), 1)
}

/// Opens a file, and reads it; none where there is none.
fn open(path: &Path) -> io::Result<Option<(fs::File, Vec<u8>)>> {
    let no_file = || io::Error::other("it is no regular file");
    if let Some(directory) = path.parent()
        && fs::symlink_metadata(directory).is_ok_and(|there| !there.is_dir())
    {
        return Err(io::Error::other("what it should be in is no directory"));
    }
    // Neither a link is followed nor the other end of a pipe waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
    let file =
        fs::File::options().read(true).write(true).custom_flags(flags.cast_signed()).open(path);
    let file = match file {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) => {
            return Err(no_file());
        }
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    let mut there = Vec::new();
    (&file).take(MOST).read_to_end(&mut there)?;
    Ok(Some((file, there)))
}

/// In place: the first line keeps its beginning, whenever this ends.
fn change(file: &fs::File, text: &str) -> io::Result<()> {
    // Everybody's programs read it, whatever the daemon was started with.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

/// Makes a file that is not there: beside its directory first, and from there, whole, to its place, with a directory
/// of its own where there is none.
fn create(instance: &Instance, path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let root = directory.parent().ok_or(ErrorKind::InvalidInput)?;
    enter(instance, root)?;
    // One instance has one daemon. What is there is left of one that was killed.
    let beside = root.join(format!(".{}", instance.mark().replace(['/', ':'], ".")));
    let whole = beside.join(NAME);
    let clear = || {
        let _ = fs::remove_file(&whole);
        let _ = fs::remove_dir(&beside);
    };
    clear();
    fs::create_dir(&beside)?;
    let made = (|| {
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
        let file = fs::File::create_new(&whole)?;
        change(&file, &first_line_with(text, WITH_DIRECTORY))?;
        // Or the loss of power leaves one without a word in it.
        file.sync_data()?;
        match renameat_with(CWD, &beside, CWD, directory, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => {
                change(&file, text)?;
                // Nobody's file is replaced by this either.
                fs::hard_link(&whole, path)
            }
            // Not every file system takes this (NFS, 9p).
            Err(rustix::io::Errno::INVAL) => {
                fs::create_dir(directory)?;
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
                fs::hard_link(&whole, path)
            }
            renamed => Ok(renamed?),
        }
    })();
    clear();
    made
}

/// Makes the directory that all others are in.
fn enter(instance: &Instance, root: &Path) -> io::Result<()> {
    if root == own_directory(instance) {
        return fs::create_dir_all(root);
    }
    match fs::create_dir(root) {
        Ok(()) => {
            fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
            fs::write(root.join(MADE_BY_US), [])
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes it away again where it was made by one of us and has become empty.
fn leave(instance: &Instance, root: &Path) {
    let sign = root.join(MADE_BY_US);
    let others = fs::read_dir(root)
        .map(|entries| entries.flatten().filter(|entry| entry.file_name() != MADE_BY_US).count());
    if root == own_directory(instance) {
        // It stays where something is in it.
        let _ = fs::remove_dir(root);
    } else if matches!(others, Ok(0))
        && fs::remove_file(&sign).is_ok()
        && fs::remove_dir(root).is_err()
    {
        // Somebody came meanwhile.
        let _ = fs::write(&sign, []);
    }
}
