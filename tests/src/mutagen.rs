//! The mutagen of shell containers: a release, from the directory that `COAST_TEST_MUTAGEN` names, or else the stand-in of
//! `fixtures/mutagen-standin`.

use std::env;
use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use coast_testkit::require;

use crate::binaries;

/// The agents of all platforms. mutagen looks for them beside its program.
const AGENTS: &str = "mutagen-agents.tar.gz";

/// The program, and the file of agents that lies beside it.
pub struct Mutagen {
    program: PathBuf,
    agents: Vec<u8>,
    real: bool,
}

impl Mutagen {
    /// The mutagen of this process. The first call writes to the standard error of the process which program it is. Output
    /// of tests is captured, and this line is not.
    ///
    /// # Panics
    /// When the directory lacks a file, or the stand-in does not build.
    #[must_use]
    pub fn shared() -> &'static Self {
        static MUTAGEN: OnceLock<Mutagen> = OnceLock::new();
        MUTAGEN.get_or_init(|| {
            let mutagen = match env::var_os("COAST_TEST_MUTAGEN") {
                Some(directory) => Self::in_directory(Path::new(&directory)),
                None => Self::stand_in(),
            };
            let which = if mutagen.real { "the real program" } else { "the stand-in" };
            let _ = writeln!(stderr(), "mutagen: {which}, {}", mutagen.program.display());
            mutagen
        })
    }

    fn in_directory(directory: &Path) -> Self {
        let agents = directory.join(AGENTS);
        let agents = fs::read(&agents).unwrap_or_else(|error| panic!("read {}: {error}", agents.display()));
        Self { program: directory.join("mutagen"), agents, real: true }
    }

    fn stand_in() -> Self {
        let agents = b"The stand-in is its own agent; this file must only be there.\n".to_vec();
        Self { program: binaries::mutagen_stand_in(), agents, real: false }
    }

    /// Whether the program is mutagen itself.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.real
    }

    /// Makes an archive like that of a release in a directory, and returns its path.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn release(&self, directory: &Path) -> PathBuf {
        let content = directory.join("mutagen-release");
        fs::create_dir(&content).expect("the test's directory can be written");
        self.put_into(&content);
        let archive = directory.join("mutagen_linux_amd64_v0.18.1.tar.gz");
        let mut tar = Command::new(require("tar", "tar"));
        tar.arg("--create").arg("--gzip").arg("--file").arg(&archive).arg("--directory").arg(&content);
        let output = tar.args(["mutagen", AGENTS]).output().expect("tar starts");
        assert!(output.status.success(), "{tar:?}: {}", String::from_utf8_lossy(&output.stderr));
        archive
    }

    /// Puts the program and its agents into a directory.
    pub(crate) fn put_into(&self, directory: &Path) {
        let program = directory.join("mutagen");
        fs::copy(&self.program, &program)
            .unwrap_or_else(|error| panic!("copy {}: {error}", self.program.display()));
        fs::write(directory.join(AGENTS), &self.agents).expect("the test's directory can be written");
    }
}
