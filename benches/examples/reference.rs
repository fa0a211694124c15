//! What `benches/figures` runs beside the program: reading and hashing a file (`hash FILE`), and SQLite's own quick check of
//! a database (`quick-check FILE`), with the same libraries as the program.
#![allow(clippy::print_stdout, reason = "a program of its own")]

use rusqlite::{Connection, OpenFlags};
use std::error::Error;
use std::fs::File;
use std::io::Read;

/// Bytes that are read at a time.
const STEP: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["hash", file] => {
            let mut file = File::open(file)?;
            let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; STEP]);
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    count => hasher.update(buffer.get(..count).unwrap_or_default()),
                };
            }
            println!("{}", hasher.finalize());
        }
        ["quick-check", file] => {
            let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let found: String = db.query_row("PRAGMA quick_check", (), |row| row.get(0))?;
            println!("{found}");
        }
        _ => return Err("usage: reference hash|quick-check FILE".into()),
    }
    Ok(())
}
