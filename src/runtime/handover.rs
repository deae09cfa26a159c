//! The channel between a process and the one that takes its place: sockets go down it, words go
//! both ways. The successor has it as standard input; every other descriptor closes at the exec.

use std::env;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use tokio::task::spawn_blocking;

use super::inherit::Inherited;
use super::listen::ListenSocket;

/// The variable that tells a process that its standard input is the channel.
pub const VARIABLE: &str = "TIDEGATE_PREDECESSOR";
/// Largest packet; a word is far smaller, an error's text is cut to fit.
const MAX_PACKET_BYTES: usize = 64 * 1024;
/// Most bytes of an error's text, with room for what its escapes add.
const MAX_ERROR_BYTES: usize = 8 * 1024;
/// How long the predecessor may take for its next word.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(10);

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// A listening socket; its descriptor comes with the word.
    Socket {
        /// The name of its listener.
        name: String,
        /// What the configuration says of its address.
        bind: String,
        /// Whether its file goes along.
        file: bool,
    },
    /// That was the last one.
    NoMore,
    /// The successor has everything it needs and accepts nothing yet.
    Prepared {
        /// Its version.
        version: String,
    },
    /// What the operator ordered of a server at run time.
    Override(Override),
    /// The successor may accept.
    Begin,
    /// It does.
    Serving,
    /// It can't.
    Failed {
        /// Why not.
        error: String,
    },
}

/// What holds of a server until the file says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Its upstream.
    pub upstream: String,
    /// Its address.
    pub server: String,
    /// Whether it is drained.
    pub drain: bool,
    /// Its weight, where that is not the configured one.
    pub weight: Option<NonZeroU16>,
    /// The configured one.
    pub configured_weight: NonZeroU16,
}

/// One end of the channel.
#[derive(Debug)]
pub struct Channel(Socket);

impl Channel {
    /// A channel's two ends.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        // Packets: a descriptor arrives with its own word, never with another.
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        Ok((Self(ours), Self(theirs)))
    }

    /// This end as a child's standard input.
    pub fn into_stdio(self) -> Stdio {
        OwnedFd::from(self.0).into()
    }

    /// Ends the talk, for whoever waits at either end.
    pub fn hang_up(&self) {
        // It fails where the other end has hung up before.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Says something; `socket` goes along.
    ///
    /// # Errors
    /// When the other end is gone, or hears nothing before the deadline.
    pub fn say(
        &self,
        word: &Word,
        socket: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> io::Result<()> {
        self.0.set_write_timeout(Some(left(deadline)?))?;
        let packet = serde_json::to_vec(word)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if let Some(socket) = &socket {
            along.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(
                socket,
            )));
        }
        let packet = [IoSlice::new(&packet)];
        let send = || sendmsg(&self.0, &packet, &mut along, SendFlags::NOSIGNAL);
        rustix::io::retry_on_intr(send)?;
        Ok(())
    }

    /// Hears the next word, with the descriptor that came along.
    ///
    /// # Errors
    /// When the other end is gone, silent until the deadline, or speaks another language.
    pub fn hear(&self, deadline: Instant) -> io::Result<(Word, Option<OwnedFd>)> {
        self.0.set_read_timeout(Some(left(deadline)?))?;
        let mut packet = vec![0; MAX_PACKET_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let receive = || {
            let mut into = [IoSliceMut::new(&mut packet)];
            recvmsg(&self.0, &mut into, &mut along, RecvFlags::CMSG_CLOEXEC)
        };
        let length = rustix::io::retry_on_intr(receive)?.bytes;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let socket = along.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
            _ => None,
        });
        Ok((serde_json::from_slice(&packet[..length])?, socket))
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// The process whose place this one takes.
#[derive(Debug)]
pub struct Predecessor(Channel);

impl Predecessor {
    /// The predecessor, where there is one, with the sockets that it hands over. Called before
    /// any thread starts: nothing else may look at standard input meanwhile.
    ///
    /// # Errors
    /// When what it says makes no sense.
    pub fn find() -> io::Result<Option<(Self, Inherited)>> {
        if env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        // Nobody else is to find the channel there.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let predecessor = Self(Channel(channel.into()));
        let mut inherited = Inherited::default();
        let deadline = Instant::now() + PREDECESSOR_TIMEOUT;
        loop {
            match predecessor.0.hear(deadline)? {
                (Word::Socket { name, bind, file }, Some(socket)) => {
                    let adopt = if file {
                        ListenSocket::adopt_with_file
                    } else {
                        ListenSocket::adopt
                    };
                    inherited.add(name, bind, adopt(socket.into())?);
                }
                (Word::NoMore, _) => return Ok(Some((predecessor, inherited))),
                (word, _) => return Err(unexpected(&word)),
            }
        }
    }

    /// Says that everything is ready and waits until this process may accept; what the operator
    /// ordered of the predecessor.
    ///
    /// # Errors
    /// When the predecessor is gone or wants none of it: then it goes on, and this process must not.
    pub async fn permission(&self) -> io::Result<Vec<Override>> {
        let channel = Channel(self.0.0.try_clone()?);
        let ask = move || {
            let deadline = Instant::now() + PREDECESSOR_TIMEOUT;
            let version = env!("CARGO_PKG_VERSION").to_owned();
            channel.say(&Word::Prepared { version }, None, deadline)?;
            let mut overrides = Vec::new();
            loop {
                match channel.hear(deadline)? {
                    (Word::Override(it), _) => overrides.push(it),
                    (Word::Begin, _) => return Ok(overrides),
                    (word, _) => return Err(unexpected(&word)),
                }
            }
        };
        spawn_blocking(ask).await?
    }

    /// Says that this process serves. Whether that is still heard makes no difference.
    pub fn serving(self) {
        let _ = self.say(&Word::Serving);
    }

    /// Says that this process can't serve, and why.
    pub fn failed(self, error: &str) {
        let mut end = error.len().min(MAX_ERROR_BYTES);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        let error = error[..end].to_owned();
        // Who does not hear it sees the process end.
        let _ = self.say(&Word::Failed { error });
    }

    fn say(&self, word: &Word) -> io::Result<()> {
        self.0.say(word, None, Instant::now() + PREDECESSOR_TIMEOUT)
    }
}

fn unexpected(word: &Word) -> io::Error {
    io::Error::other(format!("unexpected word {word:?}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_socket_arrives_with_its_word() {
        let (ours, theirs) = Channel::pair().unwrap();
        let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        for (index, socket) in sockets.iter().enumerate() {
            let word = Word::Socket {
                name: index.to_string(),
                bind: "127.0.0.1:0".to_owned(),
                file: false,
            };
            ours.say(&word, Some(socket.as_fd()), soon()).unwrap();
        }
        ours.say(&Word::NoMore, None, soon()).unwrap();
        for (index, socket) in sockets.iter().enumerate() {
            let (word, passed) = theirs.hear(soon()).unwrap();
            assert!(matches!(word, Word::Socket { name, .. } if name == index.to_string()));
            let passed = TcpListener::from(passed.expect("a descriptor"));
            assert_eq!(passed.local_addr().unwrap(), socket.local_addr().unwrap());
        }
        let (word, nothing) = theirs.hear(soon()).unwrap();
        assert!(matches!(word, Word::NoMore) && nothing.is_none());
    }

    #[test]
    fn silence_ends_at_the_deadline_and_an_end_at_once() {
        let (ours, theirs) = Channel::pair().unwrap();
        let silence = ours.hear(Instant::now() + Duration::from_millis(20));
        assert_eq!(silence.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        let end = ours.hear(soon()).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        assert!(ours.say(&Word::Begin, None, soon()).is_err());
    }

    #[test]
    fn a_long_error_fits_into_a_packet() {
        let (ours, theirs) = Channel::pair().unwrap();
        Predecessor(ours).failed(&"\u{1}ü".repeat(100_000));
        let (word, _) = theirs.hear(soon()).unwrap();
        assert!(matches!(word, Word::Failed { error } if error.len() > 8_000));
    }
}
