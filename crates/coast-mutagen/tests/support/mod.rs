//! A stand-in for a Docker engine: enough of its API on a Unix socket to hold one container and to run programs that a
//! test makes up. The real one is met in the end-to-end tests.
#![allow(dead_code, clippy::unwrap_used)]

use coast_mutagen::{Docker, DockerEnvironment};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// The behaviour of a program in the container.
pub(crate) enum Run {
    /// It ends with an exit code, standard output and standard error.
    Ends(i64, Vec<u8>, Vec<u8>),
    /// It is not in the image.
    Missing,
    /// It does not end before the test does.
    Hangs,
}

pub(crate) fn ends(code: i64, stdout: &str, stderr: &str) -> Run {
    Run::Ends(code, stdout.into(), stderr.into())
}

type Programs = Box<dyn Fn(&[String]) -> Run + Send>;

#[derive(Default)]
struct State {
    /// Image names and their ids.
    images: BTreeMap<String, String>,
    container: Option<Value>,
    /// The number of looks at which the container is not visible yet: a killed command had asked for it.
    looks_until_shown: usize,
    /// The number of refused removals until the container is gone: a killed command had asked for its removal.
    tries_until_gone: Option<usize>,
    /// The container can neither be removed nor unpaused.
    stuck: bool,
    files: BTreeMap<String, Vec<u8>>,
    uploads: Vec<Vec<u8>>,
    /// Every program that was run, with its exit code once it has ended.
    execs: Vec<(Vec<String>, Option<i64>)>,
    /// The number of programs that the test has asked about.
    told: usize,
    /// Every request but those that only look, as `METHOD path`.
    requests: Vec<String>,
    programs: Option<Programs>,
    ended: bool,
}

/// The engine. It ends when it is dropped.
pub(crate) struct Engine {
    directory: tempfile::TempDir,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Engine {
    pub(crate) fn start() -> Engine {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                if state.0.lock().unwrap().ended {
                    return;
                }
                // A client that goes away in the middle is not this server's concern.
                thread::spawn(move || drop(answer(stream.unwrap(), &state)));
            }
        });
        Engine { directory, state }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.directory.path().display())
    }

    pub(crate) fn connect(&self) -> Docker {
        Docker::connect(&DockerEnvironment::isolated(self.address())).unwrap()
    }

    pub(crate) fn image(self, name: &str, id: &str) -> Engine {
        self.lock().images.insert(name.to_owned(), id.to_owned());
        self
    }

    pub(crate) fn programs(&self, programs: impl Fn(&[String]) -> Run + Send + 'static) {
        self.lock().programs = Some(Box::new(programs));
    }

    /// Changes what the engine says about its container.
    pub(crate) fn change(&self, pointer: &str, value: Value) {
        *self.lock().container.as_mut().unwrap().pointer_mut(pointer).unwrap() = value;
    }

    /// The container is there, and shown only when it was looked for so many times.
    pub(crate) fn shown_after(&self, looks: usize) {
        self.lock().looks_until_shown = looks;
    }

    /// The container is being removed, and gone when removing it was tried so many times.
    pub(crate) fn gone_after(&self, tries: usize) {
        self.lock().tries_until_gone = Some(tries);
    }

    /// The container can neither be removed nor unpaused from now on.
    pub(crate) fn stick(&self) {
        self.lock().stuck = true;
    }

    pub(crate) fn container(&self) -> Option<Value> {
        self.lock().container.clone()
    }

    pub(crate) fn file(&self, path: &str, content: &[u8]) {
        self.lock().files.insert(path.to_owned(), content.to_owned());
    }

    /// A program that some other command started in the container, and that still runs.
    pub(crate) fn abandoned(&self, arguments: &[&str]) {
        let mut state = self.lock();
        let id = state.execs.len().to_string();
        state.execs.push((words(arguments), None));
        state.container.as_mut().unwrap()["ExecIDs"] = json!([id]);
    }

    /// The requests that changed something, in order, and no more: those told once are forgotten.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().requests)
    }

    /// The programs that were run since the last call.
    pub(crate) fn runs(&self) -> Vec<String> {
        let mut state = self.lock();
        let runs = state.execs[state.told..].iter().map(|(arguments, _)| arguments.join(" ")).collect();
        state.told = state.execs.len();
        runs
    }

    /// The entries of everything uploaded: path, owner, mode, content.
    pub(crate) fn uploaded(&self) -> Vec<(String, u64, u32, String)> {
        let mut entries = Vec::new();
        for upload in std::mem::take(&mut self.lock().uploads) {
            for entry in tar::Archive::new(upload.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                let path = entry.path().unwrap().display().to_string();
                entries.push((path, entry.header().uid().unwrap(), entry.header().mode().unwrap(), content));
            }
        }
        entries
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.lock().ended = true;
        self.state.1.notify_all();
        // Wakes the listener.
        drop(UnixStream::connect(self.directory.path().join("docker.sock")));
    }
}

fn words(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

fn answer(mut stream: UnixStream, state: &(Mutex<State>, Condvar)) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut head = line.split(' ');
    let (method, target) =
        (head.next().unwrap_or_default().to_owned(), head.next().unwrap_or_default().to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if let ("POST", ["exec", id, "start"]) = (method.as_str(), parts.as_slice()) {
        return run(stream, state, id.parse().unwrap());
    }
    let (status, reply) = reply(&mut state.0.lock().unwrap(), &method, &parts, query, &body);
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        reply.len()
    )?;
    stream.write_all(&reply)
}

fn reply(state: &mut State, method: &str, parts: &[&str], query: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let said = |status: u16, message: &str| (status, json!({ "message": message }).to_string().into_bytes());
    let json = |status: u16, value: Value| (status, value.to_string().into_bytes());
    if method != "GET" && parts.last() != Some(&"exec") {
        state.requests.push(format!("{method} /{}", parts.join("/")));
    }
    match (method, parts) {
        ("GET", ["version"]) => json(200, json!({ "Version": "27.0", "ApiVersion": "1.41" })),
        ("GET", ["images", name @ .., "json"]) => match state.images.get(&name.join("/")) {
            Some(id) => json(200, json!({ "Id": id })),
            None => said(404, "no such image"),
        },
        ("POST", ["containers", "create"]) if state.container.is_some() => said(409, "The name is in use"),
        ("POST", ["containers", "create"]) => {
            let body: Value = serde_json::from_slice(body).unwrap();
            let image = body["Image"].as_str();
            let mount = &body["HostConfig"]["Mounts"][0];
            state.container = Some(json!({
                "Id": "c1",
                "Name": format!("/{}", query.split('&').find_map(|pair| pair.strip_prefix("name=")).unwrap()),
                "Image": image.map(|image| &state.images[image]),
                "Config": body,
                "HostConfig": body["HostConfig"],
                "Mounts": [{ "Type": "bind", "Source": mount["Source"], "Destination": mount["Target"] }],
                "State": { "Running": false, "Paused": false, "Restarting": false, "ExitCode": 0 },
                "ExecIDs": null,
            }));
            json(201, json!({ "Id": "c1", "Warnings": [] }))
        }
        ("GET", ["containers", _, "archive"]) => {
            let path = query.strip_prefix("path=").unwrap().replace("%2F", "/");
            let Some(content) = state.files.get(&path) else { return said(404, "no such file") };
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_uid(7);
            header.set_gid(7);
            header.set_mode(0o640);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, "file", content.as_slice()).unwrap();
            (200, archive.into_inner().unwrap())
        }
        ("GET", ["exec", id, "json"]) => {
            let (arguments, code) = &state.execs[id.parse::<usize>().unwrap()];
            let process = json!({ "entrypoint": arguments[0], "arguments": arguments[1..] });
            json(200, json!({ "Running": code.is_none(), "ExitCode": code, "ProcessConfig": process }))
        }
        (_, ["containers", name, rest @ ..]) => {
            let has_name = |found: &Value| found["Id"] == **name || found["Name"] == format!("/{name}");
            let Some(found) = state.container.as_mut().filter(|found| has_name(found)) else {
                return said(404, "No such container");
            };
            match (method, rest) {
                ("GET", ["json"]) if state.looks_until_shown > 0 => {
                    state.looks_until_shown -= 1;
                    said(404, "No such container")
                }
                ("GET", ["json"]) => json(200, found.clone()),
                ("DELETE", []) if state.stuck => said(500, "device or resource busy"),
                ("DELETE", []) if state.tries_until_gone.is_some_and(|tries| tries > 0) => {
                    state.tries_until_gone = state.tries_until_gone.map(|tries| tries - 1);
                    said(409, "removal of container c1 is already in progress")
                }
                ("DELETE", []) if state.tries_until_gone.take().is_some() => {
                    state.container = None;
                    said(404, "No such container")
                }
                ("DELETE", []) => {
                    state.container = None;
                    (204, Vec::new())
                }
                ("POST", ["unpause"]) if state.stuck => said(500, "cannot thaw"),
                ("POST", ["unpause"]) => {
                    found["State"]["Paused"] = json!(false);
                    (204, Vec::new())
                }
                ("POST", ["start" | "restart"]) => {
                    found["State"]["Running"] = json!(true);
                    found["ExecIDs"] = json!(null);
                    (204, Vec::new())
                }
                ("POST", ["stop"]) => {
                    found["State"]["Running"] = json!(false);
                    (204, Vec::new())
                }
                ("POST", ["update"]) => {
                    let body: Value = serde_json::from_slice(body).unwrap();
                    found["HostConfig"]["RestartPolicy"] = body["RestartPolicy"].clone();
                    json(200, json!({ "Warnings": null }))
                }
                ("GET", ["logs"]) => {
                    let text = "Error: no space left on device\n";
                    let mut frame = vec![2, 0, 0, 0];
                    frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    frame.extend(text.bytes());
                    (200, frame)
                }
                ("PUT", ["archive"]) => {
                    state.uploads.push(body.to_vec());
                    (200, Vec::new())
                }
                ("POST", ["exec"]) if found["State"]["Paused"] == true => said(409, "Container c1 is paused"),
                ("POST", ["exec"]) if found["State"]["Restarting"] == true => {
                    said(409, "Container c1 is restarting, wait until the container is running")
                }
                ("POST", ["exec"]) if found["State"]["Running"] == false => {
                    said(409, "Container c1 is not running")
                }
                ("POST", ["exec"]) => {
                    let body: Value = serde_json::from_slice(body).unwrap();
                    let arguments = serde_json::from_value(body["Cmd"].clone()).unwrap();
                    assert_eq!(
                        body["Env"],
                        json!(["MUTAGEN_DISABLE_AUTOSTART=1"]),
                        "no daemon may be started"
                    );
                    state.execs.push((arguments, None));
                    json(201, json!({ "Id": (state.execs.len() - 1).to_string() }))
                }
                _ => said(404, "page not found"),
            }
        }
        _ => said(404, "page not found"),
    }
}

/// Runs a program: its output in frames of `[stream, 0, 0, 0, length]`, in more than one piece each.
fn run(mut stream: UnixStream, state: &(Mutex<State>, Condvar), id: usize) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")?;
    let mut guard = state.0.lock().unwrap();
    let arguments = guard.execs[id].0.clone();
    let outcome = guard.programs.as_ref().map_or_else(|| ends(0, "", ""), |programs| programs(&arguments));
    let (code, stdout, stderr) = match outcome {
        Run::Ends(code, stdout, stderr) => (code, stdout, stderr),
        Run::Missing => {
            let text = format!(
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"{}\": executable \
                 file not found in $PATH: unknown\r\n",
                arguments[0]
            );
            (127, text.into_bytes(), Vec::new())
        }
        Run::Hangs => {
            let ended = state.1.wait_while(guard, |state| !state.ended);
            drop(ended);
            return Ok(());
        }
    };
    guard.execs[id].1 = Some(code);
    drop(guard);
    for (kind, bytes) in [(2, stderr), (1, stdout)] {
        for piece in bytes.chunks(bytes.len().div_ceil(3).max(1)) {
            let length = u32::try_from(piece.len()).unwrap();
            stream.write_all(&[&[kind, 0, 0, 0], length.to_be_bytes().as_slice(), piece].concat())?;
        }
    }
    Ok(())
}
