//! The mutagen of the other tests does the same as mutagen 0.18.1 did when it was recorded: every message, and the shape of
//! every state. With `COAST_TEST_MUTAGEN` these tests check the recordings.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use coast_tests::{DockerEngine, Remote, ShellImage, Sudo, Tree};
use serde_json::{Map, Value};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/mutagen/recordings");

/// The user and the remote directory of the recordings.
const RECORDED_USER: &str = "dev@";
const RECORDED_DIRECTORY: &str = "/data/workspaces/p/dev-1";

/// A shell container, the remote that it reaches as `remote.example`, and the directories of both sides.
struct Place {
    remote: Remote,
    engine: &'static DockerEngine,
    container: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let remote = Remote::with(&coast_tests::Shell::Bash, Sudo::Never);
        let engine = DockerEngine::shared();
        let image = ShellImage::Whole.build(engine);
        for directory in ["worktree", "data", "data/dev-1"] {
            fs::create_dir(remote.path(directory)).expect("a new sandbox is empty");
        }
        remote.account().own(remote.path("data"));
        remote.account().own(remote.path("data/dev-1"));
        let container = format!("coast-standin-{}-{name}", std::process::id());
        let mount = format!("{}:/workspace", remote.path("worktree").display());
        let run = ["run", "--detach", "--init", "--network=host", "--add-host=remote.example:127.0.0.1"];
        let rest = ["--name", &container, "--volume", &mount, &image, "sleep", "infinity"];
        engine.run([&run[..], &rest[..]].concat());
        let place = Self { remote, engine, container };
        place.let_in();
        place
    }

    /// Copies the key and the ssh configuration into the container.
    fn let_in(&self) {
        let ssh = self.remote.path("ssh");
        fs::create_dir(&ssh).expect("a new sandbox is empty");
        fs::set_permissions(&ssh, Permissions::from_mode(0o700)).expect("the directory is ours");
        fs::copy(self.remote.key(), ssh.join("key")).expect("the key was made");
        let port = self.remote.sshd().port();
        let config = format!(
            "Host remote.example\n  Port {port}\n  IdentityFile ~/.ssh/key\n  StrictHostKeyChecking accept-new\n  \
             LogLevel ERROR\n"
        );
        fs::write(ssh.join("config"), config).expect("the directory is ours");
        let ssh = ssh.to_str().expect("paths of tests are text");
        self.engine.run(["cp", ssh, &format!("{}:/root/.ssh", self.container)]);
    }

    fn exec(&self, words: &[&str]) -> Output {
        self.engine.exec(&self.container, words)
    }

    fn beta(&self) -> PathBuf {
        self.remote.path("data/dev-1")
    }

    fn alpha(&self, below: &str) -> PathBuf {
        self.remote.path("worktree").join(below)
    }

    /// Replaces the user and the directory of the recordings in a word.
    fn ours(&self, word: &str) -> String {
        let user = format!("{}@", self.remote.account().name());
        let directory = self.beta().display().to_string();
        let word = word.replace(RECORDED_DIRECTORY, &directory);
        if word.starts_with(RECORDED_USER) { word.replacen(RECORDED_USER, &user, 1) } else { word }
    }

    #[track_caller]
    fn mutagen(&self, line: &str) -> Output {
        let words: Vec<String> = line.split(' ').map(|word| self.ours(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.exec(&[&["mutagen"], &words[..]].concat())
    }

    #[track_caller]
    fn must(&self, line: &str) {
        let output = self.mutagen(line);
        assert!(output.status.success(), "mutagen {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[track_caller]
    fn list(&self) -> Value {
        let output = self.exec(&["mutagen", "sync", "list", "--template", "{{json .}}"]);
        let text = String::from_utf8(output.stdout).expect("JSON is text");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Lists the sessions again and again until the list is as wanted.
    #[track_caller]
    fn list_when(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let list = self.list();
            if wanted(&list[0]) {
                return list;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "no {what}: {list:#}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A failure here must not hide the failure of the test.
        let _ = self.engine.command(["rm", "--force", &self.container]).output();
    }
}

/// A call of `messages.txt`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    line: String,
    out: Vec<String>,
    err: Vec<String>,
    exit: i32,
}

fn recorded_calls() -> Vec<Call> {
    let text = fs::read_to_string(Path::new(RECORDINGS).join("messages.txt")).expect("it was recorded");
    let mut calls: Vec<Call> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(line) = line.strip_prefix("$ mutagen ") {
            calls.push(Call { line: line.into(), ..Call::default() });
            continue;
        }
        let call = calls.last_mut().expect("a call comes first");
        match line.split_once(": ").expect("each line says what it is") {
            ("out", said) => call.out.push(masked(said)),
            ("err", said) => call.err.push(masked(said)),
            ("exit", code) => call.exit = code.parse().expect("codes are numbers"),
            _ => panic!("neither output nor code: {line}"),
        }
    }
    calls
}

/// Masks the parts of a message that differ between machines: identifiers, users, the login methods of a server, and the
/// paths where an agent was looked for.
fn masked(said: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in said.trim().split(' ') {
        let word = match word.split_once("sync_") {
            Some((before, identifier)) => {
                let rest = identifier.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
                format!("{before}sync_ID{rest}")
            }
            None if word.starts_with("(publickey") => "(publickey).)".into(),
            None => word.to_owned(),
        };
        words.push(word);
    }
    let said = words.join(" ");
    let said = said.split("(search paths:").next().unwrap_or(&said);
    // A status line is as wide as a terminal, so it may cut an identifier. Then the identifier's dots are missing.
    said.trim_end_matches("...").trim_end().to_owned()
}

/// The lines of an output. Of lines that overwrite each other on a terminal, each is a line here.
fn said(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.split(['\r', '\n']).map(masked).filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_message_is_as_recorded() {
    let place = Place::new("messages");
    Tree::new().file("hello", "hello").file("world", "world").build(place.alpha(""));
    // When the recording began, the agent was installed and no daemon was running.
    place.must("sync create --name warm --sync-mode one-way-safe /workspace/ dev@remote.example:/data/workspaces/p/dev-1/");
    place.must("sync terminate warm");
    place.must("daemon stop");
    for call in recorded_calls() {
        if call.line.contains("coast-p-dev-2") {
            fs::remove_dir_all(place.remote.account().home().join(".mutagen"))
                .expect("an agent was installed");
            place.exec(&["rm", "/usr/local/bin/mutagen-agents.tar.gz"]);
        }
        let mut line = call.line.clone();
        let template = line.find("--template").map(|start| line.split_off(start));
        let output = match template {
            Some(_) if line.trim_end() == "sync list nosuch" => {
                place.exec(&["mutagen", "sync", "list", "nosuch", "--template", "{{json .}}"])
            }
            Some(_) => place.exec(&["mutagen", "sync", "list", "--template", "{{json .}}"]),
            None => place.mutagen(&line),
        };
        let (out, err) = (said(&output.stdout), said(&output.stderr));
        let exit = output.status.code().expect("docker ends by itself");
        assert_eq!(Call { line: call.line.clone(), out, err, exit }, call);
    }
}

/// Fields whose values differ between runs. The fields and the types of their values do not differ.
const MASKED: [&str; 8] = [
    "identifier",
    "creationTime",
    "user",
    "digest",
    "receivedSize",
    "expectedSize",
    "totalReceivedSize",
    "path",
];

/// The shape of a value: identifiers, times and counts are masked, everything else is kept.
fn shape(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(shape).collect(),
        Value::Object(fields) => {
            let shaped = fields.iter().map(|(name, value)| {
                // Paths of problems and conflicts are the same in every run, and paths of the two sides are not.
                let own = name == "path" && !value.as_str().is_some_and(|path| path.starts_with('/'));
                let value = if MASKED.contains(&name.as_str()) && !own {
                    Value::String(format!("some {name}"))
                } else {
                    shape(value)
                };
                (name.clone(), value)
            });
            shaped.collect::<Map<_, _>>().into()
        }
        Value::Number(_) => Value::String("some number".into()),
        other => other.clone(),
    }
}

#[track_caller]
fn assert_shape(recording: &str, list: &Value) {
    let text = fs::read_to_string(Path::new(RECORDINGS).join(recording)).expect("it was recorded");
    let recorded: Value = serde_json::from_str(&text).expect("recordings are JSON");
    let (ours, recorded) = (shape(list), shape(&recorded));
    assert_eq!(ours, recorded, "{recording}: left is {list:#}");
}

const CREATE: &str = "sync create --name coast-p-dev-1 --sync-mode one-way-safe --ignore-vcs --ignore node_modules \
                      /workspace/ dev@remote.example:/data/workspaces/p/dev-1/";
const FLUSH: &str = "sync flush coast-p-dev-1";

#[test]
fn every_state_has_the_recorded_shape() {
    let place = Place::new("states");
    assert_shape("none.json", &place.list());
    let mut tree = Tree::new();
    for number in 0..50 {
        tree = tree.file(format!("src/{number}"), format!("content {number}"));
    }
    tree.sparse("video", 256 << 20, vec![(0, b"moving".to_vec())]).build(place.alpha(""));

    place.must(CREATE);
    let mut created = place.list_when("content under way", |session| {
        session["status"] == "staging-beta" && session["beta"]["stagingProgress"].is_object()
    });
    assert_staging_shape(created[0]["beta"]["stagingProgress"].take());
    let mut recorded = recording("just-created.json");
    recorded[0]["beta"]["stagingProgress"].take();
    // Whether beta's root exists already depends on the earlier steps.
    assert_eq!(shape(&created), shape(&recorded), "{created:#}");

    place.must(FLUSH);
    assert_shape("watching.json", &place.list_when("rest", |session| session["status"] == "watching"));

    // A conflict, because both sides made the file, and a directory that the user on the remote may not enter.
    let beta = place.beta();
    Tree::new().dir("perm").mode(0).file("conf.txt", "beta\n").build(&beta);
    place.list_when("look at beta", |session| session["beta"]["scanProblems"].is_array());
    Tree::new().file("conf.txt", "alpha\n").build(place.alpha(""));
    place.must(FLUSH);
    let conflicted = |session: &Value| session["status"] == "watching" && session["conflicts"].is_array();
    assert_shape("conflict.json", &place.list_when("conflict", conflicted));

    Tree::new().dir("rooted").mode(0o700).build(&beta);
    Tree::new().file("rooted/new", "x").build(place.alpha(""));
    place.must(FLUSH);
    let two_problems = |session: &Value| {
        let problems = session["beta"]["scanProblems"].as_array().map(Vec::len);
        session["status"] == "watching" && problems == Some(2)
    };
    assert_shape("problems.json", &place.list_when("second problem", two_problems));

    for name in fs::read_dir(place.alpha("")).expect("it is there").flatten() {
        let path = name.path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it is ours");
    }
    let halted = |session: &Value| session["status"] == "halted-on-root-emptied";
    assert_shape("emptied.json", &place.list_when("halt", halted));

    place.must("sync pause coast-p-dev-1");
    assert_shape("paused.json", &place.list());
}

fn recording(name: &str) -> Value {
    let text = fs::read_to_string(Path::new(RECORDINGS).join(name)).expect("it was recorded");
    serde_json::from_str(&text).expect("recordings are JSON")
}

/// Checks that every field was recorded. A field that counts may be missing, because it is left out at zero.
#[track_caller]
fn assert_staging_shape(progress: Value) {
    let recorded = recording("just-created.json")[0]["beta"]["stagingProgress"].take();
    for (name, value) in progress.as_object().expect("it is an object") {
        let same_kind = match &recorded[name] {
            Value::String(_) => value.is_string(),
            Value::Number(_) => value.is_u64(),
            _ => false,
        };
        assert!(same_kind, "{name} is not as recorded: {progress:#}");
    }
}
