//! A small chat folder, and what three days do to it. The same bytes in every run.

use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use rusqlite::{Connection, params};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DATABASE: &str = "Databases/messages.db";
const CHATS: [&str; 3] = ["Ann", "Family", "Choir"];
const WORDS: [&str; 24] = [
    "hello", "tomorrow", "photo", "train", "late", "dinner", "good", "morning", "ticket", "where", "are",
    "you", "the", "concert", "was", "lovely", "see", "at", "eight", "bring", "bread", "thanks", "please",
    "call",
];
/// Messages before the first day.
const HISTORY: u64 = 1_500;
/// Messages of each later day.
const A_DAY: u64 = 25;

/// The folder.
#[derive(Debug)]
pub(super) struct ChatFolder {
    path: PathBuf,
    /// The end of the last day.
    now: SystemTime,
    messages: u64,
}

impl ChatFolder {
    /// Makes the folder as it is at the end of the first of three days, of which the last one ends at `now`. Returns
    /// what happened, in words.
    pub(super) fn make(path: &Path, now: SystemTime) -> Result<(Self, String)> {
        let mut folder = Self { path: path.to_owned(), now, messages: 0 };
        for name in ["Databases", "Media/Photos", "Media/Voice notes", "Media/Sent"] {
            let path = folder.path.join(name);
            fs::create_dir_all(&path).map_err(|cause| Failure::io("make the folder", shown(&path), cause))?;
        }
        folder.database()?.execute_batch(SCHEMA).map_err(|cause| folder.broken(cause))?;
        folder.receive(HISTORY, 1)?;
        for number in 0..4 {
            folder.write(&format!("Media/Photos/IMG-{number:03}.jpg"), &photo(number, 180_000), 0o644, 1)?;
        }
        for number in 0..3 {
            folder.write(
                &format!("Media/Voice notes/VOICE-{number:03}.ogg"),
                &voice_note(number, 40_000),
                0o600,
                1,
            )?;
        }
        // The same photo in a second chat: stored once.
        folder.write("Media/Sent/IMG-000.jpg", &photo(0, 180_000), 0o640, 1)?;
        let words = format!(
            "a database with {HISTORY} messages in {} chats, 4 photos, 3 voice notes, and one of the photos again in \
             another chat",
            CHATS.len()
        );
        Ok((folder, words))
    }

    /// The second day. Returns what happened, in words.
    pub(super) fn second_day(&mut self) -> Result<String> {
        self.receive(A_DAY, 2)?;
        self.rename("Media/Photos/IMG-001.jpg", "Media/Photos/Beach.jpg")?;
        self.write("Media/Photos/IMG-004.jpg", &photo(4, 220_000), 0o644, 2)?;
        Ok(format!("{A_DAY} messages and a photo came in, and one photo was renamed"))
    }

    /// The third day. Returns what happened, in words.
    pub(super) fn third_day(&mut self) -> Result<String> {
        self.receive(A_DAY, 3)?;
        let path = self.path.join("Media/Photos/IMG-002.jpg");
        fs::remove_file(&path).map_err(|cause| Failure::io("remove", shown(&path), cause))?;
        Ok(format!("{A_DAY} messages came in, and one photo was deleted"))
    }

    /// When a day ended: 1, 2 or 3.
    pub(super) fn end_of(&self, day: u64) -> SystemTime {
        self.now - Duration::from_secs(86_400 * 3_u64.saturating_sub(day))
    }

    /// New messages in the database.
    fn receive(&mut self, count: u64, day: u64) -> Result<()> {
        let first = self.messages;
        self.messages += count;
        let mut database = self.database()?;
        let insert = |database: &mut Connection| -> rusqlite::Result<()> {
            let transaction = database.transaction()?;
            for number in first..first + count {
                // SQLite's integers have a sign.
                let received = i64::try_from(number).unwrap_or(i64::MAX);
                let chat = received % 3 + 1;
                transaction.execute(
                    "INSERT INTO messages (chat, from_me, sent, text) VALUES (?1, ?2, ?3, ?4)",
                    params![chat, number.is_multiple_of(2), 1_700_000_000 + received * 977, sentence(number)],
                )?;
            }
            transaction.commit()
        };
        insert(&mut database).map_err(|cause| self.broken(cause))?;
        database.close().map_err(|(_, cause)| self.broken(cause))?;
        self.stamp(DATABASE, 0o600, day)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32, day: u64) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|cause| Failure::io("write", shown(&path), cause))?;
        self.stamp(name, mode, day)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let path = self.path.join(from);
        fs::rename(&path, self.path.join(to)).map_err(|cause| Failure::io("rename", shown(&path), cause))
    }

    /// Gives a file its permissions, and a time in the hour before the end of a day, down to the nanosecond.
    fn stamp(&self, name: &str, mode: u32, day: u64) -> Result<()> {
        let path = self.path.join(name);
        let odd = name.bytes().fold(0_u64, |sum, byte| sum * 31 % 3_599 + u64::from(byte));
        let time = self.end_of(day) - Duration::from_nanos(odd * 1_000_000_007 % 3_600_000_000_000);
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .and_then(|()| File::options().write(true).open(&path)?.set_modified(time))
            .map_err(|cause| Failure::io("set the time of", shown(&path), cause))
    }

    fn database(&self) -> Result<Connection> {
        Connection::open(self.path.join(DATABASE)).map_err(|cause| self.broken(cause))
    }

    fn broken(&self, cause: rusqlite::Error) -> Failure {
        let path = self.path.join(DATABASE);
        Failure::new(Condition::Failed, format!("Failed to write the database {}", shown(&path)))
            .because(cause)
    }
}

const SCHEMA: &str = "
    CREATE TABLE chats (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY, chat INTEGER NOT NULL REFERENCES chats, from_me INTEGER NOT NULL,
        sent INTEGER NOT NULL, text TEXT NOT NULL
    );
    CREATE INDEX messages_by_chat ON messages (chat, sent);
    INSERT INTO chats (name) VALUES ('Ann'), ('Family'), ('Choir');";

/// A message of some words.
fn sentence(number: u64) -> String {
    let mut numbers = Numbers(number);
    let length = 4 + numbers.below(9);
    let words: Vec<&str> =
        (0..length).filter_map(|_| WORDS.get(numbers.below(WORDS.len())).copied()).collect();
    words.join(" ")
}

/// Bytes that begin like a JPEG and, like one, cannot be compressed.
fn photo(number: u64, len: usize) -> Vec<u8> {
    media(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00", b"\xff\xd9", number, len)
}

/// Bytes that begin like an Ogg stream and, like one, cannot be compressed.
fn voice_note(number: u64, len: usize) -> Vec<u8> {
    media(b"OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00", b"", number + 1_000, len)
}

fn media(head: &[u8], tail: &[u8], seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = head.to_vec();
    let mut numbers = Numbers(seed);
    while bytes.len() < len {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.extend_from_slice(tail);
    bytes
}

/// A sequence of numbers without a pattern, from a seed.
///
/// Source of the algorithm: `SplitMix64` (Steele, Lea, Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or_default()
    }
}
