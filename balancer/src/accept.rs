//! The accept loop of one listener, which goes on through whatever happens.

use std::{cell::RefCell, fs::File, io, rc::Rc, time::Duration};

use rustix::io::Errno;

use crate::{balancer::Balancer, listener::Listener, refusal::Refusal, refuse};

/// How long accepting rests when it cannot go on.
const REST: Duration = Duration::from_millis(50);
/// How long a client that was accepted with the reserve may keep it: the next one waits for it.
const RESERVE_LINGER: Duration = Duration::from_millis(100);
/// How many of those that the kernel had accepted already are still answered when accepting stops.
const FAREWELLS: usize = 1024;

/// A descriptor that is given up to answer a client when no other is left.
#[derive(Debug)]
pub struct Reserve(RefCell<Option<File>>);

/// Why accepting does not go on; logged when it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Descriptors,
    Other,
}

impl Reserve {
    /// Takes a descriptor for the bad times.
    pub fn new() -> Self {
        let reserve = Reserve(RefCell::default());
        reserve.refill();
        reserve
    }

    fn refill(&self) {
        let mut file = self.0.borrow_mut();
        if file.is_none() {
            *file = File::open("/dev/null").ok();
        }
    }

    /// Frees the descriptor. False if there is none: it is in use, or could not be taken again.
    fn give_up(&self) -> bool {
        self.0.borrow_mut().take().is_some()
    }
}

/// Accepts from the listener for ever.
pub async fn accept_all(balancer: &Rc<Balancer>, listener: &Listener) {
    let mut trouble = None;
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                if trouble.take().is_some() {
                    balancer.reserve().refill();
                    tracing::info!("connections are accepted again");
                }
                balancer.admit(client, peer);
            }
            Err(error) => match trouble_of(&error) {
                None => tracing::debug!(%error, "a connection was not accepted"),
                Some(found) => {
                    if trouble.replace(found) != Some(found) {
                        report(found, &error);
                    }
                    if found != Trouble::Descriptors || !answer_with_reserve(balancer, listener).await {
                        tokio::time::sleep(REST).await;
                    }
                }
            },
        }
    }
}

/// Answers those whom the kernel had accepted when accepting was stopped: closing the listener would reset them.
pub fn turn_away(balancer: &Rc<Balancer>, listener: &Listener) {
    for _ in 0..FAREWELLS {
        let Ok((client, _)) = listener.try_accept() else { return };
        balancer.turn_away(client, Refusal::NoWorker);
    }
}

fn report(trouble: Trouble, error: &io::Error) {
    match trouble {
        Trouble::Descriptors => {
            tracing::error!(%error, "cannot accept connections: raise the limit on open files (LimitNOFILE, ulimit -n)");
        }
        Trouble::Other => tracing::error!(%error, "cannot accept connections: trying on"),
    }
}

/// Accepts one client with the descriptor that is kept for this, and tells it why it is not served. False if that could not be
/// done.
async fn answer_with_reserve(balancer: &Rc<Balancer>, listener: &Listener) -> bool {
    balancer.reserve().refill();
    if !balancer.reserve().give_up() {
        return false;
    }
    let accepted = listener.try_accept();
    let answered = accepted.is_ok();
    if let Ok((client, _)) = accepted {
        balancer.count_refusal(Refusal::OutOfDescriptors);
        refuse::answer(client, Refusal::OutOfDescriptors, RESERVE_LINGER).await;
    }
    balancer.reserve().refill();
    answered
}

/// None if the error is of one connection that left before it was accepted, or of its network.
fn trouble_of(error: &io::Error) -> Option<Trouble> {
    let passing = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::PERM,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::OPNOTSUPP,
        Errno::TIMEDOUT,
    ];
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => Some(Trouble::Descriptors),
        Some(errno) if passing.contains(&errno) => None,
        _ => Some(Trouble::Other),
    }
}
