//! Texts that are compared with a file.

use std::path::Path;
use std::{env, fs};

/// Compares with a file; `TIDEGATE_BLESS=1` writes the file instead.
#[track_caller]
pub fn expect_text(path: &Path, text: &str) {
    if env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(path, text).expect("the file can be written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        text,
        expected,
        "{} (TIDEGATE_BLESS=1 writes it anew)",
        path.display()
    );
}
