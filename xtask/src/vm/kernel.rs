//! Debian's kernels, fetched once, without root and without touching the machine's package sources.
//!
//! **Invariant**: a kernel is in `target/vm/RELEASE` whole or not at all: it is renamed there when done.

use crate::run;
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where packages come from when the machine's own sources name no Debian mirror.
const MIRROR: &str = "http://deb.debian.org/debian";

/// What signs Debian's archive; in Ubuntu, too, from the package of that name.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The kernels that are tested beside the machine's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Release {
    /// Debian 12's: no TCX, so clsact
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's, from Debian 12's backports
    #[value(name = "6.12")]
    V6_12,
}

/// A kernel that is there.
pub(super) struct Kernel {
    /// As `uname -r` says.
    pub(super) name: String,
    /// The bootable image.
    pub(super) image: PathBuf,
    /// The directory with `modules.dep`.
    pub(super) modules: PathBuf,
}

impl Release {
    pub(super) const ALL: &[Self] = &[Self::V6_1, Self::V6_12];

    fn directory(self) -> PathBuf {
        run::target_dir().join("vm").join(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "bookworm-backports",
        }
    }

    /// The kernel, downloaded when it is not there yet.
    pub(super) fn fetch(self) -> Result<Kernel> {
        let directory = self.directory();
        if !directory.exists() {
            let made = directory.with_extension("part");
            if made.exists() {
                fs::remove_dir_all(&made)?;
            }
            fs::create_dir_all(&made)?;
            self.download(&made)?;
            fs::rename(&made, &directory)?;
        }
        let modules =
            fs::read_dir(directory.join("lib/modules"))?.next().context("no modules")??;
        let name = modules.file_name().to_string_lossy().into_owned();
        let image = directory.join("boot").join(format!("vmlinuz-{name}"));
        Ok(Kernel { name, image, modules: modules.path() })
    }

    fn download(self, directory: &Path) -> Result<()> {
        let apt = Apt::new(&directory.join("apt"), self.suite())?;
        run::step(
            &format!("Updating the package lists of Debian {}", self.suite()),
            apt.command("apt-get").arg("update"),
        )?;
        // The name without a version depends on the newest.
        let newest = run::output(apt.command("apt-cache").args(["show", "linux-image-amd64"]))?;
        let package = newest
            .lines()
            .find_map(|line| line.strip_prefix("Depends: ")?.split(' ').next())
            .context("linux-image-amd64 depends on no kernel")?
            .to_owned();
        let mut download = apt.command("apt-get");
        download.args(["download", &package]).current_dir(directory);
        run::step(&format!("Downloading {package} (about 100 MB)"), &mut download)?;
        let package = fs::read_dir(directory)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get downloaded nothing")?;
        run::step(
            "Unpacking it",
            run::command("dpkg").arg("--extract").arg(&package).arg(directory),
        )?;
        fs::remove_file(package)?;
        fs::remove_dir_all(directory.join("apt"))?;
        let name =
            fs::read_dir(directory.join("lib/modules"))?.next().context("no modules")??.file_name();
        let mut depmod = run::command("/sbin/depmod");
        run::output(depmod.arg("-b").arg(directory).arg(name)).map(drop)
    }
}

/// An apt with a directory and a source of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(directory: &Path, suite: &str) -> Result<Self> {
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
        Ok(Self { options: options.into() })
    }

    fn command(&self, program: &str) -> Command {
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
