//! The binary vocabulary of stored objects: varints, zigzag, length-prefixed bytes, fixed integers. Source: `FORMAT.md` §1.
//!
//! Decoding never trusts a length: whatever it says, no more is reserved than the input has bytes.

/// What is wrong with encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("it ends inside {0}")]
    Short(&'static str),
    /// A field has a value that the format does not allow.
    #[error("{0} is not valid")]
    Field(&'static str),
    /// Bytes are left after the last field.
    #[error("bytes follow after the end")]
    Trailing,
    /// The magic bytes or the version are another object's.
    #[error("it begins as another kind of object")]
    Magic,
}

/// Appends fields to bytes.
#[derive(Debug, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    pub(crate) fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    pub(crate) fn u24(&mut self, n: u32) {
        debug_assert!(
            n < 1 << 24,
            "a u24 field holds offsets and lengths within a pack, which is shorter than 16 MiB + 4 MiB"
        );
        self.0.extend_from_slice(&n.to_le_bytes()[..3]);
    }

    pub(crate) fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.0.push((n & 0x7f) as u8);
    }

    pub(crate) fn zigzag(&mut self, n: i64) {
        self.varint((n.cast_unsigned() << 1) ^ (n >> 63).cast_unsigned());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// Takes fields off bytes.
#[derive(Debug, Clone)]
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Ends the decoding: an error where bytes are left.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }

    pub(crate) fn raw(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(what).map(|[n]| n)
    }

    pub(crate) fn u24(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array::<3>(what).map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// An unsigned LEB128 in its shortest form.
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(Malformed::Field(what));
            }
            n |= part << shift;
            if byte < 0x80 {
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(n) } else { Err(Malformed::Field(what)) };
            }
        }
        Err(Malformed::Field(what))
    }

    pub(crate) fn varint_u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.varint(what)?).map_err(|_| Malformed::Field(what))
    }

    /// A count of things that take at least `each` bytes: never more than the input can hold.
    pub(crate) fn count(&mut self, each: usize, what: &'static str) -> Result<usize, Malformed> {
        let n = usize::try_from(self.varint(what)?).map_err(|_| Malformed::Field(what))?;
        if n.checked_mul(each.max(1)).is_none_or(|bytes| bytes > self.0.len()) {
            return Err(Malformed::Short(what));
        }
        Ok(n)
    }

    pub(crate) fn zigzag(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let n = self.varint(what)?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    pub(crate) fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let len = self.count(1, what)?;
        if len > max {
            return Err(Malformed::Field(what));
        }
        self.raw(len, what)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(n: u64, z: i64, b: Vec<u8>, small in 0u32..1 << 24) {
            let mut e = Encoder::default();
            e.varint(n);
            e.zigzag(z);
            e.bytes(&b);
            e.u24(small);
            let mut d = Decoder::new(&e.0);
            prop_assert_eq!(
                (d.varint("n"), d.zigzag("z"), d.bytes(usize::MAX, "b"), d.u24("s"), d.finish()),
                (Ok(n), Ok(z), Ok(b.as_slice()), Ok(small), Ok(()))
            );
        }

        #[test]
        fn any_bytes_decode_to_a_value_or_an_error(b: Vec<u8>) {
            let mut d = Decoder::new(&b);
            while d.varint("n").is_ok() && d.bytes(100, "b").is_ok() {}
        }
    }

    #[test]
    fn a_varint_has_one_spelling() {
        let decode = |b: &[u8]| Decoder::new(b).varint("n");
        assert_eq!(decode(&[0x80, 0x01]), Ok(128));
        assert_eq!(decode(&[0x80, 0x00]), Err(Malformed::Field("n")), "a longer spelling of 0");
        assert_eq!(decode(&[0xff; 11]), Err(Malformed::Field("n")), "eleven bytes");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(u64::MAX));
        assert_eq!(decode(&[0xff]), Err(Malformed::Short("n")));
    }
}
