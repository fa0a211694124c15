//! What the tests by random lives share.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::Cell;

/// Counts what happened in a life.
pub fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

/// A number that a variable of the environment may set.
pub fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// One life that follows from a seed. A failure is made shorter, in so many attempts at most, and told with the seed and with
/// what else the environment must say for it to happen again.
#[track_caller]
pub fn live_once<S: Strategy>(
    seed: u64,
    attempts: u32,
    environment: &str,
    lives: &S,
    live: impl Fn(S::Value),
) {
    let bytes = *blake3::hash(&seed.to_le_bytes()).as_bytes();
    let config =
        Config { cases: 1, failure_persistence: None, max_shrink_iters: attempts, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let lived = runner.run(lives, |steps| {
        live(steps);
        Ok(())
    });
    match lived {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => panic!("CHATVAULT_SEED={seed} {environment}: {why}\n{steps:#?}"),
        Err(e) => panic!("CHATVAULT_SEED={seed} {environment}: {e}"),
    }
}
