//! `coast remote test` and `coast remote setup`: what a remote answers, one finding for each check. `setup` asks more.

use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use coast_instance::{Name, Places, Remote, Remotes, RemotesError, shell_word};
use coast_ssh::SshError;
use coast_sync::{
    AcceptedKey, AccountReport, AccountRequest, HostAnswer, IdentityUsed, PresentedKey, ProbeReport,
    ProbeRequest, Prompt, RunsAs, SyncError, Zeroizing,
};
use coast_tree::LockExt;

use super::{println_json, refuse_with, remote_helper};
use crate::args::remote::TestArgs;
use crate::exit_code::UNUSABLE;
use crate::output::{Finding, Form, Lines, OutputOptions, Seconds, Size, Verdict, finding_lines, narrator};
use crate::signals::cancelled_by_signals;

/// Room below which a remote is warned of: less than a workspace with its packages takes.
const LITTLE_ROOM_BYTES: u64 = 1_000_000_000;

/// Entries below which a remote is warned of: `node_modules` of one project has as many.
const FEW_ENTRIES: u64 = 100_000;

/// Watches below which a remote is warned of. A development server watches each directory or file of its project.
const FEW_WATCHES: u64 = 65_536;

/// The number of watches to set.
const ENOUGH_WATCHES: u64 = 524_288;

/// Commands at once on a connection: the helper, and its upload.
const MIN_SESSIONS: u32 = 2;

/// Connections at once that have not logged in yet: those of a few instances that start together.
const MIN_STARTUPS: u32 = 4;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Whether instances can live on the remote.
    Test,
    /// Also whether anything there will hinder them later.
    Setup,
}

/// `coast remote test`
pub(super) fn test(places: &Places, args: &TestArgs) -> anyhow::Result<u8> {
    check(places, args, Depth::Test)
}

/// `coast remote setup`
pub(super) fn setup(places: &Places, args: &TestArgs) -> anyhow::Result<u8> {
    check(places, args, Depth::Setup)
}

/// The remote named `wanted`, or the only one. The error is a text for the user.
pub(super) fn chosen<'a>(
    remotes: &'a Remotes,
    wanted: Option<&Name>,
    command: &str,
) -> Result<(&'a Name, &'a Remote), String> {
    remotes.choose(wanted).map_err(|error| match error {
        // That message names an option of `coast run`.
        RemotesError::Several { names } => {
            let names: Vec<&str> = names.iter().map(Name::as_str).collect();
            format!(
                "there are several remotes ({}); name one of them: coast remote {command} NAME",
                names.join(", ")
            )
        }
        error => error.to_string(),
    })
}

fn check(places: &Places, args: &TestArgs, depth: Depth) -> anyhow::Result<u8> {
    let remotes = Remotes::load(places);
    let command = if depth == Depth::Setup { "setup" } else { "test" };
    let remotes = remotes.as_ref().map_err(ToString::to_string);
    let (name, remote) = match remotes.and_then(|remotes| chosen(remotes, args.name.as_ref(), command)) {
        Ok(chosen) => chosen,
        Err(text) => return Ok(refuse_with(&text, UNUSABLE, args.json)),
    };
    let cancel = cancelled_by_signals()?;
    // The new host keys are told with the findings.
    let options = OutputOptions { quiet: true, ..OutputOptions::for_questions(Form::of(args.json)) };
    let narrator = narrator(options, &cancel);
    let prompt = NewKeys { inner: &*narrator, accepted: Mutex::default() };
    let path = match depth {
        Depth::Test => remote.service_home.clone(),
        Depth::Setup => format!("{}/workspaces", remote.service_home),
    };
    let destination = remote.destination(&path, remote_helper(Some(&args.helper))?);
    let asked = Instant::now();
    let remedies = Remedies { name, remote };
    let answered = ProbeRequest::new(destination.clone()).run(&prompt, &cancel).and_then(|report| {
        let mut findings =
            found(&report, remote.session_key.as_deref(), &prompt.accepted.enter(), asked, &remedies);
        if depth == Depth::Setup {
            match AccountRequest::new(destination).run(&prompt, &cancel) {
                Ok(account) => findings.extend(further(&report, &account, &path, &remedies)),
                Err(SyncError::Interrupted) => return Err(SyncError::Interrupted),
                Err(error) => findings.push(failure(&error, &remedies)),
            }
        }
        Ok(findings)
    });
    let (findings, exit_code) = match answered {
        Ok(findings) => {
            let faulty = |finding: &Finding| match depth {
                Depth::Test => finding.verdict == Verdict::Failed,
                Depth::Setup => finding.verdict != Verdict::Ok,
            };
            let exit_code = if findings.iter().any(faulty) { UNUSABLE } else { 0 };
            (findings, exit_code)
        }
        Err(error) => {
            // A key may have been accepted before the connection failed.
            let mut findings: Vec<_> = prompt.accepted.enter().iter().map(new_key).collect();
            findings.push(failure(&error, &remedies));
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

/// The commands that mend what a check has found. A command that changes the address, the key or the service home of the remote keeps
/// the two others.
struct Remedies<'a> {
    name: &'a Name,
    remote: &'a Remote,
}

impl Remedies<'_> {
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
        self.remote.key.as_ref().map(|key| format!(" --key {}", shell_word(key))).unwrap_or_default()
    }

    fn command(&self, address: &str, key: String, home: &str) -> String {
        format!("coast remote add --replace {} {address}{key}{home}", self.name)
    }

    /// The command that runs `command` on the remote in a terminal, so that sudo can ask for a password.
    fn there(&self, command: &str) -> String {
        format!("ssh -t {}{}", self.login(), shell_word(Path::new(command)))
    }

    /// The command that installs the lines of sudoers.
    fn of_sudo(&self) -> String {
        let install = "test -s coast.sudoers && sudo visudo -cf coast.sudoers && sudo install -m 440 coast.sudoers /etc/sudoers.d/coast; rm coast.sudoers";
        format!(
            "coast remote sudoers {} | ssh {}'cat >coast.sudoers' && {}",
            self.name,
            self.login(),
            self.there(install)
        )
    }

    /// The options and the operand of `ssh`, with a space at the end.
    fn login(&self) -> String {
        let Remote { user, host, port, key, .. } = self.remote;
        let port = port.map(|port| format!("-p {port} ")).unwrap_or_default();
        let key = key.as_ref().map(|key| format!("-i {} ", shell_word(key))).unwrap_or_default();
        let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        format!("{port}{key}{user}{host} ")
    }
}

/// A prompt that keeps the accepted host keys for the findings, and passes on everything else.
struct NewKeys<'a> {
    inner: &'a dyn Prompt,
    /// The keys that were accepted. No other lock is taken while it is held.
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
    remedies: &Remedies<'_>,
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
                "with mutagen edits will not follow, because the shell container cannot go through a jump host: give the remote's direct address with: {}",
                remedies.of_address()
            ),
        ),
        _ => warning(
            "key",
            key,
            format!(
                "with mutagen edits will not follow, because the shell container cannot use this key: make a key for sessions alone with: coast remote key {} --create",
                remedies.name
            ),
        ),
    });
    findings.push(match &connection.runs_as {
        RunsAs::Root => ok("sudo", "the helper runs as root".to_owned()),
        RunsAs::UserAfter(refusal) => warning(
            "sudo",
            format!("the helper runs as {}: {refusal}", connection.peer.user),
            format!(
                "files of services that run as other users cannot be replaced; let the user run the helper as root: {}",
                remedies.of_sudo()
            ),
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
                "let the user run the helper as root ({}), or choose another place with: {}",
                remedies.of_sudo(),
                remedies.of_service_home()
            )),
        },
        None if report.free_bytes < LITTLE_ROOM_BYTES => {
            let todo =
                format!("make room there, or choose another place with: {}", remedies.of_service_home());
            warning("space", room, todo)
        }
        None => ok("space", room),
    });
    findings.push(ok("architecture", format!("{} {}", report.os, report.arch)));
    findings
}

/// The findings of `setup` besides those of `test`. `path` is the directory of workspaces.
fn further(
    report: &ProbeReport,
    account: &AccountReport,
    path: &str,
    remedies: &Remedies<'_>,
) -> Vec<Finding> {
    let ok = |what, found| Finding { what, verdict: Verdict::Ok, found, todo: None };
    let warning =
        |what, found, todo: String| Finding { what, verdict: Verdict::Warning, found, todo: Some(todo) };
    let failed =
        |what, found, todo: String| Finding { what, verdict: Verdict::Failed, found, todo: Some(todo) };
    let mut findings = Vec::new();
    findings.push(match (&report.unwritable_because, report.exists) {
        (None, true) => ok("workspaces", format!("{path} can be written to")),
        (None, false) => ok("workspaces", format!("{path} does not exist yet; the first run makes it")),
        (Some(reason), _) => failed(
            "workspaces",
            format!("{path}: {reason}"),
            remedies.there(&format!("sudo install -d -o {} {}", account.uid, shell_word(Path::new(path)))),
        ),
    });
    if !report.confined {
        let todo = format!(
            "use Linux 5.19 or later, and have landlock in the list of: {}",
            remedies.there("cat /sys/kernel/security/lsm; uname -r")
        );
        findings.push(warning(
            "landlock",
            "the kernel does not confine the helper to the workspace".to_owned(),
            todo,
        ));
    }
    let few = report.total_inodes > 0 && report.free_inodes < FEW_ENTRIES;
    findings.push(match (report.total_inodes, report.free_inodes) {
        (0, _) => ok("entries", "the file system has no limit on files and directories".to_owned()),
        (total, free) if few => warning(
            "entries",
            format!("{free} of {total} files and directories free at {}", report.directory.display()),
            format!("make room there; see what is left by instances that are gone: coast remote prune {} --dry-run", remedies.name),
        ),
        (total, free) => ok("entries", format!("{free} of {total} files and directories free")),
    });
    findings.extend(report.max_watches.map(|watches| {
        let found = format!("a user may watch {watches} files and directories");
        if watches >= FEW_WATCHES {
            return ok("watches", found);
        }
        let todo = format!(
            "echo fs.inotify.max_user_watches={ENOUGH_WATCHES} | sudo tee /etc/sysctl.d/60-coast.conf && sudo sysctl --system"
        );
        warning("watches", format!("{found}, too few for development servers"), remedies.there(&todo))
    }));
    let limit = |settings: &str| {
        remedies.there(&format!(
            "printf \"{settings}\" | sudo tee /etc/ssh/sshd_config.d/00-coast.conf && sudo sshd -t && (sudo systemctl reload ssh || sudo systemctl reload sshd)"
        ))
    };
    findings.push(match (&account.one_command_only, account.server) {
        (Some(reason), _) => failed("server", reason.clone(), limit(r"MaxSessions 10\n")),
        (None, None) => {
            ok("server", "runs commands beside each other; its limits are for root to read".to_owned())
        }
        (None, Some(limits)) => {
            let found =
                format!("MaxSessions {}, MaxStartups from {}", limits.max_sessions, limits.max_startups);
            let low = [
                (limits.max_sessions < MIN_SESSIONS, r"MaxSessions 10\n"),
                (limits.max_startups < MIN_STARTUPS, r"MaxStartups 10:30:100\n"),
            ];
            // One command for both: each replaces the file.
            let settings: String =
                low.into_iter().filter(|(is_low, _)| *is_low).map(|(_, setting)| setting).collect();
            if settings.is_empty() { ok("server", found) } else { warning("server", found, limit(&settings)) }
        }
    });
    findings
}

/// The finding for an error, with a remedy.
fn failure(error: &SyncError, remedies: &Remedies<'_>) -> Finding {
    let (what, todo) = match error {
        SyncError::Ssh(error) => ssh_failure(error, remedies),
        SyncError::Interrupted => ("connect", None),
        _ => (
            "helper",
            Some("try again; if it fails again, look at the remote's disk and its system log".to_owned()),
        ),
    };
    Finding { what, verdict: Verdict::Failed, found: format!("{}: {error}", remedies.remote.address()), todo }
}

/// The check that failed with this error, and the remedy.
fn ssh_failure(error: &SshError, remedies: &Remedies<'_>) -> (&'static str, Option<String>) {
    let (what, todo) = match error {
        SshError::Config { .. } | SshError::Option { .. } => {
            ("ssh config", Some("correct the ssh configuration that the message names"))
        }
        SshError::Resolve { .. } => {
            return (
                "connect",
                Some(format!("check the host's name; change it with: {}", remedies.of_address())),
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
            return ("key", Some(format!("{todo}: {}", remedies.of_key())));
        }
        SshError::Jump { source, .. } => return ssh_failure(source, remedies),
        SshError::Sudo { .. } => return ("sudo", Some(remedies.of_sudo())),
        SshError::NoHelperFor { .. } => {
            ("architecture", Some("the remote must be Linux on x86_64 or aarch64"))
        }
        SshError::ConnectionLost { .. } | SshError::Unsupported { .. } => ("connect", None),
        _ => ("helper", Some("look at the room and the rights in the user's home directory there")),
    };
    (what, todo.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_changes_a_remote_keeps_the_rest_of_it() {
        let name = "box".parse().unwrap();
        let remote = Remote::parse("dev@host:2222", Some("/k".into()), Some("/srv".to_owned())).unwrap();
        let remedies = Remedies { name: &name, remote: &remote };
        let command = "coast remote add --replace box";
        assert_eq!(
            remedies.of_service_home(),
            format!("{command} dev@host:2222 --key /k --service-home DIR")
        );
        assert_eq!(remedies.of_key(), format!("{command} dev@host:2222 --key PATH"));
        assert_eq!(remedies.of_address(), format!("{command} USER@HOST[:PORT] --key /k"));
        assert_eq!(remedies.there("sudo true"), "ssh -t -p 2222 -i /k dev@host 'sudo true'");
    }
}
