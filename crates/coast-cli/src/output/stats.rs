//! The counts of a run as text: rsync's block for `--stats`, and the summary of a push.

use coast_sync::SyncReport;

use super::figures::{Grouped, GroupedDecimal, Seconds, Size, counted};

/// The block that `--stats` prints: rsync's lines as far as they mean something here, then ours.
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

/// The two lines that rsync ends a verbose run with.
pub(crate) fn closing(report: &SyncReport, dry_run: bool) -> [String; 2] {
    let run = &report.run;
    let wire = run.wire_sent_bytes + run.wire_received_bytes;
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let (rate, speedup) = {
        // Half a second more, as rsync has it, so that a run of no time has a rate.
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

/// What a push did, in two lines.
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
    done.push(format!("{} untouched", Grouped(receiver.untouched)));
    done.push(format!("{} protected", Grouped(receiver.protected)));
    done.push(format!("{} deleted", Grouped(receiver.deleted)));
    let prefix = if dry_run { "would be: " } else { "" };
    [
        format!("{prefix}{}", done.join(", ")),
        format!(
            "{} in all ({}); {} sent and {} received over the wire in {}",
            counted(sender.files, "file", "files"),
            Size(sender.total_bytes),
            Size(run.wire_sent_bytes),
            Size(run.wire_received_bytes),
            Seconds(report.elapsed)
        ),
    ]
}

/// What did not go as it should, for a run that came to its end.
pub(crate) fn shortcomings(report: &SyncReport) -> Vec<String> {
    let (sender, receiver) = (&report.run.sender, &report.run.receiver);
    let mut all = Vec::new();
    let mut also = |count: u64, text: String| {
        if count > 0 {
            all.push(text);
        }
    };
    let entries = |count| counted(count, "entry", "entries");
    also(sender.unreadable, format!("{} of the source could not be read", entries(sender.unreadable)));
    also(receiver.failed, format!("{} could not be written at the destination", entries(receiver.failed)));
    also(sender.vanished, format!("{} of the source vanished meanwhile", entries(sender.vanished)));
    also(
        receiver.over_max_delete,
        format!("{} not deleted because of --max-delete", entries(receiver.over_max_delete)),
    );
    if receiver.deletion_skipped {
        all.push("nothing was deleted, because the source was not read without errors".to_owned());
    }
    all
}
