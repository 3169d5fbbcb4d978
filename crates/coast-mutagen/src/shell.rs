//! A shell container: running programs and reading and writing files in it.

use crate::container::is_current_make;
use crate::docker::{Docker, is_not_found};
use crate::error::{MutagenError, Step};
use crate::exec::{Command, Exec};
use crate::inspection::{WORKSPACE, is_paused, is_running, restarts};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt;
use std::io::Read;
use std::path::Path;

/// The largest file that is read from the container, in bytes.
const MAX_FILE_LEN: usize = 1 << 20;

/// A container with a worktree, mutagen and an ssh client. Cheap to clone. Dropping it leaves the container alone.
#[derive(Debug, Clone)]
pub struct Shell {
    docker: Docker,
    name: String,
    image: String,
    running: bool,
    paused: bool,
    current: bool,
    restarts: bool,
}

/// The user that programs in a container run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// The home directory in the container's `/etc/passwd`, which is the one that ssh uses.
    pub(crate) home: String,
}

/// The answer to a request for a file of the container.
pub(crate) enum Found {
    Absent,
    File {
        content: Vec<u8>,
        uid: u64,
        gid: u64,
        mode: u32,
    },
    /// A symlink, a directory or another entry that is no regular file.
    Other,
}

impl Shell {
    pub(crate) fn new(docker: &Docker, found: ContainerInspectResponse) -> Shell {
        let (running, paused, current) = (is_running(&found), is_paused(&found), is_current_make(&found));
        let restarts = restarts(&found);
        Shell {
            docker: docker.clone(),
            name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            image: found.config.and_then(|config| config.image).unwrap_or_default(),
            running,
            paused,
            current,
            restarts,
        }
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the container was running when Docker described it.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Whether this version of coast made the container. Mutagen's daemon does not run by itself in the container of an earlier
    /// version.
    pub fn is_current(&self) -> bool {
        self.current
    }

    /// Whether the container may hold the key of a remote although it does not run: somebody else than [`Docker::stop_shell`] has
    /// stopped it.
    pub fn is_stopped_with_key(&self) -> bool {
        !self.running && (self.restarts || !self.current)
    }

    /// Unpauses the container if it was paused when Docker described it.
    ///
    /// # Errors
    /// When Docker cannot unpause it.
    pub fn unpause(&self) -> Result<(), MutagenError> {
        if self.paused { self.docker.unpause(&self.name) } else { Ok(()) }
    }

    pub(crate) fn no_mutagen(&self) -> MutagenError {
        MutagenError::NoProgram {
            step: Step::Mutagen,
            program: "mutagen".to_owned(),
            image: self.image.clone(),
        }
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(crate) fn command<'a>(&'a self, step: Step, arguments: &'a [&'a str]) -> Command<'a> {
        Command::new(&self.name, &self.image, step, arguments)
    }

    pub(crate) fn run(&self, command: &Command<'_>) -> Result<Exec, MutagenError> {
        self.docker.exec(command)
    }

    /// Runs a program; an exit code other than 0 is an error.
    pub(crate) fn must(&self, command: &Command<'_>) -> Result<Exec, MutagenError> {
        let exec = self.run(command)?;
        if exec.success() {
            return Ok(exec);
        }
        Err(MutagenError::Failed {
            step: command.step,
            command: command.name(),
            code: exec.code,
            said: exec.said(),
        })
    }

    /// Unpacks a tar archive in an existing directory of the container, with the archive's owners and modes.
    pub(crate) fn upload(&self, step: Step, directory: &str, archive: Vec<u8>) -> Result<(), MutagenError> {
        let options =
            UploadToContainerOptionsBuilder::new().path(directory).no_overwrite_dir_non_dir("true").build();
        let body = bollard::body_full(Bytes::from(archive));
        self.docker.call(step, async {
            let uploaded = self.docker.api().upload_to_container(&self.name, Some(options), body).await;
            uploaded.map_err(|error| {
                self.docker.refused(step, format!("write below {directory} in {}", self.name), &error)
            })
        })
    }

    /// Reads a file of the container. A symlink is not followed.
    pub(crate) fn read(&self, step: Step, path: &str) -> Result<Found, MutagenError> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut parts = self.docker.api().download_from_container(&self.name, Some(options));
        let archive = self.docker.call(step, async {
            let mut archive = Vec::new();
            while let Some(part) = parts.next().await {
                match part {
                    Ok(part) => archive.extend_from_slice(&part),
                    Err(error) if is_not_found(&error) => return Ok(None),
                    Err(error) => {
                        return Err(self.docker.refused(
                            step,
                            format!("read {path} in {}", self.name),
                            &error,
                        ));
                    }
                }
                if archive.len() > MAX_FILE_LEN {
                    return Err(self.unreadable(path, format!("it has more than {MAX_FILE_LEN} bytes")));
                }
            }
            Ok(Some(archive))
        })?;
        let Some(archive) = archive else { return Ok(Found::Absent) };
        unpacked(&archive).map_err(|error| self.unreadable(path, error.to_string()))
    }

    pub(crate) fn unreadable(&self, path: &str, problem: String) -> MutagenError {
        MutagenError::SshConfig { name: self.name.clone(), path: path.to_owned(), problem }
    }

    /// The user that programs in the container run as.
    pub(crate) fn user(&self) -> Result<User, MutagenError> {
        let number = |flag: &str| {
            let arguments = ["id", flag];
            let exec = self.must(&self.command(Step::Key, &arguments))?;
            let text = String::from_utf8_lossy(&exec.stdout);
            text.trim().parse::<u64>().map_err(|error| MutagenError::Output {
                step: Step::Key,
                command: format!("id {flag}"),
                problem: format!("{:?}: {error}", text.trim()),
            })
        };
        let (uid, gid) = (number("-u")?, number("-g")?);
        let users = self.must(&self.command(Step::Key, &["cat", "/etc/passwd"]))?;
        let unfit = |user: &str, problem| MutagenError::User {
            user: user.to_owned(),
            image: self.image.clone(),
            problem,
        };
        let mut users = coast_tree::parse_users(&users.stdout);
        let Some(user) = users.find(|user| u64::from(user.uid) == uid) else {
            return Err(unfit(&uid.to_string(), "has no entry in its /etc/passwd"));
        };
        match user.home.into_os_string().into_string() {
            Ok(home) if home.starts_with('/') => Ok(User { uid, gid, home }),
            _ => Err(unfit(&String::from_utf8_lossy(&user.name), "has no home directory")),
        }
    }

    /// Whether the container's mount is still the directory at `worktree`. A worktree that was removed and made again is a new
    /// directory, while the container keeps the old one mounted. Without a `stat` in the image the answer is yes.
    pub(crate) fn mounts_current(&self, worktree: &Path) -> Result<bool, MutagenError> {
        let arguments = ["stat", "-c", "%h %i", WORKSPACE];
        let exec = match self.run(&self.command(Step::Container, &arguments)) {
            Ok(exec) => exec,
            Err(MutagenError::NoProgram { .. }) => return Ok(true),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&exec.stdout);
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        let (Some(Ok(links)), Some(Ok(inode))) = (numbers.next(), numbers.next()) else {
            return Ok(exec.success());
        };
        // On other systems the engine runs in a virtual machine, which has inode numbers of its own.
        let same = !cfg!(target_os = "linux") || inode_of(worktree).is_none_or(|here| here == inode);
        Ok(links > 0 && same)
    }
}

#[cfg(unix)]
fn inode_of(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// Reads the first entry of an archive.
fn unpacked(archive: &[u8]) -> std::io::Result<Found> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries()?;
    let Some(mut entry) = entries.next().transpose()? else { return Ok(Found::Other) };
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Ok(Found::Other);
    }
    let header = entry.header();
    let (uid, gid, mode) = (header.uid()?, header.gid()?, header.mode()?);
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    Ok(Found::File { content, uid, gid, mode })
}
