//! Bytes of files and of standard input.

use std::io::{self, Read};
use std::path::Path;

/// Reads a file, or standard input for `-`, up to a bound and one byte more.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
