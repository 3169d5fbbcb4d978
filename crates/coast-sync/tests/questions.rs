//! Helpers that answer what no helper of ours answers: scripts, over the embedded server.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coast_sync::{
    AcceptedKey, CachePlace, Cancel, ConnectOptions, Environment, HostAnswer, LeftoverRequest, NoPrompt,
    PresentedKey, ProbeReport, ProbeRequest, Prompt, RemoteDestination, RemoteHelper, RemoveReport,
    RemoveRequest, RestoreReport, RestoreRequest, Sudo, SurveyRequest, SyncError, SyncRequest, Target,
    TrashReport, TrashRequest, VoidMonitor, Zeroizing,
};
use coast_testkit::{EmbeddedOptions, EmbeddedServer};
use coast_wire::{
    Answer, Class, EntryKind, Event, FailureKind, Leftover, PROTOCOL_VERSION, Pack, Probe, ProblemKind,
    Ready, Removal, Restoration, SurveyTotals, Surveyed, ToSender, TrashTotals, Trashed,
};
use coast_workspace::say;

const PROBE: Probe<'static> = Probe {
    version: "0.1.0",
    os: "linux",
    arch: "riscv64",
    uid: 7,
    confined: true,
    directory: b"/data",
    exists: false,
    total_bytes: 9,
    free_bytes: 8,
    total_inodes: 6,
    free_inodes: 5,
    max_watches: Some(4),
    unwritable: Some("Read-only file system"),
};

const REMOVAL: Removal = Removal { existed: true, removed_entries: 7, kept_entries: 1, confined: true };

/// A server with a helper that greets, says these bytes and ends with this code.
struct Machine {
    home: tempfile::TempDir,
    server: EmbeddedServer,
}

impl Machine {
    fn saying(said: &[u8], exit: u8) -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = EmbeddedServer::start(EmbeddedOptions::new(home.path())).unwrap();
        let machine = Self { home, server };
        let (said_at, helper) = (machine.home.path().join("said"), machine.helper());
        fs::write(&said_at, said).unwrap();
        let script = format!(
            "#!/bin/sh\necho coast-helper {PROTOCOL_VERSION}\ncat '{}'\necho dying >&2\nexit {exit}\n",
            said_at.display()
        );
        fs::write(&helper, script).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn helper(&self) -> PathBuf {
        self.home.path().join("helper")
    }

    fn destination(&self) -> RemoteDestination {
        let port = Some(self.server.addr().port());
        let target = Target { user: None, host: "127.0.0.1".to_owned(), port };
        RemoteDestination::new(target, "/data/p/i")
            .connect(ConnectOptions {
                identities: vec![self.server.client_key().to_owned()],
                environment: Environment::isolated(self.home.path(), "dev"),
                ..ConnectOptions::default()
            })
            .sudo(Sudo::Never)
            .helper(RemoteHelper::Installed(self.helper()))
    }
}

fn probe(said: &[u8], exit: u8) -> Result<ProbeReport, SyncError> {
    let machine = Machine::saying(said, exit);
    ProbeRequest::new(machine.destination()).run(&NoPrompt, &Cancel::new())
}

fn remove(answers: &[Answer<'_>]) -> Result<RemoveReport, SyncError> {
    let machine = Machine::saying(&said(answers), 0);
    RemoveRequest::new(machine.destination()).run(&NoPrompt, &|_| {}, &Cancel::new())
}

fn trash(answers: &[Answer<'_>]) -> Result<TrashReport, SyncError> {
    let machine = Machine::saying(&said(answers), 0);
    TrashRequest::new(machine.destination()).run(&NoPrompt, &Cancel::new())
}

fn restore(answers: &[Answer<'_>]) -> Result<RestoreReport, SyncError> {
    let machine = Machine::saying(&said(answers), 0);
    RestoreRequest::new(machine.destination(), ["x"]).unwrap().run(&NoPrompt, &Cancel::new())
}

fn said(answers: &[Answer<'_>]) -> Vec<u8> {
    let mut stream = Vec::new();
    answers.iter().for_each(|answer| say(answer, &mut stream).unwrap());
    stream
}

#[test]
fn an_answer_becomes_a_report() {
    let report = probe(&said(&[Answer::Probe(PROBE)]), 0).unwrap();
    assert_eq!(
        (report.arch.as_str(), report.uid, report.total_bytes, report.free_bytes),
        ("riscv64", 7, 9, 8)
    );
    assert!(!report.writable && report.confined && !report.exists);
    assert_eq!(report.unwritable_because.as_deref(), Some("Read-only file system"));
    assert_eq!(report.connection.peer.user, "dev");
}

#[test]
fn a_refusal_keeps_its_words_and_its_exit_code() {
    let error =
        probe(&said(&[Answer::Failed { kind: FailureKind::Destination, text: "a file is there" }]), 3);
    let error = error.unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("a file is there"), "{error}");
}

#[test]
fn a_helper_that_dies_is_told_with_its_last_words() {
    let error = probe(b"", 9).unwrap_err();
    assert_eq!(error.exit_code(), 12);
    assert!(error.to_string().contains("dying"), "{error}");
}

#[test]
fn answers_that_were_not_asked_for_or_have_no_bounds_are_refused() {
    let long = "x".repeat(5000);
    for answer in [
        Answer::Removal(REMOVAL),
        Answer::Event(Event::Notice { text: "hello" }),
        Answer::Probe(Probe { os: &long, ..PROBE }),
        Answer::Probe(Probe { directory: &[b'd'; 17 << 10], ..PROBE }),
    ] {
        let error = probe(&said(&[answer]), 0).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    let error = probe(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
}

#[test]
fn what_stays_of_a_workspace_is_reported() {
    let kept = || Answer::Event(Event::Problem { path: b"mnt", kind: ProblemKind::Kept, text: "mounted" });
    let report =
        remove(&[kept(), Answer::Removing { removed_entries: 5 }, Answer::Removal(REMOVAL)]).unwrap();
    assert_eq!((report.existed, report.removed_entries, report.kept_entries), (true, 7, 1));
    assert_eq!((report.kept[0].path.as_slice(), report.kept[0].reason.as_str()), (&b"mnt"[..], "mounted"));
    assert!(report.confined && !report.is_complete());

    let report = remove(&[Answer::Removal(Removal { kept_entries: 0, ..REMOVAL })]).unwrap();
    assert!(report.is_complete());

    let mut endless: Vec<Answer<'_>> = (0..101).map(|_| kept()).collect();
    endless.push(Answer::Removal(REMOVAL));
    assert_eq!(remove(&endless).unwrap_err().exit_code(), 2);
}

#[test]
fn the_count_of_a_removal_is_told_meanwhile() {
    let answers = [5, 6].map(|removed_entries| Answer::Removing { removed_entries });
    let [first, second] = answers;
    let machine = Machine::saying(&said(&[first, second, Answer::Removal(REMOVAL)]), 0);
    let told = Mutex::new(Vec::new());
    let progress = |entries| told.lock().unwrap().push(entries);
    RemoveRequest::new(machine.destination()).run(&NoPrompt, &progress, &Cancel::new()).unwrap();
    assert_eq!(*told.lock().unwrap(), [5, 6]);
}

#[test]
fn leftovers_and_workspaces_have_bounds() {
    let survey = |answers: &[Answer<'_>]| {
        SurveyRequest::new(Machine::saying(&said(answers), 0).destination()).run(&NoPrompt, &Cancel::new())
    };
    let workspace =
        |instance| Answer::Surveyed(Surveyed { project: "shop", instance, bytes: 7, ..Surveyed::default() });
    let totals = || Answer::Survey(SurveyTotals { workspaces: 5000, confined: true });
    let report = survey(&[workspace("dev-1"), totals()]).unwrap();
    assert_eq!(
        (report.workspaces[0].instance.as_str(), report.workspaces[0].bytes, report.count),
        ("dev-1", 7, 5000)
    );
    let mut endless: Vec<Answer<'_>> = (0..4001).map(|_| workspace("x")).collect();
    endless.push(totals());
    let long = "x".repeat(5000);
    for answers in [&endless[..], &[workspace(&long), totals()], &[Answer::Leftovers]] {
        assert_eq!(survey(answers).unwrap_err().exit_code(), 2);
    }

    let leftovers = |answers: &[Answer<'_>]| {
        LeftoverRequest::new(Machine::saying(&said(answers), 0).destination()).list(&NoPrompt, &Cancel::new())
    };
    let leftover = |path| Answer::Leftover(Leftover { path, bytes: 7, used_at: 5, in_use: true });
    let files = leftovers(&[leftover("helper-ab"), Answer::Leftovers]).unwrap();
    assert_eq!((files[0].path.as_str(), files[0].bytes, files[0].in_use), ("helper-ab", 7, true));
    assert_eq!(leftovers(&[leftover(&long), Answer::Leftovers]).unwrap_err().exit_code(), 2);
}

#[test]
fn why_nothing_is_removed_is_told_apart() {
    let fail = |kind| remove(&[Answer::Failed { kind, text: "because" }]).unwrap_err();
    let (busy, refused, other) =
        (fail(FailureKind::Busy), fail(FailureKind::Refused), fail(FailureKind::Destination));
    assert_eq!([&busy, &refused, &other].map(|error| error.is_busy()), [true, false, false]);
    assert_eq!([&busy, &refused, &other].map(|error| error.is_refused()), [false, true, false]);
    assert_eq!([busy, refused, other].map(|error| error.exit_code()), [3, 3, 3]);
}

#[test]
fn a_trash_is_reported_within_bounds() {
    let entry = |path| Answer::Trashed(Trashed { at: 5, path, kind: EntryKind::File, size: 7 });
    let unreadable =
        || Answer::Event(Event::Problem { path: b"d", kind: ProblemKind::Destination, text: "no" });
    let totals = || Answer::Trash(TrashTotals { entries: 9, bytes: 70, unreadable: 1, confined: true });
    let report = trash(&[entry(b"\xff"), unreadable(), totals()]).unwrap();
    assert_eq!((report.first[0].path.as_slice(), report.first[0].at), (&b"\xff"[..], 5));
    assert_eq!((report.entries, report.bytes, report.unreadable.len()), (9, 70, 1));

    let mut endless: Vec<Answer<'_>> = (0..4001).map(|_| entry(b"x")).collect();
    endless.push(totals());
    assert_eq!(trash(&endless).unwrap_err().exit_code(), 2);
    let restored = Answer::Restoration(Restoration::default());
    for answer in [entry(&[b'd'; 17 << 10]), Answer::Removal(REMOVAL), restored] {
        assert_eq!(trash(&[answer]).unwrap_err().exit_code(), 2);
    }
}

#[test]
fn a_restoration_is_reported_within_bounds() {
    let stays = || Answer::Event(Event::Problem { path: b"x", kind: ProblemKind::Destination, text: "no" });
    let restored = || Answer::Restoration(Restoration { left_entries: 1, ..Restoration::default() });
    let report = restore(&[Answer::Event(Event::Notice { text: "more" }), stays(), restored()]).unwrap();
    assert_eq!((report.left.len(), report.exit_code()), (1, 23));

    let mut endless: Vec<Answer<'_>> = (0..101).map(|_| stays()).collect();
    endless.push(restored());
    assert_eq!(restore(&endless).unwrap_err().exit_code(), 2);
    let long = "x".repeat(5000);
    for answer in [Answer::Event(Event::Notice { text: &long }), Answer::Trash(TrashTotals::default())] {
        assert_eq!(restore(&[answer]).unwrap_err().exit_code(), 2);
    }
    let busy = restore(&[Answer::Failed { kind: FailureKind::Busy, text: "a run" }]).unwrap_err();
    assert!(busy.is_busy(), "{busy}");
}

/// Keeps what a person would be told.
#[derive(Default)]
struct Notices(Mutex<Vec<String>>);

impl Prompt for Notices {
    fn passphrase(&self, _key: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn confirm_host(&self, _presented: &PresentedKey) -> HostAnswer {
        HostAnswer::NobodyToAsk
    }

    fn host_key_accepted(&self, _accepted: &AcceptedKey) {}

    fn notice(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// Pushes to a receiver that sends these messages. Returns the notices about confinement, and the end of the push.
fn push_to(words: &[Ready]) -> (Vec<String>, SyncError) {
    let mut pack = Pack::new(Class::Control);
    words.iter().for_each(|ready| pack.push(&ToSender::Ready(ready.clone())).unwrap());
    let machine = Machine::saying(&pack.seal(None).unwrap(), 9);
    let source = tempfile::tempdir().unwrap();
    let notices = Notices::default();
    let request = SyncRequest::push(source.path(), machine.destination()).unwrap();
    let error = request.cache(CachePlace::Nowhere).run(&VoidMonitor, &notices, &Cancel::new()).unwrap_err();
    let notices = notices.0.into_inner().unwrap();
    (notices.into_iter().filter(|text| text.contains("landlock")).collect(), error)
}

#[test]
fn a_helper_that_is_root_and_not_confined_is_warned_of_before_the_run_ends() {
    let (notices, _) = push_to(&[Ready { uid: 0, confined: false }]);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("127.0.0.1"), "{notices:?}");
    for (uid, confined) in [(0, true), (7, false), (7, true)] {
        assert_eq!(push_to(&[Ready { uid, confined }]).0, [""; 0], "{uid}, {confined}");
    }
}

#[test]
fn a_receiver_that_is_ready_again_and_again_is_told_of_once() {
    let (notices, error) = push_to(&vec![Ready { uid: 0, confined: false }; 100]);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(error.to_string().contains("twice"), "{error}");
}
