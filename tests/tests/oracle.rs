//! Random trees, options and rules: `coast sync` must leave the tree that real rsync leaves, and end with its exit code.
//!
//! `COAST_CASES=N` asks for N cases in each setting, `COAST_SETTINGS=acl,mount` for these settings, and `COAST_SEED=random` for
//! other cases. A failure prints `COAST_SEED=N`, which asks for its cases again.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::thread;

use coast_tests::oracle::{Setting, Subject, cases};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// The longest time that is spent on making a failing case smaller.
const SHRINK_MILLISECONDS: u32 = 60_000;

/// The number of threads that run cases. Each has a sequence of cases of its own.
const THREADS: u64 = 2;

/// The settings, and the number of cases that are tried in each.
const CASES: [(Setting, u32); 7] = [
    (Setting::Plain, 300),
    (Setting::DefaultAcl, 60),
    (Setting::SetGroupId, 60),
    (Setting::Holes, 60),
    (Setting::Symlink, 60),
    (Setting::Mount, 40),
    (Setting::Unprivileged, 60),
];

#[test]
fn coast_leaves_what_rsync_leaves() {
    let settings = match env::var("COAST_SETTINGS") {
        Ok(names) => names
            .split(',')
            .map(|name| (name.parse().unwrap_or_else(|error| panic!("{error}")), 300))
            .collect(),
        Err(_) => CASES.to_vec(),
    };
    for (setting, count) in settings {
        compare(Subject::Coast, setting, variable("COAST_CASES").unwrap_or(count));
    }
}

#[test]
fn a_case_has_one_answer() {
    for setting in Setting::ALL {
        compare(Subject::Rsync, setting, 20);
    }
}

/// Tries `count` random cases.
fn compare(subject: Subject, setting: Setting, count: u32) {
    // The same cases each time, or with COAST_SEED=random new ones.
    let seed = match env::var("COAST_SEED").as_deref() {
        Ok("random") => RandomState::new().hash_one(0),
        _ => variable("COAST_SEED").unwrap_or(1),
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let share = count.div_ceil(u32::try_from(THREADS).expect("threads are few"));
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || run(subject, setting, share, seed, thread)))
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().expect("a worker reports, it does not panic"))
            .collect()
    });
    assert!(
        failures.is_empty(),
        "COAST_SETTINGS={} COAST_SEED={seed}\n{}",
        setting.name(),
        failures.join("\n\n")
    );
}

fn run(subject: Subject, setting: Setting, count: u32, seed: u64, thread: u64) -> Option<String> {
    let config = Config {
        cases: count,
        max_shrink_iters: 3000,
        max_shrink_time: SHRINK_MILLISECONDS,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&thread.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let check = |case: coast_tests::oracle::Case| case.check(subject).map_err(TestCaseError::fail);
    TestRunner::new_with_rng(config, random).run(&cases(setting), check).err().map(|error| error.to_string())
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
