//! The helper's start and upload over the embedded server, with shell scripts in the helper's place.
#![allow(clippy::unwrap_used)]

mod support;

use coast_ssh::{
    DeployFailure, HelperInput, HelperProgram, HelperSource, HelperSpec, NoPrompt, RunsAs, Session, SshError,
    Sudo, SudoRefusal,
};
use coast_testkit::{EmbeddedOptions, EmbeddedServer};
use coast_wire::PROTOCOL_VERSION;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{echo_helper, greeting_then, helper_script, options, target};
use tempfile::TempDir;

/// A host with a directory of programs that come before the system's.
struct Host {
    home: TempDir,
    server: EmbeddedServer,
}

impl Host {
    fn new() -> Host {
        Host::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EmbeddedOptions)) -> Host {
        let home = tempfile::tempdir().unwrap();
        let path = format!("{}/bin:{}", home.path().display(), std::env::var("PATH").unwrap());
        let mut options = EmbeddedOptions::new(home.path());
        options.variables.push(("PATH".to_owned(), path));
        change(&mut options);
        let host = Host { server: EmbeddedServer::start(options).unwrap(), home };
        fs::create_dir(host.path("bin")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts a program in front of the system's of that name.
    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes the start script believe that it does not run as root, whoever runs the tests.
    fn unprivileged(&self) {
        self.program("id", "echo 1000");
    }

    fn connect(&self) -> Session {
        let options = options(self.home.path(), self.server.client_key(), &[]);
        Session::connect(&target(self.server.addr().port()), &options, &NoPrompt).unwrap()
    }

    fn start_error(&self, spec: &HelperSpec) -> SshError {
        self.connect().start_helper(spec).map(|_| "the helper").unwrap_err()
    }
}

fn as_user(mut spec: HelperSpec) -> HelperSpec {
    spec.sudo = Sudo::Never;
    spec
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_helper_is_uploaded_once_and_then_found() {
    let host = Host::new();
    let session = host.connect();
    let mut spec = as_user(echo_helper("abc123"));
    spec.args = vec![b"it's".to_vec(), b"\\ \n\xff".to_vec(), Vec::new()];
    for deployed in [true, false] {
        let helper = session.start_helper(&spec).unwrap();
        assert_eq!((helper.deployed(), helper.runs_as()), (deployed, &RunsAs::User));
        let (mut reader, mut writer, status) = helper.split();
        writer.write_all(b"data").unwrap();
        drop(writer);
        let mut output = Vec::new();
        reader.read_to_end(&mut output).unwrap();
        assert_eq!(output, b"it's\0\\ \n\xff\0\0data");
        assert!(status.wait().unwrap().success());
    }
    assert_eq!(mode(&host.path(".cache/coast")), 0o700);
    assert_eq!(mode(&host.path(".cache/coast/helper-abc123")), 0o700);
    let left: Vec<_> = fs::read_dir(host.path(".cache/coast")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn the_bytes_are_read_only_when_they_are_needed() {
    let host = Host::new();
    let session = host.connect();
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let source = HelperSource::Provider(Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(format!("#!/bin/sh\n{}\n", greeting_then("true")).into_bytes().into())
    }));
    let spec =
        as_user(HelperSpec::new(vec![HelperProgram { platform: None, name: "lazy".to_owned(), source }]));
    for _ in 0..3 {
        session.start_helper(&spec).unwrap();
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1);
}

#[test]
fn a_helper_that_cannot_be_read_here_is_named() {
    let source = HelperSource::Path("/absent/coast-helper".into());
    let spec = HelperSpec::new(vec![HelperProgram { platform: None, name: "x".to_owned(), source }]);
    let error = Host::new().start_error(&spec);
    assert!(
        matches!(error, SshError::HelperSource { ref name, .. } if name == "/absent/coast-helper"),
        "{error:?}"
    );
}

#[test]
fn every_login_shell_starts_and_uploads_it() {
    for shell in [&["bash", "-c"][..], &["dash", "-c"], &["busybox", "ash", "-c"], &["fish", "-c"]] {
        let host = Host::with(|options| options.shell = shell.iter().map(|&word| word.to_owned()).collect());
        let session = host.connect();
        let mut spec = as_user(echo_helper("abc"));
        spec.args = vec![b"$HOME 'quoted' \\".to_vec()];
        let helper = session.start_helper(&spec).unwrap_or_else(|error| panic!("{shell:?}: {error}"));
        assert!(helper.deployed());
        let (mut reader, writer, _status) = helper.split();
        drop(writer);
        let mut output = Vec::new();
        reader.read_to_end(&mut output).unwrap();
        assert_eq!(output, b"$HOME 'quoted' \\\0", "{shell:?}");
        assert!(!session.start_helper(&spec).unwrap().deployed());
    }
}

#[test]
fn every_sh_runs_the_scripts() {
    for sh in SHS {
        let host = Host::new();
        symlink(sh, host.path("bin/sh")).unwrap();
        host.unprivileged();
        host.program("sudo", "echo 'sudo: a password is required' >&2; exit 1");
        fs::write(host.path("plain"), "a file in the way").unwrap();
        let mut spec = echo_helper("abc");
        spec.directories = ["plain", "here-"].map(str::to_owned).to_vec();
        for deployed in [true, false] {
            let helper = host.connect().start_helper(&spec).unwrap_or_else(|error| panic!("{sh}: {error}"));
            assert_eq!(helper.deployed(), deployed, "{sh}");
            assert_eq!(helper.runs_as(), &RunsAs::UserAfter(SudoRefusal::WantsPassword), "{sh}");
        }
        assert!(host.path("here-1000/helper-abc").exists());
    }
}

#[test]
fn the_platform_chooses_the_helper() {
    let host = Host::new();
    host.program("uname", "echo Linux riscv64");
    let mut spec = as_user(echo_helper("wrong"));
    spec.programs[0].platform = Some("Linux x86_64".to_owned());
    let right = HelperProgram {
        platform: Some("Linux riscv64".to_owned()),
        ..helper_script("right", &greeting_then("echo riscv")).programs.remove(0)
    };
    let error = host.start_error(&spec);
    assert!(
        matches!(error, SshError::NoHelperFor { ref platform, ref available }
            if platform == "Linux riscv64" && available == &["Linux x86_64"]),
        "{error:?}"
    );
    spec.programs.push(right);
    let (mut reader, _, _) = host.connect().start_helper(&spec).unwrap().split();
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert_eq!(output, "riscv\n");
}

#[test]
fn a_helper_of_another_version_is_refused_in_one_sentence() {
    let error = Host::new().start_error(&helper_script("v", "echo coast-helper 999"));
    let wanted = format!("speaks protocol version 999, this program speaks {PROTOCOL_VERSION}; both must");
    assert!(error.to_string().contains(&wanted), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn talk_before_the_greeting_is_skipped_and_shown_when_no_greeting_comes() {
    let host = Host::new();
    let spec = as_user(helper_script(
        "t",
        &format!("yes welcome | head -n 5000; {}", greeting_then("echo payload")),
    ));
    let (mut reader, _, _) = host.connect().start_helper(&spec).unwrap().split();
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert_eq!(output, "payload\n");

    let error = host.start_error(&as_user(helper_script("g", "echo 'This account is closed.'")));
    assert!(error.to_string().contains("This account is closed."), "{error}");
    let error = host.start_error(&as_user(helper_script("e", "exec yes talk")));
    assert!(
        matches!(error, SshError::HelperGarbage { ref start, .. } if start.starts_with(b"talk\n")),
        "{error:?}"
    );
}

#[test]
fn a_helper_that_fails_before_it_greets_is_told_with_its_words() {
    let error = Host::new().start_error(&as_user(helper_script("f", "echo out of order >&2; exit 11")));
    let text = error.to_string();
    assert!(matches!(error, SshError::HelperFailed { .. }), "{text}");
    assert!(text.contains("exit code 11") && text.contains("out of order"), "{text}");
}

#[test]
fn a_helper_named_by_its_path_is_used_and_never_uploaded() {
    let host = Host::new();
    let mut spec = as_user(echo_helper("unused"));
    spec.path = Some(host.path("bin/my helper").into_os_string().into_encoded_bytes());
    let error = host.start_error(&spec);
    assert!(matches!(error, SshError::HelperPath { .. }), "{error:?}");
    assert!(error.to_string().contains("my helper"), "{error}");
    host.program("my helper", &greeting_then("echo mine"));
    let helper = host.connect().start_helper(&spec).unwrap();
    assert!(!helper.deployed());
    assert!(!host.path(".cache").exists());
    fs::set_permissions(host.path("bin/my helper"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = host.start_error(&spec);
    assert!(error.to_string().contains("ermission denied"), "{error}");
}

#[test]
fn bytes_written_before_the_greeting_reach_a_helper_that_is_uploaded_and_one_that_is_there() {
    let host = Host::new();
    let session = host.connect();
    let spec = as_user(echo_helper("early"));
    for deployed in [true, false] {
        let (mut input, source) = HelperInput::pair();
        input.write_all(b"long ").unwrap();
        input.flush().unwrap();
        let starting = session.begin_helper(&spec, source).unwrap();
        input.write_all(b"before ").unwrap();
        input.flush().unwrap();
        let mut greeted = starting.greeting().unwrap();
        assert_eq!((greeted.deployed, greeted.runs_as), (deployed, RunsAs::User));
        input.write_all(b"after").unwrap();
        drop(input);
        let mut output = Vec::new();
        greeted.reader.read_to_end(&mut output).unwrap();
        assert_eq!(output, b"long before after");
        assert!(greeted.status.wait().unwrap().success());
    }
}

#[test]
fn bytes_keep_their_order_while_a_second_attempt_gets_the_copy() {
    let host = Host::new();
    let session = host.connect();
    let spec = as_user(echo_helper("order"));
    let (mut input, source) = HelperInput::pair();
    let lines: Vec<String> = (0..20_000).map(|number| format!("{number}\n")).collect();
    std::thread::scope(|scope| {
        let lines = &lines;
        let writing = scope.spawn(move || {
            for line in lines {
                input.write_all(line.as_bytes()).unwrap();
            }
            input
        });
        let mut greeted = session.begin_helper(&spec, source).unwrap().greeting().unwrap();
        assert!(greeted.deployed);
        drop(writing.join().unwrap());
        let mut output = String::new();
        greeted.reader.read_to_string(&mut output).unwrap();
        assert!(output == lines.concat());
    });
}

#[test]
fn more_bytes_than_are_kept_wait_for_the_greeting() {
    const BYTES: usize = 3 << 20;
    let host = Host::new();
    let session = host.connect();
    let spec = as_user(echo_helper("much"));
    let (mut input, source) = HelperInput::pair();
    let starting = session.begin_helper(&spec, source).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(&vec![b'a'; BYTES]).unwrap());
        let mut greeted = starting.greeting().unwrap();
        assert!(greeted.deployed);
        let mut output = Vec::new();
        greeted.reader.read_to_end(&mut output).unwrap();
        assert_eq!(output.len(), BYTES);
    });
}

#[test]
fn input_of_a_helper_that_is_never_started_is_a_broken_pipe() {
    let (mut input, source) = HelperInput::pair();
    std::thread::scope(|scope| {
        // More than is kept, so that the second write waits.
        let writing = scope.spawn(move || {
            input.write_all(&[b'a'; 256 << 10])?;
            input.write_all(&[b'a'; 512 << 10])
        });
        drop(source);
        let written = writing.join().unwrap();
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn input_of_a_helper_that_does_not_greet_is_a_broken_pipe() {
    let host = Host::new();
    let session = host.connect();
    let spec = as_user(helper_script("mute", "exit 3"));
    let (mut input, source) = HelperInput::pair();
    let starting = session.begin_helper(&spec, source).unwrap();
    input.write_all(b"early").unwrap();
    assert!(matches!(starting.greeting().map(|_| ()), Err(SshError::HelperFailed { .. })));
    assert_eq!(input.write(b"late").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_helper_that_greets_wrongly_reads_the_end_of_its_input() {
    let host = Host::new();
    let session = host.connect();
    let (read, ended) = (host.path("read"), host.path("ended"));
    let script = format!("echo coast-helper 999; cat >{}; mkdir {}", read.display(), ended.display());
    let spec = as_user(helper_script("wrong", &script));
    let (mut input, source) = HelperInput::pair();
    let starting = session.begin_helper(&spec, source).unwrap();
    input.write_all(b"early").unwrap();
    assert!(matches!(starting.greeting().map(|_| ()), Err(SshError::HelperVersion { .. })));
    while !ended.exists() {
        std::thread::yield_now();
    }
    assert!(input.write(b"late").is_err());
}

#[test]
fn directories_that_will_not_do_are_passed_over() {
    let host = Host::new();
    fs::write(host.path("plain"), "a file in the way").unwrap();
    fs::create_dir(host.path("elsewhere")).unwrap();
    symlink(host.path("elsewhere"), host.path("linked")).unwrap();
    let mut spec = as_user(echo_helper("abc"));
    spec.directories = ["plain", "linked", "/proc/coast", "good/place"].map(str::to_owned).to_vec();
    assert!(host.connect().start_helper(&spec).unwrap().deployed());
    assert!(host.path("good/place/helper-abc").exists());
    assert!(!host.connect().start_helper(&spec).unwrap().deployed());
    assert_eq!(fs::read_dir(host.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn a_symlink_to_a_helper_directory_is_not_started_from() {
    let host = Host::new();
    host.program("helper-abc", &greeting_then("echo planted"));
    symlink(host.path("bin"), host.path("linked")).unwrap();
    let mut spec = as_user(echo_helper("abc"));
    spec.directories = vec!["linked".to_owned()];
    let error = host.start_error(&spec);
    let SshError::Deploy { attempts, .. } = error else { panic!("{error:?}") };
    assert!(matches!(attempts[0].failure, DeployFailure::Unsafe(_)), "{attempts:?}");
}

/// The implementations of `sh` that a host may have.
const SHS: [&str; 3] = ["/bin/bash", "/bin/dash", "/bin/busybox"];

/// A host on which `sudo` works, with a helper in `first` that is not ours to run. `second` is where to go instead.
fn host_with_planted_helper(sh: &str, directory_mode: u32) -> (Host, HelperSpec) {
    let host = Host::new();
    symlink(sh, host.path("bin/sh")).unwrap();
    host.unprivileged();
    host.program("sudo", r#"shift 2; exec "$@""#);
    fs::create_dir(host.path("first")).unwrap();
    let planted = host.path("first/helper-abc");
    fs::write(&planted, format!("#!/bin/sh\n{}\n", greeting_then("echo planted"))).unwrap();
    fs::set_permissions(planted, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(host.path("first"), fs::Permissions::from_mode(directory_mode)).unwrap();
    let mut spec = echo_helper("abc");
    spec.directories = ["first", "second"].map(str::to_owned).to_vec();
    (host, spec)
}

/// Starts the helper twice: uploaded at first, found then, and never the planted one.
fn assert_replaced(host: &Host, spec: &HelperSpec, place: &str, what: &str) {
    for deployed in [true, false] {
        let helper = host.connect().start_helper(spec).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((helper.deployed(), helper.runs_as()), (deployed, &RunsAs::Root), "{what}");
        let (mut reader, writer, _) = helper.split();
        drop(writer);
        let mut output = Vec::new();
        reader.read_to_end(&mut output).unwrap();
        assert_eq!(output, b"", "{what}");
    }
    let placed = fs::symlink_metadata(host.path(place)).unwrap();
    assert!(placed.is_file() && placed.permissions().mode() & 0o7777 == 0o700, "{what}: {placed:?}");
}

#[test]
fn the_planted_helper_would_run_if_all_were_in_order() {
    for sh in SHS {
        let (host, spec) = host_with_planted_helper(sh, 0o755);
        let helper = host.connect().start_helper(&spec).unwrap();
        assert!(!helper.deployed(), "{sh}");
        let mut output = String::new();
        helper.split().0.read_to_string(&mut output).unwrap();
        assert_eq!(output, "planted\n", "{sh}");
    }
}

#[test]
fn a_directory_that_others_can_write_is_passed_over_and_told() {
    for (sh, open) in SHS.into_iter().flat_map(|sh| [0o770, 0o703, 0o1777].map(|open| (sh, open))) {
        let (host, mut spec) = host_with_planted_helper(sh, open);
        let what = format!("{sh} {open:o}");
        assert_replaced(&host, &spec, "second/helper-abc", &what);
        assert_eq!(mode(&host.path("first")), open, "{what}");

        spec.directories.truncate(1);
        let error = host.start_error(&spec);
        let SshError::Deploy { ref attempts, .. } = error else { panic!("{what}: {error:?}") };
        assert!(matches!(attempts[0].failure, DeployFailure::Unsafe(_)), "{what}: {attempts:?}");
        assert!(error.to_string().contains("chmod go-w"), "{what}: {error}");
    }
}

#[test]
fn a_helper_that_others_can_write_is_replaced() {
    for (sh, open) in SHS.into_iter().flat_map(|sh| [0o775, 0o757].map(|open| (sh, open))) {
        let (host, spec) = host_with_planted_helper(sh, 0o700);
        fs::set_permissions(host.path("first/helper-abc"), fs::Permissions::from_mode(open)).unwrap();
        assert_replaced(&host, &spec, "first/helper-abc", &format!("{sh} {open:o}"));
    }
}

#[test]
fn a_symlink_in_the_helpers_place_is_replaced_and_not_followed() {
    for sh in SHS {
        for to_directory in [false, true] {
            let (host, spec) = host_with_planted_helper(sh, 0o700);
            let target = host.path("target");
            if to_directory {
                fs::remove_file(host.path("first/helper-abc")).unwrap();
                fs::create_dir(&target).unwrap();
            } else {
                fs::rename(host.path("first/helper-abc"), &target).unwrap();
            }
            symlink(&target, host.path("first/helper-abc")).unwrap();
            assert_replaced(&host, &spec, "first/helper-abc", &format!("{sh} {to_directory}"));
            if to_directory {
                assert_eq!(fs::read_dir(target).unwrap().count(), 0, "{sh}");
            } else {
                assert!(fs::read_to_string(target).unwrap().contains("planted"), "{sh}");
            }
        }
    }
}

#[test]
fn a_directory_in_the_helpers_place_is_left_and_the_next_one_serves() {
    for sh in SHS {
        let (host, mut spec) = host_with_planted_helper(sh, 0o700);
        fs::remove_file(host.path("first/helper-abc")).unwrap();
        fs::create_dir(host.path("first/helper-abc")).unwrap();
        assert_replaced(&host, &spec, "second/helper-abc", sh);
        assert_eq!(fs::read_dir(host.path("first/helper-abc")).unwrap().count(), 0, "{sh}");
        spec.directories.truncate(1);
        let error = host.start_error(&spec);
        assert!(error.to_string().contains("helper-abc is a directory"), "{sh}: {error}");
    }
}

/// Only root can make a file of somebody else.
#[test]
fn what_belongs_to_another_user_is_not_run() {
    for sh in SHS {
        let (host, spec) = host_with_planted_helper(sh, 0o700);
        if chown(host.path("first/helper-abc"), Some(12_345), None).is_err() {
            return;
        }
        assert_replaced(&host, &spec, "first/helper-abc", sh);

        let (host, spec) = host_with_planted_helper(sh, 0o755);
        chown(host.path("first"), Some(12_345), None).unwrap();
        assert_replaced(&host, &spec, "second/helper-abc", sh);
    }
}

#[test]
fn a_place_without_execution_is_noexec_and_the_next_one_serves() {
    let host = Host::new();
    // Withholds the right to execute, below the first directory only: what a noexec mount does.
    host.program("chmod", r#"case $2 in first/*) exec /bin/chmod 600 "$2";; *) exec /bin/chmod "$@";; esac"#);
    let mut spec = as_user(echo_helper("abc"));
    spec.directories = vec!["first".to_owned()];
    let error = host.start_error(&spec);
    let SshError::Deploy { ref attempts, .. } = error else { panic!("{error:?}") };
    assert_eq!(attempts[0].failure, DeployFailure::NoExec);
    assert!(error.to_string().contains("noexec"), "{error}");
    spec.directories.push("second".to_owned());
    assert!(host.connect().start_helper(&spec).unwrap().deployed());
    assert_eq!(fs::read_dir(host.path("first")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_behind() {
    let host = Host::new();
    host.program(
        "cat",
        r#"/bin/dd bs=10 count=1 2>/dev/null; echo "cat: write error: No space left on device" >&2; exit 1"#,
    );
    let mut spec = as_user(echo_helper("abc"));
    spec.directories = vec!["a".to_owned(), "b".to_owned()];
    let error = host.start_error(&spec);
    let SshError::Deploy { ref attempts, .. } = error else { panic!("{error:?}") };
    let failures: Vec<_> = attempts.iter().map(|attempt| attempt.failure.clone()).collect();
    assert_eq!(failures, [DeployFailure::NoSpace, DeployFailure::NoSpace]);
    assert!(error.to_string().contains("no space left"), "{error}");
    for directory in ["a", "b"] {
        assert_eq!(fs::read_dir(host.path(directory)).unwrap().count(), 0);
    }
}

#[test]
fn a_broken_upload_leaves_nothing_under_the_final_name() {
    let host = Host::new();
    // Ends before all has arrived, as when the connection breaks.
    host.program("cat", "exec /bin/dd bs=10 count=1 2>/dev/null");
    let error = host.start_error(&as_user(echo_helper("abc")));
    let text = error.to_string();
    assert!(matches!(error, SshError::Deploy { .. }) && text.contains("10 of"), "{text}");
    assert!(!host.path(".cache/coast/helper-abc").exists());
}

#[test]
fn with_sudo_it_runs_as_root() {
    let host = Host::new();
    host.unprivileged();
    host.program("sudo", r#"[ "$1 $2" = "-n --" ] || exit 1; shift 2; AS=root exec "$@""#);
    for sudo in [Sudo::Auto, Sudo::Always] {
        let mut spec = helper_script("who", &greeting_then("echo \"as ${AS:-user}\"; exec cat"));
        spec.sudo = sudo;
        let helper = host.connect().start_helper(&spec).unwrap();
        assert_eq!(helper.runs_as(), &RunsAs::Root);
        let (mut reader, mut writer, _) = helper.split();
        writer.write_all(b"input").unwrap();
        drop(writer);
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        assert_eq!(output, "as root\ninput");
    }
}

#[test]
fn when_sudo_refuses_auto_goes_on_as_the_user_and_always_does_not() {
    let refusals = [
        ("echo 'sudo: a password is required' >&2; exit 1", SudoRefusal::WantsPassword, "wants a password"),
        (
            "echo 'u is not in the sudoers file.' >&2; exit 1",
            SudoRefusal::NotAllowed("u is not in the sudoers file.".to_owned()),
            "not allowed",
        ),
    ];
    for (script, refusal, words) in refusals {
        let host = Host::new();
        host.unprivileged();
        host.program("sudo", script);
        let mut spec = helper_script("who", &greeting_then("exec cat"));
        let helper = host.connect().start_helper(&spec).unwrap();
        assert_eq!(helper.runs_as(), &RunsAs::UserAfter(refusal.clone()));
        let (mut reader, mut writer, _) = helper.split();
        writer.write_all(b"the input is whole").unwrap();
        drop(writer);
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        assert_eq!(output, "the input is whole");

        spec.sudo = Sudo::Always;
        let error = host.start_error(&spec);
        assert!(error.to_string().contains(words), "{error}");
        assert!(matches!(error, SshError::Sudo { refusal: ref said, .. } if *said == refusal), "{error:?}");
    }
}

#[test]
fn without_sudo_on_the_host_auto_goes_on_and_always_says_so() {
    let host = Host::new();
    host.unprivileged();
    // A path with what the scripts need and nothing else.
    for program in ["sh", "uname", "ls", "mkdir", "chmod", "rm", "cat", "wc", "mv", "find", "env"] {
        let found = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(program));
        let found = found.into_iter().find(|path| path.exists()).unwrap();
        symlink(found, host.path("bin").join(program)).unwrap();
    }
    let bin = host.path("bin").display().to_string();
    let mut spec = helper_script("who", &greeting_then("true"));
    spec.sudo = Sudo::Always;
    let narrow = Host::with(|options| {
        options.variables.push(("PATH".to_owned(), bin));
    });
    let error = narrow.connect().start_helper(&spec).map(|_| ()).unwrap_err();
    assert!(matches!(error, SshError::Sudo { refusal: SudoRefusal::NotInstalled, .. }), "{error:?}");
    spec.sudo = Sudo::Auto;
    let helper = narrow.connect().start_helper(&spec).unwrap();
    assert_eq!(helper.runs_as(), &RunsAs::UserAfter(SudoRefusal::NotInstalled));
}

#[test]
fn two_clients_may_upload_at_once() {
    let host = Host::new();
    let spec = as_user(echo_helper("abc"));
    let sessions: Vec<Session> = (0..6).map(|_| host.connect()).collect();
    std::thread::scope(|scope| {
        for session in &sessions {
            scope.spawn(|| session.start_helper(&spec).unwrap());
        }
    });
    assert_eq!(fs::read_dir(host.path(".cache/coast")).unwrap().count(), 1);
}
