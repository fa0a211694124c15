//! Maps with integer keys: how every metadata object is written and read.

use crate::base::{Error, Result, Timestamp};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use std::convert::Infallible;

/// Longest text or byte string that is read, where no tighter bound stands.
pub const MAX_STRING: usize = 1024 * 1024;

/// Writes one value; into memory this cannot fail.
pub type Enc<'b> = Encoder<&'b mut Vec<u8>>;
type Written = std::result::Result<(), minicbor::encode::Error<Infallible>>;

/// Collects the fields of a map in ascending order of their keys.
#[derive(Debug, Default)]
pub struct MapWriter {
    fields: u64,
    last: Option<u64>,
    body: Vec<u8>,
}

impl MapWriter {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field; keys must ascend.
    pub fn field(&mut self, key: u64, write: impl FnOnce(&mut Enc<'_>) -> Written) -> &mut Self {
        debug_assert!(self.last.is_none_or(|last| last < key), "key {key} out of order");
        self.last = Some(key);
        self.fields += 1;
        let mut encoder = Encoder::new(&mut self.body);
        let _infallible = encoder.u64(key).map(|_| ()).and_then(|()| write(&mut encoder));
        self
    }

    /// Adds a number.
    pub fn uint(&mut self, key: u64, value: u64) -> &mut Self {
        self.field(key, |e| e.u64(value).map(|_| ()))
    }

    /// Adds a number that is not the default 0.
    pub fn uint_unless_zero(&mut self, key: u64, value: u64) -> &mut Self {
        if value == 0 { self } else { self.uint(key, value) }
    }

    /// Adds a byte string.
    pub fn bytes(&mut self, key: u64, value: &[u8]) -> &mut Self {
        self.field(key, |e| e.bytes(value).map(|_| ()))
    }

    /// Adds a byte string that is there.
    pub fn bytes_if(&mut self, key: u64, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.bytes(key, value),
            None => self,
        }
    }

    /// Adds a text.
    pub fn text(&mut self, key: u64, value: &str) -> &mut Self {
        self.field(key, |e| e.str(value).map(|_| ()))
    }

    /// Adds a text that is there.
    pub fn text_if(&mut self, key: u64, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// Adds `true`; a false flag is left out.
    pub fn flag(&mut self, key: u64, value: bool) -> &mut Self {
        if value { self.field(key, |e| e.bool(true).map(|_| ())) } else { self }
    }

    /// Adds a time as an array of seconds and nanoseconds.
    pub fn time(&mut self, key: u64, value: Timestamp) -> &mut Self {
        self.field(key, |e| e.array(2)?.i64(value.secs)?.u32(value.nanos).map(|_| ()))
    }

    /// Adds an array that is not empty.
    pub fn array<T>(
        &mut self,
        key: u64,
        items: &[T],
        mut write: impl FnMut(&mut Enc<'_>, &T) -> Written,
    ) -> &mut Self {
        if items.is_empty() {
            return self;
        }
        self.field(key, |e| {
            e.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(e, item))
        })
    }

    /// The map's bytes, appended to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let _infallible = Encoder::new(&mut *out).map(self.fields);
        out.extend_from_slice(&self.body);
    }

    /// The map's bytes.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 9);
        self.write_to(&mut out);
        out
    }
}

/// Reads CBOR of which nothing is believed: every length is checked before it is used.
#[derive(Debug)]
pub struct Reader<'b> {
    decoder: Decoder<'b>,
    what: &'static str,
}

impl<'b> Reader<'b> {
    /// Reads these bytes; `what` names the object in errors.
    #[must_use]
    pub fn new(bytes: &'b [u8], what: &'static str) -> Self {
        Self { decoder: Decoder::new(bytes), what }
    }

    /// The error of an object that says something impossible.
    #[must_use]
    pub fn bad(&self, why: impl Into<String>) -> Error {
        Error::damaged("decode", self.what, why)
    }

    fn ok<T>(&self, result: std::result::Result<T, minicbor::decode::Error>) -> Result<T> {
        result.map_err(|e| self.bad(e.to_string()))
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.decoder.position()
    }

    /// Fails unless everything was read.
    pub fn end(&self) -> Result<()> {
        if self.decoder.position() == self.decoder.input().len() {
            Ok(())
        } else {
            Err(self.bad("bytes follow its end"))
        }
    }

    /// Reads a map: `field` gets each key, reads the value and returns true, or returns false to have it skipped.
    pub fn map(&mut self, mut field: impl FnMut(u64, &mut Self) -> Result<bool>) -> Result<()> {
        let length = self.decoder.map();
        let fields = self.ok(length)?.ok_or_else(|| self.bad("a map has no length"))?;
        let mut last = None;
        for _ in 0..fields {
            let key = self.uint()?;
            if last.is_some_and(|last| last >= key) {
                return Err(self.bad("the keys of a map do not ascend"));
            }
            last = Some(key);
            if !field(key, self)? {
                let skipped = self.decoder.skip();
                self.ok(skipped)?;
            }
        }
        Ok(())
    }

    /// Reads the length of an array of at most `max` items.
    pub fn array_len(&mut self, max: usize) -> Result<usize> {
        let length = self.decoder.array();
        let length = self.ok(length)?.ok_or_else(|| self.bad("an array has no length"))?;
        match usize::try_from(length) {
            Ok(length) if length <= max => Ok(length),
            _ => Err(self.bad(format!("an array of {length} items is longer than {max}"))),
        }
    }

    /// Reads an array of at most `max` items.
    pub fn array<T>(&mut self, max: usize, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let length = self.array_len(max)?;
        // An item takes at least a byte, so the input bounds what is reserved.
        let left = self.decoder.input().len().saturating_sub(self.position());
        let mut items = Vec::with_capacity(length.min(left));
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Reads an array of exactly `N` items, the caller reading each.
    pub fn tuple(&mut self, items: usize) -> Result<()> {
        if self.array_len(items)? == items { Ok(()) } else { Err(self.bad("a tuple has too few items")) }
    }

    /// True if the next value is an array.
    pub fn at_array(&self) -> bool {
        matches!(self.decoder.datatype(), Ok(Type::Array))
    }

    /// True if the next value is a number.
    pub fn at_uint(&self) -> bool {
        matches!(self.decoder.datatype(), Ok(Type::U8 | Type::U16 | Type::U32 | Type::U64))
    }

    /// Reads a number.
    pub fn uint(&mut self) -> Result<u64> {
        let value = self.decoder.u64();
        self.ok(value)
    }

    /// Reads a number of 32 bits.
    pub fn uint32(&mut self) -> Result<u32> {
        let value = self.decoder.u32();
        self.ok(value)
    }

    /// Reads a signed number.
    pub fn int(&mut self) -> Result<i64> {
        let value = self.decoder.i64();
        self.ok(value)
    }

    /// Reads a flag.
    pub fn flag(&mut self) -> Result<bool> {
        let value = self.decoder.bool();
        self.ok(value)
    }

    /// Reads a byte string of at most `max` bytes.
    pub fn bytes(&mut self, max: usize) -> Result<&'b [u8]> {
        let value = self.decoder.bytes();
        let value = self.ok(value)?;
        if value.len() > max { Err(self.bad("a byte string is too long")) } else { Ok(value) }
    }

    /// Reads a byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let value = self.bytes(N)?;
        value.try_into().map_err(|_| self.bad("a byte string is too short"))
    }

    /// Reads a text of at most `max` bytes.
    pub fn text(&mut self, max: usize) -> Result<String> {
        let value = self.decoder.str();
        let value = self.ok(value)?;
        if value.len() > max { Err(self.bad("a text is too long")) } else { Ok(value.to_owned()) }
    }

    /// Reads a time.
    pub fn time(&mut self) -> Result<Timestamp> {
        self.tuple(2)?;
        let (secs, nanos) = (self.int()?, self.uint32()?);
        if nanos > 999_999_999 {
            return Err(self.bad("a time has too many nanoseconds"));
        }
        Ok(Timestamp { secs, nanos })
    }

    /// The value, or the error that `name` is missing.
    pub fn need<T>(&self, value: Option<T>, name: &str) -> Result<T> {
        value.ok_or_else(|| self.bad(format!("its {name} is missing or unknown")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_skipped_and_disorder_refused() {
        let mut map = MapWriter::new();
        map.uint(1, 5).array(2, &[1u64, 2], |e, n| e.u64(*n).map(|_| ())).text(9, "x");
        let bytes = map.finish();
        let mut seen = None;
        let mut reader = Reader::new(&bytes, "test");
        reader
            .map(|key, r| {
                if key == 9 {
                    seen = Some(r.text(10)?);
                }
                Ok(key == 9)
            })
            .unwrap();
        reader.end().unwrap();
        assert_eq!(seen.as_deref(), Some("x"));
        let disorder = [0xa2, 2, 0, 1, 0];
        assert!(Reader::new(&disorder, "test").map(|_, r| r.uint().map(|_| true)).is_err());
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let huge = [0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(Reader::new(&huge, "test").array(usize::MAX, Reader::uint).is_err());
        assert!(Reader::new(&huge, "test").array(10, Reader::uint).is_err());
    }
}
