//! Damage is found; and no database, however it came about, makes a check crash or run on.

use super::tests::{
    PLAIN, Shape, USUAL, VIRTUAL, check, fails, image, image_of, page_of, page_size, plain_check, reworded,
    sound,
};
use super::*;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn bytes(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.roll(256) as u8);
    }
}

/// What can go wrong with a page.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Some bytes of it are noise.
    Noise,
    /// It was never written.
    Zeros,
    /// Another page was written in its place.
    Misplaced,
    /// It is as it was some transactions ago.
    Stale,
}

fn harmed(image: &[u8], older: &[u8], harm: Harm, dice: &mut Dice) -> Vec<u8> {
    let (size, mut harmed) = (page_size(image), image.to_vec());
    let pages = image.len().min(older.len()) / size;
    while harmed == image {
        let page = dice.roll(pages - 1) + 1;
        let place = page * size..(page + 1) * size;
        match harm {
            Harm::Noise => {
                let at = place.start + dice.roll(size - 16);
                dice.bytes(&mut harmed[at..at + 16]);
            }
            Harm::Zeros => harmed[place].fill(0),
            Harm::Misplaced => {
                let other = (dice.roll(pages - 1) + 1) * size;
                harmed[place].copy_from_slice(&image[other..other + size]);
            }
            Harm::Stale => harmed[place.clone()].copy_from_slice(&older[place]),
        }
    }
    harmed
}

/// Messages as a chat app keeps them, and some days more of them.
const MESSAGES: &str = "
    CREATE TABLE message (id INTEGER PRIMARY KEY, chat INTEGER NOT NULL, key TEXT NOT NULL, time INTEGER, body TEXT);
    CREATE UNIQUE INDEX message_by_key ON message (chat, key);
    CREATE INDEX message_by_time ON message (chat, time);
    CREATE TABLE thumbnail (message INTEGER PRIMARY KEY, picture BLOB);
    CREATE VIRTUAL TABLE message_words USING fts4(body);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO message
        SELECT i, i * i % 37, hex(i * 7919), 1500000000 + i * 60, 'some words ' || hex(i * i) || ' and more' FROM n;
    INSERT INTO thumbnail SELECT id, randomblob(5000) FROM message WHERE id % 40 = 0;
    INSERT INTO message_words SELECT body FROM message;";
const MORE_MESSAGES: &str = "
    INSERT INTO message SELECT id + 2000, chat, key || 'x', time + 200000, body FROM message WHERE id < 600;
    UPDATE message SET body = body || ' (edited)' WHERE id % 50 = 0;
    DELETE FROM message WHERE id % 90 = 0;";

/// Of a hundred damages of each kind, how many are found. What is in the middle of a text, a picture or a free page is
/// nothing that a database could know.
#[test]
fn most_damage_of_pages_is_found() {
    let (older, image) = (image(&[MESSAGES]), image(&[MESSAGES, MORE_MESSAGES]));
    let mut dice = Dice(42);
    for (harm, least_quick, least_full) in
        [(Harm::Noise, 20, 25), (Harm::Zeros, 50, 50), (Harm::Misplaced, 50, 50), (Harm::Stale, 30, 30)]
    {
        let (mut quick, mut full, mut odd) = (0_usize, 0_usize, 0_usize);
        for _ in 0..100 {
            let harmed = harmed(&image, &older, harm, &mut dice);
            let found = [Integrity::Quick, Integrity::Full].map(|which| match check(&harmed, which) {
                Verdict::Failed(_) => true,
                Verdict::Sound { left_out, odd_values } => {
                    assert!(left_out.is_empty(), "{harm:?}: {left_out:?}");
                    odd += usize::from(which == Integrity::Quick && !odd_values.is_empty());
                    false
                }
                verdict @ Verdict::NotChecked(_) => panic!("{harm:?}: {verdict:?}"),
            });
            assert!(found[1] || !found[0], "{harm:?}: the full check found less");
            quick += usize::from(found[0]);
            full += usize::from(found[1]);
        }
        // The numbers of `docs/sqlite-integrity.md`.
        println!("{harm:?}: quick {quick} of 100, full {full}");
        assert_eq!(odd, 0, "{harm:?}: damages that show in odd values alone");
        assert!(quick >= least_quick && full >= least_full, "{harm:?}: {quick} and {full} of 100");
    }
}

/// Two thousand mutants of a small database: each gets a verdict. What changes no more than a value is sound.
#[test]
fn no_mutant_crashes_or_holds_up_a_check() {
    let shapes = [(512, 0), (512, 2), (1024, 0)].map(|(page_size, auto_vacuum)| {
        let tables = [
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL, c AS (abs(a)) NOT NULL, d BLOB); \
             CREATE INDEX i ON t (b, d); CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID; \
             CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIRTUAL TABLE g USING fts4(x); CREATE TABLE z (y); \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) \
             INSERT INTO t SELECT i, 'b' || i, zeroblob(i * i) FROM n; INSERT INTO w SELECT b, a FROM t; \
             INSERT INTO f SELECT b FROM t; INSERT INTO g SELECT b FROM t; INSERT INTO z SELECT hex(d) FROM t; \
             DELETE FROM z WHERE rowid < 30;",
        ];
        image_of(Shape { page_size, auto_vacuum, ..USUAL }, &tables)
    });
    let (mut dice, mut counts) = (Dice(7), [0; 3]);
    for number in 0..2000 {
        let mut mutant = shapes[number % shapes.len()].clone();
        let size = page_size(&mutant);
        for _ in 0..=dice.roll(6) {
            let page = dice.roll(mutant.len() / size) * size;
            // Headers of the file and of pages more often than chance would have it.
            let at = match dice.roll(4) {
                0 => dice.roll(200),
                1 | 2 => page + dice.roll(24),
                _ => dice.roll(mutant.len()),
            };
            mutant[at] =
                if dice.roll(2) == 0 { [0, 1, 0x7f, 0x80, 0xff][dice.roll(5)] } else { dice.roll(256) as u8 };
        }
        if dice.roll(10) == 0 {
            mutant.truncate(dice.roll(mutant.len()));
        }
        let which = if number % 2 == 0 { Integrity::Quick } else { Integrity::Full };
        counts[match check(&mutant, which) {
            Verdict::Sound { .. } => 0,
            Verdict::Failed(_) => 1,
            Verdict::NotChecked(why) => {
                let known = ["plain SQLite database", "newer SQLite", "unsupported file format"];
                assert!(known.iter().any(|known| why.contains(known)), "mutant {number}: {why}");
                2
            }
        }] += 1;
    }
    assert!(counts.iter().zip([500, 700, 20]).all(|(count, least)| *count > least), "{counts:?}");
}

#[test]
fn broken_b_trees_and_false_claims_are_damage() {
    for tables in [&[PLAIN][..], &[PLAIN, VIRTUAL]] {
        let image = image(tables);
        let with = |at: usize, bytes: &[u8]| {
            let mut image = image.clone();
            image[at..at + bytes.len()].copy_from_slice(bytes);
            image
        };
        let root = page_of(&image, "chat", "internal");
        let number = (root / 4096 + 1) as u32;
        let leaf = page_of(&image, "chat", "leaf");
        let first_cell = leaf + usize::from(u16::from_be_bytes([image[leaf + 8], image[leaf + 9]]));
        let trunk = u32::from_be_bytes(image[32..36].try_into().unwrap());
        let cases = [
            (
                "2nd reference to page",
                "a b-tree that is its own child",
                with(root + 8, &number.to_be_bytes()),
            ),
            (
                "Extends off end of page",
                "a number of nine bytes as the length of a cell",
                with(first_cell, &[0xff; 9]),
            ),
            (
                "Extends off end of page",
                "a length of two billion",
                with(first_cell, &[0x87, 0xff, 0xff, 0xff, 0x7f]),
            ),
            ("database disk image is malformed", "pages of 64 KiB", with(16, &[0, 1])),
            (
                "database disk image is malformed",
                "pages that are not there",
                with(28, &u32::MAX.to_be_bytes()),
            ),
            (
                "Freelist: 2nd reference to page",
                "a free page that follows itself",
                with((trunk as usize - 1) * 4096, &trunk.to_be_bytes()),
            ),
            ("but should be 4294967295", "four billion free pages", with(36, &u32::MAX.to_be_bytes())),
            ("btreeInitPage() returns error", "more cells than fit", with(leaf + 3, &[0xff, 0xff])),
            (
                "database disk image is malformed",
                "half of the file",
                image[..image.len() / 8192 * 4096].to_vec(),
            ),
        ];
        for (says, what, image) in cases {
            let found = fails(&image);
            assert!(found.contains(says), "{what}: {found}");
        }
    }
}

/// An expression that runs for hours or for ever is never begun: it is no damage, and the pages are checked all the same.
#[test]
fn expressions_of_a_hostile_schema_are_never_run() {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let slow = "instr(zeroblob(60000000), CAST(zeroblob(30000000) || x''01'' AS BLOB))";
    let pattern =
        "replace(hex(zeroblob(20)), ''0'', ''a'') LIKE replace(hex(zeroblob(20)), ''0'', ''%a'') || ''b''";
    let view =
        format!("CREATE VIEW v AS {endless}; CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN {endless}; END;");
    let image = image(&[PLAIN, &view]);
    assert_eq!(check(&image, Integrity::Full), sound());
    for expression in [slow, pattern] {
        let column = format!(
            "UPDATE sqlite_schema SET sql = replace(sql, 'a * 2', '{expression}') WHERE name = 'sum';"
        );
        // The innermost function comes first.
        let left_out = vec!["the values of the table sum: it needs the function zeroblob".to_owned()];
        let verdict = check(&reworded(&image, &column), Integrity::Quick);
        assert_eq!(verdict, Verdict::Sound { left_out, odd_values: Vec::new() });
    }
}

#[test]
fn damage_inside_a_full_text_index_is_left_to_the_app() {
    let image = image(&[PLAIN, VIRTUAL]);
    for (index, column) in
        [("words3_segments", "block"), ("words4_segments", "block"), ("words5_data", "block")]
    {
        let harm = format!("UPDATE {index} SET {column} = randomblob(length({column}));");
        let harmed = reworded(&image, &harm);
        // There is something to be found.
        let plain = plain_check(&harmed);
        assert!(plain.contains("malformed inverted index"), "{index}: {plain}");
        assert_eq!(check(&harmed, Integrity::Quick), sound(), "{index}");
        assert_eq!(check(&harmed, Integrity::Full), sound(), "{index}");
    }
}

#[test]
fn absurd_schemas_end_in_a_verdict() {
    let image = image(&[PLAIN]);
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) \
                INSERT INTO sqlite_schema SELECT 'table', 't' || i, 't' || i, 2, 'CREATE TABLE t' || i || ' (a, b)' FROM n;";
    // Each of them has all pages of the largest.
    let verdict = check(&reworded(&image, many), Integrity::Quick);
    assert!(
        matches!(verdict, Verdict::Failed(_))
            || verdict == Verdict::NotChecked("it took too long".to_owned())
    );
    let deep = format!("(x TEXT CHECK ({}x{}))", "(".repeat(4000), ")".repeat(4000));
    let wide = format!("({}x)", (0..2500).map(|n| format!("x{n},")).collect::<String>());
    let long = format!("(x TEXT /*{}*/)", "x".repeat(5 << 20));
    for columns in [deep, wide, long] {
        let sql = format!(
            "UPDATE sqlite_schema SET sql = replace(sql, '(x TEXT)', '{columns}') WHERE name = 'gone';"
        );
        let verdict = check(&reworded(&image, &sql), Integrity::Quick);
        assert!(!matches!(verdict, Verdict::Sound { .. }), "{verdict:?}");
    }
    let control = "UPDATE sqlite_schema SET name = name || char(27) || '[31m' || char(8238), rootpage = 99999 WHERE name = 'gone';";
    let found = fails(&reworded(&image, control));
    assert!(!found.contains(['\u{1b}', '\u{202e}']), "{found}");
}
