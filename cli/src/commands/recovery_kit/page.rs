//! The page: plain text, for paper.

use crate::output::error::{Failure, Result};
use chatvault_engine::base::path::clean;
use chatvault_engine::base::{Error, Kind, RepoId};
use chatvault_engine::crypto::RecoveryKey;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

/// Widest line: what a printer puts on a line of plain text without cutting it.
const WIDTH: usize = 72;

/// What stands on the page.
pub(super) struct Page<'a> {
    /// The key.
    pub(super) key: &'a RecoveryKey,
    /// The repository.
    pub(super) id: RepoId,
    /// Where it is.
    pub(super) location: &'a str,
    /// The format of the repository.
    pub(super) format: String,
    /// The day, as text.
    pub(super) date: String,
    /// The machine.
    pub(super) host: &'a str,
}

impl Page<'_> {
    /// The page as text, with a line break at its end.
    pub(super) fn text(&self) -> Result<Zeroizing<String>> {
        Ok(Zeroizing::new(format!(
            "\
CHATVAULT RECOVERY KIT

This page opens a chatvault repository: the encrypted store of the
snapshots of your chats. Whoever has this page and the repository can
read everything in it. Keep the page on paper, away from the computer
and from the disk with the repository. Without this key, or a password,
nobody can open the repository, not even the makers of chatvault.

Repository:
{location}
Repository id:
    {id}
Computer:
{host}
Created {date} by chatvault {version}, repository format {format}
{project}

RECOVERY KEY

{key}

After `cv1-` it has only the characters 0-9 and a-f. The last group is a
check: a mistyped character is noticed, and no harm is done. The code
below holds the same key: scan it with a phone instead of typing.

{code}

HOW TO GET EVERYTHING BACK ON A NEW COMPUTER

1. Install chatvault {version} from
       {project}
   Until release 1.0.0 a newer version may refuse this repository: keep
   a copy of the program beside the repository.
2. Connect the disk with the repository, or copy its folder to the new
   computer. REPOSITORY below stands for the path of that folder.
3. Type the recovery key into a text file, here key.txt. Spaces, line
   breaks and capital letters do not matter.
4. Check what you typed:
       chatvault -r REPOSITORY recovery-kit --verify key.txt
5. Look at the snapshots:
       chatvault -r REPOSITORY --recovery-key-file key.txt list
6. Restore the last one into a new folder:
       chatvault -r REPOSITORY --recovery-key-file key.txt \\
           restore latest --target restored
",
            location = wrapped(self.location),
            host = wrapped(&clean(self.host.as_bytes())),
            id = self.id,
            date = self.date,
            version = env!("CARGO_PKG_VERSION"),
            format = self.format,
            project = env!("CARGO_PKG_REPOSITORY"),
            key = *in_lines(self.key),
            code = *code(self.key)?,
        )))
    }
}

/// A text in indented lines that are not too wide.
fn wrapped(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let lines: Vec<String> =
        letters.chunks(WIDTH - 4).map(|line| format!("    {}", line.iter().collect::<String>())).collect();
    lines.join("\n")
}

/// The key as a QR code, dark on light as paper is. Capital letters make it a third smaller, and do not matter.
fn code(key: &RecoveryKey) -> Result<Zeroizing<String>> {
    let text = Zeroizing::new(key.print().to_uppercase());
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M)
        .map_err(|error| Failure::from(Error::new(Kind::Internal, "draw", "the QR code").because(error)))?;
    let mut renderer = code.render::<Dense1x2>();
    renderer.dark_color(Dense1x2::Dark).light_color(Dense1x2::Light);
    let drawn = Zeroizing::new(renderer.build());
    let lines: Vec<&str> = drawn.lines().map(str::trim_end).collect();
    Ok(Zeroizing::new(lines.join("\n").trim_matches('\n').to_owned()))
}

/// The key in lines of six groups.
fn in_lines(key: &RecoveryKey) -> Zeroizing<String> {
    let printed = Zeroizing::new(key.print());
    let mut lines = Zeroizing::new(String::with_capacity(printed.len() * 2));
    for (at, group) in printed.split('-').enumerate() {
        match at {
            0 => lines.push_str("    "),
            _ if at % 6 == 0 => lines.push_str("-\n    "),
            _ => lines.push('-'),
        }
        lines.push_str(group);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::secret::read_recovery_key;

    fn page(key: &RecoveryKey) -> Zeroizing<String> {
        let location = format!("/media/{}", "long/".repeat(40));
        Page {
            key,
            id: RepoId::new([7; 32]),
            location: &location,
            format: "1-draft.9".into(),
            date: "2026-11-20".into(),
            host: "ann\x1bs laptop",
        }
        .text()
        .unwrap()
    }

    #[test]
    fn the_key_is_read_back_from_the_page() {
        let key = RecoveryKey::random().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), page(&key).as_bytes()).unwrap();
        assert_eq!(read_recovery_key(file.path()).unwrap().print(), key.print());
    }

    #[test]
    fn the_page_fits_on_paper_and_names_project_version_and_format() {
        let text = page(&RecoveryKey::random().unwrap());
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH && !line.contains('\x1b'), "{line}");
        }
        for words in [
            &"07".repeat(32),
            concat!("chatvault ", env!("CARGO_PKG_VERSION"), ", repository format 1-draft.9"),
            env!("CARGO_PKG_REPOSITORY"),
            "characters 0-9 and a-f",
            "a copy of the program beside the repository",
        ] {
            assert!(text.contains(words), "{words} is not in {}", *text);
        }
    }

    /// The modules of a drawn code, without the light rows around it.
    fn modules(drawn: &str) -> Vec<Vec<bool>> {
        let width = drawn.lines().map(|line| line.chars().count()).max().unwrap();
        let mut rows = Vec::new();
        for line in drawn.lines() {
            let mut letters: Vec<char> = line.chars().collect();
            letters.resize(width, ' ');
            for half in ['▀', '▄'] {
                rows.push(letters.iter().map(|&letter| letter == '█' || letter == half).collect::<Vec<_>>());
            }
        }
        let is_dark = |row: &Vec<bool>| row.contains(&true);
        let first = rows.iter().position(is_dark).unwrap();
        let last = rows.iter().rposition(is_dark).unwrap();
        rows[first..=last].to_vec()
    }

    #[test]
    fn the_code_on_the_page_is_that_of_the_key_module_by_module() {
        let key = RecoveryKey::random().unwrap();
        let wanted = QrCode::with_error_correction_level(key.print().to_uppercase(), EcLevel::M).unwrap();
        assert_eq!(wanted.width(), 33, "one size larger than it needs to be");
        let drawn = modules(&code(&key).unwrap());
        let left = drawn.iter().filter_map(|row| row.iter().position(|dark| *dark)).min().unwrap();
        let drawn: Vec<bool> = drawn.iter().flat_map(|row| row[left..left + 33].to_vec()).collect();
        let wanted: Vec<bool> =
            wanted.to_colors().iter().map(|color| *color == qrcode::Color::Dark).collect();
        assert_eq!(drawn, wanted);
        assert!(page(&key).contains(code(&key).unwrap().as_str()));
    }
}
