//! The recovery key: 256 random bits that open a repository without any derivation, and their printed form.
//!
//! Printed as `cv1-`, 64 hexadecimal digits in 16 groups of 4, and a check group of 4: the first two bytes of BLAKE3
//! over the context `chatvault 1 recovery key check` and the key.

use crate::base::hash;
use crate::base::id::{from_hex, to_hex};
use crate::base::{Error, Kind, Result};
use crate::crypto::secret::Secret;
use zeroize::Zeroizing;

const PREFIX: &str = "cv1-";
const CHECK_CONTEXT: &str = "chatvault 1 recovery key check";

/// 256 random bits that open a repository.
#[derive(Clone, Debug)]
pub struct RecoveryKey(Secret);

impl RecoveryKey {
    /// Draws a new key.
    pub fn random() -> Result<Self> {
        Ok(Self(Secret::random()?))
    }

    /// Reads the printed form as people type it: only letters and digits count, not their case, nor spaces, dashes of any
    /// kind or line breaks; `O` is read as 0, `l` and `I` as 1.
    ///
    /// # Errors
    /// [`Kind::WrongKey`] for everything that is no recovery key, with what is wrong about it; a key of WhatsApp's
    /// own backups is named as such. Nothing was tried on a repository then.
    pub fn parse(text: &str) -> Result<Self> {
        let refused =
            |why: &str| Error::new(Kind::WrongKey, "read", "the recovery key").because(why.to_owned());
        let compact: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| c.is_alphanumeric()).map(read_as).collect());
        let Some(digits) = compact.strip_prefix("cv1") else {
            return Err(refused(if compact.len() == 64 && from_hex(&compact).is_some() {
                "64 digits without `cv1-` are the form of WhatsApp's own backup key; the recovery key of this \
                 repository begins with `cv1-`"
            } else {
                "it does not begin with `cv1-`"
            }));
        };
        if let Some((at, wrong)) = digits.chars().enumerate().find(|(_, c)| !c.is_ascii_hexdigit()) {
            return Err(refused(&format!(
                "group {} holds `{wrong}`, which is no digit of a key (0-9, a-f)",
                at / 4 + 1
            )));
        }
        if digits.len() != 68 {
            return Err(refused(&format!("it has {} digits after `cv1-` instead of 68", digits.len())));
        }
        let bytes = from_hex(digits).ok_or_else(|| refused("it holds what is no digit of a key"))?;
        let (key, check) = bytes.split_at_checked(32).ok_or_else(|| refused("it is too short"))?;
        let key: [u8; 32] = key.try_into().map_err(|_| refused("it is too short"))?;
        if check != check_group(&key) {
            return Err(refused("its check group does not fit: a digit is mistyped"));
        }
        Ok(Self(Secret::new(key)))
    }

    /// The printed form.
    #[must_use]
    pub fn print(&self) -> String {
        let digits = to_hex(self.0.expose()) + &to_hex(&check_group(self.0.expose()));
        let groups: Vec<String> =
            digits.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        format!("{PREFIX}{}", groups.join("-"))
    }

    /// The bits.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

/// What a typed letter or digit stands for.
fn read_as(typed: char) -> char {
    match typed.to_ascii_lowercase() {
        'o' => '0',
        'l' | 'i' => '1',
        other => other,
    }
}

fn check_group(key: &[u8; 32]) -> [u8; 2] {
    let full = hash::derive_key(CHECK_CONTEXT, &[key]);
    full.first_chunk::<2>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_back() {
        let key = RecoveryKey::random().unwrap();
        let text = key.print();
        assert_eq!(text.len(), 4 + 68 + 16);
        let spaced = text.replace('-', " - ").to_uppercase().replace("CV1 - ", "CV1-");
        assert_eq!(RecoveryKey::parse(&spaced).unwrap().secret().expose(), key.secret().expose());
    }

    #[test]
    fn every_mistyped_digit_of_a_sample_is_refused() {
        let text = RecoveryKey(Secret::new([0x5a; 32])).print();
        let refused = (4..text.len())
            .filter(|at| text.as_bytes()[*at] != b'-')
            .filter(|at| {
                let mut wrong = text.clone().into_bytes();
                wrong[*at] = if wrong[*at] == b'0' { b'1' } else { b'0' };
                RecoveryKey::parse(std::str::from_utf8(&wrong).unwrap()).is_err()
            })
            .count();
        assert_eq!(refused, 68);
    }

    #[test]
    fn look_alikes_and_dashes_of_any_kind_are_read_as_they_were_meant() {
        let key = RecoveryKey(Secret::new([0x01; 32]));
        let text = key.print();
        let typed = format!(" {}", text.replace('0', "O").replace('-', " \u{2013}\n"));
        for typed in [typed.replace('1', "l"), typed.replace('1', "I"), text.replace('-', "")] {
            assert_eq!(
                RecoveryKey::parse(&typed).unwrap().secret().expose(),
                key.secret().expose(),
                "{typed}"
            );
        }
    }

    #[test]
    fn a_letter_that_is_no_digit_is_named_with_its_group() {
        let mut text = RecoveryKey(Secret::new([0x5a; 32])).print();
        text.replace_range(4 + 2 * 5..4 + 2 * 5 + 1, "G");
        let error = RecoveryKey::parse(&text).unwrap_err().full_text();
        assert!(error.contains("group 3 holds `g`, which is no digit of a key (0-9, a-f)"), "{error}");
    }

    #[test]
    fn a_whatsapp_key_is_named() {
        let error = RecoveryKey::parse(&"0123456789abcdef".repeat(4)).unwrap_err();
        assert_eq!(error.kind(), Kind::WrongKey);
        assert!(error.full_text().contains("WhatsApp"));
    }
}
