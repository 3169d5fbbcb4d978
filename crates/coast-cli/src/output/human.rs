//! Text for people: names and letters, in rsync's form, on standard output; problems on standard error.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coast_sync::{
    AcceptedKey, Cancel, Change, Deletions, EntryKind, Event, HostAnswer, Monitor, PresentedKey, ProblemKind,
    Progress, Prompt, SyncError, SyncReport, Update, Zeroizing,
};
use indicatif::ProgressBar;

use super::itemize::DELETING;
use super::lines::{Lines, Weight, complain};
use super::progress::{DRAWN_EVERY, Moment, Pace, Ticker, bar, draw, spinner};
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
    /// The bar that is drawn. A bar that was finished cannot be drawn again, so each run and each step has a new one. The lock is held
    /// while a line is printed beside the bar, so it is taken before that of `lines`.
    bar: Mutex<ProgressBar>,
    /// The thread that draws the bar, while a run is under way. The lock is held while the thread is waited for. The thread has a bar of
    /// its own and takes no lock of these fields.
    ticker: Mutex<Option<Ticker>>,
    /// The paths whose problem was printed. No other lock is taken while it is held.
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
            bar: Mutex::new(bar()),
            ticker: Mutex::new(None),
            told: Mutex::new(HashSet::new()),
            drawing: AtomicBool::new(false),
        }
    }

    /// Asks a question on the terminal; `None` without one.
    pub(super) fn ask(&self, question: &str) -> Option<String> {
        self.lines.flush();
        self.terminal.ask(question)
    }

    pub(super) fn print(&self, line: &str) {
        self.beside_the_bar(|| self.lines.print(line));
    }

    pub(super) fn complain(&self, weight: Weight, text: &str) {
        self.lines.flush();
        self.beside_the_bar(|| complain(weight, text));
    }

    /// Writes the buffered lines.
    pub(super) fn flush(&self) {
        self.lines.flush();
    }

    fn beside_the_bar(&self, print: impl FnOnce()) {
        // `suspend` would draw a bar that was never drawn.
        if self.drawing.load(Ordering::Acquire) { self.bar.enter().suspend(print) } else { print() }
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
        let (weight, prefix) = match kind {
            ProblemKind::Skipped | ProblemKind::Kept => (Weight::Note, ""),
            ProblemKind::SourceRead | ProblemKind::Changing | ProblemKind::Destination => {
                (Weight::Error, "error: ")
            }
            _ => (Weight::Warning, ""),
        };
        self.complain(weight, &format!("{prefix}{}: {}", Shown(path), Shown(text.as_bytes())));
    }

    pub(super) fn stop_drawing(&self) {
        drop(self.ticker.enter().take());
        if self.drawing.swap(false, Ordering::AcqRel) {
            self.bar.enter().finish_and_clear();
        }
    }

    /// Names the first deleted entries.
    pub(super) fn tell_deletions(&self, deletions: &Deletions, restorable: Option<&str>) {
        for line in stats::deletion_lines(deletions, restorable, self.options.dry_run) {
            self.print(&line);
        }
    }

    /// Draws a step on the terminal, with the time since its beginning, until something else is drawn or [`Self::stop_drawing`] is
    /// called. A step that is over soon is not drawn at all.
    pub(super) fn draw_step(&self, words: &'static str) {
        self.stop_drawing();
        if self.options.progress == ProgressWish::Never || !io::stderr().is_terminal() {
            return;
        }
        let spinner = spinner(words);
        *self.bar.enter() = spinner.clone();
        self.drawing.store(true, Ordering::Release);
        *self.ticker.enter() = Some(Ticker::start(DRAWN_EVERY, move || spinner.tick()));
    }

    /// Puts `detail` before the words of the step that is drawn: a narrow terminal cuts off the end.
    pub(super) fn draw_detail(&self, words: &str, detail: &str) {
        if self.drawing.load(Ordering::Acquire) {
            self.bar.enter().set_message(format!("{detail} ({words})"));
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
        self.stop_drawing();
        let on_terminal = io::stderr().is_terminal();
        let ticker = match self.options.progress {
            ProgressWish::OnTerminal | ProgressWish::Always if on_terminal => {
                self.drawing.store(true, Ordering::Release);
                let bar = bar();
                *self.bar.enter() = bar.clone();
                draw(bar, progress)
            }
            ProgressWish::Always => {
                let progress = Arc::clone(progress);
                let (started, mut pace) = (Instant::now(), Pace::default());
                let period = Duration::from_secs(1);
                Ticker::start(period, move || {
                    complain(Weight::Note, &pace.line(started.elapsed(), Moment::of(&progress)))
                })
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
        self.complain(Weight::Note, &accepted.to_string());
    }

    fn notice(&self, text: &str) {
        if !self.options.quiet {
            self.complain(Weight::Note, text);
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
                    complain(if exit_code == 0 { Weight::Note } else { Weight::Error }, &shortcoming);
                }
            }
            Err(error) => {
                self.lines.flush();
                complain(Weight::Error, &format!("{error} (code {exit_code})"));
            }
        }
    }
}
