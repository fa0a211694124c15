//! Logs that were damaged while their app has them open, and logs that are in order and look otherwise.

use crate::app::App;
use crate::judge::judge;
use crate::take::take;
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::Sidecar;
use chatvault_tests::sqlite::beside;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

pub const CASES: &[Case] = &[
    ("damaged::of_a_log_that_is_damaged_under_its_app_the_image_is_what_the_app_sees", under_its_app),
    ("damaged::a_log_in_order_is_never_called_damaged", in_order),
];

const WAL: &str = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=5";

fn captures() -> u32 {
    std::env::var("CHATVAULT_CAPTURES").map_or(100, |number| number.parse().unwrap())
}

fn under_its_app() -> Outcome {
    let mut app = App::with(WAL);
    (0..30).for_each(|_| app.commit());
    let path = app.path.clone();
    let log = OpenOptions::new().read(true).write(true).open(beside(&path, Sidecar::Wal)).unwrap();
    let len = log.metadata().unwrap().len();
    let frame = 4096 + 24;
    // The head's checksum of a frame in the middle; its page stays what it was.
    let at = 32 + (len - 32) / frame / 2 * frame + 17;
    let mut byte = [0];
    log.read_exact_at(&mut byte, at).unwrap();
    assert!(!take(&path, &mut |_| {}).unwrap().has_damaged_log);
    for place in [at, 20, 1] {
        log.read_exact_at(&mut byte, place).unwrap();
        log.write_all_at(&[byte[0] ^ 2], place).unwrap();
        let captured = take(&path, &mut |_| {}).unwrap();
        assert!(captured.has_damaged_log, "byte {place}");
        assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (30, 1), "byte {place}");
        log.write_all_at(&byte, place).unwrap();
    }
    assert!(!take(&path, &mut |_| {}).unwrap().has_damaged_log);
    assert_eq!(app.say("SELECT seq FROM s"), "30");
    Outcome::Passed("all 30 commits".to_owned())
}

/// Numbers below what is asked for, the same in every run (xorshift, Marsaglia 2003).
fn dice() -> impl FnMut(u64) -> u64 {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    move |most| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    }
}

/// Two apps of one database that take back what they wrote early, and are killed in the middle.
fn in_order() -> Outcome {
    let (mut spilled, mut killed, mut longer) = (0, 0, 0);
    let mut captured = 0;
    let mut below = dice();
    while captured < captures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let first = App::made(&path, WAL);
        let mut apps = [Some(first), Some(App::on(&path))];
        let mut alone = App::on(&path);
        alone.say("PRAGMA cache_size=5");
        (0..5).for_each(|_| alone.commit());
        for _ in 0..40 {
            let who = usize::try_from(below(2)).unwrap();
            if let Some(app) = &mut apps[who] {
                app.say("PRAGMA cache_size=5; BEGIN; UPDATE message SET text = hex(randomblob(61))");
                spilled += 1;
                let taken = take(&path, &mut |_| {}).unwrap();
                assert!(!taken.has_damaged_log, "in the middle of a transaction");
                judge(&taken.value).unwrap();
                captured += 1;
                if below(4) == 0 {
                    app.kill();
                    apps[who] = None;
                    killed += 1;
                } else {
                    app.say("ROLLBACK");
                }
            } else {
                apps[who] = Some(App::on(&path));
            }
            if below(2) == 0 {
                alone.commit();
            }
            let frames = std::fs::metadata(beside(&path, Sidecar::Wal)).unwrap().len();
            let taken = take(&path, &mut |_| {}).unwrap();
            assert!(!taken.has_damaged_log, "after it was taken back, or its writer killed");
            let image = judge(&taken.value).unwrap();
            assert!(image.rows == image.commit * 20);
            longer += u32::from(frames > taken.len);
            captured += 1;
        }
        // Nobody is alive: only the log itself tells.
        for app in apps.iter_mut().flatten() {
            app.kill();
        }
        alone.kill();
        let taken = take(&path, &mut |_| {}).unwrap();
        assert!(!taken.has_damaged_log, "of killed apps");
        judge(&taken.value).unwrap();
        captured += 1;
    }
    assert!(spilled > 0 && killed > 0 && longer > 0);
    Outcome::Passed(format!(
        "{captured} captures, {spilled} transactions that spilled, {killed} of their writers killed"
    ))
}
