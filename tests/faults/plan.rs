//! At which calls of a run a fault is made to happen.

use crate::trace::Call;

/// Calls of a run that get a fault, unless all are asked for.
pub const MOST: usize = 200;

/// True if every point is asked for.
pub fn all() -> bool {
    std::env::var("CHATVAULT_FAULTS").is_ok_and(|value| value == "all")
}

/// The numbers (from 0) of at most `most` of these calls: those around every flush and rename first, then others,
/// spread evenly. All of them if `CHATVAULT_FAULTS=all` or if they are no more.
pub fn points(calls: &[Call], most: usize) -> Vec<usize> {
    let count = calls.len();
    if all() || count <= most {
        return (0..count).collect();
    }
    let is_near = |at: usize| {
        let marks = |at: usize| calls.get(at).is_some_and(|call| call.is_flush() || call.is_rename());
        marks(at) || at.checked_sub(1).is_some_and(marks)
    };
    let (near, others): (Vec<usize>, Vec<usize>) = (0..count).partition(|at| is_near(*at));
    let mut chosen = spread(&near, most);
    chosen.extend(spread(&others, most - chosen.len()));
    chosen.sort_unstable();
    chosen
}

/// At most so many of these, spread evenly.
pub fn spread<T: Clone>(from: &[T], most: usize) -> Vec<T> {
    if from.len() <= most {
        return from.to_vec();
    }
    (0..most).map(|number| from[number * from.len() / most].clone()).collect()
}

/// Fails with the first violations if there are any.
#[track_caller]
pub fn assert_none(violations: &[String]) {
    let first = &violations[..violations.len().min(10)];
    assert!(violations.is_empty(), "{} violations\n{}", violations.len(), first.join("\n"));
}
