//! `coast remote add|ls|rm|test`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use coast_instance::{LifecycleError, Name, Places, Records, Remote, Remotes, RemotesEditor, RemotesError};
use coast_ssh::SshError;
use coast_sync::{
    AcceptedKey, Cancel, HostAnswer, IdentityUsed, PresentedKey, ProbeReport, ProbeRequest, Prompt, RunsAs,
    SyncError, Zeroizing,
};
use coast_tree::LockExt;
use serde::Serialize;

use super::{absolute, println_json, refuse, refuse_with, remote_helper, remote_key};
use crate::args::remote::{AddArgs, ListArgs, RemoteCommand, RemoveArgs, TestArgs};
use crate::output::{Finding, Lines, OutputOptions, Seconds, Size, Verdict, finding_lines, narrator, table};
use crate::signals::cancel_on_signals;

/// The exit code for a key that is not there.
const UNUSABLE: u8 = 3;

/// Room below which a remote is warned of: less than a workspace with its packages takes.
const LITTLE_ROOM_BYTES: u64 = 1_000_000_000;

/// `coast remote`
pub(crate) fn remote(command: RemoteCommand) -> anyhow::Result<u8> {
    let places = Places::from_process()?;
    match command {
        RemoteCommand::Add(args) => add(&places, args),
        RemoteCommand::Ls(args) => ls(&places, &args),
        RemoteCommand::Rm(args) => rm(&places, &args),
        RemoteCommand::Test(args) => test(&places, &args),
        RemoteCommand::Key(args) => remote_key::key(&places, &args),
    }
}

fn add(places: &Places, args: AddArgs) -> anyhow::Result<u8> {
    let key = args.key.map(|key| absolute(&key)).transpose()?;
    if let Some(key) = key.as_ref().filter(|key| !key.is_file()) {
        let text = format!("there is no key {}; --key takes a file with a private key", key.display());
        return Ok(refuse_with(&text, UNUSABLE, args.json));
    }
    let added = remember(places, &args.name, &args.address, key, args.service_home, args.replace);
    match added {
        Ok(remote) => {
            if args.json {
                println_json(&RemoteObject::of(&args.name, &remote));
            } else {
                let (name, address) = (&args.name, remote.address());
                println_line(&format!(
                    "{name} is {address}; see whether instances can live there: coast remote test {name}"
                ));
            }
            Ok(0)
        }
        Err(error) => Ok(refuse(&error, args.json)),
    }
}

fn remember(
    places: &Places,
    name: &Name,
    address: &str,
    key: Option<PathBuf>,
    service_home: Option<String>,
    replace: bool,
) -> Result<Remote, LifecycleError> {
    let mut editor = RemotesEditor::open(places)?;
    let old = editor.remotes().get(name).ok().filter(|_| replace);
    let service_home = service_home.or_else(|| old.map(|old| old.service_home.clone()));
    let remote = Remote::parse(address, key, service_home)?;
    if replace {
        let users = Records::new(places.clone()).users_of(name)?;
        editor.replace(name.clone(), remote.clone(), users)?;
    } else {
        editor.add(name.clone(), remote.clone())?;
    }
    Ok(remote)
}

/// A machine as an object.
#[derive(Serialize)]
struct RemoteObject<'a> {
    name: &'a Name,
    #[serde(flatten)]
    remote: &'a Remote,
    /// `project/instance` of each that lives there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instances: Vec<String>,
}

impl<'a> RemoteObject<'a> {
    fn of(name: &'a Name, remote: &'a Remote) -> Self {
        Self { name, remote, instances: Vec::new() }
    }
}

fn ls(places: &Places, args: &ListArgs) -> anyhow::Result<u8> {
    let remotes = match Remotes::load(places) {
        Ok(remotes) => remotes,
        Err(error) => return Ok(refuse(&LifecycleError::from(error), args.json)),
    };
    let records = Records::new(places.clone());
    let mut objects = Vec::new();
    for (name, remote) in remotes.iter() {
        let instances = match records.users_of(name) {
            Ok(instances) => instances,
            Err(error) => return Ok(refuse(&LifecycleError::from(error), args.json)),
        };
        objects.push(RemoteObject { name, remote, instances });
    }
    if args.json {
        println_json(&serde_json::json!({ "remotes": objects }));
        return Ok(0);
    }
    let lines = Lines::new();
    if objects.is_empty() {
        lines.print(&RemotesError::None.to_string());
    } else {
        let mut rows = vec![["NAME", "ADDRESS", "SERVICE HOME", "KEY", "INSTANCES"].map(str::to_owned)];
        rows.extend(objects.iter().map(|object| {
            [
                object.name.to_string(),
                object.remote.address(),
                object.remote.service_home.clone(),
                object.remote.key.as_ref().map_or_else(|| "-".to_owned(), |key| key.display().to_string()),
                if object.instances.is_empty() { "-".to_owned() } else { object.instances.join(", ") },
            ]
        }));
        table(&rows).iter().for_each(|line| lines.print(line));
    }
    lines.flush();
    Ok(0)
}

fn rm(places: &Places, args: &RemoveArgs) -> anyhow::Result<u8> {
    let removed = || -> Result<(), LifecycleError> {
        // Locked first, so that no instance begins to live there between the look and the removal.
        let mut editor = RemotesEditor::open(places)?;
        let users = Records::new(places.clone()).users_of(&args.name)?;
        Ok(editor.remove(&args.name, users)?)
    };
    match removed() {
        Ok(()) => {
            if args.json {
                println_json(&serde_json::json!({ "name": args.name, "removed": true }));
            } else {
                println_line(&format!("{} is forgotten; nothing was changed there", args.name));
            }
            Ok(0)
        }
        Err(error) => Ok(refuse(&error, args.json)),
    }
}

fn test(places: &Places, args: &TestArgs) -> anyhow::Result<u8> {
    let remotes = Remotes::load(places);
    let chosen = remotes.as_ref().map_err(ToString::to_string);
    let chosen = chosen.and_then(|remotes| {
        remotes.choose(args.name.as_ref()).map_err(|error| match error {
            // That message names an option of `coast run`.
            RemotesError::Several { names } => {
                let names: Vec<&str> = names.iter().map(Name::as_str).collect();
                format!(
                    "there are several remotes ({}); name one of them: coast remote test NAME",
                    names.join(", ")
                )
            }
            error => error.to_string(),
        })
    });
    let (name, remote) = match chosen {
        Ok(chosen) => chosen,
        Err(text) => return Ok(refuse_with(&text, UNUSABLE, args.json)),
    };
    let cancel = Cancel::new();
    cancel_on_signals(&cancel)?;
    // The new host keys are told with the findings.
    let options = OutputOptions::for_questions(args.json, true);
    let narrator = narrator(options, &cancel);
    let prompt = NewKeys { inner: &*narrator, accepted: Mutex::default() };
    let destination = remote.destination(&remote.service_home, remote_helper(Some(&args.helper))?);
    let asked = Instant::now();
    let (findings, exit_code) = match ProbeRequest::new(destination).run(&prompt, &cancel) {
        Ok(report) => {
            let change = Change { name, remote };
            let findings =
                found(&report, remote.session_key.as_deref(), &prompt.accepted.enter(), asked, &change);
            let failed = findings.iter().any(|finding| finding.verdict == Verdict::Failed);
            (findings, if failed { UNUSABLE } else { 0 })
        }
        Err(error) => {
            // A key may have been accepted before the connection failed.
            let mut findings: Vec<_> = prompt.accepted.enter().iter().map(new_key).collect();
            findings.push(failure(&error, &Change { name, remote }));
            (findings, error.exit_code())
        }
    };
    if args.json {
        println_json(&serde_json::json!({ "remote": name, "exit_code": exit_code, "findings": findings }));
    } else {
        let lines = Lines::new();
        finding_lines(&findings, lines.are_coloured()).iter().for_each(|line| lines.print(line));
        lines.flush();
    }
    Ok(exit_code)
}

/// The commands that change how a remote is reached. Each keeps what it does not change.
struct Change<'a> {
    name: &'a Name,
    remote: &'a Remote,
}

impl Change<'_> {
    fn of_address(&self) -> String {
        self.command("USER@HOST[:PORT]", self.key(), "")
    }

    fn of_key(&self) -> String {
        self.command(&self.remote.address(), " --key PATH".to_owned(), "")
    }

    fn of_service_home(&self) -> String {
        self.command(&self.remote.address(), self.key(), " --service-home DIR")
    }

    fn key(&self) -> String {
        self.remote.key.as_ref().map(|key| format!(" --key {}", key.display())).unwrap_or_default()
    }

    fn command(&self, address: &str, key: String, home: &str) -> String {
        format!("coast remote add --replace {} {address}{key}{home}", self.name)
    }
}

/// A prompt that keeps the accepted host keys for the findings, and passes on everything else.
struct NewKeys<'a> {
    inner: &'a dyn Prompt,
    accepted: Mutex<Vec<AcceptedKey>>,
}

impl Prompt for NewKeys<'_> {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        self.inner.passphrase(key)
    }

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        self.inner.confirm_host(presented)
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        self.accepted.enter().push(accepted.clone());
    }

    fn notice(&self, text: &str) {
        self.inner.notice(text);
    }
}

/// The finding for a host key that was not known before. A jump host has one, too.
fn new_key(accepted: &AcceptedKey) -> Finding {
    Finding {
        what: "host key",
        verdict: Verdict::Ok,
        found: format!("new: {accepted}"),
        todo: Some(
            "compare it with the host's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there"
                .to_owned(),
        ),
    }
}

/// The findings in the answer of a remote. `accepted` are the host keys that were new.
fn found(
    report: &ProbeReport,
    session_key: Option<&Path>,
    accepted: &[AcceptedKey],
    asked: Instant,
    change: &Change<'_>,
) -> Vec<Finding> {
    let connection = &report.connection;
    let ok = |what, found| Finding { what, verdict: Verdict::Ok, found, todo: None };
    let warning =
        |what, found, todo: String| Finding { what, verdict: Verdict::Warning, found, todo: Some(todo) };
    let mut findings = vec![ok(
        "connect",
        format!(
            "{}@{}, port {}, answered in {}",
            connection.peer.user,
            connection.peer.host_name,
            connection.peer.port,
            Seconds(asked.elapsed())
        ),
    )];
    findings.extend(accepted.iter().map(new_key));
    let host_key = &connection.peer.host_key;
    // The destination is connected to after the jump hosts.
    if accepted.last().is_none_or(|last| last.presented.fingerprint != host_key.fingerprint) {
        findings
            .push(ok("host key", format!("{} {}, known before", host_key.algorithm, host_key.fingerprint)));
    }
    let key = connection.peer.identity.to_string();
    findings.push(match &connection.peer.identity {
        IdentityUsed::File { .. } | IdentityUsed::Agent { .. }
            if let (Some(session_key), true) = (session_key, connection.peer.jumps.is_empty()) =>
        {
            ok("key", format!("{key}; sessions use {}", session_key.display()))
        }
        IdentityUsed::File { encrypted: false, .. } if connection.peer.jumps.is_empty() => ok("key", key),
        IdentityUsed::File { encrypted: false, .. } => warning(
            "key",
            format!("{key}, through {}", connection.peer.jumps.join(", ")),
            format!(
                "the shell container cannot go through a jump host, so edits will not follow: give the remote's direct address with: {}",
                change.of_address()
            ),
        ),
        _ => warning(
            "key",
            key,
            format!(
                "the shell container cannot use it, so edits will not follow: make a key for this purpose with: coast remote key {} --create",
                change.name
            ),
        ),
    });
    findings.push(match &connection.runs_as {
        RunsAs::Root => ok("sudo", "the helper runs as root".to_owned()),
        RunsAs::UserAfter(refusal) => warning(
            "sudo",
            format!("the helper runs as {}: {refusal}", connection.peer.user),
            "files of services that run as other users cannot be replaced; allow the user `sudo -n` without a password"
                .to_owned(),
        ),
        _ => ok("sudo", format!("not asked for; the helper runs as {}", connection.peer.user)),
    });
    let uploaded = if connection.uploaded_helper { "put there now" } else { "was there" };
    let confined =
        if report.confined { "confined to the directory" } else { "not confined (needs Linux 5.19)" };
    findings.push(ok("helper", format!("version {}, {uploaded}, {confined}", report.helper_version)));
    let place = report.directory.display();
    let room = format!("{} of {} free at {place}", Size(report.free_bytes), Size(report.total_bytes));
    findings.push(match &report.unwritable_because {
        Some(reason) => Finding {
            what: "space",
            verdict: Verdict::Failed,
            found: format!("{room}, and nothing can be written there: {reason}"),
            todo: Some(format!(
                "let the user use sudo without a password, or choose another place with: {}",
                change.of_service_home()
            )),
        },
        None if report.free_bytes < LITTLE_ROOM_BYTES => {
            let todo = format!("make room there, or choose another place with: {}", change.of_service_home());
            warning("space", room, todo)
        }
        None => ok("space", room),
    });
    findings.push(ok("architecture", format!("{} {}", report.os, report.arch)));
    findings
}

/// The finding for an error, with a remedy.
fn failure(error: &SyncError, change: &Change<'_>) -> Finding {
    let (what, todo) = match error {
        SyncError::Ssh(error) => ssh_failure(error, change),
        SyncError::Interrupted => ("connect", None),
        _ => (
            "helper",
            Some("try again; if it fails again, look at the remote's disk and its system log".to_owned()),
        ),
    };
    Finding { what, verdict: Verdict::Failed, found: format!("{}: {error}", change.remote.address()), todo }
}

/// The check that failed with this error, and the remedy.
fn ssh_failure(error: &SshError, change: &Change<'_>) -> (&'static str, Option<String>) {
    let (what, todo) = match error {
        SshError::Config { .. } | SshError::Option { .. } => {
            ("ssh config", Some("correct the ssh configuration that the message names"))
        }
        SshError::Resolve { .. } => {
            return (
                "connect",
                Some(format!("check the host's name; change it with: {}", change.of_address())),
            );
        }
        SshError::NoRoute { .. } | SshError::TimedOut { .. } | SshError::Tcp { .. } => {
            ("connect", Some("check the network, a VPN, and the remote's firewall"))
        }
        SshError::Refused { .. } | SshError::NotSsh { .. } | SshError::Handshake { .. } => {
            ("connect", Some("check the port, and that an SSH server runs there"))
        }
        SshError::HostKeyChanged(_) | SshError::HostKeyRevoked { .. } | SshError::HostKeyUnknown { .. } => {
            ("host key", Some("ask whoever runs the remote which key it has, before you change known_hosts"))
        }
        SshError::NoAcceptableKey { .. } => {
            let todo = "put your public key into ~/.ssh/authorized_keys there, or name another key with";
            return ("key", Some(format!("{todo}: {}", change.of_key())));
        }
        SshError::Jump { source, .. } => return ssh_failure(source, change),
        SshError::Sudo { .. } => ("sudo", Some("allow the user `sudo -n` without a password")),
        SshError::NoHelperFor { .. } => {
            ("architecture", Some("the remote must be Linux on x86_64 or aarch64"))
        }
        SshError::ConnectionLost { .. } | SshError::Unsupported { .. } => ("connect", None),
        _ => ("helper", Some("look at the room and the rights in the user's home directory there")),
    };
    (what, todo.map(str::to_owned))
}

fn println_line(line: &str) {
    let lines = Lines::new();
    lines.print(line);
    lines.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_changes_a_remote_keeps_the_rest_of_it() {
        let name = "box".parse().unwrap();
        let remote = Remote::parse("dev@host:2222", Some("/k".into()), Some("/srv".to_owned())).unwrap();
        let change = Change { name: &name, remote: &remote };
        let command = "coast remote add --replace box";
        assert_eq!(change.of_service_home(), format!("{command} dev@host:2222 --key /k --service-home DIR"));
        assert_eq!(change.of_key(), format!("{command} dev@host:2222 --key PATH"));
        assert_eq!(change.of_address(), format!("{command} USER@HOST[:PORT] --key /k"));
    }
}
