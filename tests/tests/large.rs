//! A file larger than the memory that either side may take. Only the changed parts are sent, and the result is exact.

use std::fs;
use std::path::Path;

use coast_tests::{Kind, Outcome, Remote, Shell, Snapshot, Sudo, Tree, Watch, noise};
use serde_json::Value;

/// Size of the file in bytes.
const SIZE: u64 = 3 << 30;

/// The limit for each process, in bytes: of data (heap, stacks, private mappings), and of the largest resident set.
const MEMORY: u64 = 200 << 20;

/// The bytes that a run may send: the three edits, their blocks, and some more.
const SENT: u64 = 8 << 20;

/// Runs a command with the limit: `measured LIMIT REPORT COMMAND...`.
const MEASURED: &str = env!("CARGO_BIN_EXE_measured");

/// The old version: pieces of data between holes.
fn islands() -> Vec<(u64, Vec<u8>)> {
    (0..12).map(|number| (number * (SIZE / 12), noise(number, 2 << 20))).collect()
}

/// A file in a directory.
fn build(remote: &Remote, directory: &str, pieces: Vec<(u64, Vec<u8>)>) {
    Tree::new().sparse("large", SIZE, pieces).build(remote.path(directory));
}

/// A remote that runs every command with the limit and a report.
fn limited() -> Remote {
    // The path of the shell is not known yet when its text is made, so the script looks for its companions beside itself.
    let shell = format!(
        "#!/bin/sh\nhere=$(dirname \"$0\")\nexec \"$here/measured\" {MEMORY} \"$here/report\" /bin/sh \"$@\"\n"
    );
    let remote = Remote::with(&Shell::Script(shell), Sudo::Never);
    fs::copy(MEASURED, remote.path("server/measured")).expect("the sandbox is ours");
    fs::write(remote.path("server/report"), "").expect("the sandbox is ours");
    remote.account().own(remote.path("server/report"));
    remote
}

/// Pushes `src` to the user's `space` with the limit, and returns the bytes that were sent.
fn push(remote: &Remote) -> u64 {
    let program = remote.sandbox().program(MEASURED).arg(MEMORY.to_string()).arg(remote.path("report"));
    let program = program.arg(coast_tests::coast()).args(["push", "--json"]).args(remote.connection());
    let target = remote.target(remote.account().home().join("space"));
    let outcome =
        program.arg(remote.path("src")).arg(target).limit(std::time::Duration::from_secs(600)).run();
    outcome.assert_code(0);
    assert_peak_within_limit(&remote.path("report"), &outcome);
    assert_peak_within_limit(&remote.path("server/report"), &outcome);
    sent(&outcome)
}

#[track_caller]
fn assert_peak_within_limit(report: &Path, outcome: &Outcome) {
    let lines = || {
        fs::read_to_string(report)
            .expect("the report is there")
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let started = |lines: &[String]| lines.iter().filter(|line| *line == "started").count();
    // The other side may end a moment after this side.
    Watch::below(report.parent().expect("a report lies in a directory"))
        .until("every command to end", || 2 * started(&lines()) == lines().len());
    let peak = lines().iter().filter_map(|line| line.parse::<u64>().ok()).max();
    let peak = peak.unwrap_or_else(|| panic!("nothing was measured by {}\n{outcome}", report.display()));
    println!("{}: {} MiB", report.display(), peak >> 20);
    assert!(peak <= MEMORY, "{} MiB were taken, says {}\n{outcome}", peak >> 20, report.display());
}

fn sent(outcome: &Outcome) -> u64 {
    let lines = outcome.lines();
    let last = lines.last().unwrap_or_else(|| panic!("nothing was printed\n{outcome}"));
    let done: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    done["wire_sent_bytes"].as_u64().unwrap_or_else(|| panic!("no wire_sent_bytes\n{outcome}"))
}

fn large(directory: &Path) -> Kind {
    Snapshot::of(directory).entry("large").kind.clone()
}

#[test]
fn three_edits_of_a_file_of_3_gib_are_sent_under_200_mib_of_memory() {
    let remote = limited();
    let space = remote.account().home().join("space");
    Tree::new().sparse("large", SIZE, islands()).build(&space);
    for path in [space.clone(), space.join("large")] {
        remote.account().own(path);
    }
    let edits = [(1000, 100), (SIZE / 2 + 77, 5000), (SIZE - 300, 300)];
    let edits = edits.into_iter().map(|(offset, length)| (offset, noise(1000 + offset, length)));
    build(&remote, "src", islands().into_iter().chain(edits).collect());

    assert!(large(&remote.path("src")) != large(&space), "the edits change something");
    let sent = push(&remote);
    println!("{sent} bytes sent");
    assert!(large(&remote.path("src")) == large(&space), "the copy is not equal");
    assert!(sent < SENT, "{sent} bytes were sent for three small edits");
}
