//! A database of an unknown name, encrypted page by page, in rollback mode: noise to everybody but its app. The app of this
//! test writes as SQLite does: locks, journal, pages, and the journal goes.

use super::{
    App, Outcome, PENDING, Progress, RESERVED, SHARED, ended, lab, lock, restored, snapshots, state,
};
use chatvault_engine::base::WarningKind;
use chatvault_engine::model::DatabaseState;
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const PAGE: usize = 4096;
const PAGES: u64 = 1000;
/// Pages of a transaction, besides the first.
const CHANGED: u64 = 120;
const NAME: &str = "storage.dat";

/// The page as the transaction `version` left it. The first one tells the number of the last commit.
fn page(number: u64, version: u64) -> Vec<u8> {
    let mut bytes = vec![0; PAGE];
    let key = [number.to_le_bytes(), version.to_le_bytes()].concat();
    blake3::Hasher::new().update(&key).finalize_xof().fill(&mut bytes);
    if number == 0 {
        bytes[16..24].copy_from_slice(&version.to_le_bytes());
    }
    bytes
}

/// The pages that a commit changes, in the order in which they are written.
fn changed(commit: u64) -> impl Iterator<Item = u64> {
    (0..CHANGED).map(move |step| (commit * 7919 + step * 31) % PAGES).chain([0])
}

/// Which commit wrote each page last.
fn versions(commit: u64) -> Vec<u64> {
    let mut versions = vec![0; usize::try_from(PAGES).unwrap()];
    for commit in 1..=commit {
        changed(commit).for_each(|page| versions[usize::try_from(page).unwrap()] = commit);
    }
    versions
}

/// The commit of which this is the state.
fn judged(main: &[u8]) -> Result<u64, String> {
    let commit = u64::from_le_bytes(main[16..24].try_into().unwrap());
    for (number, (found, version)) in main.chunks(PAGE).zip(versions(commit)).enumerate() {
        if found != page(number as u64, version) {
            return Err(format!("page {number} is not of commit {version}, of {commit}"));
        }
    }
    Ok(commit)
}

/// The journal of a transaction that changes these pages.
fn journal(main: &File, commit: u64) -> Vec<u8> {
    let mut pages: Vec<u64> = changed(commit).collect();
    pages.sort_unstable();
    pages.dedup();
    let nonce = u32::try_from(commit).unwrap();
    let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    for number in
        [u32::try_from(pages.len()).unwrap(), nonce, u32::try_from(PAGES).unwrap(), 512, PAGE as u32]
    {
        journal.extend(number.to_be_bytes());
    }
    journal.resize(512, 0);
    for number in pages {
        let mut content = vec![0; PAGE];
        main.read_exact_at(&mut content, number * PAGE as u64).unwrap();
        let places = (1..=PAGE - 200).rev().step_by(200);
        let sum = places.fold(nonce, |sum, at| sum.wrapping_add(u32::from(content[at])));
        journal.extend(u32::try_from(number + 1).unwrap().to_be_bytes());
        journal.extend(content);
        journal.extend(sum.to_be_bytes());
    }
    journal
}

pub fn play(folder: &Path) {
    let source = folder.parent().unwrap().join("source");
    let path = source.join(NAME);
    fs::write(&path, (0..PAGES).flat_map(|number| page(number, 0)).collect::<Vec<_>>()).unwrap();
    let main = File::options().read(true).write(true).open(&path).unwrap();
    let journal_path = source.join(format!("{NAME}-journal"));
    let mut progress = Progress::new(folder);
    let ended = ended();
    while !ended() {
        let commit = progress.1 + 1;
        // A reader first, then the one writer, then alone; whoever is refused tries again.
        let is_writer = lock(&main, F_RDLCK, SHARED) && lock(&main, F_WRLCK, RESERVED);
        if is_writer {
            fs::write(&journal_path, journal(&main, commit)).unwrap();
            while !(lock(&main, F_WRLCK, PENDING) && lock(&main, F_WRLCK, SHARED)) {
                std::thread::yield_now();
            }
            for number in changed(commit) {
                main.write_all_at(&page(number, commit), number * PAGE as u64).unwrap();
            }
            fs::remove_file(&journal_path).unwrap();
            progress.one_more();
        }
        [PENDING, RESERVED, SHARED].into_iter().for_each(|bytes| assert!(lock(&main, F_UNLCK, bytes)));
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn live() -> Outcome {
    let (lab, repo, folder) = lab();
    let app = App::start(&folder, &["cipher"]);
    let (mut torn, mut databases, mut told) = (Vec::new(), 0, 0);
    let (least, mut count) = (snapshots(6), 0);
    // Between two transactions nothing shows that it is one.
    while count < least || databases == 0 && count < 50 * least {
        count += 1;
        let before = app.commits();
        let taken = lab.snapshot_of(&repo, &lab.source());
        let after = app.commits();
        if let [warning] = taken.warnings.as_slice() {
            // In no moment in which it was looked did anything show what it is.
            assert_eq!(warning.kind, WarningKind::ChangedWhileRead);
            told += 1;
            continue;
        }
        assert_eq!(taken.warnings, []);
        databases += taken.databases.len() as u64;
        match judged(&fs::read(restored(&lab, &repo, &taken).folder.join(NAME)).unwrap()) {
            Ok(commit) if (before..=after + 1).contains(&commit) => {}
            Ok(commit) => torn.push(format!("commit {commit} is not in {before}..={after}")),
            Err(why) => torn.push(why),
        }
    }
    app.stop();
    assert!(torn.is_empty(), "{} of {count} torn: {torn:#?}", torn.len());
    assert!(told * 5 <= count, "{told} of {count} were only told of");
    assert!(databases > 0, "it was never seen that this is a database");
    Outcome::Passed(format!("{count} snapshots, in {databases} of them seen to be a database"))
}

pub fn killed() -> Outcome {
    let (lab, repo, folder) = lab();
    let app = App::start(&folder, &["cipher"]);
    app.kill();
    let path = lab.source().join(NAME);
    let main = File::options().read(true).write(true).open(&path).unwrap();
    let commit = u64::from_le_bytes(fs::read(&path).unwrap()[16..24].try_into().unwrap()) + 1;
    // As an app leaves it that is killed in the middle of writing.
    let journal_path = lab.source().join(format!("{NAME}-journal"));
    let journal = journal(&main, commit);
    fs::write(&journal_path, &journal).unwrap();
    for number in changed(commit).take(50) {
        main.write_all_at(&page(number, commit), number * PAGE as u64).unwrap();
    }
    let torn = fs::read(&path).unwrap();
    assert!(judged(&torn).is_err());
    std::thread::sleep(Duration::from_millis(100));
    let taken = lab.snapshot_of(&repo, &lab.source());
    assert_eq!((taken.warnings.as_slice(), state(&taken)), (&[][..], DatabaseState::Pair));
    let back = restored(&lab, &repo, &taken);
    let there = &back.folder;
    assert!(fs::read(there.join(NAME)).unwrap() == torn);
    assert!(fs::read(there.join(format!("{NAME}-journal"))).unwrap() == journal);
    Outcome::Passed("the app rolls it back when it comes again".to_owned())
}
