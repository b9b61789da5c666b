//! Whether the command of a service is there, before anything is touched for it.
//!
//! **Invariant**: what is refused here would not start. What is not may still not start: a program whose interpreter is
//! missing shows that only when it is executed.

use super::process::LaunchError;
use crate::model::Service;
use rustix::{
    fs::{Access, access},
    io::Errno,
};
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Looks where `execvp(3)` will.
pub(super) fn check(service: &Service) -> Result<(), LaunchError> {
    let directory = service.working_dir.as_deref().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(LaunchError::NoDirectory(directory.to_owned()));
    }
    let program = service.command.first().ok_or(LaunchError::Empty)?;
    let own = service.environment.get("PATH").map(OsString::from);
    let places: Vec<_> = match own.or_else(|| env::var_os("PATH")) {
        _ if program.contains('/') => vec![directory.join(program)],
        Some(path) => env::split_paths(&path).map(|at| directory.join(at).join(program)).collect(),
        // The C library has one of its own then.
        None => return Ok(()),
    };
    let is_program = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if places.iter().any(is_program) {
        return Ok(());
    }
    Err(match places.iter().any(|path| path.exists()) {
        true => LaunchError::NotExecutable(program.clone(), Errno::ACCESS.into()),
        false => LaunchError::NotFound(program.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn looked_for_where_it_will_run() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        for (name, mode) in [("program", 0o755), ("text", 0o644)] {
            fs::write(at.join(name), "").unwrap();
            fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let said = |command: &str, path: Option<&Path>, working_dir: Option<&Path>| {
            let path = path.map(|path| ("PATH".to_owned(), path.display().to_string()));
            let service = Service {
                command: vec![command.to_owned()],
                environment: path.into_iter().collect(),
                working_dir: working_dir.map(Path::to_owned),
            };
            check(&service)
        };
        said("sh", None, None).unwrap();
        said("program", Some(at), None).unwrap();
        said("./program", None, Some(at)).unwrap();
        said("program", Some(Path::new(".")), Some(at)).unwrap();
        said(at.join("program").to_str().unwrap(), None, None).unwrap();
        for (command, path) in [("program", None), ("sh", Some(at)), ("./program", None)] {
            let said = said(command, path, None);
            assert!(matches!(said, Err(LaunchError::NotFound(_))), "{command}: {said:?}");
        }
        let text = said("text", Some(at), None);
        assert!(matches!(text, Err(LaunchError::NotExecutable(..))), "{text:?}");
        let nowhere = said("sh", None, Some(&at.join("nowhere")));
        assert!(matches!(nowhere, Err(LaunchError::NoDirectory(_))), "{nowhere:?}");
    }
}
