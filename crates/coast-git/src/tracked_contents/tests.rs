//! What is believed of checkouts that real git made, against the files themselves.

use std::collections::BTreeSet;
use std::fs::{self, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use coast_tree::{DirHandle, FileIdentity, Kind};
use fastrand::Rng;
use tempfile::TempDir;

use super::*;

/// The number of random histories.
const HISTORIES: u64 = 1000;

/// A user with a repository, a main checkout and linked worktrees.
struct User {
    scratch: TempDir,
    checkouts: Vec<PathBuf>,
}

/// What looking at a checkout has told.
#[derive(Debug, Default, Clone, Copy)]
struct Looked {
    files: u64,
    believed: u64,
    named: u64,
}

impl User {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let user = Self { checkouts: vec![scratch.path().join("main")], scratch };
        fs::create_dir(user.scratch.path().join("home")).unwrap();
        fs::create_dir(&user.checkouts[0]).unwrap();
        user.git(0, &["init", "--quiet", "--initial-branch=one"]);
        for setting in [
            ["gc.auto", "0"],
            ["core.fsync", "none"],
            ["user.name", "a"],
            ["user.email", "a@b"],
            // A filter that keeps sizes, under the only name of which that is not expected.
            ["filter.lfs.clean", "tr a-z n-za-m"],
            ["filter.lfs.smudge", "tr a-z n-za-m"],
            ["protocol.file.allow", "always"],
        ] {
            user.git(0, &["config", "--global", setting[0], setting[1]]);
        }
        user
    }

    fn homes(&self) -> Homes {
        let home = self.scratch.path().join("home");
        Homes { config: Some(home.join(".config")), home: Some(home) }
    }

    /// Runs git in a checkout. Some commands of a random history are refused by git.
    fn try_git(&self, checkout: usize, arguments: &[&str]) -> Output {
        Command::new("git")
            .args(arguments)
            .current_dir(&self.checkouts[checkout])
            .env("HOME", self.scratch.path().join("home"))
            .env_remove("XDG_CONFIG_HOME")
            .env("GIT_EDITOR", "true")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn git(&self, checkout: usize, arguments: &[&str]) -> String {
        let output = self.try_git(checkout, arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn add_worktree(&mut self, name: &str, commit: &str) -> usize {
        let path = self.scratch.path().join(name);
        self.git(0, &["worktree", "add", "--quiet", "--force", "--detach", path.to_str().unwrap(), commit]);
        self.checkouts.push(path);
        self.checkouts.len() - 1
    }

    /// Writes a file, and the directories above it.
    fn write(&self, checkout: usize, path: &str, content: &str) {
        let path = self.checkouts[checkout].join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Has git write the index of a checkout so long after all files that it can be believed.
    fn write_index(&self, checkout: usize) {
        let written = Instant::now();
        while written.elapsed() < Duration::from_millis(25) {
            std::thread::yield_now();
        }
        self.try_git(checkout, &["update-index", "-q", "--refresh"]);
        self.try_git(checkout, &["update-index", "--force-write-index"]);
    }

    /// Has git take all files for older than the index, as it does a second later.
    fn age_files(&self, checkout: usize) {
        let index = git_dir_at(&self.checkouts[checkout]).unwrap().unwrap().join("index");
        let file = fs::File::options().write(true).open(index).unwrap();
        let later = std::time::SystemTime::now() + Duration::from_secs(10);
        file.set_times(FileTimes::new().set_modified(later)).unwrap();
    }

    fn contents(&self, checkout: usize) -> TrackedContents {
        let store = self.scratch.path().join("store");
        TrackedContents::with_homes(&self.checkouts[checkout], &store, self.homes(), 0).unwrap()
    }

    /// Looks at all files of a checkout as a run does, and reads those whose content is not known.
    fn look(&self, checkout: usize) -> Looked {
        let contents = self.contents(checkout);
        let root = Root::open(&self.checkouts[checkout]).unwrap();
        let mut looked = Looked::default();
        look_below(&contents, &root.handle(), &RelPath::root(), &mut looked);
        contents.save();
        looked
    }
}

fn look_below(contents: &TrackedContents, dir: &DirHandle, path: &RelPath, looked: &mut Looked) {
    let listed = dir.list().unwrap();
    contents.enter(path, &listed);
    for entry in listed {
        let Some(stat) = dir.stat(&entry.name).unwrap() else { continue };
        let below = path.join(&entry.name).unwrap();
        if stat.kind == Kind::Directory && entry.name.as_bytes() != b".git" {
            look_below(contents, &dir.child(&entry.name).unwrap(), &below, looked);
        }
        if stat.kind != Kind::File {
            continue;
        }
        looked.files += 1;
        let known = contents.look_up(path, &entry.name, &stat);
        let (file, opened) = dir.open_file(&entry.name).unwrap();
        assert_eq!(FileIdentity::from(&opened), FileIdentity::from(&stat));
        let content = read_all(file).unwrap();
        match known {
            Known::Content(hash) => {
                looked.believed += 1;
                assert_eq!(hash, ContentHash::of(&content), "{}", String::from_utf8_lossy(below.as_bytes()));
            }
            Known::Named(name) => {
                looked.named += 1;
                let mut proof = contents.proof(name, stat.size);
                proof.update(&content);
                proof.finish(ContentHash::of(&content));
            }
            Known::Nothing => {}
        }
    }
}

#[test]
fn files_of_a_new_worktree_are_known_by_what_was_read_in_another() {
    let mut user = User::new();
    for number in 0..20 {
        user.write(0, &format!("d{}/f{number}", number % 3), &format!("content {number}"));
    }
    user.git(0, &["add", "."]);
    user.git(0, &["commit", "--quiet", "-m", "first"]);
    let first = user.add_worktree("first", "one");
    user.write_index(first);
    let looked = user.look(first);
    assert_eq!((looked.files, looked.named, looked.believed), (21, 20, 0), "all but the file .git");
    let second = user.add_worktree("second", "one");
    user.write_index(second);
    assert_eq!(user.look(second).believed, 20);
}

/// Each of these makes a file untrustworthy that would be believed without it.
#[test]
fn what_git_does_not_vouch_for_is_read() {
    type Change = fn(&User, usize);
    let changes: [(&str, Change); 17] = [
        ("edit of the same size and time", |user, checkout| {
            let path = user.checkouts[checkout].join("f");
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, "tnetnoc").unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_times(FileTimes::new().set_modified(modified)).unwrap();
        }),
        ("assume-unchanged", |user, checkout| {
            user.git(checkout, &["update-index", "--assume-unchanged", "f"]);
        }),
        ("skip-worktree", |user, checkout| {
            user.git(checkout, &["update-index", "--skip-worktree", "f"]);
        }),
        ("split index", |user, checkout| {
            user.git(checkout, &["update-index", "--split-index"]);
        }),
        ("filter in the worktree", |user, checkout| user.write(checkout, ".gitattributes", "f filter=lfs\n")),
        ("new attributes", |user, checkout| user.write(checkout, ".gitattributes", "f -filter\n")),
        ("filter in info", |user, _| {
            let info = user.checkouts[0].join(".git/info");
            fs::create_dir_all(&info).unwrap();
            fs::write(info.join("attributes"), "f ident\n").unwrap();
        }),
        ("filter of the user", |user, _| {
            let directory = user.scratch.path().join("home/.config/git");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("attributes"), "* working-tree-encoding=latin1\n").unwrap();
        }),
        ("filter in a file that is configured", |user, _| {
            fs::write(user.scratch.path().join("home/mine"), "* filter=lfs\n").unwrap();
            user.git(0, &["config", "--global", "core.attributesFile", "~/mine"]);
        }),
        ("configuration that cannot be understood", |user, _| {
            fs::write(user.scratch.path().join("home/.gitconfig"), "[core").unwrap();
        }),
        ("another filter", |user, _| {
            user.git(0, &["config", "--global", "filter.other.smudge", "cat"]);
        }),
        ("attributes of a commit", |user, _| {
            user.git(0, &["config", "attr.tree", "one"]);
        }),
        ("checkout under way", |user, checkout| {
            let git_dir = git_dir_at(&user.checkouts[checkout]).unwrap().unwrap();
            fs::write(git_dir.join("index.lock"), "").unwrap();
        }),
        ("replaced object", |user, _| {
            let other = user.git(0, &["rev-parse", "one:other"]);
            let content = user.git(0, &["rev-parse", "one:f"]);
            user.git(0, &["replace", &content, &other]);
        }),
        ("replaced object, packed", |user, _| {
            let other = user.git(0, &["rev-parse", "one:other"]);
            let content = user.git(0, &["rev-parse", "one:f"]);
            user.git(0, &["replace", &content, &other]);
            user.git(0, &["pack-refs", "--all"]);
        }),
        ("damaged index", |user, checkout| {
            let index = git_dir_at(&user.checkouts[checkout]).unwrap().unwrap().join("index");
            let mut content = fs::read(&index).unwrap();
            content[90] ^= 1;
            fs::write(&index, content).unwrap();
        }),
        ("another commit", |user, checkout| {
            user.git(checkout, &["commit", "--quiet", "--allow-empty", "-m", "next"]);
        }),
    ];
    for (what, change) in changes {
        let mut user = User::new();
        user.write(0, "f", "content");
        user.write(0, "other", "another");
        user.git(0, &["add", "."]);
        user.git(0, &["commit", "--quiet", "-m", "first"]);
        let first = user.add_worktree("first", "one");
        user.write_index(first);
        user.look(first);
        assert_eq!(user.look(first).believed, 2);
        change(&user, first);
        let contents = user.contents(first);
        let root = Root::open(&user.checkouts[first]).unwrap();
        contents.enter(&RelPath::root(), &root.handle().list().unwrap());
        let name = Name::new(b"f").unwrap();
        let stat = root.handle().stat(&name).unwrap().unwrap();
        let known = contents.look_up(&RelPath::root(), &name, &stat);
        assert!(!matches!(known, Known::Content(_)), "{what}");
    }
}

#[test]
fn a_file_that_keeps_the_conversion_of_an_earlier_commit_is_read() {
    let mut user = User::new();
    user.write(0, ".gitattributes", "f filter=lfs\n");
    user.write(0, "f", "content");
    user.git(0, &["add", "."]);
    user.git(0, &["commit", "--quiet", "-m", "with a filter"]);
    user.git(0, &["rm", "--quiet", ".gitattributes"]);
    user.git(0, &["commit", "--quiet", "-m", "without"]);

    let fresh = user.add_worktree("fresh", "one");
    user.write_index(fresh);
    user.look(fresh);
    assert_eq!(user.look(fresh).believed, 1);

    let older = user.add_worktree("older", "one~1");
    user.age_files(older);
    user.git(older, &["checkout", "--quiet", "--detach", "one"]);
    user.age_files(older);
    user.write_index(older);
    user.age_files(older);
    let content = |checkout: usize| fs::read_to_string(user.checkouts[checkout].join("f")).unwrap();
    assert_eq!((content(fresh), content(older)), ("pbagrag".into(), "content".into()));
    assert_eq!(user.git(older, &["status", "--porcelain"]), "");
    assert_eq!(user.look(older).believed, 0);
}

#[test]
fn repositories_with_other_names_of_objects_are_left_alone() {
    let mut user = User::new();
    fs::remove_dir_all(user.checkouts[0].join(".git")).unwrap();
    user.git(0, &["init", "--quiet", "--initial-branch=one", "--object-format=sha256"]);
    user.write(0, "f", "content");
    user.git(0, &["add", "."]);
    user.git(0, &["commit", "--quiet", "-m", "first"]);
    let first = user.add_worktree("first", "one");
    user.write_index(first);
    let looked = user.look(first);
    assert_eq!((looked.named, looked.believed), (0, 0));
}

/// One random history: edits, commits, conversions and settings, with a look at a random checkout after each step.
struct History {
    user: User,
    random: Rng,
    looked: Looked,
    steps: Vec<String>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut history = Self {
            user: User::new(),
            random: Rng::with_seed(seed),
            looked: Looked::default(),
            steps: Vec::new(),
        };
        for _ in 0..4 {
            let (path, content) = (history.path(), history.content());
            history.user.write(0, path, &content);
        }
        if history.random.bool() {
            let (path, content) = (history.attributes_path(), history.attributes());
            history.user.write(0, path, content);
        }
        history.user.git(0, &["add", "."]);
        history.user.git(0, &["commit", "--quiet", "-m", "first"]);
        history
    }

    fn path(&mut self) -> &'static str {
        self.random.choice(["a", "b", "x.rot", "d/a", "d/x.rot", "d/e/a", "d/e/b", "s"]).unwrap()
    }

    fn attributes_path(&mut self) -> &'static str {
        self.random.choice([".gitattributes", "d/.gitattributes", "d/e/.gitattributes"]).unwrap()
    }

    /// Contents of few sizes, which filters and `ident` change without changing the size.
    fn content(&mut self) -> String {
        let letter = self.random.choice(["a", "b", "n", "o"]).unwrap();
        match self.random.u8(..4) {
            0 => format!("$Id: {} $\n", letter.repeat(40)),
            1 => format!("{letter}\r\n{letter}\r\n"),
            _ => letter.repeat(20),
        }
    }

    fn attributes(&mut self) -> &'static str {
        self.random
            .choice([
                "*.rot filter=lfs\n",
                "a filter=lfs\n",
                "* ident\n",
                "e/** ident\n",
                "* text=auto eol=crlf\n",
                "* text\n",
                "b working-tree-encoding=latin1\n",
                "[attr]turned filter=lfs\na turned\n",
                "* -filter -ident -text\n",
                "",
            ])
            .unwrap()
    }

    /// An edit that keeps the size, and perhaps the times that can be set.
    fn edit_keeping_size(&mut self, path: &Path) {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        if !metadata.is_file() {
            return;
        }
        let letter = self.random.choice(["a", "b", "n", "o"]).unwrap();
        let size = usize::try_from(metadata.len()).unwrap();
        fs::write(path, letter.repeat(size)).unwrap();
        if self.random.bool() {
            let file = fs::File::options().write(true).open(path).unwrap();
            let times = FileTimes::new().set_modified(metadata.modified().unwrap());
            file.set_times(times).unwrap();
        }
    }

    fn step(&mut self) {
        let checkout = self.random.usize(..self.user.checkouts.len());
        let path = self.path();
        let full = self.user.checkouts[checkout].join(path);
        let kind = self.random.u8(..30);
        self.steps.push(format!("{kind} {checkout} {path}"));
        let git = |arguments: &[&str]| {
            self.user.try_git(checkout, arguments);
        };
        match kind {
            0..=3 => {
                let content = self.content();
                if !full.is_dir() {
                    fs::create_dir_all(full.parent().unwrap()).ok();
                    fs::write(full, content).ok();
                }
            }
            4..=7 => self.edit_keeping_size(&full),
            8 | 9 => {
                git(&["add", "--all"]);
                git(&["commit", "--quiet", "-m", "next"]);
            }
            10 => git(&["commit", "--quiet", "--all", "-m", "tracked"]),
            11 => git(&["checkout", "--quiet", "HEAD~1"]),
            12 => git(&["checkout", "--quiet", "--force", "one", "--detach"]),
            13 => git(&["reset", "--quiet", "--mixed", "HEAD~1"]),
            14 => git(&["reset", "--quiet", "--hard"]),
            15 => git(&["stash", "--quiet"]),
            16 => git(&["mv", "-f", path, "moved"]),
            17 => git(&["update-index", "--assume-unchanged", path]),
            18 => git(&["update-index", "--no-assume-unchanged", path]),
            19 => git(&["update-index", "--skip-worktree", path]),
            20 => git(&["status"]),
            21 => {
                let (path, content) = (self.attributes_path(), self.attributes());
                let full = self.user.checkouts[checkout].join(path);
                fs::create_dir_all(full.parent().unwrap()).ok();
                fs::write(full, content).ok();
            }
            22 => {
                let path = self.attributes_path();
                fs::remove_file(self.user.checkouts[checkout].join(path)).ok();
            }
            23 => self.settings(checkout),
            24 => {
                fs::remove_file(&full).ok();
                symlink("a", full).ok();
            }
            25 => {
                fs::set_permissions(full, fs::Permissions::from_mode(0o755)).ok();
            }
            26 => {
                fs::rename(full, self.user.checkouts[checkout].join("a")).ok();
            }
            27 => {
                git(&["read-tree", "HEAD"]);
                git(&["update-index", "-q", "--refresh"]);
            }
            _ => {
                let number = self.user.checkouts.len();
                let commit = self.random.choice(["one", "HEAD", "one~1"]).unwrap();
                let commit = if self.user.try_git(0, &["rev-parse", commit]).status.success() {
                    commit
                } else {
                    "one"
                };
                self.user.add_worktree(&format!("w{number}"), commit);
            }
        }
        if self.random.u8(..4) == 0 {
            self.user.write_index(checkout);
        }
    }

    fn settings(&mut self, checkout: usize) {
        let all: [&[&str]; 10] = [
            &["config", "core.autocrlf", "true"],
            &["config", "core.autocrlf", "input"],
            &["config", "core.autocrlf", "false"],
            &["config", "--global", "core.attributesFile", "~/mine"],
            &["config", "core.checkStat", "minimal"],
            &["config", "core.trustctime", "false"],
            &["config", "index.skipHash", "true"],
            &["config", "core.splitIndex", "true"],
            &["sparse-checkout", "set", "d"],
            &["sparse-checkout", "set", "--sparse-index", "d"],
        ];
        let mine = self.attributes();
        fs::write(self.user.scratch.path().join("home/mine"), mine).unwrap();
        let arguments = self.random.choice(all).unwrap();
        self.user.try_git(checkout, arguments);
    }

    fn run(mut self) -> Looked {
        for _ in 0..8 {
            self.step();
            let checkout = self.random.usize(..self.user.checkouts.len());
            let looked = self.user.look(checkout);
            self.looked.files += looked.files;
            self.looked.believed += looked.believed;
            self.looked.named += looked.named;
        }
        self.looked
    }
}

#[test]
fn no_file_of_a_random_history_is_believed_wrongly() {
    let all: Mutex<Looked> = Mutex::default();
    let wrong: Mutex<BTreeSet<u64>> = Mutex::default();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= HISTORIES {
                        break;
                    }
                    let run = std::panic::catch_unwind(|| History::new(seed).run());
                    let Ok(looked) = run else {
                        wrong.enter().insert(seed);
                        continue;
                    };
                    let mut all = all.enter();
                    all.files += looked.files;
                    all.believed += looked.believed;
                    all.named += looked.named;
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    assert_eq!(*wrong.enter(), BTreeSet::new(), "seeds of wrong histories");
    // Some of the histories must put what is believed to the test.
    assert!(all.believed > HISTORIES && all.named > HISTORIES, "{all:?}");
}
