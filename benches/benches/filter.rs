//! Filter verdicts over the names of a large tree, by `coast-filter` and, for comparison, by `globset`. `globset` gets whole
//! paths, whose making is not measured, and only the patterns that it can express.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use coast_filter::{DirFilter, EntryKind, Filter, NoMergeFiles, RuleList, Side};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A directory of the tree: its components and the names of its files.
struct Dir {
    components: Vec<String>,
    names: Vec<String>,
}

/// About 100,000 names in 5,050 directories, four levels deep, spelled like those of a kernel source tree.
fn tree() -> Vec<Dir> {
    const STEMS: [&str; 10] = [
        "main",
        "core",
        "driver-common",
        "Kconfig",
        "Makefile",
        "init",
        "trace_events",
        "hw",
        "ioctl",
        "util",
    ];
    const ENDS: [&str; 10] = [".c", ".h", ".c", ".rst", "", ".dts", ".S", ".json", ".c", ".h"];
    let mut dirs = Vec::new();
    for (top, middle, bottom) in (0..50)
        .flat_map(|top| (0..10).flat_map(move |middle| (0..10).map(move |bottom| (top, middle, bottom))))
    {
        let components =
            vec![format!("drivers{top}"), format!("net-{middle}"), "src".to_owned(), format!("part{bottom}")];
        let names = (0..20)
            .map(|number| {
                format!("{}{}{}", STEMS[number % 10], number * (bottom + 1), ENDS[(number + middle) % 10])
            })
            .collect();
        dirs.push(Dir { components, names });
    }
    dirs
}

/// The rules of the documented profile.
const PROFILE: [&str; 10] = [
    "P generated/***",
    "P .react-router/***",
    "P internal/generated/***",
    "P app/generated/***",
    "- .git",
    "- node_modules",
    "- target",
    "- __pycache__",
    "- .react-router",
    "- .next",
];

fn list<'a>(rules: impl IntoIterator<Item = &'a str>) -> RuleList {
    let mut list = RuleList::new();
    for rule in rules {
        list.filter(rule.as_bytes(), &NoMergeFiles).unwrap();
    }
    list
}

/// Counts the excluded entries. Every directory is entered once.
fn excluded(filter: &Filter, tree: &[Dir]) -> usize {
    let mut excluded = 0;
    // The directories on the way to the current directory, as a walk keeps them.
    let mut entered: Vec<(&str, DirFilter)> = vec![("", filter.root(&NoMergeFiles).unwrap())];
    for dir in tree {
        let known =
            entered[1..].iter().zip(&dir.components).take_while(|((name, _), other)| name == other).count();
        entered.truncate(1 + known);
        for name in &dir.components[known..] {
            let filter = entered[entered.len() - 1].1.enter(name.as_bytes(), &NoMergeFiles).unwrap();
            entered.push((name, filter));
        }
        let filter = &entered[entered.len() - 1].1;
        excluded +=
            dir.names.iter().filter(|name| filter.excludes(name.as_bytes(), EntryKind::Other)).count();
    }
    excluded
}

/// The rules as a set of globs over whole paths, in their order.
fn globs<'a>(rules: impl IntoIterator<Item = &'a str>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for rule in rules {
        let pattern = rule.trim_start_matches(|letter| letter != ' ').trim();
        let pattern =
            pattern.strip_suffix("/***").map_or_else(|| pattern.to_owned(), |dir| format!("{dir}/**"));
        set.add(GlobBuilder::new(&format!("**/{pattern}")).literal_separator(true).build().unwrap());
    }
    set.build().unwrap()
}

fn verdicts(criterion: &mut Criterion) {
    let tree = tree();
    let paths: Vec<String> = tree
        .iter()
        .flat_map(|dir| dir.names.iter().map(|name| format!("{}/{name}", dir.components.join("/"))))
        .collect();

    let cvs = list(["-C"]);
    let cvs_lines: Vec<String> =
        cvs.to_lines().into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    let names: Vec<String> = (0..1000).map(|number| format!("- name{number}.c")).collect();
    let globs_of_names: Vec<String> =
        (0..200).map(|number| format!("- d*{number}/s?c/*{number}.[ch]")).collect();
    let sets: [(&str, Vec<&str>); 4] = [
        ("documented profile, 10 rules", PROFILE.to_vec()),
        ("CVS ignores, 36 rules", cvs_lines.iter().map(String::as_str).collect()),
        ("1000 names", names.iter().map(String::as_str).collect()),
        ("200 path globs", globs_of_names.iter().map(String::as_str).collect()),
    ];

    let mut group = criterion.benchmark_group("filter/100k names");
    group.throughput(Throughput::Elements(paths.len() as u64)).sample_size(20);
    for (name, rules) in &sets {
        let filter = Filter::compile(&list(rules.iter().copied()), Side::Receiver).unwrap();
        group.bench_with_input(BenchmarkId::new("own matcher", name), &filter, |bencher, filter| {
            bencher.iter(|| excluded(black_box(filter), &tree));
        });
        let set = globs(rules.iter().copied());
        group.bench_with_input(BenchmarkId::new("globset", name), &set, |bencher, set| {
            let mut matches = Vec::new();
            bencher.iter(|| {
                let matching = |path: &&String| {
                    set.matches_into(black_box(path.as_str()), &mut matches);
                    !matches.is_empty()
                };
                paths.iter().filter(matching).count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
