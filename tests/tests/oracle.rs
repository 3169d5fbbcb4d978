//! Random trees, options and rules: `coast sync` must leave what real rsync leaves, and end with its exit code.
//!
//! `COAST_CASES` asks for more cases than 300; `COAST_SEED=random` asks for other ones, `COAST_SEED=N`, which a failure
//! prints, for those again.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::thread;

use coast_tests::oracle::{Subject, cases};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// Cases run on this many threads, each with a sequence of its own.
const THREADS: u64 = 2;

#[test]
fn coast_leaves_what_rsync_leaves() {
    compare(Subject::Coast, setting("COAST_CASES").unwrap_or(300));
}

#[test]
fn a_case_has_one_answer() {
    compare(Subject::Rsync, 40);
}

/// Tries `count` random cases.
fn compare(subject: Subject, count: u32) {
    // The same cases each time, or with COAST_SEED=random new ones.
    let seed = match env::var("COAST_SEED").as_deref() {
        Ok("random") => RandomState::new().hash_one(0),
        _ => setting("COAST_SEED").unwrap_or(1),
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let share = count.div_ceil(u32::try_from(THREADS).expect("threads are few"));
        let workers: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || run(subject, share, seed, thread))).collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().expect("a worker reports, it does not panic"))
            .collect()
    });
    assert!(failures.is_empty(), "COAST_SEED={seed}\n{}", failures.join("\n\n"));
}

fn run(subject: Subject, count: u32, seed: u64, thread: u64) -> Option<String> {
    let config =
        Config { cases: count, max_shrink_iters: 3000, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&thread.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let check = |case: coast_tests::oracle::Case| case.check(subject).map_err(TestCaseError::fail);
    TestRunner::new_with_rng(config, random).run(&cases(), check).err().map(|error| error.to_string())
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
