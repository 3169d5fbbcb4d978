//! The machine and the programs that figures belong to.

use crate::dist::{self, Symbols};
use crate::{cargo, program};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// The `coast` that is measured.
pub(crate) struct Coast {
    pub(crate) program: PathBuf,
    /// The revision of the checkout that it was built from now; `None` if it was there already.
    pub(crate) revision: Option<String>,
}

impl Coast {
    /// The given program, or else a release build of this checkout. Figures of a build with symbols are none of this checkout.
    pub(crate) fn find(given: Option<&Path>, symbols: Symbols) -> Result<Self> {
        if let Some(program) = given {
            let program =
                fs::canonicalize(program).with_context(|| format!("finding {}", program.display()))?;
            return Ok(Self { program, revision: None });
        }
        let program = dist::host_coast(symbols)?;
        if symbols == Symbols::Kept {
            return Ok(Self { program, revision: None });
        }
        let mut git = Command::new("git");
        git.args(["describe", "--always", "--dirty"]).current_dir(cargo::workspace());
        Ok(Self { program, revision: Some(program::output(&mut git)?) })
    }
}

/// The machine and the programs that were measured.
#[derive(Serialize)]
pub(crate) struct Machine {
    date: String,
    pub(crate) cores: u32,
    processor: String,
    kernel: String,
    /// The load average of the minute before. Figures from a busy machine are worth less.
    load: String,
    /// The revision of the checkout, unless `coast` was built elsewhere.
    revision: Option<String>,
    /// What each program says about its version, `coast` first.
    pub(crate) programs: Vec<String>,
}

impl Machine {
    /// Describes the machine now.
    pub(crate) fn describe(coast: &Coast) -> Result<Self> {
        let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
        let processors = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned());
        Ok(Self {
            date: program::output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?,
            cores: u32::try_from(thread::available_parallelism().context("counting cores")?.get())?,
            processor,
            kernel: program::output(Command::new("uname").args(["-s", "-r", "-m"]))?,
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            revision: coast.revision.clone(),
            programs: vec![program::output(Command::new(&coast.program).arg("--version"))?, ssh_version()?],
        })
    }
}

/// The version of the SSH client, which comes from the same source package as the server. It answers on standard error.
fn ssh_version() -> Result<String> {
    let output = Command::new("ssh").arg("-V").output().context("starting ssh")?;
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

impl Display for Machine {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "- {}, {} cores ({}), {}", self.date, self.cores, self.processor, self.kernel)?;
        writeln!(out, "- load average {} when it began", self.load)?;
        if let Some(revision) = &self.revision {
            writeln!(out, "- coast at revision {revision}")?;
        }
        self.programs.iter().try_for_each(|program| writeln!(out, "- {program}"))
    }
}

#[cfg(test)]
impl Machine {
    pub(crate) fn of_two_cores() -> Self {
        Self {
            date: "2026-01-01".to_owned(),
            cores: 2,
            processor: "A processor".to_owned(),
            kernel: "Linux".to_owned(),
            load: "0.00".to_owned(),
            revision: None,
            programs: Vec::new(),
        }
    }
}
