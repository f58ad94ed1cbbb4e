//! Thrift's compact protocol, as far as parquet's metadata needs it.

use crate::error::Fault;

type Result<T> = std::result::Result<T, Fault>;

/// Structures within structures; parquet's own are four deep.
const DEEPEST: usize = 16;

/// The kinds of values that a field can hold and that are read here; a boolean's value is its kind.
pub(super) mod kind {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const LIST: u8 = 9;
    pub const STRUCT: u8 = 12;
}

/// A reading position in thrift bytes.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Thrift<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| Fault::new("more bytes of metadata", "their end"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::new("a number of at most ten bytes in the metadata", "a longer one"))
    }

    /// A whole number of any width.
    pub fn int(&mut self) -> Result<i64> {
        let bits = self.varint()?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    /// A size or place in a file.
    pub fn size(&mut self) -> Result<usize> {
        let value = self.int()?;
        usize::try_from(value).map_err(|_| Fault::new("a size in the metadata", value.to_string()))
    }

    pub fn text(&mut self) -> Result<String> {
        let length = self.varint()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// Reads a structure: `each` gets the number and kind of every field and reads it, or says `false` to pass it over.
    pub fn structure(&mut self, each: &mut dyn FnMut(&mut Self, i64, u8) -> Result<bool>) -> Result<()> {
        self.deeper()?;
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                break;
            }
            let (delta, kind) = (i64::from(head >> 4), head & 0x0f);
            id = if delta == 0 { self.int()? } else { id.saturating_add(delta) };
            if !each(self, id, kind)? {
                self.skip(kind)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads the head of a list: the kind and number of its elements.
    pub fn list(&mut self) -> Result<(u8, usize)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.varint()?).unwrap_or(usize::MAX),
            count => usize::from(count),
        };
        // Every element takes a byte at least.
        if count > self.bytes.len() - self.at {
            return Err(Fault::new("a list that fits into the metadata", format!("one of {count} elements")));
        }
        Ok((head & 0x0f, count))
    }

    /// Reads a list of structures, each with `element`.
    pub fn structures<T>(&mut self, element: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let (kind, count) = self.list()?;
        if kind != kind::STRUCT {
            return Err(Fault::new("a list of structures in the metadata", format!("one of kind {kind}")));
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::new(format!("metadata at most {DEEPEST} deep"), "deeper"));
        }
        Ok(())
    }

    fn skip(&mut self, kind: u8) -> Result<()> {
        match kind {
            kind::TRUE | kind::FALSE => {}
            3 => _ = self.byte()?,
            4..=6 => _ = self.varint()?,
            7 => _ = self.take(8)?,
            8 => _ = self.text()?,
            kind::LIST | 10 => {
                let (kind, count) = self.list()?;
                self.deeper()?;
                for _ in 0..count {
                    self.skip_element(kind)?;
                }
                self.depth -= 1;
            }
            11 => {
                let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                if count > self.bytes.len() - self.at {
                    return Err(Fault::new("a map that fits into the metadata", format!("one of {count}")));
                }
                self.deeper()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                for _ in 0..count {
                    self.skip_element(kinds >> 4)?;
                    self.skip_element(kinds & 0x0f)?;
                }
                self.depth -= 1;
            }
            kind::STRUCT => self.structure(&mut |_, _, _| Ok(false))?,
            _ => return Err(Fault::new("a known kind of field in the metadata", format!("kind {kind}"))),
        }
        Ok(())
    }

    /// Unlike a field, a boolean in a list takes a byte.
    fn skip_element(&mut self, kind: u8) -> Result<()> {
        if kind == kind::TRUE || kind == kind::FALSE {
            return self.byte().map(|_| ());
        }
        self.skip(kind)
    }
}
