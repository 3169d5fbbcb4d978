//! `coast remote prune`, and what `coast rm` leaves on a remote, with the real OpenSSH and the real sudo.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coast_tests::{InTerminal, Outcome, Program, Remote, Snapshot, Tree};

/// A machine named `box`, and a project whose instances are bulk only.
struct Place {
    remote: Remote,
}

impl Place {
    fn new() -> Self {
        let place = Self { remote: Remote::start() };
        fs::create_dir(place.remote.path("service")).unwrap();
        Tree::new()
            .file("Coastfile", "[coast]\nname = \"shop\"\n")
            .file("a", "1")
            .build(place.remote.path("shop"));
        let address = format!("{}@127.0.0.1:{}", place.remote.account().name(), place.remote.sshd().port());
        let add = place.coast(&["remote", "add", "box", &address, "--key"]).arg(place.remote.key());
        add.arg("--service-home").arg(place.remote.path("service")).run().assert_code(0);
        place
    }

    fn coast(&self, arguments: &[&str]) -> Program {
        self.remote.sandbox().coast(arguments).directory(&self.remote.path("shop"))
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.coast(arguments).run()
    }

    fn workspaces(&self) -> PathBuf {
        self.remote.path("service/workspaces")
    }

    /// An instance of another machine: no record here names it.
    fn foreign(&self, instance: &str) {
        self.run(&["run", instance]).assert_code(0);
        let record = self.remote.path("home/.local/state/coast/shop").join(format!("{instance}.json"));
        fs::remove_file(record).unwrap();
    }

    /// A file in the home directory of the user on the remote.
    fn in_home(&self, path: &str) -> PathBuf {
        let file = self.remote.account().home().join(path);
        let mut made = self.remote.account().home().to_owned();
        for part in Path::new(path).parent().unwrap() {
            made.push(part);
            if fs::create_dir(&made).is_ok() {
                self.remote.account().own(&made);
            }
        }
        fs::write(&file, "content").unwrap();
        self.remote.account().own(&file);
        file
    }

    fn helpers(&self) -> Vec<String> {
        names(&self.remote.account().home().join(".cache/coast"))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn prune_removes_what_is_recognized_and_known_to_nobody_here_and_nothing_else() {
    let place = Place::new();
    let workspaces = place.workspaces();
    for instance in ["gone", "busy"] {
        place.foreign(instance);
    }
    place.run(&["run", "dev-1"]).assert_code(0);
    let own_helper = place.helpers();
    assert_eq!(own_helper.len(), 1);
    let trash = workspaces.join("shop/.gone.coast/trash/1000.7");
    fs::create_dir_all(&trash).unwrap();
    fs::write(trash.join("made-there"), "content").unwrap();
    fs::create_dir(workspaces.join("empty")).unwrap();
    // Directories that no run has made.
    Tree::new().file("x", "precious").build(workspaces.join("shop/by-hand"));
    Tree::new().file("x", "precious").build(place.remote.path("service/other/.y.coast"));
    let session = "sync_4N1kO0pYh3TqU5c8ZrGm2bXwEvAa7dLs9fJiKtHyQuR";
    let cache = place.in_home(&format!(".mutagen/caches/{session}_beta"));
    let agent = place.in_home(".mutagen/agents/0.17.0/mutagen-agent");
    let old_helper = place.in_home(&format!(".cache/coast/helper-{}", "ab".repeat(32)));
    let precious =
        [".mutagen/daemon/lock", ".cache/coast/helper-mine", ".cache/other"].map(|path| place.in_home(path));
    let lock = File::open(workspaces.join("shop/.busy.coast/lock")).unwrap();
    lock.lock().unwrap();

    let before = Snapshot::of(place.remote.path("service"));
    let listed = place.run(&["remote", "prune", "box", "--dry-run"]);
    listed
        .assert_code(0)
        .assert_says("shop/gone")
        .assert_says("its trash holds 7")
        .assert_says("workspaces/empty");
    listed.assert_says("shop/busy stays: a run works on it").assert_says(".mutagen/agents/0.17.0");
    listed.assert_does_not_say("dev-1").assert_does_not_say("by-hand").assert_does_not_say(&own_helper[0]);
    place.run(&["remote", "prune", "box"]).assert_code(1).assert_says("--yes");
    let mut terminal = InTerminal::start(&place.coast(&["remote", "prune", "box"]));
    terminal.wait_for("Instances of other machines and users may be among it");
    terminal.wait_for("(yes/no)?");
    terminal.type_in("no\n");
    assert_eq!(terminal.wait().0, 1);
    // The terminal makes the first a SIGINT, and the second the end of the input.
    for (typed, code, words) in
        [("\u{3}", 20, "interrupted; nothing was removed"), ("\u{4}", 1, "nothing was removed")]
    {
        let mut terminal = InTerminal::start(&place.coast(&["remote", "prune", "box"]));
        terminal.wait_for("(yes/no)?");
        terminal.type_in(typed);
        let (exited, said) = terminal.wait();
        assert!(exited == code && said.contains(words) && !said.contains("nobody can be asked"), "{said}");
    }
    Snapshot::of(place.remote.path("service")).assert_untouched_since(&before);
    assert!(cache.exists() && agent.exists() && old_helper.exists());

    let mut terminal = InTerminal::start(&place.coast(&["remote", "prune", "box"]));
    terminal.wait_for("(yes/no)?");
    terminal.type_in("yes\n");
    let (code, said) = terminal.wait();
    assert_eq!(code, 0, "{said}");
    assert_eq!(names(&workspaces), ["shop"]);
    assert_eq!(names(&workspaces.join("shop")), [".busy.coast", ".dev-1.coast", "busy", "by-hand", "dev-1"]);
    assert!(place.remote.path("service/other/.y.coast/x").exists());
    assert!(!cache.exists() && !agent.parent().unwrap().exists() && !old_helper.exists());
    assert!(precious.iter().all(|file| file.exists()));
    assert!(place.helpers().contains(&own_helper[0]), "an instance here uses it");
    place.run(&["start", "dev-1"]).assert_code(0);

    drop(lock);
    let pruned = place.run(&["remote", "prune", "box", "--yes", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&pruned.assert_code(0).stdout).unwrap();
    let path = told["workspaces"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("/shop/busy") && told["workspaces"].as_array().unwrap().len() == 1, "{told}");
    assert!(!workspaces.join("shop/busy").exists() && !workspaces.join("shop/.busy.coast").exists());
    place.run(&["remote", "prune", "box", "-y"]).assert_code(0).assert_says("nothing on box");
    // A record that cannot be read may name anything.
    fs::write(place.remote.path("home/.local/state/coast/shop/dev-1.json"), "{").unwrap();
    place.run(&["remote", "prune", "box", "--yes"]).assert_says("dev-1.json");
    assert!(workspaces.join("shop/dev-1").exists());
}

#[test]
fn rm_takes_what_the_last_instance_left_and_leaves_what_others_use() {
    let place = Place::new();
    for instance in ["dev-1", "dev-2"] {
        place.run(&["run", instance]).assert_code(0);
    }
    let session = "sync_4N1kO0pYh3TqU5c8ZrGm2bXwEvAa7dLs9fJiKtHyQuR";
    let trace = place.in_home(&format!(".mutagen/caches/{session}_beta"));
    let other = place.in_home(&format!(".mutagen/caches/{}_beta", session.replace('4', "5")));
    let record = place.remote.path("home/.local/state/coast/shop/dev-1.json");
    let mut content: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    content["traces"] = serde_json::json!([format!(".mutagen/caches/{session}_beta")]);
    fs::write(&record, content.to_string()).unwrap();
    fs::set_permissions(&record, fs::Permissions::from_mode(0o600)).unwrap();

    place.run(&["rm", "-y", "dev-1"]).assert_code(0).assert_does_not_say("may be left");
    assert!(!trace.exists() && other.exists());
    assert_eq!(place.helpers().len(), 1, "dev-2 uses it");
    assert_eq!(names(&place.workspaces().join("shop")), [".dev-2.coast", "dev-2"]);
    place.run(&["rm", "-y", "dev-2"]).assert_code(0).assert_does_not_say("may be left");
    assert_eq!(names(&place.workspaces()), [""; 0], "the project's directory goes with its last instance");
    assert_eq!(place.helpers(), [""; 0], "the helper goes with the last instance");
    assert!(other.exists());
    place.run(&["run", "dev-1"]).assert_code(0);
}
