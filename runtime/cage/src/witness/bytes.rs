//! The witness's own encoding: strict, one form per value.
//!
//! An integer is one length byte and that many little-endian bytes, the last of which is not zero (zero is
//! the length 0 alone); a signed one is zigzag-folded first. Bytes and text are a length and the content.
//! Reading refuses every other form, never allocates by a claimed length, and refuses trailing bytes.

/// What was wrong with a value.
pub(super) type Malformed = &'static str;

/// Appends an integer.
#[inline]
pub(super) fn put_uint(out: &mut Vec<u8>, value: u64) {
    let width = (u64::BITS - value.leading_zeros()).div_ceil(8) as usize;
    out.push(width as u8);
    out.extend_from_slice(&value.to_le_bytes()[..width]);
}

/// Appends a signed integer.
#[inline]
pub(super) fn put_int(out: &mut Vec<u8>, value: i64) {
    put_uint(out, folded(value));
}

/// The zigzag form: small numbers of either sign become small numbers.
pub(super) fn folded(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes that [`put_uint`] will take.
pub(super) fn uint_len(value: u64) -> usize {
    1 + (u64::BITS - value.leading_zeros()).div_ceil(8) as usize
}

/// Appends a length and the bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads one value after another out of a slice.
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or("ends inside a value")?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N).map(|bytes| bytes.try_into().expect("take gave N bytes"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn uint(&mut self) -> Result<u64, Malformed> {
        let width = usize::from(self.byte()?);
        if width > 8 {
            return Err("an integer longer than 8 bytes");
        }
        let digits = self.take(width)?;
        if digits.last() == Some(&0) {
            return Err("an integer not in its shortest form");
        }
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(digits);
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn int(&mut self) -> Result<i64, Malformed> {
        let folded = self.uint()?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    pub(super) fn uint32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uint()?).map_err(|_| "an integer above 32 bits")
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.uint()?).map_err(|_| "a length above the address space")?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that is not UTF-8")
    }

    /// Refuses what is left over.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err("bytes after the last value") }
    }
}
