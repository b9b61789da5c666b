//! Debian packages that are not installed: fetched without root, without the machine's package sources, and unpacked.
//! So no script of theirs is run, and no service of theirs ever started.
//!
//! **Invariant**: what is written is below the directory that the caller names.

use crate::run;
use anyhow::{Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where packages come from when the machine's own sources name no Debian mirror.
const MIRROR: &str = "http://deb.debian.org/debian";

/// What signs Debian's archive; in Ubuntu, too, from the package of that name.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt with a directory and a source of its own.
pub(crate) struct Apt {
    options: Vec<String>,
    own: PathBuf,
}

impl Apt {
    /// One that knows the packages of a suite of Debian.
    pub(crate) fn new(directory: &Path, suite: &str) -> Result<Self> {
        let own = directory.join("apt");
        let directory = &own;
        for place in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(place))?;
        }
        let sources = directory.join("sources.list");
        let mirror = mirror().unwrap_or_else(|| MIRROR.to_owned());
        fs::write(
            &sources,
            format!("deb [signed-by={KEYRING} arch=amd64] {mirror} {suite} main\n"),
        )?;
        let status = directory.join("status");
        fs::write(&status, "")?;
        let directory = directory.display();
        let options = [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            "Dir::Etc::preferencesparts=-".to_owned(),
            format!("Dir::State::lists={directory}/lists"),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache={directory}/cache"),
            "APT::Architecture=amd64".to_owned(),
            "APT::Sandbox::User=".to_owned(),
        ];
        let apt = Self { options: options.into(), own };
        let label = format!("Updating the package lists of Debian {suite}");
        run::step(&label, apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// Fetches packages and unpacks them; the last thing that it does.
    pub(crate) fn unpack(self, label: &str, packages: &[&str], directory: &Path) -> Result<()> {
        let mut download = self.command("apt-get");
        download.arg("download").args(packages).current_dir(directory);
        run::step(label, &mut download)?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|end| end == "deb");
        let there = fs::read_dir(directory)?.filter_map(Result::ok).map(|entry| entry.path());
        let fetched: Vec<_> = there.filter(is_package).collect();
        ensure!(fetched.len() == packages.len(), "apt-get downloaded {} packages", fetched.len());
        for package in fetched {
            let mut unpack = run::command("dpkg");
            run::output(unpack.arg("--extract").arg(&package).arg(directory))?;
            fs::remove_file(package)?;
        }
        Ok(fs::remove_dir_all(&self.own)?)
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = run::command(program);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// The Debian mirror that this machine uses, when it uses one.
fn mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"))
        .map(|word| word.trim_end_matches('/').to_owned())
}
