//! Profiles as people write them, with their mistakes.

use super::*;
use crate::exit::Condition;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The profile `phone` of a file with this text.
fn load_text(text: &str) -> Result<Profile> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NAME), text).unwrap();
    load(folder.path(), "phone", &[("HOME", "/home/ann")].into())
}

#[track_caller]
fn refused(text: &str, line: usize, words: &[&str]) -> Failure {
    let failure = load_text(text).unwrap_err();
    assert_eq!(failure.condition(), Condition::Usage);
    let told = format!("{} {}", failure.message(), failure.hint().unwrap_or_default());
    assert!(told.contains(&format!(", line {line}:")), "{told}");
    for word in words {
        assert!(told.contains(word), "`{word}` is not in {told}");
    }
    failure
}

#[test]
fn everything_that_a_profile_can_say_is_read() {
    let text = r#"
        [other]
        [phone]
        repository = "/media/usb/chats"
        password-command = "pass chats"
        key-file = "~/second factor"
        cache-dir = "~"
        compression = 19

        [phone.snapshot]
        paths = ["~/WhatsApp", "/sdcard"]
        exclude = "*.tmp"
        iexclude = ["*.BAK", "x"]
        exclude-file = "~/excludes"
        exclude-if-present = ".nobackup"
        exclude-larger-than = "2G"
        exclude-caches = true
        one-file-system = true
        no-videos = true
        tag = ["daily", "phone"]
        host = "pixel"
        description = "every night"
    "#;
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let wanted = Profile {
        repository: Some("/media/usb/chats".into()),
        password_command: Some("pass chats".into()),
        key_file: Some("/home/ann/second factor".into()),
        cache_dir: Some("/home/ann".into()),
        compression: Some(19),
        snapshot: SnapshotProfile {
            paths: vec!["/home/ann/WhatsApp".into(), "/sdcard".into()],
            exclude: texts(&["*.tmp"]),
            iexclude: texts(&["*.BAK", "x"]),
            exclude_file: vec!["/home/ann/excludes".into()],
            exclude_if_present: texts(&[".nobackup"]),
            exclude_larger_than: Some("2G".into()),
            exclude_caches: true,
            one_file_system: true,
            no_videos: true,
            tag: texts(&["daily", "phone"]),
            host: Some("pixel".into()),
            description: Some("every night".into()),
        },
        ..Profile::default()
    };
    assert_eq!(load_text(text).unwrap(), wanted);
    let files = "[phone]\npassword-file = \"~/pw\"\n";
    assert_eq!(load_text(files).unwrap().password_file, Some("/home/ann/pw".into()));
    assert_eq!(load_text("[phone]\n").unwrap(), Profile::default());
    // Each name that is known is one that is read.
    assert!(
        KEYS.iter()
            .chain(&SNAPSHOT_KEYS)
            .all(|key| text.contains(key) || files.contains(key) || *key == "recovery-key-file")
    );
}

#[test]
fn unknown_settings_are_refused_with_their_line_and_the_known_ones() {
    refused("[phone]\n\nrepo = \"/x\"\n", 3, &["`repo`", "repository, password-file"]);
    refused("[phone]\n[phone.snapshot]\nexclud = []\n", 3, &["`exclud`", "paths, exclude,"]);
    refused("[other]\nx = 1\n[phone]\n", 2, &["`x`"]);
    refused("repository = \"/x\"\n", 1, &["outside of a profile"]);
}

#[test]
fn secrets_are_refused_and_never_shown() {
    for (text, line) in [
        ("[phone]\npassword = \"hunter2\"\n", 2),
        ("[phone]\nPassword = \"hunter2\"\n", 2),
        ("[phone]\nrecovery-key = \"hunter2\"\n", 2),
        ("[phone.snapshot]\npassword = \"hunter2\"\n", 2),
        ("[phone]\ncompression = \"hunter2\"\n", 2),
        ("[phone]\npassword = hunter2\n", 2),
        ("[phone]\nrepository = \"/x\"\npassword-file = hunter2\n", 3),
    ] {
        let failure = refused(text, line, &[]);
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
    refused("[phone]\npassword = \"x\"\n", 2, &["password-file", "password-command"]);
    refused("[phone]\npassword-command = \"x\"\nrecovery-key-file = \"/x\"\n", 3, &["more than one secret"]);
}

#[test]
fn values_of_another_type_and_relative_paths_are_refused() {
    refused("[phone]\ncompression = 20\n", 2, &["1 to 19"]);
    refused("[phone]\nrepository = \"chats\"\n", 2, &["whole path", "~/"]);
    refused("[phone]\nrepository = \"~bob/chats\"\n", 2, &["whole path"]);
    refused("[phone]\nsnapshot = 1\n", 2, &["table"]);
    refused("[phone.snapshot]\npaths = [1]\n", 2, &["list"]);
    refused("[phone.snapshot]\nno-videos = \"yes\"\n", 2, &["true or false"]);
    refused("[phone.snapshot]\ntag = \"a,b\"\n", 2, &["comma"]);
    refused("[phone\n", 1, &[]);
}

#[test]
fn a_missing_file_or_profile_and_one_that_others_can_change_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("HOME", "/home/ann")].into();
    let told = |name: &str| {
        let failure = load(folder.path(), name, &environment).unwrap_err();
        assert_eq!(failure.condition(), Condition::Usage);
        format!("{} {}", failure.message(), failure.hint().unwrap())
    };
    assert!(told("phone").contains("[phone]"));
    let path = folder.path().join(NAME);
    fs::write(&path, "[one]\n[two]\n").unwrap();
    assert!(told("phone").contains("`one`, `two`"));
    load(folder.path(), "two", &environment).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(told("two").contains("others can change it"));
}
