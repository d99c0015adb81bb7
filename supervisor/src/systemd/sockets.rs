//! Listening sockets that this process was started with: which of them is for whom, and which are fit for it.
//!
//! - A socket unit's socket that is named `admin` or `roomd-admin` (`FileDescriptorName=`) is the admin listener's, `control` or
//!   `roomd-control` the control socket. All others are for clients.
//! - Where every socket for clients has an address that is in `[cluster] listen`, it serves for that address, and the other
//!   addresses are bound here. Where one has another address, **the socket unit decides**: clients are served on its sockets, and
//!   nothing else is bound for them.
//! - A socket that an earlier run put into the store serves on for its address if that is still wanted, else it is closed.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileTypeExt as _,
    },
    path::PathBuf,
};

use roomd_balancer::ListenAddress;
use rustix::net::{AddressFamily, SocketType, sockopt};
use socket2::SockRef;

use super::{Inherited, STORED, Store};

/// A listener for clients in the store: so begins its name, a number follows.
const STORED_PUBLIC: &str = "store-public-";
/// The admin listener in the store.
pub const STORED_ADMIN: &str = "store-admin";
/// The control socket in the store.
pub const STORED_CONTROL: &str = "store-control";

/// A socket that listens already.
#[derive(Debug)]
pub struct PassedSocket {
    /// As the socket unit or the store names it.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// The socket itself.
    pub socket: OwnedFd,
}

/// All of them.
#[derive(Default, Debug)]
pub struct Passed {
    /// For the admin listener.
    pub admin: Option<PassedSocket>,
    /// The control socket.
    pub control: Option<PassedSocket>,
    /// For clients, those of socket units first.
    public: Vec<PassedSocket>,
}

/// Where clients are to connect.
#[derive(Debug)]
pub enum Public {
    /// On a socket that listens already.
    Passed(PassedSocket),
    /// At an address that is to be bound, under a name that is free in the store.
    Bind(ListenAddress, String),
}

/// A socket unit passes what cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("descriptor \"{name}\", passed by the service manager, {unfit}")]
pub struct SocketError {
    /// As the socket unit names it.
    name: String,
    unfit: Unfit,
}

/// What is wrong with a descriptor.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("is no socket")]
    NoSocket,
    #[error("is a {0} socket")]
    NoStream(&'static str),
    #[error("is a socket that does not listen")]
    DoesNotListen,
    #[error("is a socket of another family than IPv4, IPv6 and Unix")]
    Family,
    #[error("is a Unix socket whose file {} is gone: nobody can connect to it", .0.display())]
    FileGone(PathBuf),
    #[error("cannot be looked at: {0}")]
    System(#[from] io::Error),
}

impl Passed {
    /// Takes the listening sockets out of what this process was started with. What is unfit is an error in a socket unit; from
    /// the store it is removed.
    pub fn of(inherited: &mut Inherited, store: &Store) -> Result<Passed, SocketError> {
        let mut passed = Passed::default();
        for (name, socket) in inherited.take_where(|name| !name.starts_with(STORED)) {
            let address = match address_of(&socket) {
                Ok(address) => address,
                Err(unfit) => return Err(SocketError { name, unfit }),
            };
            tracing::info!(name, %address, "a listening socket was passed by the service manager");
            let place = match name.as_str() {
                "admin" | "roomd-admin" => &mut passed.admin,
                "control" | "roomd-control" => &mut passed.control,
                _ => {
                    passed.public.push(PassedSocket { name, address, socket });
                    continue;
                }
            };
            *place = Some(PassedSocket { name, address, socket });
        }
        let ours = |name: &str| name.starts_with(STORED_PUBLIC) || name == STORED_ADMIN || name == STORED_CONTROL;
        for (name, socket) in inherited.take_where(ours) {
            let address = match address_of(&socket) {
                Ok(address) => address,
                Err(unfit) => {
                    tracing::warn!(name, %unfit, "not taken over from the service manager's store");
                    store.remove(&name);
                    continue;
                }
            };
            let socket = PassedSocket { name, address, socket };
            match socket.name.as_str() {
                STORED_ADMIN if passed.admin.is_none() => passed.admin = Some(socket),
                STORED_CONTROL if passed.control.is_none() => passed.control = Some(socket),
                // A socket unit has been added since.
                STORED_ADMIN | STORED_CONTROL => socket.forget(store),
                _ => passed.public.push(socket),
            }
        }
        Ok(passed)
    }

    /// Where clients are to connect, given what the configuration wants: see the module's documentation for the rule.
    pub fn public(self, wanted: &[ListenAddress], store: &Store) -> Vec<Public> {
        let (units, mut stored): (Vec<_>, Vec<_>) = self.public.into_iter().partition(|socket| !socket.is_stored());
        let fits = |socket: &PassedSocket| wanted.iter().any(|wanted| serves_for(wanted, &socket.address));
        let unit_decides = units.iter().any(|unit| !fits(unit));
        if unit_decides {
            let addresses: Vec<_> = units.iter().map(|unit| unit.address.to_string()).collect();
            tracing::info!(
                addresses = addresses.join(", "),
                "the socket unit decides where clients connect: [cluster] listen is not bound"
            );
        }
        let left = wanted.iter().filter(|wanted| !units.iter().any(|unit| serves_for(wanted, &unit.address)));
        let left: Vec<_> = left.filter(|_| !unit_decides).cloned().collect();
        let mut chosen: Vec<Public> = units.into_iter().map(Public::Passed).collect();
        let mut names = Vec::new();
        let mut bound = Vec::new();
        for wanted in left {
            match stored.iter().position(|socket| serves_for(&wanted, &socket.address)) {
                Some(at) => {
                    let socket = stored.remove(at);
                    names.push(socket.name.clone());
                    chosen.push(Public::Passed(socket));
                }
                None => bound.push(wanted),
            }
        }
        // Before their names are given to others.
        stored.into_iter().for_each(|socket| socket.forget(store));
        let free = (0..).map(|number| format!("{STORED_PUBLIC}{number}")).filter(|name| !names.contains(name));
        chosen.extend(bound.into_iter().zip(free).map(|(address, name)| Public::Bind(address, name)));
        chosen
    }
}

impl PassedSocket {
    /// Whether it comes from the store, not from a socket unit.
    pub fn is_stored(&self) -> bool {
        self.name.starts_with(STORED)
    }

    /// Whether it is what this address asks for.
    pub fn serves(&self, wanted: &ListenAddress) -> bool {
        serves_for(wanted, &self.address)
    }

    /// Closes it, also in the store.
    pub fn forget(self, store: &Store) {
        tracing::info!(name = self.name, address = %self.address, "a listener that is not wanted any more is closed");
        if self.is_stored() {
            store.remove(&self.name);
            drop(self.socket);
            // Its address may be wanted for another: 127.0.0.1:80 instead of all addresses.
            store.settle();
        }
    }
}

impl AsFd for PassedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a socket at `address` is what `wanted` asks for.
fn serves_for(wanted: &ListenAddress, address: &ListenAddress) -> bool {
    match (wanted, address) {
        (ListenAddress::Tcp(wanted), ListenAddress::Tcp(address)) => {
            // "All addresses" are those of IPv4 on a host without IPv6; port 0 lets the system choose, as it once did.
            let all = wanted.ip().is_unspecified() && wanted.is_ipv6() && address.ip().is_unspecified();
            (wanted.ip() == address.ip() || all) && (wanted.port() == address.port() || wanted.port() == 0)
        }
        (wanted, address) => wanted == address,
    }
}

/// Where a socket listens that clients can connect to.
fn address_of(socket: &OwnedFd) -> Result<ListenAddress, Unfit> {
    match sockopt::socket_type(socket).map_err(io::Error::from) {
        Ok(SocketType::STREAM) => {}
        Ok(SocketType::DGRAM) => return Err(Unfit::NoStream("datagram")),
        Ok(SocketType::SEQPACKET) => return Err(Unfit::NoStream("sequential packet")),
        Ok(_) => return Err(Unfit::NoStream("raw")),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOTSOCK) => return Err(Unfit::NoSocket),
        Err(error) => return Err(error.into()),
    }
    let family = sockopt::socket_domain(socket).map_err(io::Error::from)?;
    if ![AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX].contains(&family) {
        return Err(Unfit::Family);
    }
    if !sockopt::socket_acceptconn(socket).map_err(io::Error::from)? {
        return Err(Unfit::DoesNotListen);
    }
    let address = SockRef::from(socket).local_addr()?;
    if let Some(address) = address.as_socket() {
        return Ok(ListenAddress::Tcp(address));
    }
    // One without a path is in the abstract namespace.
    let path = address.as_pathname().map_or_else(PathBuf::new, Into::into);
    match path.symlink_metadata() {
        Ok(file) if file.file_type().is_socket() => {}
        _ if path.as_os_str().is_empty() => {}
        _ => return Err(Unfit::FileGone(path)),
    }
    Ok(ListenAddress::Unix(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn tcp(address: &str) -> ListenAddress {
        ListenAddress::Tcp(address.parse().unwrap())
    }

    /// Sockets that pretend to listen elsewhere.
    fn passed(sockets: &[(&str, &str)]) -> Passed {
        let socket = |&(name, address): &(&str, &str)| PassedSocket {
            name: name.into(),
            address: match address.strip_prefix("unix:") {
                Some(path) => ListenAddress::Unix(path.into()),
                None => tcp(address),
            },
            socket: std::fs::File::open("/dev/null").unwrap().into(),
        };
        Passed { public: sockets.iter().map(socket).collect(), ..Passed::default() }
    }

    /// What is served, in short.
    fn chosen(sockets: &[(&str, &str)], wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|wanted| match wanted.strip_prefix("unix:") {
                Some(path) => ListenAddress::Unix(path.into()),
                None => tcp(wanted),
            })
            .collect();
        let show = |public| match public {
            Public::Passed(socket) => format!("{} {}", socket.name, socket.address),
            Public::Bind(address, name) => format!("bind {address} as {name}"),
        };
        passed(sockets).public(&wanted, &Store::default()).into_iter().map(show).collect()
    }

    #[test]
    fn an_address_is_free_when_its_listener_was_forgotten() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = PassedSocket {
            name: "store-public-0".into(),
            address: ListenAddress::Tcp(address),
            socket: listener.into(),
        };
        socket.forget(&Store::default());
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn a_socket_units_address_that_is_wanted_serves_and_the_others_are_bound() {
        assert_eq!(
            chosen(&[("roomd.socket", "0.0.0.0:80")], &["0.0.0.0:80", "unix:/run/x"]),
            ["roomd.socket 0.0.0.0:80", "bind unix:/run/x as store-public-0"]
        );
        assert_eq!(chosen(&[("roomd.socket", "[::]:80")], &["[::]:80"]), ["roomd.socket [::]:80"]);
    }

    #[test]
    fn a_socket_units_address_that_is_not_wanted_decides_for_all() {
        assert_eq!(chosen(&[("roomd.socket", "[::]:80")], &["127.0.0.1:3000"]), ["roomd.socket [::]:80"]);
        assert_eq!(
            chosen(&[("a.socket", "[::]:80"), ("a.socket", "127.0.0.1:3000")], &["127.0.0.1:3000", "127.0.0.1:3001"]),
            ["a.socket [::]:80", "a.socket 127.0.0.1:3000"]
        );
    }

    #[test]
    fn of_the_store_only_what_is_wanted_serves_on() {
        let stored = [("store-public-0", "127.0.0.1:3000"), ("store-public-1", "127.0.0.1:3001")];
        assert_eq!(
            chosen(&stored, &["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"]),
            [
                "store-public-1 127.0.0.1:3001",
                "bind 127.0.0.1:3002 as store-public-0",
                "bind 127.0.0.1:3003 as store-public-2"
            ]
        );
        assert_eq!(chosen(&stored, &["127.0.0.1:0"]), ["store-public-0 127.0.0.1:3000"]);
        assert_eq!(chosen(&[("store-public-0", "0.0.0.0:80")], &["[::]:80"]), ["store-public-0 0.0.0.0:80"]);
        assert_eq!(
            chosen(&[("store-public-0", "[::]:80"), ("roomd.socket", "[::]:80")], &["[::]:80"]),
            ["roomd.socket [::]:80"]
        );
    }

    fn error_of(socket: impl Into<OwnedFd>) -> String {
        let mut inherited = Inherited::from(vec![("roomd.socket".to_owned(), socket.into())]);
        Passed::of(&mut inherited, &Store::default()).unwrap_err().to_string()
    }

    #[test]
    fn what_clients_cannot_connect_to_is_refused_by_its_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (error, words) in [
            (error_of(UdpSocket::bind("127.0.0.1:0").unwrap()), "is a datagram socket"),
            (error_of(TcpStream::connect(listener.local_addr().unwrap()).unwrap()), "does not listen"),
            (error_of(std::fs::File::open("/dev/null").unwrap()), "is no socket"),
        ] {
            assert!(error.contains(words) && error.contains("\"roomd.socket\""), "{error}");
        }
        let mut stored =
            Inherited::from(vec![("store-public-0".to_owned(), std::fs::File::open("/dev/null").unwrap().into())]);
        assert!(Passed::of(&mut stored, &Store::default()).unwrap().public.is_empty());
        assert!(stored.take_prefixed("").is_empty());
    }

    #[test]
    fn each_goes_where_its_name_says_and_what_others_stored_is_left_to_them() {
        let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let names = ["x", "roomd-admin", "store-public-3", "store-admin", "control", "store-worker-0"];
        let mut inherited = Inherited::from(Vec::from(names.map(|name| (name.to_owned(), listener()))));
        let passed = Passed::of(&mut inherited, &Store::default()).unwrap();
        assert_eq!(passed.admin.unwrap().name, "roomd-admin");
        assert_eq!(passed.control.unwrap().name, "control");
        assert_eq!(
            passed.public.iter().map(|socket| socket.name.as_str()).collect::<Vec<_>>(),
            ["x", "store-public-3"]
        );
        let left = inherited.take_prefixed("");
        assert_eq!(left.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["store-worker-0"]);
    }
}
