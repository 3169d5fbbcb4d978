//! `coast demo`: a push, edits, a second push and a third, over an SSH connection to a server inside this process, and a
//! comparison of both trees. The feature `demo` of this crate adds the command; programs that are shipped lack it.

mod copy;
mod edits;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use coast_sync::{
    AcceptedKey, CachePlace, Cancel, ConnectOptions, Environment, Event, HostAnswer, Monitor, PresentedKey,
    ProblemKind, Prompt, RemoteDestination, RemoteHelper, Sudo, SyncReport, SyncRequest, Target, Zeroizing,
};
use coast_testkit::{Aspects, EmbeddedOptions, EmbeddedServer, Snapshot, Tree};

use crate::args::demo::DemoArgs;
use crate::output::{Lines, Seconds, Shown, Size, Weight, complain, counted};
use crate::plan::helper_store;
use crate::signals::cancelled_by_signals;
use verdict::{Verdict, entries};

/// The destination of the pushes, below the home directory of the server's user.
const DESTINATION: &str = "data/workspaces/demo/1";

/// Runs the demonstration and returns the program's exit code.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<u8> {
    let cancel = cancelled_by_signals()?;
    let lines = Lines::new();
    let stage = Stage::set_up(args.workspace.as_deref(), cancel, &lines)?;
    let exit_code = stage.play()?;
    stage.take_down()?;
    lines.print("Everything temporary has been removed.");
    lines.flush();
    Ok(exit_code)
}

/// The server and the directories of the demonstration.
struct Stage<'a> {
    scratch: tempfile::TempDir,
    workspace: PathBuf,
    destination: PathBuf,
    server: EmbeddedServer,
    cancel: Cancel,
    lines: &'a Lines,
}

impl<'a> Stage<'a> {
    fn set_up(original: Option<&Path>, cancel: Cancel, lines: &'a Lines) -> anyhow::Result<Self> {
        let scratch =
            tempfile::Builder::new().prefix("coast-demo-").tempdir().context("making a directory")?;
        let workspace = scratch.path().join("workspace");
        match original {
            Some(original) => copy::directory(original, &workspace)
                .with_context(|| format!("copying {} to {}", original.display(), workspace.display()))?,
            None => Tree::sample().write(&workspace).context("writing the sample workspace")?,
        }
        let home = scratch.path().join("remote");
        fs::create_dir(&home)?;
        let server = EmbeddedServer::start(EmbeddedOptions::new(&home)).context("starting the SSH server")?;
        lines.print(&format!("An SSH server inside this program listens on {}.", server.addr()));
        lines.print(&format!(
            "The workspace is {}.",
            original.map_or("a small sample".to_owned(), |original| {
                format!("a copy of {}", Shown(original.as_os_str().as_encoded_bytes()))
            })
        ));
        let destination = home.join(DESTINATION);
        Ok(Self { scratch, workspace, destination, server, cancel, lines })
    }

    fn play(&self) -> anyhow::Result<u8> {
        self.say("\n1. First push");
        let first = self.push()?;
        self.tell(&first);

        self.say("\n   Then, on the remote:");
        fs::create_dir_all(self.destination.join("generated"))?;
        fs::write(self.destination.join("generated/made-there.ts"), "export {}\n")?;
        fs::write(self.destination.join("left-over.log"), "of no use\n")?;
        self.say("   made     generated/made-there.ts (protected by the default rules)");
        self.say("   made     left-over.log (extraneous)");
        self.say("   and here:");
        let source = Snapshot::read(&self.workspace).context("reading the workspace")?;
        for edit in edits::make(&self.workspace, &source).context("editing the copy")? {
            self.say(&format!("   {}", Shown(edit.as_bytes())));
        }

        self.say("\n2. Second push");
        let second = self.push()?;
        self.tell(&second);

        let before = self.read_destination()?;
        self.say("\n3. Third push, with nothing changed");
        let third = self.push()?;
        self.tell(&third);
        let after = self.read_destination()?;

        self.say("\nProof, by reading and comparing both trees:");
        self.prove(&before, &after, [&first, &second, &third])
    }

    fn push(&self) -> anyhow::Result<SyncReport> {
        let target = Target {
            user: Some("demo".to_owned()),
            host: "127.0.0.1".to_owned(),
            port: Some(self.server.addr().port()),
        };
        let connect = ConnectOptions {
            identities: vec![self.server.client_key().to_owned()],
            // The ssh configuration and the known hosts of the user are neither read nor written.
            environment: Environment::isolated(self.scratch.path(), "demo"),
            ..ConnectOptions::default()
        };
        let remote = RemoteDestination::new(target, DESTINATION)
            .connect(connect)
            .sudo(Sudo::Never)
            .helper(RemoteHelper::Deployed(helper_store()?));
        let request = SyncRequest::push(&self.workspace, remote)?
            .cache(CachePlace::File(self.scratch.path().join("content-cache")));
        let audience = Audience { lines: self.lines };
        request.run(&audience, &audience, &self.cancel).context("the push failed")
    }

    fn tell(&self, report: &SyncReport) {
        let (sender, receiver, run) = (&report.run.sender, &report.run.receiver, &report.run);
        let helper = match &report.connection {
            Some(connection) if connection.uploaded_helper => "uploaded",
            _ => "found, since the first push had uploaded it",
        };
        self.say(&format!("   helper     {helper}"));
        self.say(&format!(
            "   sent       {} of {} ({}), {} over the wire",
            receiver.transferred_files,
            counted(sender.files, "file", "files"),
            Size(receiver.transferred_bytes),
            Size(run.wire_sent_bytes)
        ));
        self.say(&format!(
            "   reused     {} of the destination ({}), and {} of changed files",
            counted(receiver.cloned_files, "file", "files"),
            Size(receiver.cloned_bytes),
            Size(receiver.matched_bytes)
        ));
        self.say(&format!("   untouched  {}", counted(receiver.untouched, "entry", "entries")));
        self.say(&format!("   protected  {}", counted(receiver.protected, "entry", "entries")));
        self.say(&format!("   deleted    {}", counted(receiver.deleted, "entry", "entries")));
        self.say(&format!("   in         {}", Seconds(report.elapsed)));
    }

    fn prove(&self, before: &Snapshot, after: &Snapshot, reports: [&SyncReport; 3]) -> anyhow::Result<u8> {
        let source = Snapshot::read(&self.workspace).context("reading the workspace")?;
        let verdict = Verdict::on(&source, after);
        let touched = after.differences(before, Aspects::UNTOUCHED);
        let listed = |paths: &[PathBuf]| {
            let shown = paths.iter().map(|path| Shown(path.as_os_str().as_encoded_bytes()).to_string());
            shown.collect::<Vec<_>>().join(", ")
        };
        self.say(&format!(
            "   equal on both sides in kind, content, link target and executability: {} of {}",
            verdict.equal,
            counted_entries(entries(&source).count())
        ));
        self.say(&format!("   excluded here, and not sent: {}", counted_entries(verdict.not_sent)));
        self.say(&format!(
            "   on the remote only, and kept by the default rules: {} ({})",
            counted_entries(verdict.kept.len()),
            listed(&verdict.kept)
        ));
        if !verdict.is_right() {
            bail!(
                "the trees differ: wrong or missing: [{}]; extraneous: [{}]",
                listed(&verdict.wrong),
                listed(&verdict.extraneous)
            );
        }
        if !touched.is_empty() {
            bail!("the third push touched entries that were right: {}", touched.join(", "));
        }
        self.say(
            "   The third push changed no inode, no modification time and no change time in the whole tree.",
        );
        Ok(reports.iter().map(|report| report.exit_code()).find(|code| *code != 0).unwrap_or(0))
    }

    fn read_destination(&self) -> anyhow::Result<Snapshot> {
        Snapshot::read(&self.destination).with_context(|| format!("reading {}", self.destination.display()))
    }

    fn say(&self, text: &str) {
        text.split('\n').for_each(|line| self.lines.print(line));
        // Each step is shown when it happens, also through a pipe.
        self.lines.flush();
    }

    fn take_down(self) -> anyhow::Result<()> {
        drop(self.server);
        self.scratch.close().context("removing the temporary directory")
    }
}

fn counted_entries(count: usize) -> String {
    counted(u64::try_from(count).unwrap_or(u64::MAX), "entry", "entries")
}

/// Shows problems of a run, and notices of its connection.
struct Audience<'a> {
    lines: &'a Lines,
}

impl Monitor for Audience<'_> {
    fn event(&self, event: &Event<'_>) {
        if let Event::Problem { path, kind, text } = event
            && *kind != ProblemKind::Skipped
        {
            self.lines.flush();
            complain(Weight::Error, &format!("{}: {text}", Shown(path)));
        }
    }
}

impl Prompt for Audience<'_> {
    fn passphrase(&self, _key: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn confirm_host(&self, _presented: &PresentedKey) -> HostAnswer {
        HostAnswer::NobodyToAsk
    }

    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        self.notice(&accepted.to_string());
    }

    fn notice(&self, text: &str) {
        self.lines.print(&format!("   {}", Shown(text.as_bytes())));
    }
}
