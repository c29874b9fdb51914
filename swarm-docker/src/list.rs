//! Lists of an engine, read entry by entry. An entry that is not one ends the reading at once, and so does a list of entries that are
//! smaller than any real one: six megabytes of `{}` would otherwise become a gigabyte of empty nodes.

use serde::de::{DeserializeOwned, DeserializeSeed, Error, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// How many entries may be smaller than the least, before that is no accident.
const FREE: usize = 64;

/// What real entries of a list are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Real {
    /// How many bytes each has at least.
    pub(crate) least: usize,
    /// Whether they become types of ours, each text of which has its own piece of the heap. Of others nothing is kept, or their own text.
    pub(crate) typed: bool,
}

/// What a text of an answer takes in memory at most, by its two quotation marks: its place in a map, and its own piece of the heap.
const OF_A_MARK: usize = 40;
/// What may be taken beside three times the bytes of a list that is kept.
const BESIDE: usize = 60 << 20;

/// Whether a list is made of so many tiny texts that keeping them would cost more than four times its bytes.
fn is_dust(bytes: &[u8]) -> bool {
    let marks = bytes.iter().filter(|b| **b == b'"').count();
    marks.saturating_mul(OF_A_MARK) > bytes.len().saturating_mul(3).saturating_add(BESIDE)
}

struct List<W, T> {
    each: fn(W) -> Result<T, String>,
    most: usize,
    wire: PhantomData<W>,
}

/// Reads a list.
pub(crate) fn read<W: DeserializeOwned, T>(bytes: &[u8], real: Real, each: fn(W) -> Result<T, String>) -> Result<Vec<T>, String> {
    if real.typed && is_dust(bytes) {
        return Err("it is made of more texts than its bytes can hold of real ones".into());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let list = List { each, most: bytes.len() / real.least + FREE, wire: PhantomData };
    let found = list.deserialize(&mut reader).map_err(|e| e.to_string())?;
    reader.end().map_err(|e| e.to_string())?;
    Ok(found)
}

impl<'de, W: DeserializeOwned, T> DeserializeSeed<'de> for List<W, T> {
    type Value = Vec<T>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, W: DeserializeOwned, T> Visitor<'de> for List<W, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element::<W>()? {
            if found.len() >= self.most {
                return Err(A::Error::custom("it has more entries than its bytes can hold of real ones"));
            }
            found.push((self.each)(item).map_err(A::Error::custom)?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const REAL: Real = Real { least: 256, typed: true };

    fn id(value: Value) -> Result<String, String> {
        value.get("ID").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| "a node has no id".into())
    }

    #[test]
    fn a_list_of_nothing_ends_at_its_first_entry_and_a_crowd_before_it_costs_memory() {
        let nothing = format!("[{}{{}}]", "{},".repeat(2_000_000));
        assert!(read(nothing.as_bytes(), REAL, id).unwrap_err().contains("no id"));
        let crowd = format!("[{}{{\"ID\":\"a\"}}]", "{\"ID\":\"a\"},".repeat(100_000));
        assert!(read(crowd.as_bytes(), REAL, id).unwrap_err().contains("more entries"));
        let real = format!("[{{\"ID\":\"a\",\"x\":\"{}\"}}]", "x".repeat(500));
        assert_eq!(read(real.as_bytes(), REAL, id).unwrap(), ["a"]);
        let texts: Vec<String> = (0..3_000_000).map(|i| format!("\"{i:x}\":\"\"")).collect();
        let dust = format!("[{{\"ID\":\"a\",\"Labels\":{{{}}}}}]", texts.join(","));
        assert!(read(dust.as_bytes(), REAL, id).unwrap_err().contains("more texts"));
        for wrong in ["{}", "[", "[{\"ID\":\"a\"}] x", ""] {
            assert!(read(wrong.as_bytes(), REAL, id).is_err(), "{wrong}");
        }
    }
}
