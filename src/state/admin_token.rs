//! The secret of the admin address.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Most that is read of the file: its first line is the token.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What a writing call must show.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(Vec<u8>);

impl AdminToken {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// When the file can't be read, or holds nothing.
    pub fn read(path: &Path) -> io::Result<Self> {
        // Opening a pipe would wait for its writer, and the whole control plane with it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        let mut text = String::new();
        (File::open(path)?.take(MAX_FILE_BYTES)).read_to_string(&mut text)?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no token in it"));
        }
        Ok(Self::from(token))
    }

    /// Compares in time that depends on the lengths alone.
    pub fn matches(&self, shown: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, shown).is_ok()
    }
}

impl From<&str> for AdminToken {
    fn from(token: &str) -> Self {
        Self(token.as_bytes().to_vec())
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}
