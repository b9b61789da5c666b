//! The state files, one that survives a reboot and one that need not: versioned, checksummed, replaced
//! whole.

use super::{Instance, Runtime, State};
use crate::model::{BigTcp, Desired, Network, UplinkChoice, XdpMode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The version of the file's layout: 2 has gateway modes, and who may use a published port, which a daemon that reads 1
/// would lose; 3 has the checksum of the text as it stands there.
const VERSION: u32 = 3;

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    /// SHA-256 of `state`, hexadecimal: of its text, and up to version 2 of its value in serde_json's compact form.
    checksum: String,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// Why the state file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("state: {path}: cannot {operation}: {source}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A later version of netebpf wrote it.
    #[error(
        "state: {path}: written in layout {found}, and this netebpf reads {VERSION}: run the newer one, or take the instance down with it",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Not to be expressed in JSON; a fault of netebpf itself.
    #[error("state: cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// A file that could not be read, and where it was put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The state file.
    pub path: PathBuf,
    /// Where its content is kept now.
    pub kept: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = if self.path.ends_with("runtime.json") {
            "which sysctls were changed is forgotten, and services are started anew"
        } else {
            "beginning anew, what the kernel still has of this instance is removed"
        };
        write!(
            f,
            "state: {}: {}: kept as {}; {consequence}",
            self.path.display(),
            self.reason,
            self.kept.display()
        )
    }
}

/// What [`load`] found.
#[derive(Debug)]
pub struct Loaded {
    /// The state; empty where there was no file, or no whole one.
    pub state: State,
    /// The files that were there and could not be read.
    pub recovered: Vec<Recovered>,
}

/// The file of what is desired.
fn file(instance: &Instance) -> PathBuf {
    instance.state_dir().join("state.json")
}

/// The file of what was done about it.
fn runtime_file(instance: &Instance) -> PathBuf {
    instance.run_dir().join("runtime.json")
}

/// Reads the state of an instance. A file that is damaged is put aside and named.
///
/// # Errors
/// When the system refuses, or the file is a later version's.
pub fn load(instance: &Instance) -> Result<Loaded, StateError> {
    take_up_intent(&file(instance))?;
    let (desired, first) = load_from(&file(instance))?;
    let (runtime, second) = load_from(&runtime_file(instance))?;
    let recovered = first.into_iter().chain(second).collect();
    Ok(Loaded { state: State { desired, runtime }, recovered })
}

/// The files of an instance, and what was written to them last.
#[derive(Debug)]
pub struct Files {
    instance: Instance,
    /// `None` where that is not known: an error may come after a file was replaced.
    desired: Option<Desired>,
    runtime: Option<Runtime>,
    words: Words,
}

/// The text of each endpoint: of a thousand, those that did not change are not put into words again.
#[derive(Debug, Default)]
struct Words {
    /// Whose text it is.
    desired: Desired,
    endpoints: BTreeMap<String, Box<RawValue>>,
}

/// [`Desired`] with the text of its endpoints.
#[derive(Serialize)]
struct Worded<'a> {
    uplinks: &'a UplinkChoice,
    xdp: XdpMode,
    big_tcp: BigTcp,
    networks: &'a BTreeMap<String, Network>,
    endpoints: &'a BTreeMap<String, Box<RawValue>>,
}

impl Words {
    fn of<'a>(&'a mut self, desired: &'a Desired) -> Result<Worded<'a>, StateError> {
        // After an error nothing is known.
        let Self { desired: before, mut endpoints } = std::mem::take(self);
        for name in before.differing(desired) {
            match desired.endpoint(name) {
                Some(endpoint) => {
                    endpoints.insert(name.clone(), to_raw_value(endpoint)?);
                }
                None => drop(endpoints.remove(name)),
            }
        }
        *self = Self { desired: desired.clone(), endpoints };
        let Desired { uplinks, xdp, big_tcp, networks, endpoints: _ } = desired;
        let endpoints = &self.endpoints;
        Ok(Worded { uplinks, xdp: *xdp, big_tcp: *big_tcp, networks, endpoints })
    }
}

impl Files {
    /// Nothing was written yet.
    pub fn new(instance: &Instance) -> Self {
        Self { instance: instance.clone(), desired: None, runtime: None, words: Words::default() }
    }

    /// Everything is written with the next change, whatever stands in the files.
    pub fn look_again(&mut self) {
        (self.desired, self.runtime) = (None, None);
    }

    /// Writes what is desired of an instance, if it is not what was written last; when this returns it is on disk.
    ///
    /// # Errors
    /// When the system refuses: what is there then is whole, be it the earlier file or this one.
    pub fn save_desired(&mut self, desired: &Desired) -> Result<(), StateError> {
        if let Some(intent) = self.intend(desired)? {
            intent.keep().inspect_err(|_| self.desired = None)?;
        }
        Ok(())
    }

    /// Writes down what is about to be made; `None` where that stands there already. When this returns whoever comes after
    /// a process that is killed finds it. What it is about must not be called done before it is kept.
    ///
    /// # Errors
    /// As [`Files::save_desired`].
    pub fn intend(&mut self, desired: &Desired) -> Result<Option<Intent>, StateError> {
        if self.desired.as_ref() == Some(desired) {
            return Ok(None);
        }
        self.desired = None;
        let path = file(&self.instance);
        let next = next_of(&path);
        make_directory(&path)?;
        let text = encode(&self.words.of(desired)?)?;
        let file = create_alone(&next).and_then(|mut file| {
            file.write_all(&text)?;
            Ok(file)
        });
        let file = file.map_err(io_error("write", &next))?;
        self.desired = Some(desired.clone());
        Ok(Some(Intent { file, next, path }))
    }

    /// An intent could not be kept.
    pub fn forget_intent(&mut self) {
        self.desired = None;
    }

    /// The same of what was done since the boot; when this returns the system has it, which is enough for what does not
    /// outlive the system.
    ///
    /// # Errors
    /// As [`Files::save_desired`].
    pub fn save_runtime(&mut self, runtime: &Runtime) -> Result<(), StateError> {
        if self.runtime.as_ref() != Some(runtime) {
            self.runtime = None;
            save_to(&runtime_file(&self.instance), runtime)?;
            self.runtime = Some(runtime.clone());
        }
        Ok(())
    }
}

/// What is desired, written whole beside the file that it is to replace.
#[derive(Debug)]
pub struct Intent {
    file: fs::File,
    next: PathBuf,
    path: PathBuf,
}

impl Intent {
    /// Makes it survive the loss of power. This takes as long as the disk does.
    ///
    /// # Errors
    /// When the system refuses: what is there then is whole, be it the earlier file or this one.
    pub fn keep(self) -> Result<(), StateError> {
        let Self { file, next, path } = self;
        file.sync_all().map_err(io_error("sync", &next))?;
        fs::rename(&next, &path).map_err(io_error("replace", &path))?;
        // The rename is on disk only when the directory is.
        let directory = directory_of(&path);
        fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(io_error("sync", directory))
    }
}

/// A process that was killed may have intended something, and begun to make it: that stands for what is desired. What it
/// did not write to its end it did not begin.
fn take_up_intent(path: &Path) -> Result<(), StateError> {
    let next = next_of(path);
    let text = match fs::read(&next) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(io_error("read", &next))?,
    };
    match decode::<Desired>(&text) {
        Ok(_) => {
            let file = fs::File::open(&next).map_err(io_error("read", &next))?;
            Intent { file, next, path: path.to_owned() }.keep()
        }
        Err(Damage::Newer(found)) => Err(StateError::Newer { path: next, found }),
        Err(Damage::Broken(_)) => fs::remove_file(&next).map_err(io_error("remove", &next)),
    }
}

fn next_of(path: &Path) -> PathBuf {
    path.with_added_extension("next")
}

fn load_from<T: DeserializeOwned + Default>(
    path: &Path,
) -> Result<(T, Option<Recovered>), StateError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((T::default(), None));
        }
        Err(source) => return Err(io_error("read", path)(source)),
    };
    let reason = match decode(&text) {
        Ok(value) => return Ok((value, None)),
        Err(Damage::Newer(found)) => {
            return Err(StateError::Newer { path: path.to_owned(), found });
        }
        Err(Damage::Broken(reason)) => reason,
    };
    let kept = put_aside(path)?;
    Ok((T::default(), Some(Recovered { path: path.to_owned(), kept, reason })))
}

enum Damage {
    Newer(u32),
    Broken(String),
}

fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, Damage> {
    let broken = |reason: String| Damage::Broken(reason);
    // The version first: a later layout need not have the rest of ours.
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| broken(format!("half-written or damaged ({error})")))?;
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version > u64::from(VERSION) => {
            return Err(Damage::Newer(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        Some(_) => {}
        None => return Err(broken("damaged (no version)".to_owned())),
    }
    let damaged = |error: serde_json::Error| broken(format!("damaged ({error})"));
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(damaged)?;
    let sum = match value.get("state") {
        Some(state) if envelope.version < 3 => checksum(&state.to_string()),
        _ => checksum(envelope.state.get()),
    };
    if sum != envelope.checksum {
        return Err(broken("damaged (its checksum is wrong)".to_owned()));
    }
    serde_json::from_str(envelope.state.get()).map_err(damaged)
}

/// The first free `….corrupt-N`: an earlier damaged file is evidence too.
fn put_aside(path: &Path) -> Result<PathBuf, StateError> {
    let mut number = 1;
    let kept = loop {
        let kept = path.with_added_extension(format!("corrupt-{number}"));
        if !kept.exists() {
            break kept;
        }
        number += 1;
    };
    fs::rename(path, &kept).map_err(io_error("put aside", path))?;
    Ok(kept)
}

/// Replaces a file that need not survive the loss of power.
fn save_to(path: &Path, state: &impl Serialize) -> Result<(), StateError> {
    make_directory(path)?;
    let text = encode(state)?;
    let directory = directory_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".state.json.")
        .tempfile_in(directory)
        .map_err(io_error("write in", directory))?;
    file.write_all(&text).map_err(io_error("write", file.path()))?;
    file.persist(path).map_err(|error| io_error("replace", path)(error.error)).map(drop)
}

fn encode(state: &impl Serialize) -> Result<Vec<u8>, StateError> {
    // A thousand endpoints are most of a megabyte: it is gone through as seldom as can be.
    let state = to_raw_value(state)?;
    let envelope = Envelope { version: VERSION, checksum: checksum(state.get()), state: &state };
    let mut text = serde_json::to_vec(&envelope)?;
    text.push(b'\n');
    Ok(text)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn make_directory(path: &Path) -> Result<(), StateError> {
    let directory = directory_of(path);
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(io_error("make", directory))
}

pub(super) fn checksum(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError + use<> {
    let path = path.to_owned();
    move |source| StateError::Io { operation, path, source }
}

/// Makes a file, or empties it, that its owner alone can read: commands' environments are in it.
fn create_alone(path: &Path) -> io::Result<fs::File> {
    const OWNER: u32 = 0o600;
    let mut options = fs::File::options();
    let file = options.write(true).create(true).truncate(true).mode(OWNER).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(OWNER))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Endpoint, Id, InterfaceName, UplinkChoice},
        plan::Uplink,
        state::{Exit, Process},
    };
    use netebpf_common::abi::Mac;
    use serde_json::json;
    use std::sync::Arc;

    fn sample() -> Runtime {
        let mut state = Runtime::default();
        state.sysctls.insert("net/ipv4/conf/eth0/forwarding".to_owned(), "0".to_owned());
        state.processes.insert(
            "web".to_owned(),
            Process {
                pid: 7,
                start_time: u64::MAX,
                boot: "b".to_owned(),
                started: 1,
                purpose: "p".to_owned(),
                caller: false,
                runner: None,
                asked: None,
                exit: Some(Exit { code: Some(3), at: 2 }),
            },
        );
        state.uplinks.push(Uplink {
            name: "eth0".to_owned(),
            index: 2,
            mac: Mac([0; 6]),
            mtu: 1500,
            gso: Default::default(),
            kind: None,
            v4: Some([192, 0, 2, 1].into()),
            v6: None,
            addresses: [[192, 0, 2, 1].into()].into(),
            default_route: true,
            joins: false,
            vlan: None,
        });
        state
    }

    #[test]
    fn what_was_intended_is_found_whole_or_not_at_all() {
        let (_keep, path) = directory();
        let named = |uplink: &str| UplinkChoice::Named(vec![InterfaceName::new(uplink).unwrap()]);
        let intend = |uplink: &str, length: usize| {
            make_directory(&path).unwrap();
            let text = encode(&Desired { uplinks: named(uplink), ..Desired::default() }).unwrap();
            fs::write(next_of(&path), &text[..length.min(text.len())]).unwrap();
            take_up_intent(&path).unwrap();
            assert!(!next_of(&path).exists());
            load_from::<Desired>(&path).unwrap().0.uplinks
        };
        assert_eq!(intend("a", 7), UplinkChoice::default(), "half-written: it was not begun");
        assert_eq!(intend("a", usize::MAX), named("a"));
        assert_eq!(intend("b", 100), named("a"));
        assert_eq!(intend("b", usize::MAX), named("b"));
    }

    #[test]
    fn what_was_intended_is_its_owners_alone() {
        let (_keep, path) = directory();
        make_directory(&path).unwrap();
        fs::write(next_of(&path), "of a daemon that was killed").unwrap();
        drop(create_alone(&next_of(&path)).unwrap());
        let mode = fs::metadata(next_of(&path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("instance").join("state.json");
        (directory, path)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_keep, path) = directory();
        assert_eq!(load_from(&path).unwrap(), (Runtime::default(), None));
        save_to(&path, &sample()).unwrap();
        assert_eq!(load_from(&path).unwrap(), (sample(), None));
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays behind");
    }

    #[test]
    fn endpoints_that_stay_keep_their_text() {
        let (_keep, path) = directory();
        let endpoint = |name: &str| -> Arc<Endpoint> {
            let id = Id::random();
            let text = json!({
                "id": id, "name": name, "origin": "command_line", "namespace": {"own": format!("/run/netns/{name}")},
                "attachments": [], "created": 1,
            });
            serde_json::from_value(text).unwrap()
        };
        let (mut desired, mut words) = (Desired::default(), Words::default());
        let mut keep = |change: &dyn Fn(&mut Desired)| {
            change(&mut desired);
            make_directory(&path).unwrap();
            fs::write(&path, encode(&words.of(&desired).unwrap()).unwrap()).unwrap();
            assert_eq!(load_from(&path).unwrap(), (desired.clone(), None));
        };
        keep(&|_| {});
        keep(&|desired| {
            let both = ["a", "b"].map(|name| (name.to_owned(), endpoint(name)));
            desired.endpoints = both.into_iter().collect();
        });
        keep(&|desired| desired.endpoint_mut("a").unwrap().remove_on_exit = true);
        keep(&|desired| desired.xdp = XdpMode::Native);
        keep(&|desired| drop(desired.endpoints.remove("a")));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let (_keep, path) = directory();
        save_to(&path, &sample()).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() - 2 {
            assert!(
                matches!(decode::<Runtime>(&whole[..length]), Err(Damage::Broken(_))),
                "cut at {length}"
            );
        }
        for place in 0..whole.len() {
            let mut bad = whole.clone();
            bad[place] ^= 1;
            // A changed blank is another blank or no JSON; anything else must not pass for a state.
            if let Ok(state) = decode::<Runtime>(&bad) {
                assert_eq!(state, sample(), "byte {place}");
            }
        }
    }

    #[test]
    fn a_damaged_file_is_kept_aside_and_named() {
        let (_keep, path) = directory();
        save_to(&path, &sample()).unwrap();
        for number in 1..=2 {
            fs::write(&path, b"{\"version\":1,").unwrap();
            let (state, recovered) = load_from::<Runtime>(&path).unwrap();
            assert_eq!(state, Runtime::default());
            let recovered = recovered.unwrap();
            assert_eq!(recovered.kept, path.with_file_name(format!("state.json.corrupt-{number}")));
            assert!(recovered.to_string().contains("half-written"), "{recovered}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_wrong_checksum_is_damage() {
        let (_keep, path) = directory();
        save_to(&path, &sample()).unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("\"pid\":7", "\"pid\":8");
        fs::write(&path, text).unwrap();
        let recovered = load_from::<Runtime>(&path).unwrap().1.unwrap();
        assert!(recovered.reason.contains("checksum"), "{recovered}");
    }

    #[test]
    fn a_later_layout_is_refused_and_left_alone() {
        let (_keep, path) = directory();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let later = VERSION + 1;
        fs::write(&path, format!("{{\"version\": {later}, \"whatever\": []}}")).unwrap();
        let refused = load_from::<Runtime>(&path);
        assert!(matches!(refused, Err(StateError::Newer { found, .. }) if found == later));
        assert!(path.exists());
    }

    #[test]
    fn an_earlier_layout_is_read() {
        let (_keep, path) = directory();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let state = serde_json::to_value(sample()).unwrap();
        let checksum = checksum(&state.to_string());
        let file = serde_json::json!({"version": 2, "checksum": checksum, "state": state});
        fs::write(&path, serde_json::to_vec_pretty(&file).unwrap()).unwrap();
        assert_eq!(load_from::<Runtime>(&path).unwrap(), (sample(), None));
    }
}
