//! The power fails before every writing call of a snapshot: what was not flushed is gone, all of it or a part. A kill
//! does not show that, because the system keeps what a killed program wrote.

use crate::disk::{Disk, Flushes};
use crate::stage::{Acknowledged, Stage, snapshot_id};
use crate::trace::{Call, Fate};
use crate::{Case, Outcome, plan, trace};
use std::fs;

pub const CASES: &[Case] = &[
    ("power::what_is_not_flushed_may_vanish_before_any_call_of_a_snapshot", kept),
    ("power::flushes_that_do_nothing_are_noticed", bad),
];

/// Crash points of a run, unless all are asked for.
const MOST: usize = 100;
/// Images of each point: nothing that was not flushed is left, then random parts of it.
const IMAGES: u64 = 3;

struct Story {
    stage: Stage,
    before: Disk,
    calls: Vec<Call>,
    first: Acknowledged,
    second: Acknowledged,
}

/// A second snapshot, written down call by call.
fn story() -> Result<Story, String> {
    let stage = Stage::with_repository();
    stage.live_database(1);
    let first = stage.snapshot();
    stage.live(2);
    stage.live_database(2);
    stage.keep("before");
    let root = stage.world.path("repo");
    let before = Disk::read(&root);
    let command =
        stage.world.command(["-r", "repo", "--recovery-key-file", "key", "snapshot", "--json", "live"]);
    let ran = trace::run(&command, &mut |_| Fate::Pass)?;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran_text = crate::kit::Ran { code: 0, stdout: ran.stdout, stderr: ran.stderr };
    let second = (snapshot_id(&ran_text), stage.truth());
    let calls = ran.calls.into_iter().filter(|call| call.is_below(&root)).collect();
    Ok(Story { stage, before, calls, first, second })
}

/// Looks at the images of a crash before call `at`; the last one is the end, when the snapshot is acknowledged.
fn violations(story: &Story, at: usize, flushes: Flushes) -> Vec<String> {
    let mut disk = story.before.clone();
    story.calls[..at].iter().for_each(|call| disk.apply(call, flushes));
    let is_end = at == story.calls.len();
    let mut acknowledged = vec![story.first.clone()];
    acknowledged.extend(is_end.then(|| story.second.clone()));
    let mut found = Vec::new();
    for image in 0..IMAGES {
        // With the cache of before and without one: what is written to it comes after what it speaks of.
        story.stage.put_back("before");
        if image == 1 {
            fs::remove_dir_all(story.stage.world.path("home/.cache")).unwrap();
        }
        let repo = story.stage.world.path("repo");
        fs::remove_dir_all(&repo).unwrap();
        let mut state = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ image;
        disk.write(&repo, &mut || {
            // xorshift64, Marsaglia 2003.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            image > 0 && state.is_multiple_of(2)
        });
        let stage = &story.stage;
        let whole = stage.nothing_is_lost(&acknowledged);
        let whole = whole.and_then(|()| stage.goes_on()).and_then(|()| stage.nothing_is_lost(&acknowledged));
        if let Err(why) = whole {
            found.push(format!("power lost before call {at}, image {image}: {why}"));
        }
    }
    found
}

fn points(story: &Story) -> Vec<usize> {
    let mut points = plan::points(&story.calls, MOST);
    points.push(story.calls.len());
    points
}

fn kept() -> Outcome {
    let story = match story() {
        Ok(story) => story,
        Err(why) => return Outcome::Ignored(why),
    };
    let points = points(&story);
    let found: Vec<String> = points.iter().flat_map(|at| violations(&story, *at, Flushes::Kept)).collect();
    plan::assert_none(&found);
    Outcome::Passed(format!("{} images of {} calls", points.len() as u64 * IMAGES, story.calls.len()))
}

fn bad() -> Outcome {
    let story = match story() {
        Ok(story) => story,
        Err(why) => return Outcome::Ignored(why),
    };
    let mut told = Vec::new();
    for flushes in [Flushes::OfFilesOnly, Flushes::Ignored] {
        let found: Vec<String> = [story.calls.len() - 4, story.calls.len()]
            .iter()
            .flat_map(|at| violations(&story, *at, flushes))
            .collect();
        assert!(!found.is_empty(), "{flushes:?} was not noticed");
        told.push(format!("{flushes:?}: {}", found.len()));
    }
    Outcome::Passed(told.join(", "))
}
