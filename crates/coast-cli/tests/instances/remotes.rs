//! `coast remote`: what is kept of remotes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use serde_json::{Value, json};

use super::{coast, project, refuses, remember, succeeds};

#[test]
fn remotes_are_kept_for_the_user_alone_and_listed() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    assert!(succeeds(&run(&["remote", "ls"])).contains("coast remote add NAME USER@HOST"));
    fs::write(scratch.path().join("shop/key"), "").unwrap();
    let added = succeeds(&run(&["remote", "add", "box", "dev@box.example:2222", "--key", "key"]));
    assert!(added.contains("coast remote test box"), "{added}");
    let file = scratch.path().join("home/.config/coast/remotes.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let key = fs::canonicalize(scratch.path()).unwrap().join("shop/key");
    let listed: Value = serde_json::from_str(&succeeds(&run(&["remote", "ls", "--json"]))).unwrap();
    let expected = json!({ "remotes": [{
        "name": "box", "user": "dev", "host": "box.example", "port": 2222, "service_home": "/data", "key": key,
    }]});
    assert_eq!(listed, expected);

    let again = refuses(&run(&["remote", "add", "box", "dev@other"]), 3);
    assert!(again.contains("coast remote add --replace box"), "{again}");
    let missing = refuses(&run(&["remote", "add", "lab", "dev@lab", "--key", "no-such-key"]), 3);
    assert!(missing.contains("no-such-key"), "{missing}");
    let address = refuses(&run(&["remote", "add", "lab", "-x", "--json"]), 1);
    assert!(!address.is_empty());
    succeeds(&run(&["remote", "rm", "box"]));
    let gone = refuses(&run(&["remote", "test", "box"]), 3);
    assert!(gone.contains("\"box\""), "{gone}");
}

#[test]
fn a_key_that_could_not_be_installed_is_not_left_here() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    // A server that hangs up.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(drop));
    succeeds(&run(&["remote", "add", "box", &format!("dev@127.0.0.1:{port}")]));
    let keys = scratch.path().join("home/.local/share/coast/keys");
    let failed = run(&["remote", "key", "box", "--create"]);
    assert!(!failed.status.success(), "{failed:?}");
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 0, "{failed:?}");

    // A killed command leaves a key. The next one uses it, and keeps it where it fails, too.
    fs::write(keys.join("box"), "the key of a killed command").unwrap();
    assert!(!run(&["remote", "key", "box", "--create"]).status.success());
    let removed = run(&["remote", "rm", "box"]);
    succeeds(&removed);
    let said = String::from_utf8_lossy(&removed.stderr).into_owned();
    let left = format!("a private key that was made for box is left: {}", keys.join("box").display());
    assert!(said.contains(&left), "{said}");
}

#[test]
fn a_remote_is_given_another_address_where_that_is_asked_for() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    succeeds(&run(&["remote", "add", "box", "dev@one", "--service-home", "/srv"]));
    let said = refuses(&run(&["remote", "add", "box", "dev@two"]), 3);
    assert!(said.contains("coast remote add --replace box"), "{said}");
    remember(scratch.path(), "dev-1", json!({}));
    succeeds(&run(&["remote", "add", "--replace", "box", "dev@two"]));
    let listed = succeeds(&run(&["remote", "ls"]));
    assert!(listed.contains("dev@two") && listed.contains("/srv") && !listed.contains("dev@one"), "{listed}");
    // Its instances are where they are.
    let said = refuses(&run(&["remote", "add", "--replace", "box", "dev@two", "--service-home", "/data"]), 3);
    assert!(said.contains("shop/dev-1"), "{said}");
}

#[test]
fn a_remote_is_tested_by_its_name_where_there_are_several() {
    let scratch = project();
    let run = |arguments: &[&str]| coast(scratch.path(), arguments);
    for name in ["box", "lab"] {
        succeeds(&run(&["remote", "add", name, "dev@127.0.0.1:1"]));
    }
    let said = refuses(&run(&["remote", "test"]), 3);
    assert!(
        said.contains("(box, lab)") && said.contains("coast remote test NAME") && !said.contains("--remote"),
        "{said}"
    );
}

#[test]
fn a_port_is_a_part_of_the_address() {
    let scratch = project();
    for port in ["--port", "-p", "--port=22722"] {
        let said = refuses(&coast(scratch.path(), &["remote", "add", "box", "dev@h", port, "22722"]), 1);
        assert!(said.contains("USER@HOST:PORT"), "{said}");
    }
}
