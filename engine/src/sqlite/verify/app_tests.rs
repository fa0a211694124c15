//! What only an app knows (its tokenizers, orders, functions, modules) does not make its database look damaged, and does
//! not hide damage.

use super::tests::{
    PLAIN, USUAL, VIRTUAL, check, fails, image, image_of, page_of, plain_check, plainly, reworded, sound,
};
use super::*;

/// Damages a leaf of a table.
fn broken(image: &[u8], table: &str) -> Vec<u8> {
    let (mut broken, page) = (image.to_vec(), page_of(image, table, "leaf"));
    // Where its first cells are.
    broken[page + 8..page + 14].fill(0xff);
    broken
}

/// The description of an object with some words in place of others.
fn words(name: &str, old: &str, new: &str) -> String {
    format!("UPDATE sqlite_schema SET sql = replace(sql, '{old}', '{new}') WHERE name = '{name}';")
}

fn left_out(what: &[&str]) -> Verdict {
    Verdict::Sound { left_out: texts(what), odd_values: Vec::new() }
}

fn odd(what: &[&str]) -> Verdict {
    Verdict::Sound { left_out: Vec::new(), odd_values: texts(what) }
}

fn texts(what: &[&str]) -> Vec<String> {
    what.iter().map(|&what| what.to_owned()).collect()
}

struct App<'a> {
    tables: &'a [&'a str],
    words: String,
    /// What a plain quick check says: proof that there is something to get wrong.
    plainly: &'a str,
    quick: &'a [&'a str],
    full: &'a [&'a str],
}

fn apps() -> Vec<App<'static>> {
    let both = &[PLAIN, VIRTUAL][..];
    let app = |tables, words, plainly, quick, full| App { tables, words, plainly, quick, full };
    vec![
        app(both, words("words4", "tokenize=simple", "tokenize=mmicu"), "unknown tokenizer: mmicu", &[], &[]),
        app(both, words("words5", "(body)", "(body, tokenize = ''their_own'')"), "SQL logic error", &[], &[]),
        app(both, words("words3", "fts3(", "their_module("), "ok", &[], &[]),
        app(
            both,
            words("chat_by_name", "NOCASE", "LOCALIZED"),
            "no such collation sequence: LOCALIZED",
            &[],
            &["the indexes of the table chat: no such collation sequence: LOCALIZED"],
        ),
        app(
            &[PLAIN],
            words("chat_by_name", "NOCASE", "LOCALIZED")
                + &words("pair", "a TEXT", "a TEXT COLLATE \"PHONE BOOK\""),
            "no such collation sequence: ",
            &[],
            &[
                "the indexes of the table chat: no such collation sequence: LOCALIZED",
                "the indexes of the table pair: no such collation sequence: PHONE BOOK",
            ],
        ),
        app(
            &[PLAIN],
            words("sum", "b INTEGER,", "b INTEGER CHECK (their_check(b) AND b > 1000000),"),
            "unknown function: their_check()",
            &[],
            &[],
        ),
        app(
            &[PLAIN],
            words("sum", "a * 2", "their_double(a)"),
            "unknown function: their_double()",
            &["the values of the table sum: it needs the function their_double"],
            &[
                "the indexes of the table sum: it needs the function their_double",
                "the values of the table sum: it needs the function their_double",
            ],
        ),
        app(
            &[PLAIN],
            words("some_chats", "score > 10", "their_choice(score)"),
            "ok",
            &[],
            &["the indexes of the table chat: it needs the function their_choice"],
        ),
        app(
            both,
            words("names", "SELECT name", "SELECT their_name(name)") + &words("renamed", "gone", "nowhere"),
            "ok",
            &[],
            &[],
        ),
    ]
}

#[test]
fn what_only_the_app_knows_is_no_damage_and_hides_none() {
    for App { tables, words, plainly, quick, full } in apps() {
        let image = reworded(&image(tables), &words);
        let plain = plain_check(&image);
        assert!(plain.contains(plainly), "{words}: {plain}");
        assert_eq!(check(&image, Integrity::Quick), left_out(quick), "{words}");
        assert_eq!(check(&image, Integrity::Full), left_out(full), "{words}");
        for table in ["chat", "pair", "sum", "gone"] {
            let found = fails(&broken(&image, table));
            assert!(found.contains(" page ") || found.contains("malformed"), "{words} {table}: {found}");
        }
    }
}

#[test]
fn an_order_of_the_app_is_stood_in_for_in_utf_16_too() {
    let wide = image_of(USUAL, &["PRAGMA encoding = 'UTF-16le';", PLAIN]);
    assert_eq!(wide[59], 2, "the encoding");
    let image = reworded(&wide, &words("chat_by_name", "NOCASE", "LOCALIZED"));
    assert!(plain_check(&image).contains("no such collation sequence"));
    assert_eq!(check(&image, Integrity::Quick), sound());
    fails(&broken(&image, "chat_by_name"));
}

/// A plain check misses lost pages if it comes upon a view first (SQLite 3.54.1).
#[test]
fn a_page_of_two_tables_and_one_of_none_are_found_whatever_else_there_is() {
    let drop_view = "DROP TRIGGER renamed; DROP VIEW names;";
    for (tables, says) in [(&[PLAIN, drop_view][..], "never used"), (&[PLAIN], "ok"), (&[PLAIN, VIRTUAL], "")]
    {
        let image = image(tables);
        assert_eq!(check(&image, Integrity::Full), sound());
        let twice = "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'words') \
                     WHERE name = 'more_words';";
        let (_, two) = plainly(&image, |connection| {
            let same = "CREATE TABLE words (a); INSERT INTO words VALUES (1); CREATE TABLE more_words (a);";
            connection.execute_batch(same).unwrap();
        });
        let found = fails(&reworded(&two, twice));
        assert!(found.contains("2nd reference") || found.contains("is used twice"), "{found}");

        let pages = (image.len() / 4096) as u32;
        let mut lost = image;
        lost.resize(lost.len() + 4096, 0);
        lost[28..32].copy_from_slice(&(pages + 1).to_be_bytes());
        assert!(plain_check(&lost).contains(says), "{}", plain_check(&lost));
        let found = fails(&lost);
        assert!(
            found == format!("of {} pages, {pages} are in use or free", pages + 1)
                || found.ends_with("never used")
        );
    }
}

/// As a newer SQLite has written it.
fn newer(image: &[u8]) -> Vec<u8> {
    let mut newer = image.to_vec();
    newer[96..100].copy_from_slice(&9_000_000_u32.to_be_bytes());
    newer
}

#[test]
fn words_of_a_newer_sqlite_are_no_damage_but_those_of_ours_are() {
    let odd = reworded(&image(&[PLAIN]), &words("gone", "(x TEXT)", "(x TEXT SORTED SOMEHOW (x))"));
    assert!(fails(&odd).starts_with("malformed database schema (gone)"));
    for which in [Integrity::Quick, Integrity::Full] {
        match check(&newer(&odd), which) {
            Verdict::NotChecked(why) => {
                assert!(why.starts_with("it was written by a newer SQLite"), "{why}");
                assert!(why.contains("near \"x\""), "{why}");
            }
            verdict => panic!("{verdict:?}"),
        }
    }
}

#[test]
fn words_of_a_newer_sqlite_hide_no_damage() {
    let odd = |sql: &str| newer(&reworded(&image(&[PLAIN]), sql));
    let unknown = words("gone", "(x TEXT)", "(x TEXT SORTED SOMEHOW (x))");
    // Elsewhere in the file.
    for table in ["chat", "pair", "sum"] {
        let found = fails(&newer(&reworded(&broken(&image(&[PLAIN]), table), &unknown)));
        assert!(found.contains(" page ") || found.contains("malformed"), "{table}: {found}");
    }
    // In what describes it.
    for sql in [
        "UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'gone'",
        "UPDATE sqlite_schema SET sql = 'no description' WHERE name = 'gone'",
        "UPDATE sqlite_schema SET sql = NULL WHERE name = 'gone'",
        "UPDATE sqlite_schema SET name = 'pair' WHERE name = 'gone'",
        "UPDATE sqlite_schema SET sql = replace(sql, 'TEXT', char(3) || 'EXT') WHERE name = 'gone'",
        "UPDATE sqlite_schema SET sql = replace(sql, 'TEXT', CAST(x'e5282954' AS TEXT)) WHERE name = 'gone'",
    ] {
        fails(&odd(sql));
    }
}

/// The same text in table and index, with another letter in the first row of a leaf of the index.
fn with_an_odd_index(image: &[u8]) -> Vec<u8> {
    let (mut odd, page) = (image.to_vec(), page_of(image, "chat_by_name", "leaf"));
    let cell = page + usize::from(u16::from_be_bytes([odd[page + 8], odd[page + 9]]));
    let at = cell + odd[cell..cell + 20].windows(5).position(|bytes| bytes == b"name ").unwrap();
    odd[at] = b'm';
    odd
}

#[test]
fn an_index_that_lacks_a_row_is_found_by_the_full_check_alone() {
    for tables in [&[PLAIN][..], &[PLAIN, VIRTUAL]] {
        let image = image(tables);
        let odd = with_an_odd_index(&image);
        assert_eq!(check(&odd, Integrity::Quick), sound());
        match check(&odd, Integrity::Full) {
            Verdict::Failed(found) => assert!(found[0].contains("chat_by_name"), "{found:?}"),
            verdict => panic!("{verdict:?}"),
        }
    }
}

/// Apps change the description of a table after values were put in, or have an order of their own.
#[test]
fn values_that_a_table_does_not_allow_are_told_and_are_no_damage() {
    let image = image(&[PLAIN, VIRTUAL]);
    let few = |sql: &str, old: &str, new: &str| {
        let (_, image) = plainly(&image, |connection| connection.execute_batch(sql).unwrap());
        reworded(&image, &words("few", old, new))
    };
    for (told, sql, old, new) in [
        ("NULL value in few.v", "CREATE TABLE few (v); INSERT INTO few VALUES (NULL);", "v)", "v NOT NULL)"),
        ("NUMERIC value in few.v", "CREATE TABLE few (v); INSERT INTO few VALUES (7);", "v)", "v TEXT)"),
        ("TEXT value in few.v", "CREATE TABLE few (v); INSERT INTO few VALUES ('7');", "v)", "v INTEGER)"),
        (
            "non-INT value in few.v",
            "CREATE TABLE few (v TEXT) STRICT; INSERT INTO few VALUES ('x');",
            "TEXT",
            "INT",
        ),
    ] {
        assert_eq!(check(&few(sql, "", ""), Integrity::Quick), sound(), "before it was reworded: {told}");
        let image = few(sql, old, new);
        assert_eq!(plain_check(&image), told);
        for which in [Integrity::Quick, Integrity::Full] {
            assert_eq!(check(&image, which), odd(&[told]), "{which:?}");
        }
        // Beside real damage they do not matter.
        let found = fails(&broken(&image, "chat"));
        assert!(!found.contains(" value in "), "{found}");
    }
    // A rule of the app's, which says nothing of the file.
    let rule = few("CREATE TABLE few (v); INSERT INTO few VALUES (7);", "v)", "v CHECK (v < 1))");
    assert_eq!(plain_check(&rule), "CHECK constraint failed in few");
    assert_eq!(check(&rule, Integrity::Full), sound());
    // A key that is there twice: only a full check compares keys.
    let twice = few(
        "CREATE TABLE fews (v); INSERT INTO fews VALUES (7), (7); CREATE INDEX few ON fews (v);",
        "CREATE INDEX",
        "CREATE UNIQUE INDEX",
    );
    assert_eq!(check(&twice, Integrity::Quick), sound());
    assert_eq!(check(&twice, Integrity::Full), odd(&["non-unique entry in index few"]));
}

/// SQLite ends a question after a hundred findings.
#[test]
fn many_odd_values_hide_no_damage() {
    let many = "CREATE TABLE many (x TEXT); INSERT INTO many SELECT NULL FROM chat;";
    // Asked about as a whole, and table by table.
    for drop_view in ["DROP TRIGGER renamed; DROP VIEW names;", ""] {
        let image = reworded(&image(&[PLAIN, many, drop_view]), &words("many", "x TEXT", "x TEXT NOT NULL"));
        let left_out = vec!["the table many behind its first 100 values that are odd".to_owned()];
        let odd_values = vec!["NULL value in many.x".to_owned()];
        assert_eq!(check(&image, Integrity::Quick), Verdict::Sound { left_out, odd_values });
        let odd = with_an_odd_index(&image);
        match check(&odd, Integrity::Full) {
            Verdict::Failed(found) => assert!(found[0].contains("chat_by_name"), "{found:?}"),
            verdict => panic!("{verdict:?}"),
        }
    }
}

/// How often SQLite is asked, if it finds the database sound.
fn questions(image: &[u8], full: bool) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = PrivateCopy::new_in(dir.path());
    copy.write_all(image).unwrap();
    let open = copy.state.unwrap();
    let (verdict, questions) = checker::check(*open.connections, &open.file, full, &tests::limits());
    assert_eq!(verdict, sound());
    questions
}

/// SQLite goes through the whole schema for each question about a single table.
#[test]
fn the_number_of_questions_does_not_grow_with_the_number_of_tables() {
    let tables = |count: u32| -> String {
        (0..count)
            .map(|n| format!("CREATE TABLE t{n} (a INTEGER PRIMARY KEY, b); CREATE INDEX i{n} ON t{n} (b);"))
            .collect()
    };
    let view = "CREATE VIEW v AS SELECT 1;";
    let unknown =
        words("words4", "tokenize=simple", "tokenize=mmicu") + &words("words3", "fts3(", "their_module(");
    for (beside, rewording, most) in [
        (&["", ""][..], "", 1),
        (&[PLAIN, view], "", 2),
        (&[PLAIN, VIRTUAL], "", 2),
        (&[PLAIN, VIRTUAL], unknown.as_str(), 2),
    ] {
        for full in [false, true] {
            let asked = [3, 300].map(|count| {
                let (tables, mut sql) = (tables(count), beside.to_vec());
                sql.push(&tables);
                let asked = questions(&reworded(&image(&sql), rewording), full);
                // Whichever SQLite comes upon first.
                sql.rotate_right(1);
                assert_eq!(questions(&reworded(&image(&sql), rewording), full), asked);
                asked
            });
            assert!(asked[0] == asked[1] && asked[1] <= most, "{asked:?}");
        }
    }
}
