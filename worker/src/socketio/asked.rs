//! A question to the other servers under way, and what ends it early.

use std::{rc::Rc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::{
    Io,
    ack::{Answers, RequestError},
    namespaces::Nsp,
    pending::Pending,
    roll_call::{RollCall, Standing},
};
use crate::{
    adapter::codec::Response,
    bus::{BusError, LocalFuture, Members},
};

/// How long after a request the bus is asked again who is there, for the first time. Most are answered by then.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// The pause between two such looks doubles up to this.
const LONGEST_LOOK_PAUSE: Duration = Duration::from_millis(500);

/// How long it must be quiet where it is not known whether the answers that are lacking are those of a server that has gone.
const QUIET: Duration = Duration::from_secs(1);

/// A request under way. Dropped, it no longer takes answers.
pub(super) struct Asked {
    io: Io,
    namespace: Rc<Nsp>,
    id: String,
    answers: mpsc::UnboundedReceiver<Response>,
    /// Who was asked.
    pub(super) servers: RollCall,
    /// The bus is being asked who is there still.
    looking: Option<LocalFuture<Result<Members, BusError>>>,
    /// When it is to be asked next, and the pause before.
    look_at: Instant,
    pause: Duration,
    /// When the last answer came.
    heard: Instant,
}

/// Why a request ends before all have answered.
pub(super) enum End {
    Time,
    Left(Vec<String>),
    Bus(BusError),
}

impl Asked {
    /// Takes answers under this id from now on.
    pub(super) fn new(io: &Io, namespace: &Rc<Nsp>, id: &str, servers: RollCall) -> Self {
        let (pending, answers) = Pending::new();
        if let Some(members) = io.0.state.borrow_mut().namespaces.of_mut(namespace) {
            members.pending.insert(id.to_owned(), pending);
        }
        let now = Instant::now();
        Asked {
            io: io.clone(),
            namespace: namespace.clone(),
            id: id.to_owned(),
            answers,
            servers,
            looking: None,
            look_at: now + FIRST_LOOK,
            pause: FIRST_LOOK,
            heard: now,
        }
    }

    /// The next answer, or why no more are waited for; with `patient` until the deadline at least. May be dropped and called again.
    pub(super) async fn next(&mut self, deadline: Instant, patient: bool) -> Result<Response, End> {
        loop {
            if let Ok(answer) = self.answers.try_recv() {
                self.heard = Instant::now();
                return Ok(answer);
            }
            match self.servers.standing() {
                _ if patient => {}
                Standing::Over => return Err(End::Left(self.servers.left())),
                Standing::Unsure if self.heard.elapsed() >= QUIET => return Err(End::Left(self.servers.left())),
                Standing::Whole | Standing::Waiting | Standing::Unsure => {}
            }
            tokio::select! {
                Some(answer) = self.answers.recv() => {
                    self.heard = Instant::now();
                    return Ok(answer);
                }
                members = look_again(&self.io, &self.namespace, &mut self.looking, self.look_at) => {
                    self.pause = (self.pause * 2).min(LONGEST_LOOK_PAUSE);
                    self.look_at = Instant::now() + self.pause;
                    match members {
                        Ok(members) => self.servers.looked(&members),
                        // What was on its way is lost.
                        Err(error @ BusError::Down(_)) if !patient => return Err(End::Bus(error)),
                        // It is slow, and so are the answers.
                        Err(_) => {}
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Err(End::Time),
            }
        }
    }
}

/// Asks the bus at some time who is there. May be dropped and called again.
async fn look_again(
    io: &Io,
    nsp: &Nsp,
    looking: &mut Option<LocalFuture<Result<Members, BusError>>>,
    at: Instant,
) -> Result<Members, BusError> {
    let asked = match looking {
        Some(asked) => asked,
        None => {
            tokio::time::sleep_until(at).await;
            let Some(bus) = io.0.bus.get() else { return std::future::pending().await };
            looking.insert(io.look(nsp, &**bus))
        }
    };
    let members = asked.await;
    *looking = None;
    members
}

impl End {
    /// As the error of the request, with the answers that came.
    pub(super) fn with<T>(self, within: Duration, partial: Answers<T>) -> RequestError<T> {
        match self {
            End::Time => RequestError::Timeout { within, partial },
            End::Left(left) => RequestError::Left { left, partial },
            End::Bus(source) => RequestError::Bus { source, partial },
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(members) = self.io.0.state.borrow_mut().namespaces.of_mut(&self.namespace) {
            members.pending.remove(&self.id);
        }
    }
}
