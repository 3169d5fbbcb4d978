//! Random cases: two trees that overlap, a set of options and rules, and the ways to name source and destination.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use super::case::Case;
use super::rules::{self, NAMES, RULE_FILE};
use super::setting::Setting;
use coast_testkit::{Node, Tree, noise};

/// A time in 2023, in seconds since the epoch. Trees use it and the seconds after it.
const EPOCH: i64 = 1_700_000_000;

/// An entry of a random tree. Its path decides whether it is left out.
#[derive(Clone, Debug)]
struct Sketch {
    path: Vec<usize>,
    node: Node,
    mode: u32,
    age: i64,
    owner: (u32, u32),
}

/// Random cases of all options that `coast sync` and rsync have in common, in the circumstances of `setting`.
pub fn cases(setting: Setting) -> impl Strategy<Value = Case> {
    let sketches = move || vec(sketch(setting), 0..14);
    let destination = prop_oneof![9 => sketches().prop_map(Some), 1 => Just(None)];
    let umask = select(vec![0o022, 0o022, 0o002, 0o077, 0o027, 0o000]);
    let spelling = select(vec![
        ("src/", "dst/"),
        ("src/", "dst/"),
        ("src/", "dst"),
        ("src", "dst/"),
        ("src", "dst"),
        ("src/a", "dst/"),
        ("src/a/", "dst/"),
        ("src/a", "dst/b"),
        ("src/b", "dst/new"),
        ("src/.", "dst/"),
        ("src/c", "dst"),
    ]);
    (
        sketches(),
        destination,
        options(),
        vec(rule_argument(), 0..4),
        vec((any::<bool>(), vec(0..3usize, 0..2), rules::file()), 0..3),
        (rules::file(), rules::pattern_file()),
        (umask, spelling, any::<bool>()),
    )
        .prop_map(
            move |(
                source,
                destination,
                options,
                rules,
                merged,
                (rule_file, pattern_file),
                (umask, (from, to), first),
            )| {
                // Without -t and -c rsync takes contents with equal size and mtime for equal, and we promise to compare them.
                // So the times of the two trees are kept apart then.
                let offset = if options
                    .iter()
                    .any(|option| option.contains(['t', 'a', 'c']) && !option.starts_with("--"))
                {
                    0
                } else {
                    1000
                };
                let rule_files = |of_source: bool| {
                    let chosen = merged.iter().filter(move |(in_source, ..)| *in_source == of_source);
                    chosen
                        .map(|(_, directory, content)| (directory.clone(), content.clone()))
                        .collect::<Vec<_>>()
                };
                let mut case = Case::new(
                    tree(&setting.source(source), &rule_files(true), 0),
                    tree(destination.as_deref().unwrap_or_default(), &rule_files(false), offset),
                    "",
                );
                if destination.is_none() {
                    case = case.without_destination();
                }
                let (options, rules) = (options.into_iter().map(OsString::from), rules.into_iter());
                let arguments: Vec<OsString> =
                    if first { options.chain(rules).collect() } else { rules.chain(options).collect() };
                for argument in arguments {
                    case = case.argument(argument);
                }
                case.beside("rules0", rule_file)
                    .beside("patterns0", pattern_file)
                    .from(from)
                    .to(to)
                    .umask(umask)
            },
        )
        .prop_flat_map(move |case| {
            let circumstances = setting.circumstances(case.destination());
            circumstances.prop_map(move |circumstances| case.clone().under(circumstances))
        })
}

impl Setting {
    /// The source tree under this setting. A user without rights may read all of it: rsync has deleted entries by the time it
    /// meets a file that it cannot read, while coast deletes nothing then.
    fn source(self, mut sketches: Vec<Sketch>) -> Vec<Sketch> {
        if self == Self::Unprivileged {
            for sketch in &mut sketches {
                sketch.mode |= if sketch.node == Node::Dir { 0o555 } else { 0o444 };
            }
        }
        sketches
    }
}

fn sketch(setting: Setting) -> impl Strategy<Value = Sketch> {
    // The first names are likely, so that paths of the two trees coincide.
    let index = prop_oneof![3 => 0..3usize, 1 => 0..NAMES.len()];
    let length = prop_oneof![4 => Just(1usize), 4 => Just(2usize), 2 => Just(3usize), 1 => Just(4usize)];
    let path = length.prop_flat_map(move |length| vec(index.clone(), length));
    let owner = select(vec![(0, 0), (0, 0), (1, 1), (12345, 54321), (2, 0)]);
    let node = if setting == Setting::Holes {
        prop_oneof![2 => node(), 1 => sparse()].boxed()
    } else {
        node().boxed()
    };
    node.prop_flat_map(move |node| {
        let modes = match node {
            Node::Dir => vec![0o755, 0o755, 0o700, 0o775, 0o2755, 0o1777, 0o555, 0o000],
            _ => vec![0o644, 0o644, 0o755, 0o600, 0o777, 0o4755, 0o444, 0o000, 0o111, 0o654],
        };
        (path.clone(), Just(node), select(modes), 0..3i64, owner.clone())
            .prop_map(|(path, node, mode, age, owner)| Sketch { path, node, mode, age, owner })
    })
}

fn node() -> impl Strategy<Value = Node> {
    let long =
        |fill: u8| (0..5000u32).map(|index| fill.wrapping_add((index / 7 % 251) as u8)).collect::<Vec<u8>>();
    let contents = vec![
        b"".to_vec(),
        b"1".to_vec(),
        b"2".to_vec(),
        b"equal".to_vec(),
        b"longer content\n".to_vec(),
        long(1),
        long(2),
    ];
    let targets = vec!["a", "b", "../b", "missing", "/nonexistent/coast", ".", "a/b", "c"];
    let specials = vec![
        Node::Fifo,
        Node::Socket,
        Node::CharDevice(1, 3),
        Node::CharDevice(1, 5),
        Node::BlockDevice(7, 200),
    ];
    prop_oneof![
        8 => select(contents).prop_map(Node::File),
        4 => Just(Node::Dir),
        2 => select(targets).prop_map(|target| Node::Symlink(target.into())),
        2 => select(specials),
    ]
}

/// A file with holes at its start, between its pieces and at its end.
fn sparse() -> impl Strategy<Value = Node> {
    let piece =
        (0..16u64, 1..9000usize).prop_map(|(place, length)| (place * (64 << 10), noise(place, length)));
    (select(vec![1 << 20, 3 << 20, (1 << 20) + 17]), vec(piece, 0..3))
        .prop_map(|(size, pieces)| Node::Sparse { size, pieces })
}

/// Makes a tree of sketches. A sketch is left out where its path is taken, or leads through an entry that is no directory.
fn tree(sketches: &[Sketch], rule_files: &[(Vec<usize>, Vec<u8>)], offset: i64) -> Tree {
    let mut entries: BTreeMap<Vec<u8>, Sketch> = BTreeMap::new();
    let rule_files = rule_files.iter().map(|(directory, content)| {
        let name = NAMES.len();
        let path = directory.iter().copied().chain([name]).collect();
        Sketch { path, node: Node::File(content.clone()), mode: 0o644, age: 0, owner: (0, 0) }
    });
    for sketch in sketches.iter().cloned().chain(rule_files) {
        let prefixes: Vec<Vec<u8>> =
            (1..=sketch.path.len()).map(|length| join(&sketch.path[..length])).collect();
        let (own, parents) = prefixes.split_last().expect("a path has a component");
        let blocked =
            parents.iter().any(|parent| entries.get(parent).is_some_and(|entry| entry.node != Node::Dir));
        if blocked || entries.contains_key(own) {
            continue;
        }
        for parent in parents {
            let directory = Sketch { path: Vec::new(), node: Node::Dir, mode: 0o755, age: 0, owner: (0, 0) };
            entries.entry(parent.clone()).or_insert(directory);
        }
        // rsync does not follow a symlink of another user to its source.
        let named_symlink = sketch.path.len() == 1 && matches!(sketch.node, Node::Symlink(_));
        let owner = if named_symlink { (0, 0) } else { sketch.owner };
        entries.insert(own.clone(), Sketch { owner, ..sketch });
    }
    entries.into_iter().fold(Tree::new(), |tree, (path, sketch)| {
        let tree = tree.entry(OsString::from_vec(path), sketch.node).owner(sketch.owner.0, sketch.owner.1);
        tree.mode(sketch.mode).mtime(EPOCH + sketch.age + offset)
    })
}

fn join(path: &[usize]) -> Vec<u8> {
    let names = path.iter().map(|&index| NAMES.get(index).copied().unwrap_or(RULE_FILE.as_bytes()));
    names.collect::<Vec<_>>().join(&b"/"[..])
}

/// Options without rules.
fn options() -> impl Strategy<Value = Vec<String>> {
    let letters = [
        ('r', 0.93),
        ('l', 0.75),
        ('D', 0.6),
        ('p', 0.35),
        ('E', 0.25),
        ('t', 0.5),
        ('o', 0.25),
        ('g', 0.25),
        ('c', 0.15),
        ('z', 0.1),
    ];
    let chosen = letters
        .map(|(letter, likely)| proptest::bool::weighted(likely).prop_map(move |on| on.then_some(letter)));
    let delete: Vec<&'static [&'static str]> = vec![
        &[],
        &[],
        &[],
        &["--delete"],
        &["--delete"],
        &["--delete-after"],
        &["--delete-after"],
        &["--delete-after"],
        &["--delete-excluded"],
        &["--delete", "--delete-excluded"],
        &["--delete-after", "--delete-excluded"],
    ];
    let limit = prop_oneof![
        8 => Just(None),
        1 => select(vec!["--max-delete=0", "--max-delete=1", "--max-delete=3", "--max-delete=1000"]).prop_map(Some),
    ];
    let archive = proptest::bool::weighted(0.08);
    (chosen.to_vec(), select(delete), limit, archive).prop_map(|(letters, delete, limit, archive)| {
        // Without -r and with a deletion rsync does nothing at all.
        let needed = (!delete.is_empty()).then_some('r');
        let letters: String =
            letters.into_iter().flatten().chain(archive.then_some('a')).chain(needed).collect();
        let letters = (!letters.is_empty()).then(|| format!("-{letters}"));
        letters.into_iter().chain(delete.iter().chain(limit.iter()).map(ToString::to_string)).collect()
    })
}

/// An option with rules.
fn rule_argument() -> impl Strategy<Value = OsString> {
    let option = |name: &'static str, value: BoxedStrategy<Vec<u8>>| {
        value.prop_map(move |value| OsString::from_vec([name.as_bytes(), b"=", &value].concat())).boxed()
    };
    let fixed = |text: &'static str| Just(OsString::from(text)).boxed();
    Union::new_weighted(vec![
        (6, option("--filter", rules::rule().boxed())),
        (2, option("--exclude", rules::pattern().boxed())),
        (2, option("--include", rules::pattern().boxed())),
        (1, fixed("--exclude-from=patterns0")),
        (1, fixed("--include-from=patterns0")),
        (1, fixed("--exclude=*")),
        (1, fixed("--filter=- */")),
        (1, fixed("--filter=P generated/***")),
    ])
}
