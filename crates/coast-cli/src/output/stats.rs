//! The counts of a run as text: rsync's block for `--stats`, the summary of a push, and what a run left undone.

use coast_sync::{DeletedEntries, Deletions, SyncReport};

use super::Shown;
use super::figures::{Grouped, GroupedDecimal, Seconds, Size, counted};

/// Returns the lines of `--stats`: first those of rsync's lines that apply here, then coast's own.
pub(crate) fn block(report: &SyncReport) -> Vec<String> {
    let (sender, receiver) = (&report.run.sender, &report.run.receiver);
    let all = sender.files + sender.directories + sender.others;
    let kinds: Vec<String> = [("reg", sender.files), ("dir", sender.directories), ("other", sender.others)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{kind}: {}", Grouped(count)))
        .collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let line = |name: &str, value: u64| format!("{name}: {}", Grouped(value));
    let bytes = |name: &str, value: u64| format!("{name}: {} bytes", Grouped(value));
    vec![
        format!("Number of files: {}{kinds}", Grouped(all)),
        line("Number of created files", receiver.created),
        line("Number of deleted files", receiver.deleted),
        line("Number of regular files transferred", receiver.transferred_files),
        bytes("Total file size", sender.total_bytes),
        bytes("Total transferred file size", receiver.transferred_bytes),
        bytes("Literal data", receiver.literal_bytes),
        bytes("Matched data", receiver.matched_bytes),
        line("Total bytes sent", report.run.wire_sent_bytes),
        line("Total bytes received", report.run.wire_received_bytes),
        line("Number of entries left untouched", receiver.untouched),
        line("Number of entries with only attributes changed", receiver.attributes),
        line("Number of entries given to another owner", receiver.chowned),
        line("Number of files made from others at the destination", receiver.cloned_files),
        bytes("Total size of those", receiver.cloned_bytes),
        line("Number of protected extraneous entries", receiver.protected),
        line("Number of files read only to be hashed", sender.hashed_files),
    ]
}

/// Returns the two lines that rsync prints at the end of a verbose run.
pub(crate) fn closing(report: &SyncReport, dry_run: bool) -> [String; 2] {
    let run = &report.run;
    let wire = run.wire_sent_bytes + run.wire_received_bytes;
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let (rate, speedup) = {
        // rsync adds half a second too, so that a very short run has a rate.
        (
            wire as f64 / (0.5 + report.elapsed.as_secs_f64()),
            run.sender.total_bytes as f64 / wire.max(1) as f64,
        )
    };
    [
        format!(
            "sent {} bytes  received {} bytes  {} bytes/sec",
            Grouped(run.wire_sent_bytes),
            Grouped(run.wire_received_bytes),
            GroupedDecimal(rate)
        ),
        format!(
            "total size is {}  speedup is {}{}",
            Grouped(run.sender.total_bytes),
            GroupedDecimal(speedup),
            if dry_run { " (DRY RUN)" } else { "" }
        ),
    ]
}

/// Returns the two lines that summarize a push.
pub(crate) fn summary(report: &SyncReport, dry_run: bool) -> [String; 2] {
    let run = &report.run;
    let (sender, receiver) = (&run.sender, &run.receiver);
    let mut done = vec![format!(
        "{} sent ({})",
        counted(receiver.transferred_files, "file", "files"),
        Size(receiver.transferred_bytes)
    )];
    let mut also = |count: u64, what: &str| {
        if count > 0 {
            done.push(format!("{} {what}", Grouped(count)));
        }
    };
    also(receiver.cloned_files, "moved or copied there");
    also(receiver.attributes, "changed in attributes");
    done.push(format!("{} untouched", counted(receiver.untouched, "entry", "entries")));
    done.push(format!("{} protected", Grouped(receiver.protected)));
    done.push(format!("{} deleted", Grouped(receiver.deleted)));
    let prefix = if dry_run { "would be: " } else { "" };
    [
        format!("{prefix}{}", done.join(", ")),
        // The same kinds as those that are untouched: files, directories and others.
        format!(
            "{} in all, of them {} ({}); {} sent and {} received over the wire in {}",
            counted(sender.files + sender.directories + sender.others, "entry", "entries"),
            counted(sender.files, "file", "files"),
            Size(sender.total_bytes),
            Size(run.wire_sent_bytes),
            Size(run.wire_received_bytes),
            Seconds(report.elapsed)
        ),
    ]
}

/// How many deleted entries are named at the end of a run, of each kind.
const MAX_NAMED_DELETIONS: usize = 5;

/// Returns the lines that name the first deleted entries: first those that were made at the destination. `restorable` is the operand
/// of `coast restore` for them.
pub(crate) fn deletion_lines(deletions: &Deletions, restorable: Option<&str>, dry_run: bool) -> Vec<String> {
    let Deletions { made_there, changed, placed, replaced, to_trash, .. } = deletions;
    let would = if dry_run { "would be " } else { "" };
    let entries = |entries: &DeletedEntries| counted(entries.count, "entry", "entries");
    let mut lines = Vec::new();
    let goes = if *to_trash { "moved to the trash" } else { "deleted" };
    let kinds =
        [(made_there, "made at the destination"), (changed, "put there earlier, and perhaps changed since,")];
    for (kind, what) in kinds.into_iter().filter(|(kind, _)| kind.count > 0) {
        lines.push(format!("{} {what} {would}{goes}: {}", entries(kind), named_entries(kind)));
    }
    if placed.count > 0 {
        lines.push(format!("{} {would}deleted: {}", entries(placed), named_entries(placed)));
    }
    if replaced.count > 0 {
        let (files, names) = (counted(replaced.count, "file", "files"), named_entries(replaced));
        lines.push(format!(
            "{files} made or perhaps changed at the destination {would}replaced, and kept in the trash: {names}"
        ));
    }
    let trashed = replaced.count + if *to_trash { made_there.count + changed.count } else { 0 };
    if let Some(operand) = restorable.filter(|_| trashed > 0 && !dry_run) {
        lines.push(format!("to list or restore what is in the trash: coast restore {operand}"));
    }
    lines
}

fn named_entries(entries: &DeletedEntries) -> String {
    let first = entries.first.iter().take(MAX_NAMED_DELETIONS);
    let named: Vec<String> = first.map(|path| Shown(path).to_string()).collect();
    let more = entries.count.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(" and {} more", Grouped(more)) } else { String::new() };
    format!("{}{more}", named.join(", "))
}

/// How many entries are named at the end of a run.
const MAX_NAMED_FAILURES: usize = 10;

/// Returns the messages about what a run that came to its end left undone, one for each reason. The last message names the first
/// entries that could not be brought up to date, one per line. `exit_code` is the program's.
pub(crate) fn shortcomings(report: &SyncReport, exit_code: u8) -> Vec<String> {
    let (sender, receiver) = (&report.run.sender, &report.run.receiver);
    let code = if exit_code == 0 { String::new() } else { format!(" (code {exit_code})") };
    let entries = |count| counted(count, "entry", "entries");
    let mut all = Vec::new();
    if sender.vanished > 0 {
        all.push(format!(
            "warning: {} of the source vanished during the run{code}",
            entries(sender.vanished)
        ));
    }
    if receiver.over_max_delete > 0 {
        let kept = entries(receiver.over_max_delete);
        all.push(format!("error: {kept} not deleted because of --max-delete{code}"));
    }
    if receiver.deletion_skipped {
        all.push(format!(
            "warning: nothing was deleted, because the source was not read without errors{code}"
        ));
    }
    let failures = &report.failures;
    if !failures.is_empty() {
        let mut text = format!("error: {} could not be brought up to date{code}:", entries(failures.count));
        for failure in failures.first.iter().take(MAX_NAMED_FAILURES) {
            let name = if failure.path.is_empty() { &b"./"[..] } else { &failure.path };
            text.push_str(&format!("\n  {}: {}", Shown(name), Shown(failure.text.as_bytes())));
        }
        let named = failures.first.len().min(MAX_NAMED_FAILURES) as u64;
        if failures.count > named {
            text.push_str(&format!("\n  and {} more", Grouped(failures.count - named)));
        }
        all.push(text);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_moves_nothing_to_the_trash_that_could_be_restored() {
        let mut deletions = Deletions::default();
        deletions.made_there.count = 1;
        deletions.made_there.first = vec![b"a".to_vec()];
        deletions.to_trash = true;
        let restore = "to list or restore what is in the trash: coast restore ./t";
        assert_eq!(
            deletion_lines(&deletions, Some("./t"), false),
            ["1 entry made at the destination moved to the trash: a", restore]
        );
        assert_eq!(
            deletion_lines(&deletions, Some("./t"), true),
            ["1 entry made at the destination would be moved to the trash: a"]
        );
    }
}
