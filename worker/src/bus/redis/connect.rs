//! From a URL to a connection that is logged in.

use std::{sync::Arc, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::{
    error::RedisError,
    resp::{Item, Parsed, Reply, command, parse},
};

/// How long a connection may take until it is logged in.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// When the system begins to ask whether a silent peer is there. Health finds a dead connection earlier; this is for the
/// system's own side of it.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long what was sent may stay unacknowledged by the other host.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection, whatever is below.
pub type Connection = Box<dyn Stream>;

/// What a connection can do.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Where Redis is and how to log in.
pub struct Target {
    address: ConnectionAddr,
    user: Option<String>,
    password: Option<String>,
    database: i64,
    tls: Option<TlsConnector>,
    /// The URL as it may be shown.
    shown: String,
}

impl Target {
    /// Reads a URL: `redis://`, `rediss://`, `unix://`, `redis+unix://`, with user, password and database.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        // The crate's error may quote the URL, and with it the password.
        let info = url.into_connection_info().map_err(|_| RedisError::Url)?;
        let login = info.redis_settings();
        let (user, password) = (login.username().map(str::to_owned), login.password().map(str::to_owned));
        let name = user.as_deref().map_or(String::new(), |user| format!("{user}@"));
        let (shown, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (format!("redis://{name}{}:{port}", bracketed(host)), None),
            ConnectionAddr::TcpTls { insecure: true, .. } => return Err(RedisError::Insecure),
            ConnectionAddr::TcpTls { host, port, .. } => {
                (format!("rediss://{name}{}:{port}", bracketed(host)), Some(tls_connector()))
            }
            ConnectionAddr::Unix(path) => (format!("unix://{name}{}", path.display()), None),
            _ => return Err(RedisError::Url),
        };
        Ok(Target { address: info.addr().clone(), user, password, database: login.db(), tls, shown })
    }

    /// The URL without the password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A connection that has answered a `PING`, within [`CONNECT_WITHIN`].
    pub async fn open(&self) -> Result<Connection, RedisError> {
        let opened = tokio::time::timeout(CONNECT_WITHIN, async {
            let mut connection = self.connect().await?;
            self.log_in(&mut connection).await?;
            Ok(connection)
        });
        let silent = if self.tls.is_some() { RedisError::SilentTls } else { RedisError::Silent };
        opened.await.map_err(|_| silent(CONNECT_WITHIN))?
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        match (&self.address, &self.tls) {
            (ConnectionAddr::Unix(path), _) => {
                Ok(Box::new(UnixStream::connect(path).await.map_err(RedisError::Connect)?))
            }
            (ConnectionAddr::TcpTls { host, port, .. }, Some(tls)) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| RedisError::ServerName)?;
                let stream = connect_tcp(host, *port).await?;
                Ok(Box::new(tls.connect(name, stream).await.map_err(RedisError::Tls)?))
            }
            (ConnectionAddr::Tcp(host, port), _) => Ok(Box::new(connect_tcp(host, *port).await?)),
            _ => Err(RedisError::Url),
        }
    }

    async fn log_in(&self, connection: &mut Connection) -> Result<(), RedisError> {
        let (mut commands, mut names) = (Vec::new(), Vec::new());
        if let Some(password) = &self.password {
            match &self.user {
                Some(user) => command(&mut commands, &[b"AUTH", user.as_bytes(), password.as_bytes()]),
                None => command(&mut commands, &[b"AUTH", password.as_bytes()]),
            }
            names.push("AUTH");
        }
        if self.database != 0 {
            // Pub/sub knows no databases; but a wrong number is a mistake that is better told.
            command(&mut commands, &[b"SELECT", self.database.to_string().as_bytes()]);
            names.push("SELECT");
        }
        command(&mut commands, &[b"PING"]);
        names.push("PING");
        connection.write_all(&commands).await.map_err(RedisError::Broken)?;
        connection.flush().await.map_err(RedisError::Broken)?;
        let mut bytes = Vec::new();
        for name in names {
            loop {
                let len = match parse(&bytes)? {
                    Parsed::Whole(Reply::One(Item::Error(answer)), _) => return Err(RedisError::refused(name, answer)),
                    Parsed::Whole(_, len) => len,
                    Parsed::Lacks(_) => 0,
                };
                if len > 0 {
                    bytes.drain(..len);
                    break;
                }
                if connection.read_buf(&mut bytes).await.map_err(RedisError::Broken)? == 0 {
                    return Err(RedisError::Closed);
                }
            }
        }
        Ok(())
    }
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, RedisError> {
    let stream = TcpStream::connect((host, port)).await.map_err(RedisError::Connect)?;
    let socket = SockRef::from(&stream);
    let set = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE)))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    set.map_err(RedisError::Connect)?;
    Ok(stream)
}

/// Trusts the well-known authorities and the system's own (or those in `SSL_CERT_FILE`), which is where a private one is.
fn tls_connector() -> TlsConnector {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_url_are_understood_and_shown_without_password() {
        let cases = [
            ("redis://host", "redis://host:6379", None, 0),
            ("redis://:secret@host:7000/3", "redis://host:7000", Some("secret"), 3),
            ("redis://ann:se%40cret@[::1]:7000", "redis://ann@[::1]:7000", Some("se@cret"), 0),
            ("rediss://ann:secret@host/1", "rediss://ann@host:6379", Some("secret"), 1),
            ("unix:///run/r.sock", "unix:///run/r.sock", None, 0),
            ("redis+unix:///run/r.sock?db=2&user=ann&pass=secret", "unix://ann@/run/r.sock", Some("secret"), 2),
        ];
        for (url, shown, password, database) in cases {
            let target = Target::new(url).unwrap();
            assert_eq!((target.shown(), target.password.as_deref(), target.database), (shown, password, database));
        }
    }

    #[test]
    fn an_error_never_holds_the_url() {
        for url in ["", "secret", "http://a:secret@host", "redis://a:secret@host:port", "rediss://a:secret@h/#insecure"]
        {
            let error = Target::new(url).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
