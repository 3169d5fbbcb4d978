//! Text for people: names and letters, in rsync's form, on standard output; problems on standard error.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coast_sync::{
    AcceptedKey, Cancel, Change, Deletions, EntryKind, Event, HostAnswer, Monitor, PresentedKey, ProblemKind,
    Progress, Prompt, SyncError, SyncReport, Update, Zeroizing,
};
use indicatif::ProgressBar;

use super::itemize::DELETING;
use super::lines::{Lines, complain};
use super::progress::{Moment, Ticker, bar, draw};
use super::terminal::Terminal;
use super::{Detail, Manner, Output, OutputOptions, ProgressWish, Shown, stats};
use coast_tree::LockExt;

/// How many paths are remembered whose problem was printed. The problem of a remembered path is printed once.
const MAX_REMEMBERED_PROBLEMS: usize = 10_000;

/// Prints text.
pub(crate) struct Human {
    options: OutputOptions,
    lines: Lines,
    terminal: Terminal,
    bar: ProgressBar,
    /// The thread that draws the bar, while a run is under way.
    ticker: Mutex<Option<Ticker>>,
    /// The paths whose problem was printed.
    told: Mutex<HashSet<Vec<u8>>>,
    /// Whether the bar is drawn. It must then be suspended for every line.
    drawing: AtomicBool,
}

impl Human {
    pub(crate) fn new(options: OutputOptions, cancel: &Cancel) -> Self {
        Self {
            options,
            lines: Lines::new(),
            terminal: Terminal::new(cancel),
            bar: bar(),
            ticker: Mutex::new(None),
            told: Mutex::new(HashSet::new()),
            drawing: AtomicBool::new(false),
        }
    }

    pub(super) fn print(&self, line: &str) {
        self.beside_the_bar(|| self.lines.print(line));
    }

    pub(super) fn complain(&self, text: &str) {
        self.lines.flush();
        self.beside_the_bar(|| complain(text));
    }

    /// Writes the buffered lines.
    pub(super) fn flush(&self) {
        self.lines.flush();
    }

    fn beside_the_bar(&self, print: impl FnOnce()) {
        // `suspend` would draw a bar that was never drawn.
        if self.drawing.load(Ordering::Acquire) { self.bar.suspend(print) } else { print() }
    }

    fn changed(&self, path: &[u8], change: &Change) {
        let name = || {
            let mut name = shown_name(path, change.kind == EntryKind::Directory);
            if change.kind == EntryKind::Symlink {
                name.push_str(&shown_target(&self.options.transfer_root, path));
            }
            name
        };
        match self.options.detail {
            Detail::Problems => {}
            // rsync's `-v` has no line either for a file of which only attributes change.
            Detail::Names if change.update == Update::Attributes && change.kind != EntryKind::Directory => {}
            Detail::Names => self.print(&name()),
            Detail::Itemized => self.print(&format!("{} {}", self.options.itemizer.letters(change), name())),
        }
    }

    fn deleted(&self, path: &[u8], directory: bool) {
        let name = shown_name(path, directory);
        match self.options.detail {
            Detail::Problems => {}
            Detail::Names => self.print(&format!("deleting {name}")),
            Detail::Itemized => self.print(&format!("{DELETING} {name}")),
        }
    }

    fn problem(&self, path: &[u8], kind: ProblemKind, text: &str) {
        if kind == ProblemKind::Skipped && self.options.quiet {
            return;
        }
        {
            let mut told = self.told.enter();
            if told.len() < MAX_REMEMBERED_PROBLEMS && !told.insert(path.to_vec()) {
                return;
            }
        }
        let prefix = match kind {
            ProblemKind::Skipped | ProblemKind::Kept => "",
            ProblemKind::SourceRead | ProblemKind::Changing | ProblemKind::Destination => "error: ",
            _ => "warning: ",
        };
        self.complain(&format!("{prefix}{}: {}", Shown(path), Shown(text.as_bytes())));
    }

    pub(super) fn stop_drawing(&self) {
        drop(self.ticker.enter().take());
        if self.drawing.swap(false, Ordering::AcqRel) {
            self.bar.finish_and_clear();
        }
    }

    /// Names the first deleted entries.
    pub(super) fn tell_deletions(&self, deletions: &Deletions, restorable: Option<&str>) {
        for line in stats::deletion_lines(deletions, restorable, self.options.dry_run) {
            self.print(&line);
        }
    }

    fn tell_end(&self, report: &SyncReport) {
        let options = &self.options;
        if options.quiet {
            return;
        }
        if options.stats {
            self.print("");
            stats::block(report).iter().for_each(|line| self.print(line));
        }
        match options.manner {
            Manner::Push => {
                if options.stats || options.detail > Detail::Problems {
                    self.print("");
                }
                stats::summary(report, options.dry_run).iter().for_each(|line| self.print(line));
                self.tell_deletions(&report.deletions, options.restorable.as_deref());
            }
            Manner::Sync if options.stats || options.detail == Detail::Names => {
                self.print("");
                stats::closing(report, options.dry_run).iter().for_each(|line| self.print(line));
            }
            Manner::Sync => {}
        }
    }
}

/// Returns the name as rsync prints it: a directory ends in a slash, and the transfer root is `./`.
fn shown_name(path: &[u8], directory: bool) -> String {
    match (path, directory) {
        (b"", _) => "./".to_owned(),
        (path, true) => format!("{}/", Shown(path)),
        (path, false) => Shown(path).to_string(),
    }
}

/// Returns ` -> TARGET`, or nothing if the symlink cannot be read.
fn shown_target(transfer_root: &Path, path: &[u8]) -> String {
    match fs::read_link(transfer_root.join(OsStr::from_bytes(path))) {
        Ok(target) => format!(" -> {}", Shown(target.as_os_str().as_bytes())),
        Err(_) => String::new(),
    }
}

impl Monitor for Human {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Changed { path, change } => self.changed(path, change),
            Event::Deleted { path, directory, .. } => self.deleted(path, *directory),
            Event::Problem { path, kind, text } => self.problem(path, *kind, text),
            Event::Notice { text } => self.notice(text),
            _ => {}
        }
    }

    fn started(&self, progress: &Arc<Progress>) {
        let on_terminal = io::stderr().is_terminal();
        let ticker = match self.options.progress {
            ProgressWish::OnTerminal | ProgressWish::Always if on_terminal => {
                self.drawing.store(true, Ordering::Release);
                draw(&self.bar, progress)
            }
            ProgressWish::Always => {
                let progress = Arc::clone(progress);
                Ticker::start(Duration::from_secs(1), move || complain(&Moment::of(&progress).line()))
            }
            ProgressWish::Never | ProgressWish::OnTerminal => return,
        };
        *self.ticker.enter() = Some(ticker);
    }
}

impl Prompt for Human {
    fn passphrase(&self, key: &Path) -> Option<Zeroizing<String>> {
        self.lines.flush();
        let question = format!("Passphrase for {}: ", Shown(key.as_os_str().as_bytes()));
        self.terminal.ask_hidden(&question).filter(|answer| !answer.is_empty())
    }

    fn confirm_host(&self, presented: &PresentedKey) -> HostAnswer {
        self.lines.flush();
        self.terminal.confirm_host(presented)
    }

    /// Told with `-q` too: the user of `rsync -q` over `ssh` sees ssh's warning of a new key, too.
    fn host_key_accepted(&self, accepted: &AcceptedKey) {
        self.complain(&accepted.to_string());
    }

    fn notice(&self, text: &str) {
        if !self.options.quiet {
            self.complain(text);
        }
    }
}

impl Output for Human {
    fn finish(&self, ended: &Result<SyncReport, SyncError>, exit_code: u8) {
        self.stop_drawing();
        match ended {
            Ok(report) => {
                self.tell_end(report);
                self.lines.flush();
                for shortcoming in stats::shortcomings(report, exit_code) {
                    complain(&shortcoming);
                }
            }
            Err(error) => {
                self.lines.flush();
                complain(&format!("{error} (code {exit_code})"));
            }
        }
    }
}
