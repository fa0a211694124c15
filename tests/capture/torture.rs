//! Many captures beside an app that writes without a pause.

use crate::busy::{Busy, COUNTED};
use crate::judge::judge;
use crate::take::{patience, take_with};
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::{Checks, Failed, Impossible, Patience, State};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

pub const CASES: &[Case] = &[
    ("torture::every_image_taken_beside_a_busy_app_is_one_committed_state", all_modes),
    ("torture::in_wal_mode_no_commit_of_the_app_is_ever_refused", wal_mode),
    ("torture::the_same_reader_without_a_proof_takes_torn_images", unproved),
];

/// More of them show nothing new, and each is read again and again.
const MOST_UNPROVED: u32 = 100;

fn captures() -> u32 {
    std::env::var("CHATVAULT_CAPTURES").map_or(40, |number| number.parse().unwrap())
}

/// What the captures were.
#[derive(Debug, Default)]
struct Tally {
    quiescent: u32,
    merged: u32,
    rolled_back: u32,
    reads: u32,
    overlapped: u32,
    longest: Duration,
    unsound: Vec<String>,
    states: u32,
    page_sizes: BTreeSet<u32>,
    refused: u32,
}

/// Captures again and again, and judges each image.
fn take_many(busy: Busy, count: u32) -> (Tally, [u64; COUNTED.len()]) {
    let mut tally = Tally::default();
    let path = busy.path.clone();
    let busy = RefCell::new(busy);
    busy.borrow_mut().let_commit(20);
    let mut last = 0;
    for number in 0..count {
        let before = busy.borrow().commits();
        // Every other time, the app must get on with its work in the middle of the reading.
        let mut met = false;
        let mut halfway = |_| met |= number % 2 == 1 && busy.borrow_mut().let_commit(5);
        let captured = match take_with(&path, &patience(), &mut |_, _| {}, &mut halfway) {
            Ok(captured) => captured,
            Err(Failed::Impossible(Impossible::LockedExclusively)) => {
                tally.refused += 1;
                continue;
            }
            Err(e) => panic!("capture {number}: {e:?}"),
        };
        let after = busy.borrow().commits();
        tally.overlapped += u32::from(met);
        tally.reads += captured.reads;
        tally.page_sizes.extend(captured.page_size);
        tally.longest = tally.longest.max(captured.held);
        match captured.state {
            State::Quiescent => tally.quiescent += 1,
            State::Merged { .. } => tally.merged += 1,
            State::RolledBack { .. } => tally.rolled_back += 1,
            State::Paired { .. } => panic!("a pair of a plain database"),
        }
        match judge(&captured.value) {
            // What was acknowledged before is in it; one more may be complete and not told yet.
            Ok(state) if (before..=after + 1).contains(&state.commit) => {
                tally.states += u32::from(state.commit > last);
                last = state.commit;
            }
            Ok(state) => {
                tally.unsound.push(format!("{number}: commit {} is not in {before}..={after}", state.commit));
            }
            Err(why) => tally.unsound.push(format!("{number} ({:?}): {why}", captured.state)),
        }
    }
    let counts = busy.into_inner().stop();
    (tally, counts)
}

fn told(counts: &[u64; COUNTED.len()]) -> String {
    let parts: Vec<String> =
        COUNTED.iter().zip(counts).map(|(what, count)| format!("{count} {what}")).collect();
    parts.join(", ")
}

fn all_modes() -> Outcome {
    let count = captures();
    let (tally, counts) = take_many(Busy::start(0x9e37_79b9_7f4a_7c15, false), count);
    assert!(tally.unsound.is_empty(), "{:#?}\n{}", tally.unsound, told(&counts));
    let taken = count - tally.refused;
    assert!(tally.refused * 20 <= count, "{} of {count} found it locked for five seconds", tally.refused);
    assert!(tally.merged > 0 && tally.overlapped > 0, "{tally:?}");
    assert!(tally.states * 2 > taken, "the app hardly got on: {tally:?}");
    let [commits_wal, _, commits_rollback, ..] = counts;
    assert!(
        commits_wal > 0 && commits_rollback > 0 && counts.iter().step_by(2).all(|count| *count > 0),
        "{counts:?}"
    );
    Outcome::Passed(format!(
        "{taken} images in {} readings, of pages of {:?} bytes: {} from the log, {} own bytes, {} rolled back; the app went on during {}; locks \
         held for {:?} at most; the app: {}",
        tally.reads,
        tally.page_sizes,
        tally.merged,
        tally.quiescent,
        tally.rolled_back,
        tally.overlapped,
        tally.longest,
        told(&counts)
    ))
}

fn wal_mode() -> Outcome {
    let count = captures();
    let (tally, counts) = take_many(Busy::start(0x2545_f491_4f6c_dd1d, true), count);
    assert!(tally.unsound.is_empty(), "{:#?}\n{}", tally.unsound, told(&counts));
    assert_eq!((tally.refused, tally.rolled_back), (0, 0));
    assert!(tally.overlapped * 4 > count, "{tally:?}");
    let [commits, refused, ..] = counts;
    assert!(commits > u64::from(count) && refused == 0, "{}", told(&counts));
    Outcome::Passed(format!(
        "{count} images in {} readings, the app went on during {}; {}",
        tally.reads,
        tally.overlapped,
        told(&counts)
    ))
}

/// Readings of which nothing is proved.
fn unproved() -> Outcome {
    let mut busy = Busy::start(0xda94_2042_e4dd_58b5, true);
    busy.let_commit(20);
    let path = busy.path.clone();
    let busy = RefCell::new(busy);
    let careless = Patience { checks: Checks::NONE, ..patience() };
    let (mut taken, mut wrong) = (0, 0);
    for _ in 0..captures().min(MOST_UNPROVED) {
        let mut halfway = |_| {
            busy.borrow_mut().let_commit(10);
        };
        if let Ok(captured) = take_with(&path, &careless, &mut |_, _| {}, &mut halfway) {
            taken += 1;
            wrong += u32::from(judge(&captured.value).is_err());
        }
    }
    busy.into_inner().stop();
    assert!(wrong > 0, "{taken} readings without a proof were all sound: this test shows nothing");
    Outcome::Passed(format!("{wrong} of {taken} images torn"))
}
