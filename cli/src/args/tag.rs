//! Tags: short words that a person gives to snapshots.

use crate::output::error::{Failure, Result};

/// Longest tag in bytes.
const MAX_LEN: usize = 256;

/// Takes a tag as it is.
pub(crate) fn parse(text: &str) -> std::result::Result<String, String> {
    if text.is_empty() || text.trim() != text {
        return Err("a tag is not empty and neither begins nor ends with a space".to_owned());
    }
    if text.len() > MAX_LEN {
        return Err(format!("a tag has at most {MAX_LEN} bytes"));
    }
    if text.contains([',', '\n']) || text.chars().any(char::is_control) {
        return Err("a tag holds no comma and no control character".to_owned());
    }
    Ok(text.to_owned())
}

/// Takes tags joined by commas; none for an empty text.
pub(crate) fn list(text: &str) -> Result<Vec<String>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|tag| {
            parse(tag).map_err(|why| {
                Failure::usage(format!("Failed to use the tags `{text}`"))
                    .because(why)
                    .with_hint("write them with commas between: a,b")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{list, parse};

    #[test]
    fn tags_are_words_that_a_list_can_show() {
        for good in ["a", "before update", "gr\u{fc}n", &"x".repeat(256)] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in ["", " a", "a ", "a,b", "a\nb", "a\u{7}", &"x".repeat(257)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_have_commas_between_their_tags() {
        assert_eq!(list("").unwrap(), [""; 0]);
        assert_eq!(list("a,before update").unwrap(), ["a", "before update"]);
        for bad in [",", "a,,b", "a, b"] {
            assert!(list(bad).unwrap_err().message().contains(bad));
        }
    }
}
