//! The commands that change nothing: `coast ls` and `coast status`.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use coast_instance::{
    Bulk, Check, Coastfile, CoastfileChoice, Edits, InstanceStatus, Layer, Layers, LifecycleError, Listed,
    MutagenLayer, Name, NativeLayer, Places, Questions, RemoteBulk, Scope, VoidObserver, list,
};
use coast_sync::{Cancel, NoPrompt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::change::{carried_code, narrator_for};
use super::{Chosen, Scene, followers, here, println_json, refuse, remote_helper};
use crate::args::lifecycle::{LsArgs, StatusArgs, TellingArgs};
use crate::daemon::connector;
use crate::output::{InstanceObject, Lines, Weight, complain, instance_lines, listed_lines, listed_objects};
use crate::signals::cancelled_by_signals;

/// The interval between two checks of `--watch`. A change that coastd tells is shown at once.
const CHECK_AGAIN: Duration = Duration::from_secs(1);

/// The interval between two checks whether `--watch` shall end.
const NOTICE: Duration = Duration::from_millis(100);

/// The time for the questions of `ls`.
const LIST_WITHIN: Duration = Duration::from_secs(2);

/// The time for the questions of `ls --check`, which connects to other machines.
const CHECK_WITHIN: Duration = Duration::from_secs(10);

/// The control sequence that clears a terminal.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// `coast ls`
pub(crate) fn ls(args: &LsArgs) -> anyhow::Result<u8> {
    let places = Places::from_process()?;
    let projects = match (&args.project, args.all) {
        (_, true) => None,
        (Some(project), _) => match Scope::check_name(&places, project) {
            Ok(()) => Some(vec![project.clone()]),
            Err(error) => return Ok(refuse(&error, args.json)),
        },
        (None, _) => match here()
            .map_err(LifecycleError::from)
            .and_then(|here| Scope::of_directory(&places, &here, None, &CoastfileChoice::Remembered))
        {
            Ok(scope) => {
                warn_without_settings(&scope);
                Some(scope.names(&places))
            }
            Err(error) => return Ok(refuse(&error, args.json)),
        },
    };
    let cancel = cancelled_by_signals()?;
    // The settings of a project do not matter for questions.
    let mutagen = MutagenLayer::from_process(&places, &Coastfile::default());
    let helper = remote_helper(None)?;
    let native = NativeLayer::new(followers(&places)?, helper.clone());
    let bulk = RemoteBulk::new(helper).connector(connector());
    let questions = Questions {
        layers: Layers { mutagen: &mutagen, native: &native },
        remotes: args.check.then_some(&bulk as &dyn Bulk),
        prompt: &NoPrompt,
        limit: if args.check { CHECK_WITHIN } else { LIST_WITHIN },
        cancel: &cancel,
    };
    Ok(ls_of(&places, projects.as_deref(), &questions, args.json))
}

/// Lists the instances of these projects, or of all projects.
fn ls_of(places: &Places, projects: Option<&[Name]>, questions: &Questions<'_>, json: bool) -> u8 {
    let listed = match list(places, projects, questions) {
        Ok(listed) => listed,
        Err(error) => return refuse(&LifecycleError::from(error), json),
    };
    if json {
        println_json(&listed_objects(&listed));
        return 0;
    }
    let lines = Lines::new();
    match (projects, listed.as_slice()) {
        (Some([project]), []) => {
            lines
                .print(&format!("the project {project} has no instances; make one with: coast run INSTANCE"));
        }
        (_, []) => lines.print("there are no instances"),
        (Some([_]), listed) => listed_lines(listed, false).iter().for_each(|line| lines.print(line)),
        (_, listed) => {
            listed_lines(listed, true).iter().for_each(|line| lines.print(line));
            let Listed { project, instance, .. } = &listed[0];
            lines.print(&format!(
                "from any directory, reach an instance with --project, such as: coast status {instance} --project {project}"
            ));
        }
    }
    lines.flush();
    0
}

/// `coast status`
pub(crate) fn status(args: &StatusArgs) -> anyhow::Result<u8> {
    Scene::with(&Chosen::by(&args.project, &args.instance), None, args.json, |scene| {
        warn_without_settings(&scene.scope);
        match if args.mend { mend(scene, args) } else { Ok(()) } {
            Ok(()) => show(scene, args),
            Err(error) => Ok(refuse(&error, args.json)),
        }
    })
}

/// Mends the conflicts of a session. Where no edits follow, the status itself says so.
fn mend(scene: &Scene, args: &StatusArgs) -> Result<(), LifecycleError> {
    let telling = TellingArgs { verbose: 0, quiet: args.json, json: false };
    let narrator = narrator_for(&telling, scene);
    match scene.lifecycle(&*narrator).flush(&args.instance) {
        Ok(status) => {
            narrator.flushed(&status, carried_code(&status));
            Ok(())
        }
        Err(
            LifecycleError::BulkOnly
            | LifecycleError::Stopped(_)
            | LifecycleError::HalfStopped { .. }
            | LifecycleError::NotFollowing { .. },
        ) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Warns on standard error if the settings of the project cannot be used. Standard output has one object with `--json`.
fn warn_without_settings(scope: &Scope) {
    if let Some(why) = scope.warning() {
        complain(Weight::Warning, &why);
    }
}

fn show(scene: &Scene, args: &StatusArgs) -> anyhow::Result<u8> {
    if !args.watch {
        return show_until(scene, args, || ControlFlow::Break(()));
    }
    let id = scene.id(&args.instance);
    let (tell, told) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        // Ends the listening together with the command.
        let over = Cancel::new();
        let _hook = scene.cancel.on_cancel({
            let over = over.clone();
            move || over.cancel()
        });
        scope.spawn({
            let over = over.clone();
            move || {
                while !over.is_cancelled() {
                    let changed = || {
                        // A full queue tells the same.
                        let _ = tell.try_send(());
                    };
                    scene.daemon.watch(&id, &over, &changed);
                    // coastd does not run, or has ended. It may be started again.
                    let ended = Instant::now();
                    while ended.elapsed() < CHECK_AGAIN && !over.is_cancelled() {
                        thread::sleep(NOTICE);
                    }
                }
            }
        });
        let shown = show_until(scene, args, || until_changed(scene, &told));
        over.cancel();
        shown
    })
}

/// Waits until coastd has told a change, or until it is time to check what coastd does not tell. Breaks when `--watch` ends.
fn until_changed(scene: &Scene, told: &Receiver<()>) -> ControlFlow<()> {
    let checked = Instant::now();
    while checked.elapsed() < CHECK_AGAIN {
        if scene.cancel.is_cancelled() || nobody_reads() {
            return ControlFlow::Break(());
        }
        if told.recv_timeout(NOTICE).is_ok() {
            break;
        }
    }
    ControlFlow::Continue(())
}

/// Prints the status, and prints it again after each change until `next` breaks.
fn show_until(
    scene: &Scene,
    args: &StatusArgs,
    mut next: impl FnMut() -> ControlFlow<()>,
) -> anyhow::Result<u8> {
    let lifecycle = scene.lifecycle(&VoidObserver);
    let check = if args.check { Check::Remote } else { Check::No };
    // A view that is drawn again and again is for a terminal. Programs read lines.
    let json = args.json || (args.watch && !io::stdout().is_terminal());
    let mut shown = None;
    loop {
        let mut status = match lifecycle.status(&args.instance, check) {
            Ok(status) => status,
            // The user has ended `--watch`.
            Err(LifecycleError::Interrupted { .. }) if args.watch => return Ok(0),
            Err(error) => return Ok(refuse(&error, args.json)),
        };
        if status.record.layer == Layer::Mutagen && status.edits() == Edits::DoNotFollow {
            status.mending = scene.daemon.mending(&scene.id(&status.record.instance));
        }
        let text = if json {
            serde_json::to_string(&InstanceObject::of(&status))?
        } else {
            text_of(&status, &scene.scope)
        };
        if shown.as_ref() != Some(&text) {
            match print(&text, args.watch && !json) {
                // The reader has closed the pipe.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
                printed => printed.context("cannot write to standard output")?,
            }
            shown = Some(text);
        }
        if next().is_break() {
            return Ok(if args.watch { 0 } else { status.exit_code() });
        }
    }
}

fn text_of(status: &InstanceStatus, scope: &Scope) -> String {
    instance_lines(status, &scope.addressed(&status.record.instance)).join("\n")
}

fn print(text: &str, watch: bool) -> io::Result<()> {
    let mut stdout = io::stdout();
    let clear = if watch && stdout.is_terminal() { CLEAR } else { "" };
    writeln!(stdout, "{clear}{text}").and_then(|()| stdout.flush())
}

/// Whether the reader of standard output has closed the pipe. Writing would tell that only after the next change.
fn nobody_reads() -> bool {
    let stdout = io::stdout();
    let mut looked = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // If polling fails, the next write tells.
    poll(&mut looked, Some(&at_once)).is_ok()
        && looked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
