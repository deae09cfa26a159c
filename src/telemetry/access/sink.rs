//! Where the access log goes: a file, a pipe, standard output, or nowhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::config::model::AccessLog;

/// An open target of the access log.
#[derive(Debug)]
pub struct Sink {
    file: Option<File>,
    pace: Pace,
}

/// How much is written in one go.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Everything.
    Whole,
    /// Whole lines, as many as a pipe takes all or none of.
    Lines,
}

/// What a pipe that is ready takes whole and without waiting: `PIPE_BUF` of pipe(7).
const PIPE_BYTES: usize = 4096;
/// Rights of a new file: what clients did is not everybody's business.
const FILE_MODE: u32 = 0o640;

impl Sink {
    /// Opens a target; a file is appended to, and made where it is missing.
    ///
    /// # Errors
    /// When it can't be opened for writing.
    pub fn open(target: &AccessLog) -> io::Result<Self> {
        let file = match target {
            AccessLog::Off => {
                return Ok(Self {
                    file: None,
                    pace: Pace::Whole,
                });
            }
            // It is shared with other programs, so it can't be made non-blocking.
            AccessLog::Stdout => io::stdout().as_fd().try_clone_to_owned()?.into(),
            AccessLog::File(path) => options(path).create(true).open(path)?,
        };
        let pace = match file.metadata()?.is_file() {
            true => Pace::Whole,
            false => Pace::Lines,
        };
        Ok(Self {
            file: Some(file),
            pace,
        })
    }

    /// Whether a target could be opened, as far as that shows without making a file.
    ///
    /// # Errors
    /// Why not.
    pub fn check(target: &AccessLog) -> io::Result<()> {
        let AccessLog::File(path) = target else {
            return Ok(());
        };
        match options(path).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(path);
                fs::read_dir(parent).map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Whether what is written goes anywhere.
    pub const fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// Writes some of `bytes`; says how many.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the target took nothing for as long as `wait`.
    pub(super) fn write(&mut self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return Ok(bytes.len());
        };
        let wait = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
        if poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&wait))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        file.write(self.pace.of(bytes))
    }
}

impl Pace {
    fn of(self, bytes: &[u8]) -> &[u8] {
        match self {
            Self::Whole => bytes,
            Self::Lines => {
                let fits = &bytes[..bytes.len().min(PIPE_BYTES)];
                let end = memchr::memrchr(b'\n', fits).map_or(fits.len(), |at| at + 1);
                &fits[..end]
            }
        }
    }
}

/// How a file is opened. A named pipe is opened for reading too, so that neither opening nor
/// writing needs a reader: what is written waits in the pipe for one.
fn options(path: &Path) -> OpenOptions {
    let is_pipe = fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options
        .append(true)
        .read(is_pipe)
        .mode(FILE_MODE)
        .custom_flags(flags.bits().cast_signed());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_whole_lines_that_it_takes_all_or_none_of() {
        let lines = [[b'x'; 999].as_slice(), b"\n"].concat().repeat(10);
        assert_eq!(Pace::Lines.of(&lines).len(), 4000);
        assert_eq!(Pace::Lines.of(&lines[..1500]).len(), 1000);
        assert_eq!(Pace::Lines.of(&[b'x'; 9000]).len(), PIPE_BYTES);
        assert_eq!(Pace::Whole.of(&lines).len(), lines.len());
    }
}
