//! Sockets that accept.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::logic::endpoint::Endpoint;

use super::options::prepare_listener;
use super::socket;

/// Connections the kernel may hold for us before we accept them; `net.core.somaxconn` caps it.
pub const BACKLOG: i32 = 4096;

/// A bound and listening socket, not yet accepted from.
#[derive(Clone, Debug)]
pub struct ListenSocket {
    pub(super) socket: Arc<Socket>,
    endpoint: Endpoint,
    file: Option<Arc<SocketFile>>,
}

/// Accepts connections for the control thread.
#[derive(Debug)]
pub struct ControlListener {
    listener: Listener,
    _file: Option<Arc<SocketFile>>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The file of a unix socket; taken away with the last socket that listens there, unless it has
/// become another one's meanwhile.
#[derive(Debug)]
struct SocketFile {
    path: Arc<Path>,
    identity: (u64, u64),
    /// Whether this process is the one to take it away.
    is_ours: AtomicBool,
}

impl ListenSocket {
    /// Binds and listens. Port 0 lets the kernel choose; [`Self::endpoint`] says which. A unix
    /// socket gets these permissions, and takes the place of one that nobody answers on.
    ///
    /// # Errors
    /// Whatever the kernel says: address in use, no permission, no such interface or directory.
    pub fn bind(endpoint: &Endpoint, mode: u32) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => Self::bind_tcp(*address),
            Endpoint::Unix(path) => Self::bind_unix(path, mode),
        }
    }

    fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // "[::]:80" beside "0.0.0.0:80" must not collide.
            socket.set_only_v6(true)?;
        }
        prepare_listener(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Self::of(socket)
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// When it does not.
    pub fn adopt(socket: Socket) -> io::Result<Self> {
        if !socket.is_listener()? {
            return Err(io::Error::other("it does not listen"));
        }
        let listening = Self::of(socket)?;
        if matches!(listening.endpoint, Endpoint::Tcp(_)) {
            prepare_listener(&listening.socket)?;
        }
        Ok(listening)
    }

    /// Takes over a socket, and the file that another process made for it, from the moment on when
    /// [`Self::own_file`] says so.
    ///
    /// # Errors
    /// When it does not listen, or the file is gone.
    pub fn adopt_with_file(socket: Socket) -> io::Result<Self> {
        let listening = Self::adopt(socket)?;
        let file = match &listening.endpoint {
            Endpoint::Tcp(_) => None,
            Endpoint::Unix(path) => Some(Arc::new(SocketFile::at(path, false)?)),
        };
        Ok(Self { file, ..listening })
    }

    /// Whether there is a file that goes with the socket.
    pub const fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Says whether this process is the one that takes the file away.
    pub fn own_file(&self, is_ours: bool) {
        if let Some(file) = &self.file {
            file.is_ours.store(is_ours, Relaxed);
        }
    }

    /// The file of a unix socket stays: who made it takes it away.
    fn of(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let tcp = local.as_socket().map(Endpoint::Tcp);
        let unix = || local.as_pathname().map(|path| Endpoint::Unix(path.into()));
        let endpoint = tcp.or_else(unix);
        Ok(Self {
            socket: Arc::new(socket),
            endpoint: endpoint.ok_or_else(|| io::Error::other("neither TCP nor a unix socket"))?,
            file: None,
        })
    }

    fn bind_unix(path: &Arc<Path>, mode: u32) -> io::Result<Self> {
        clear_away(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The file is born with these less the umask's, so that it is never open to more.
        rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::at(path, true)?;
        let listening = Self {
            file: Some(Arc::new(file)),
            ..Self::of(socket)?
        };
        listening.permit(mode)?;
        listening.socket.listen(BACKLOG)?;
        Ok(listening)
    }

    /// Sets the permissions of a unix socket, unless another process made it.
    ///
    /// # Errors
    /// When its file is gone.
    pub fn permit(&self, mode: u32) -> io::Result<()> {
        match &self.file {
            None => Ok(()),
            Some(file) => fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)),
        }
    }

    /// The same socket under a descriptor of its own, which a runtime can watch beside this one.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self {
            socket: Arc::new(self.socket.try_clone()?),
            ..self.clone()
        })
    }

    /// Where it really listens.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Accepts on the control thread's own runtime.
    ///
    /// # Errors
    /// When the process is out of descriptors, or the runtime refuses the socket.
    pub fn into_control(self) -> io::Result<ControlListener> {
        let socket = self.socket.try_clone()?;
        let listener = match self.endpoint {
            Endpoint::Tcp(_) => TcpListener::from_std(socket.into()).map(Listener::Tcp),
            Endpoint::Unix(_) => UnixListener::from_std(socket.into()).map(Listener::Unix),
        };
        Ok(ControlListener {
            listener: listener?,
            _file: self.file,
        })
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ControlListener {
    /// The next connection.
    ///
    /// # Errors
    /// When the process is out of descriptors, among others.
    pub async fn accept(&self) -> io::Result<socket::Socket> {
        match &self.listener {
            Listener::Tcp(tcp) => tcp.accept().await.map(|(tcp, _)| socket::Socket::Tcp(tcp)),
            Listener::Unix(unix) => unix
                .accept()
                .await
                .map(|(unix, _)| socket::Socket::Unix(unix)),
        }
    }
}

/// Takes away a unix socket that a process left behind; one that is answered on stays.
fn clear_away(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        let text = "the file is there and is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog must not hold us up: who has one is there.
    caller.set_nonblocking(true)?;
    match caller.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

impl SocketFile {
    fn at(path: &Arc<Path>, is_ours: bool) -> io::Result<Self> {
        Ok(Self {
            path: Arc::clone(path),
            identity: identity(path)?,
            is_ours: AtomicBool::new(is_ours),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = *self.is_ours.get_mut();
        if is_ours && identity(&self.path).is_ok_and(|found| found == self.identity) {
            // A directory that lets it stay is no reason not to stop.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(directory: &tempfile::TempDir) -> Endpoint {
        Endpoint::Unix(directory.path().join("a.sock").into())
    }

    fn exists(endpoint: &Endpoint) -> bool {
        matches!(endpoint, Endpoint::Unix(path) if path.exists())
    }

    #[test]
    fn a_socket_file_goes_with_its_last_listener() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&directory);
        let first = ListenSocket::bind(&endpoint, 0o600).unwrap();
        let second = first.duplicate().unwrap();
        drop(first);
        assert!(exists(&endpoint));
        drop(second);
        assert!(!exists(&endpoint));
    }

    #[test]
    fn the_permissions_do_not_depend_on_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&directory);
        for mode in [0o600, 0o666, 0o777] {
            let _socket = ListenSocket::bind(&endpoint, mode).unwrap();
            let file = fs::metadata(directory.path().join("a.sock")).unwrap();
            assert_eq!(file.permissions().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn who_answers_keeps_the_address_and_what_is_left_behind_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&directory);
        let path = directory.path().join("a.sock");
        let answers = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let refused = ListenSocket::bind(&endpoint, 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(answers);
        assert!(path.exists());
        ListenSocket::bind(&endpoint, 0o600).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.sock"), "precious").unwrap();
        let refused = ListenSocket::bind(&endpoint(&directory), 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(directory.path().join("a.sock").exists());
    }

    #[test]
    fn a_file_that_has_become_another_ones_stays() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&directory);
        let path = directory.path().join("a.sock");
        let ours = ListenSocket::bind(&endpoint, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        let _another = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
    }
}
