//! Makes what `tests/reader/check_engine.py` compares: `tree FOLDER` builds the sample tree in `FOLDER/source`, and
//! `snapshot FOLDER NAME` takes a snapshot of `FOLDER/NAME` into `FOLDER/repository`, which opens with `FOLDER/password`,
//! with `FOLDER/recovery-key`, and with `FOLDER/second-password` and `FOLDER/key-file` together; the snapshot's id is
//! printed.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program with its own main"
)]

use chatvault_engine::backup::{self, BackupOptions};
use chatvault_engine::base::event::Silent;
use chatvault_engine::crypto::{Credential, KeyFile, RecoveryKey};
use chatvault_engine::repo::{Repo, Session};
use chatvault_engine::store::LocalStore;
use chatvault_tests::{Lab, sample};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const PASSWORD: &str = "correct horse, bätterie staple";
const SECOND_PASSWORD: &str = "with a key file";
const KEY_FILE: &[u8] = b"any file\r\n\0\xff";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tree", folder] => {
            let folder = Path::new(folder);
            sample::build(&folder.join("source"), &folder.join("outside"));
        }
        ["snapshot", folder, name] => println!("{}", snapshot(Path::new(folder), name)),
        _ => panic!("usage: sample_repository tree FOLDER | snapshot FOLDER NAME"),
    }
}

fn snapshot(folder: &Path, name: &str) -> String {
    let (lab, place) = (Lab::new(), folder.join("repository"));
    let session = Session { cache_dir: None, ..lab.session() };
    let password = Credential::password(PASSWORD);
    let repo = if place.exists() {
        Repo::open(Arc::new(LocalStore::open(&place).unwrap()), &password, session, &Silent).unwrap()
    } else {
        let key = RecoveryKey::random().unwrap();
        fs::write(folder.join("recovery-key"), key.print() + "\n").unwrap();
        fs::write(folder.join("password"), PASSWORD.to_owned() + "\n").unwrap();
        fs::write(folder.join("key-file"), KEY_FILE).unwrap();
        let file = KeyFile::read(KEY_FILE, "it").unwrap();
        let both = Credential::PasswordAndFile(SECOND_PASSWORD.as_bytes().to_vec().into(), file);
        fs::write(folder.join("second-password"), SECOND_PASSWORD).unwrap();
        let store = Arc::new(LocalStore::create(&place).unwrap());
        Repo::create(store, &[password, Credential::Recovery(key), both], session).unwrap()
    };
    let options = BackupOptions { paths: vec![folder.join(name)], ..BackupOptions::default() };
    backup::snapshot(&repo, &options, &Silent).unwrap().id.to_string()
}
