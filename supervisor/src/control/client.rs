//! The commands' side of the control socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::Uid;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use super::protocol::{Answer, Ask, MAX_ANSWER_BYTES, Outcome, Request, VERSION};

/// How long the supervisor may take to answer what it answers at once.
const PROMPT: Duration = Duration::from_secs(10);

/// A connection to a running supervisor.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why a command could not be carried out. Each text is a sentence for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no cluster runs with the control socket {}: start one with `roomd up`, or name its socket with --control", .0.display())]
    NotRunning(PathBuf),
    /// It is not ours to talk to.
    #[error("the control socket {} belongs to another user: run this as that user, or as root", .0.display())]
    Forbidden(PathBuf),
    /// The connection failed.
    #[error("could not talk to the supervisor at {}: {source}", path.display())]
    Io {
        /// The control socket.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// No answer came.
    #[error("the supervisor at {} does not answer: look at its log, or kill it", .0.display())]
    NoAnswer(PathBuf),
    /// It ended before it answered.
    #[error("the supervisor at {} ended before it answered: look at its log", .0.display())]
    Ended(PathBuf),
    /// What came is no answer.
    #[error("what answers at {} is no supervisor of this version ({reason}): use the `roomd` it was started with", path.display())]
    NotUnderstood {
        /// The control socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The supervisor said no, and why.
    #[error("{message}")]
    Refused {
        /// A short name for programs.
        code: String,
        /// Its sentence.
        message: String,
    },
}

impl Client {
    /// Connects.
    pub async fn connect(path: &Path) -> Result<Client, ClientError> {
        let path = path.to_path_buf();
        let stream = match timeout(PROMPT, UnixStream::connect(&path)).await {
            Err(_) => return Err(ClientError::NoAnswer(path)),
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => {
                return Err(match source.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                        ClientError::NotRunning(path)
                    }
                    io::ErrorKind::PermissionDenied => ClientError::Forbidden(path),
                    _ => ClientError::Io { path, source },
                });
            }
        };
        // In a folder like /tmp somebody else may have put a socket there. Root may command any user's cluster.
        let us = Uid::effective();
        match stream.peer_cred() {
            Ok(peer) if us.is_root() || peer.uid() == us.as_raw() || peer.uid() == 0 => {}
            Ok(_) => return Err(ClientError::Forbidden(path)),
            Err(source) => return Err(ClientError::Io { path, source }),
        }
        Ok(Client { stream: BufReader::new(stream), path })
    }

    /// Asks for what is answered at once.
    pub async fn ask<T: DeserializeOwned>(&mut self, ask: Ask) -> Result<T, ClientError> {
        match timeout(PROMPT, self.ask_long(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::NoAnswer(self.path.clone())),
        }
    }

    /// Asks for what takes its time: the answer comes when it is done.
    pub async fn ask_long<T: DeserializeOwned>(&mut self, ask: Ask) -> Result<T, ClientError> {
        let line = self.exchange(ask).await.map_err(|source| match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Ended(self.path.clone()),
            _ => ClientError::Io { path: self.path.clone(), source },
        })?;
        if line.is_empty() {
            return Err(ClientError::Ended(self.path.clone()));
        }
        let not_understood = |error: serde_json::Error| ClientError::NotUnderstood {
            path: self.path.clone(),
            reason: error.to_string(),
        };
        let answer: Answer = serde_json::from_slice(&line).map_err(not_understood)?;
        match answer.outcome {
            Outcome::Ok(value) => serde_json::from_value(value).map_err(not_understood),
            Outcome::Error(refusal) => Err(ClientError::Refused { code: refusal.code, message: refusal.message }),
        }
    }

    /// Waits until the supervisor has ended.
    pub async fn wait_for_the_end(mut self) {
        let mut nothing = [0; 64];
        while self.stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
    }

    async fn exchange(&mut self, ask: Ask) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(&Request { v: VERSION, ask })?;
        line.push(b'\n');
        self.stream.write_all(&line).await?;
        line.clear();
        (&mut self.stream).take(MAX_ANSWER_BYTES as u64).read_until(b'\n', &mut line).await?;
        Ok(line)
    }
}
