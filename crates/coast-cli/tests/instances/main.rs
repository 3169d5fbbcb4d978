//! The commands on remotes and instances as far as they need no other machine: what they keep, what they print, and how they
//! refuse.

#![allow(clippy::unwrap_used)]

mod coastfiles;
mod projects;
mod refusals;
mod remotes;
mod status;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use coast_instance::{Following, Record, State};
use serde_json::Value;

/// The program in a project's directory, with a home of its own and no Docker.
fn coast(scratch: &Path, arguments: &[&str]) -> Output {
    command(scratch, arguments).output().unwrap()
}

fn command(scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coast"));
    command.current_dir(scratch.join("shop")).env("HOME", scratch.join("home")).stdin(Stdio::null());
    for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "SSH_AUTH_SOCK"]
    {
        command.env_remove(variable);
    }
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").args(arguments);
    command
}

/// A project called `shop`.
fn project() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("home")).unwrap();
    fs::create_dir_all(scratch.path().join("shop/src")).unwrap();
    scratch
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out
}

#[track_caller]
fn refuses(output: &Output, code: i32) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    format!("{out}{err}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Writes the record of an instance that runs, with these fields in place of its own.
fn remember(scratch: &Path, instance: &str, fields: Value) {
    let root = fs::canonicalize(scratch.join("shop")).unwrap();
    let name = |text: &str| text.parse().unwrap();
    let remote_path = format!("/data/workspaces/shop/{instance}");
    let mut record = Record::begun(name("shop"), name(instance), &root, &root, name("box"), remote_path);
    record.state = State::Running;
    record.following = Following::BulkOnly;
    let mut record = serde_json::to_value(&record).unwrap();
    let Value::Object(fields) = fields else { panic!("{fields}") };
    record.as_object_mut().unwrap().extend(fields);
    let directory = scratch.join("home/.local/state/coast/shop");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("{instance}.json")), record.to_string()).unwrap();
}

fn status_of(run: &impl Fn(&[&str]) -> Output, instance: &str) -> Value {
    serde_json::from_slice(&run(&["status", instance, "--json"]).stdout).unwrap()
}
