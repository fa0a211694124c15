//! Sizes as people write them.

/// Reads a number of bytes: `500`, `64K`, `1.5M`, `2G`, `1T`; K is 1024 bytes, and a `B` or `iB` behind it is ignored.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: write a number and K, M, G or T, as in 64K or 1.5G");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, unit) = match digits.char_indices().last() {
        Some((at, 'k')) => (digits.get(..at), 1u64 << 10),
        Some((at, 'm')) => (digits.get(..at), 1 << 20),
        Some((at, 'g')) => (digits.get(..at), 1 << 30),
        Some((at, 't')) => (digits.get(..at), 1 << 40),
        _ => (Some(digits), 1),
    };
    let number = number.unwrap_or_default().trim();
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 9 || (unit == 1 && number.contains('.')) {
        return Err(wrong());
    }
    let scale = 10u64.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
    let fraction: u64 = part.parse().map_err(|_| wrong())?;
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let fraction = u128::from(fraction) * u128::from(unit) / u128::from(scale);
    whole
        .checked_mul(unit)
        .and_then(|bytes| bytes.checked_add(u64::try_from(fraction).ok()?))
        .ok_or_else(|| format!("`{text}` is more than any file has"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read_with_units_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("500B", 500),
            ("64K", 65536),
            ("64 KiB", 65536),
            ("1.5m", 1_572_864),
            ("2G", 2 << 30),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1.5", "1.K", "1,5M", "x", "99999999999T", "1e3", "1.1234567890K"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
