//! The secret of the admin address.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// What a writing call must show.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(Vec<u8>);

impl AdminToken {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// When the file can't be read, or holds nothing.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
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
