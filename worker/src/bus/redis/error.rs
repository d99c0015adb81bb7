//! What can go wrong with Redis, in one line each that says what to do.

use std::{io, time::Duration};

/// Why Redis cannot be used; the text fits behind "failed to …". It never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The URL is not one. It is not repeated: there may be a password in it.
    #[error(
        "understand the redis url: give one such as redis://user:password@host:6379/0, rediss://host, unix:///run/redis.sock"
    )]
    Url,
    /// The URL asks for TLS without a check.
    #[error(
        "use a redis url with #insecure: trust the server's certificate by SSL_CERT_FILE or the system's store instead"
    )]
    Insecure,
    /// The name in the certificate's place cannot be one.
    #[error("use TLS with this host: a certificate cannot be made out to it")]
    ServerName,
    /// No connection could be made.
    #[error("connect ({0}): is Redis running there?")]
    Connect(io::Error),
    /// TLS could not be agreed on.
    #[error(
        "agree on TLS ({0}): is it a TLS port, and is the certificate's authority in SSL_CERT_FILE or the system's store?"
    )]
    Tls(io::Error),
    /// The server refused user and password, or wants some.
    #[error("log in ({0}): check user and password in the url")]
    Login(String),
    /// The server refused a command.
    #[error("run {0} ({1}){hint}", hint = if *.0 == "SELECT" { ": check the database's number in the url" } else { "" })]
    Refused(&'static str, String),
    /// The server said nothing.
    #[error("get an answer within {0:?}: is it paused, overloaded or cut off?")]
    Silent(Duration),
    /// The server said nothing on a connection with TLS: a server without waits for the rest of what it takes for a command.
    #[error(
        "get an answer within {0:?}: is it paused, overloaded, cut off, or no TLS port (then redis:// instead of rediss://)?"
    )]
    SilentTls(Duration),
    /// The connection broke.
    #[error("keep the connection ({0})")]
    Broken(io::Error),
    /// The server ended the connection.
    #[error("keep the connection: Redis closed it")]
    Closed,
    /// What came is not Redis's protocol, or over its bounds.
    #[error("understand what came ({0}): is it Redis that listens there, and without TLS where the url says redis://?")]
    Protocol(&'static str),
}

impl RedisError {
    /// A refused command, told apart from a refused login.
    pub fn refused(command: &'static str, answer: &[u8]) -> Self {
        let answer = String::from_utf8_lossy(answer).into_owned();
        let login = ["NOAUTH", "WRONGPASS", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH"];
        match command == "AUTH" || login.iter().any(|start| answer.starts_with(start)) {
            true => RedisError::Login(answer),
            false => RedisError::Refused(command, answer),
        }
    }
}
