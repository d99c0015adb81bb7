//! Where clients connect: TCP and Unix sockets.

use std::{
    fmt, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use roomd_wire::{PeerAddress, Readiness};
use rustix::net::{AddressFamily, SocketFlags, acceptfrom_with, sockopt};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Clients that the kernel may hold before they are accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// An address to listen on: `127.0.0.1:3000`, `[::1]:3000`, `unix:/run/roomd.sock`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ListenAddress {
    /// An IPv4 or IPv6 address and a port; port 0 lets the system choose. `[::]` takes IPv4 clients too.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Someone else listens there.
    #[error("listen on {0}: another program does already; stop it or choose another address")]
    InUse(ListenAddress),
    /// The system refused.
    #[error("listen on {address}: {error}{hint}")]
    Refused {
        /// Where.
        address: ListenAddress,
        /// Why.
        error: io::Error,
        /// A way out, where one is known.
        hint: &'static str,
    },
}

/// A bound listener. The file of a Unix socket goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: Readiness,
    file: Option<SocketFile>,
    kept: bool,
    /// The file of a Unix socket becomes its own when it serves.
    claims: bool,
}

/// The file of a Unix socket that was bound here.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and number: a file that someone else has put in its place is not removed.
    inode: (u64, u64),
}

impl Listener {
    /// Binds the address. Must be called inside a tokio runtime.
    pub fn bind(address: &ListenAddress) -> Result<Listener, ListenError> {
        let result = match address {
            ListenAddress::Tcp(address) => bind_tcp(*address),
            ListenAddress::Unix(path) => bind_unix(path),
        };
        result.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address.clone()),
            kind => ListenError::Refused { address: address.clone(), hint: hint(kind), error },
        })
    }

    /// Takes a socket that is listening already. Must be called inside a tokio runtime.
    pub fn adopt(socket: OwnedFd) -> io::Result<Listener> {
        if sockopt::socket_domain(&socket)? != AddressFamily::UNIX {
            // What a worker writes is due: it must not wait for the client's acknowledgement of what went before. Accepted
            // sockets inherit this, which saves a call of the system for each.
            sockopt::set_tcp_nodelay(&socket, true)?;
        }
        Ok(Listener { socket: Readiness::new(socket)?, file: None, kept: false, claims: false })
    }

    /// It was bound by the program that this process was before, and its file goes with it, too; from when it serves, since until
    /// then that program may have it back.
    pub fn own(&mut self) {
        self.claims = true;
    }

    /// It serves from now on.
    pub(crate) fn begin(&mut self) {
        if self.claims
            && let Ok(ListenAddress::Unix(path)) = self.local_address()
            && let Ok(inode) = inode(&path)
        {
            self.file = Some(SocketFile { path, inode });
        }
    }

    /// From now on somebody else holds it too, for whoever serves here after this process: who waits to be accepted when serving
    /// ends is left waiting, and a Unix socket's file stays.
    pub fn keep(&mut self) {
        self.kept = true;
        // Its removal is what would happen when it is dropped.
        std::mem::forget(self.file.take());
    }

    /// Whether somebody else holds it too.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// The address it really has: of port 0 the one that the system chose.
    pub fn local_address(&self) -> io::Result<ListenAddress> {
        let address = SockRef::from(&self.socket).local_addr()?;
        match address.as_socket() {
            Some(address) => Ok(ListenAddress::Tcp(address)),
            None => Ok(ListenAddress::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned())),
        }
    }

    /// The next client, as a plain non-blocking descriptor that no runtime watches.
    pub(crate) async fn accept(&self) -> io::Result<(OwnedFd, PeerAddress)> {
        self.socket.when_readable(|| self.try_accept()).await
    }

    /// As [`Listener::accept`] if a client is there already.
    pub(crate) fn try_accept(&self) -> io::Result<(OwnedFd, PeerAddress)> {
        let (client, address) = acceptfrom_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let peer = address.and_then(|address| SocketAddr::try_from(address).ok());
        Ok((client, peer.map_or(PeerAddress::Unix, |peer| PeerAddress::Ip(peer.ip().to_canonical(), peer.port()))))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Gone already is as good as removed now.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), None)?;
    // A restart must not wait until the last connections of the former run have been forgotten by the kernel.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // All addresses, IPv4 ones too, whatever the host's default (net.ipv6.bindv6only) is.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Listener::adopt(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        match in_the_way(path, &address)? {
            InTheWay::Stale => std::fs::remove_file(path)?,
            InTheWay::Listening => return Err(error),
            InTheWay::NoSocket => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    let file = SocketFile { inode: inode(path)?, path: path.to_owned() };
    Ok(Listener { socket: Readiness::new(socket.into())?, file: Some(file), kept: false, claims: false })
}

/// What is found where a Unix socket is to be bound.
enum InTheWay {
    /// The socket of a run that was killed: nobody answers.
    Stale,
    /// A socket that somebody listens on.
    Listening,
    /// Something that is not ours to remove.
    NoSocket,
}

fn in_the_way(path: &Path, address: &SockAddr) -> io::Result<InTheWay> {
    // A connection to any other kind of file is refused too.
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(InTheWay::NoSocket);
    }
    // Not to wait for one whose backlog is full: that one lives.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
    Ok(match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => InTheWay::Stale,
        _ => InTheWay::Listening,
    })
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE, a socket's folder write permission)"
        }
        io::ErrorKind::AddrNotAvailable => " (this host has no such address)",
        io::ErrorKind::NotFound => " (its folder does not exist)",
        io::ErrorKind::AlreadyExists => " (the file is no socket: remove it or choose another path)",
        // The only argument that is not checked before.
        io::ErrorKind::InvalidInput => " (the path of a Unix socket has at most 107 bytes)",
        _ => "",
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> ListenAddress {
        ListenAddress::Tcp(address.parse().unwrap())
    }

    fn error_of(address: &ListenAddress) -> String {
        Listener::bind(address).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named_with_the_way_out() {
        let first = Listener::bind(&tcp("127.0.0.1:0")).unwrap();
        let address = first.local_address().unwrap();
        assert!(matches!(Listener::bind(&address), Err(ListenError::InUse(_))));
        assert_eq!(
            error_of(&address),
            format!("listen on {address}: another program does already; stop it or choose another address")
        );
        let folder = tempfile::tempdir().unwrap();
        for (path, hint) in [
            (folder.path().join("x".repeat(108)), "at most 107 bytes"),
            (folder.path().join("missing/socket"), "its folder does not exist"),
        ] {
            let text = error_of(&ListenAddress::Unix(path.clone()));
            assert!(text.contains(hint) && text.contains(path.to_str().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn all_addresses_are_those_of_both_families() {
        // A host may have no IPv6 at all.
        let Ok(listener) = Listener::bind(&tcp("[::]:0")) else { return };
        let ListenAddress::Tcp(address) = listener.local_address().unwrap() else { panic!("it is TCP") };
        for ip in ["127.0.0.1", "::1"] {
            let client = std::net::TcpStream::connect((ip, address.port())).unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, PeerAddress::Ip(ip.parse().unwrap(), client.local_addr().unwrap().port()));
        }
    }

    #[tokio::test]
    async fn a_unix_sockets_file_is_replaced_when_stale_kept_when_used_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public.sock");
        let address = ListenAddress::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&address).unwrap();
        assert!(matches!(Listener::bind(&address), Err(ListenError::InUse(_))));
        assert_eq!(listener.local_address().unwrap(), address);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_not_ours_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public.sock");
        let address = ListenAddress::Unix(path.clone());
        std::fs::write(&path, "precious").unwrap();
        assert!(error_of(&address).contains("the file is no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_file(&path).unwrap();

        let listener = Listener::bind(&address).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _successor = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists(), "a successor's file");
    }

    #[tokio::test]
    async fn the_file_of_a_listener_that_is_kept_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public.sock");
        let mut listener = Listener::bind(&ListenAddress::Unix(path.clone())).unwrap();
        listener.keep();
        drop(listener);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn an_adopted_listener_is_the_one_that_serves() {
        let std = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = std.local_addr().unwrap();
        let listener = Listener::adopt(std.into()).unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
        assert_eq!(peer.to_string(), client.local_addr().unwrap().to_string());
    }
}
