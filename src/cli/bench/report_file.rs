//! A file that the report goes to.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::BenchError;

/// Found out before the load whether it can be written, not after.
pub(super) struct ReportFile {
    path: PathBuf,
    file: File,
}

impl ReportFile {
    /// Leaves what the file holds until there is something to write.
    pub(super) fn open(path: &Path) -> Result<Self, BenchError> {
        let path = path.to_owned();
        let mut options = File::options();
        match options.write(true).create(true).truncate(false).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(BenchError::Report { file: path, source }),
        }
    }

    pub(super) fn write(mut self, text: serde_json::Result<String>) -> Result<(), BenchError> {
        let written = text
            .map_err(io::Error::from)
            .and_then(|text| self.replace(&text));
        let file = self.path;
        written.map_err(|source| BenchError::Report { file, source })
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        // A pipe or a terminal has nothing to empty.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())
    }
}
