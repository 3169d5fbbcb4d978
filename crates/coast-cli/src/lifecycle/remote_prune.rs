//! `coast remote prune`: lists and removes what no instance known here owns on a remote.

use coast_instance::{KeptPath, LeftWorkspace, Leftovers, LifecycleError, Name, Places, Pruning, Remotes};
use coast_sync::{Cancel, KeptEntry, LeftoverFile};
use serde::Serialize;

use super::confirmation::Confirmation;
use super::remote_checks::chosen;
use super::{println_json, refuse, refuse_with, remote_helper};
use crate::args::remote::PruneArgs;
use crate::exit_code::{PARTIAL, UNUSABLE};
use crate::output::{
    Form, Lines, Narrator, OutputOptions, Size, Weight, ago, complain, counted, left_lines, narrator, shown,
    table,
};
use crate::signals::cancelled_by_signals;

/// What was found, and what was removed, as an object.
#[derive(Serialize)]
struct PruneObject<'a> {
    event: &'static str,
    remote: &'a Name,
    exit_code: u8,
    /// Whether the listed workspaces and files were to be removed.
    dry_run: bool,
    workspaces: Vec<WorkspaceObject<'a>>,
    files: Vec<FileObject<'a>>,
    kept: Vec<KeptObject>,
}

#[derive(Serialize)]
struct WorkspaceObject<'a> {
    path: &'a str,
    exists: bool,
    entries: u64,
    bytes: u64,
    used_at: u64,
    trash_bytes: Option<u64>,
}

#[derive(Serialize)]
struct FileObject<'a> {
    path: &'a str,
    bytes: u64,
    used_at: u64,
}

#[derive(Serialize)]
struct KeptObject {
    path: String,
    why: String,
}

/// `coast remote prune`
pub(super) fn prune(places: &Places, args: &PruneArgs) -> anyhow::Result<u8> {
    let remotes = Remotes::load(places);
    let remotes = remotes.as_ref().map_err(ToString::to_string);
    let (name, remote) = match remotes.and_then(|remotes| chosen(remotes, Some(&args.name), "prune")) {
        Ok(chosen) => chosen,
        Err(text) => return Ok(refuse_with(&text, UNUSABLE, args.json)),
    };
    let cancel = cancelled_by_signals()?;
    let narrator = narrator(OutputOptions::for_questions(Form::of(args.json)), &cancel);
    let pruning = Pruning::new(places, name, remote, remote_helper(Some(&args.helper))?);
    let left = match pruning.look(&*narrator, &cancel) {
        Ok(left) => left,
        Err(error) => return Ok(refuse(&error, args.json)),
    };
    let is_nothing = left.workspaces.is_empty() && left.files.is_empty();
    if !args.json {
        tell(name, &left);
    }
    if args.dry_run || is_nothing {
        if args.json {
            println_json(&object(name, &left, args.dry_run, Vec::new(), 0));
        }
        return Ok(0);
    }
    if !args.yes {
        let question = format!(
            "Remove all of this from {name} ({})? Instances of other machines and users may be among it: {name} does not say who uses \
             it. What exists only there is lost",
            remote.address()
        );
        let nobody = "nobody can be asked whether this may be removed; confirm the removal with --yes, or list it only with --dry-run";
        let confirmation = Confirmation { question: &question, refused: "nothing was removed", nobody };
        if let Err(code) = confirmation.ask(&cancel, Form::of(args.json)) {
            return Ok(code);
        }
    }
    let stayed = match remove(&pruning, &left, &*narrator, &cancel) {
        Ok(stayed) => stayed,
        Err(error) => return Ok(refuse(&error, args.json)),
    };
    let exit_code = if stayed.is_empty() { 0 } else { PARTIAL };
    if args.json {
        println_json(&object(name, &left, false, stayed, exit_code));
        return Ok(exit_code);
    }
    if stayed.is_empty() {
        let lines = Lines::new();
        lines.print("removed");
        lines.flush();
    } else {
        let stayed: Vec<String> = stayed.iter().map(|kept| format!("{}: {}", kept.path, kept.why)).collect();
        complain(
            Weight::Error,
            &format!("not removed (code {exit_code}):\n  {}", shown(&stayed.join("\n  "))),
        );
    }
    Ok(exit_code)
}

/// Removes everything. Returns what could not be removed.
fn remove(
    pruning: &Pruning<'_>,
    left: &Leftovers,
    narrator: &dyn Narrator,
    cancel: &Cancel,
) -> Result<Vec<KeptObject>, LifecycleError> {
    let mut stayed = Vec::new();
    for workspace in &left.workspaces {
        match pruning.remove_workspace(workspace, narrator, cancel) {
            Ok(None) => stayed.push(KeptObject {
                path: workspace.path.clone(),
                why: "an instance was made there meanwhile".to_owned(),
            }),
            Ok(Some(report)) if !report.is_complete() => {
                let why = left_lines(&report.kept, report.kept_entries).join("; ");
                stayed.push(KeptObject { path: workspace.path.clone(), why });
            }
            Ok(Some(_)) => {}
            Err(error @ LifecycleError::Interrupted { .. }) => return Err(error),
            Err(error) => stayed.push(KeptObject { path: workspace.path.clone(), why: error.to_string() }),
        }
    }
    let swept = pruning.remove_files(&left.files, narrator, cancel)?;
    stayed.extend(swept.kept.into_iter().map(|KeptEntry { path, reason, .. }| KeptObject {
        path: String::from_utf8_lossy(&path).into_owned(),
        why: reason,
    }));
    Ok(stayed)
}

fn object<'a>(
    remote: &'a Name,
    left: &'a Leftovers,
    dry_run: bool,
    stayed: Vec<KeptObject>,
    exit_code: u8,
) -> PruneObject<'a> {
    let workspace = |LeftWorkspace { path, found }: &'a LeftWorkspace| WorkspaceObject {
        path,
        exists: found.exists,
        entries: found.entries,
        bytes: found.bytes,
        used_at: found.used_at,
        trash_bytes: found.trash_bytes,
    };
    let file =
        |file: &'a LeftoverFile| FileObject { path: &file.path, bytes: file.bytes, used_at: file.used_at };
    let kept = left.kept.iter().map(|kept| KeptObject { path: kept.path.clone(), why: kept.reason.clone() });
    PruneObject {
        event: "prune",
        remote,
        exit_code,
        dry_run,
        workspaces: left.workspaces.iter().map(workspace).collect(),
        files: left.files.iter().map(file).collect(),
        kept: kept.chain(stayed).collect(),
    }
}

/// Prints what was found.
fn tell(name: &Name, left: &Leftovers) {
    let lines = Lines::new();
    let mut rows: Vec<[String; 4]> = left.workspaces.iter().map(workspace_row).collect();
    rows.extend(
        left.files
            .iter()
            .map(|file| [shown(&file.path), ago(file.used_at), Size(file.bytes).to_string(), String::new()]),
    );
    if rows.is_empty() {
        lines.print(&format!("nothing on {name} that no instance known here owns"));
    } else {
        rows.insert(0, ["LEFT", "LAST USE", "SIZE", ""].map(str::to_owned));
        table(&rows).iter().for_each(|line| lines.print(line.trim_end()));
    }
    for KeptPath { path, reason } in &left.kept {
        lines.print(&format!("{} stays: {}", shown(path), shown(reason)));
    }
    lines.flush();
}

fn workspace_row(LeftWorkspace { path, found }: &LeftWorkspace) -> [String; 4] {
    if found.instance.is_empty() {
        return [path.clone(), "-".to_owned(), "-".to_owned(), "an empty directory of a project".to_owned()];
    }
    let mut notes = Vec::new();
    if found.exists {
        notes.push(counted(found.entries, "entry", "entries"));
    } else {
        notes.push("only the state directory of a workspace".to_owned());
    }
    if let Some(bytes) = found.trash_bytes {
        notes.push(format!("its trash holds {}, which was made on the remote", Size(bytes)));
    }
    [path.clone(), ago(found.used_at), Size(found.bytes).to_string(), notes.join(", ")]
}
