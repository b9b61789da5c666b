//! Debian's kernels, fetched once, without root and without touching the machine's package sources.
//!
//! **Invariant**: a kernel is in `target/vm/RELEASE` whole or not at all: it is renamed there when done.

use crate::{apt::Apt, run};
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

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
        let apt = Apt::new(directory, self.suite())?;
        // The name without a version depends on the newest.
        let newest = run::output(apt.command("apt-cache").args(["show", "linux-image-amd64"]))?;
        let package = newest
            .lines()
            .find_map(|line| line.strip_prefix("Depends: ")?.split(' ').next())
            .context("linux-image-amd64 depends on no kernel")?
            .to_owned();
        let label = format!("Downloading {package} (about 100 MB)");
        apt.unpack(&label, &[&package], directory)?;
        let name =
            fs::read_dir(directory.join("lib/modules"))?.next().context("no modules")??.file_name();
        let mut depmod = run::command("/sbin/depmod");
        run::output(depmod.arg("-b").arg(directory).arg(name)).map(drop)
    }
}
