//! How hard a password is to guess.

/// Why a password is weak, in words that follow "weak: "; none if it is not.
pub(crate) fn weakness(password: &[u8]) -> Option<String> {
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(password).into_owned());
    let entropy = zxcvbn::zxcvbn(&text, &[]);
    // At 3 it withstands somebody who has the repository, at the price that Argon2id puts on each guess.
    if entropy.score() >= zxcvbn::Score::Three {
        return None;
    }
    let time = entropy.crack_times().offline_slow_hashing_1e4_per_second();
    Some(format!("somebody who has the repository may guess it in {time}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_and_short_passwords_are_weak_and_long_ones_are_not() {
        for weak in ["a", "password", "hunter2", "12345678", "ann1990", "qwertyuiop"] {
            assert!(weakness(weak.as_bytes()).is_some(), "{weak}");
        }
        for strong in ["correct horse battery staple", "vT9#qLw2!xZp", "mit dem Rad nach Ulm im Regen"] {
            assert_eq!(weakness(strong.as_bytes()), None, "{strong}");
        }
    }
}
