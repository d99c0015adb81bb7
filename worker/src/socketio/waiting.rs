//! Whose answers are waited for, in one namespace. No I/O.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use tokio::sync::{mpsc, oneshot};

use super::SocketId;
use crate::protocol::Data;

/// Events that clients have been sent and are to answer.
#[derive(Default)]
pub(super) struct Waiting {
    /// Numbers events whose answer is wanted, for all sockets together: so a broadcast has one number. It only ever rises,
    /// so a late answer is never taken for that to a later question.
    next: u64,
    /// Ordered by client: those of one that leaves are found without a look at all others.
    one: BTreeMap<(SocketId, u64), oneshot::Sender<Data>>,
    many: FxHashMap<u64, Broadcast>,
}

/// A broadcast that clients are to answer.
struct Broadcast {
    /// Those that have not answered yet.
    missing: FxHashSet<SocketId>,
    answers: mpsc::UnboundedSender<Option<Data>>,
}

/// Names a question; what gives it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Question {
    /// Its number on the wire.
    pub(super) number: u64,
    /// Who was asked, if it was one client.
    socket: Option<SocketId>,
}

impl Waiting {
    /// One client is asked: the question, and where its answer comes out. Nothing comes out if it leaves.
    pub(super) fn ask(&mut self, socket: SocketId) -> (Question, oneshot::Receiver<Data>) {
        let number = self.number();
        let (sender, answer) = oneshot::channel();
        self.one.insert((socket, number), sender);
        (Question { number, socket: Some(socket) }, answer)
    }

    /// Many are asked: the question, and where the first argument of each answer comes out.
    pub(super) fn ask_many(
        &mut self,
        sockets: impl IntoIterator<Item = SocketId>,
    ) -> (Question, mpsc::UnboundedReceiver<Option<Data>>) {
        let number = self.number();
        let (answers, receiver) = mpsc::unbounded_channel();
        let missing: FxHashSet<_> = sockets.into_iter().collect();
        if !missing.is_empty() {
            self.many.insert(number, Broadcast { missing, answers });
        }
        (Question { number, socket: None }, receiver)
    }

    /// A client answers. What was not asked, or was answered or given up already, is ignored, as in the official server.
    pub(super) fn answer(&mut self, socket: SocketId, number: u64, data: Data) {
        if let Some(answer) = self.one.remove(&(socket, number)) {
            // Whoever waited may be gone since: the answer is late, and dropped.
            let _ = answer.send(data);
        } else if let Some(broadcast) = self.many.get_mut(&number)
            && broadcast.missing.remove(&socket)
        {
            let _ = broadcast.answers.send(data.first());
            if broadcast.missing.is_empty() {
                self.many.remove(&number);
            }
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn give_up(&mut self, Question { number, socket }: Question) {
        match socket {
            Some(socket) => drop(self.one.remove(&(socket, number))),
            None => drop(self.many.remove(&number)),
        }
    }

    /// A client has left: it answers nothing any more.
    pub(super) fn left(&mut self, socket: SocketId) {
        let asked: SmallVec<[u64; 4]> =
            self.one.range((socket, 0)..=(socket, u64::MAX)).map(|((_, number), _)| *number).collect();
        for number in asked {
            self.one.remove(&(socket, number));
        }
        self.many.retain(|_, broadcast| {
            broadcast.missing.remove(&socket);
            !broadcast.missing.is_empty()
        });
    }

    /// Gives back the room of what is no longer waited for.
    pub(super) fn shrink_to_fit(&mut self) {
        self.many.shrink_to_fit();
    }

    /// How many questions are open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.one.len() + self.many.len()
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn id(at: usize) -> SocketId {
        SocketId::parse(&format!("socket-id-{at:010}")).unwrap()
    }

    fn data(number: u64) -> Data {
        Data::ack(&number).unwrap()
    }

    #[test]
    fn only_the_one_who_was_asked_answers_and_once() {
        let mut waiting = Waiting::default();
        let (question, mut answer) = waiting.ask(id(1));
        waiting.answer(id(2), question.number, data(2));
        waiting.answer(id(1), question.number + 1, data(3));
        assert!(answer.try_recv().is_err());
        waiting.answer(id(1), question.number, data(1));
        waiting.answer(id(1), question.number, data(4));
        assert_eq!(answer.try_recv().unwrap(), data(1));
        assert_eq!(waiting.len(), 0);
    }

    /// Random questions, answers, ends and changes of mind; what is open and what came out against a plain model.
    #[test]
    fn what_is_open_is_what_a_plain_model_says() {
        let mut rng = fastrand::Rng::with_seed(crate::seeds::new());
        let mut waiting = Waiting::default();
        let mut singles: Vec<(Question, usize, oneshot::Receiver<Data>)> = Vec::new();
        let mut broadcasts: Vec<(Question, BTreeSet<usize>, mpsc::UnboundedReceiver<Option<Data>>)> = Vec::new();
        for step in 0..20_000 {
            let socket = rng.usize(..8);
            match rng.u8(..10) {
                0..3 => {
                    let (question, answer) = waiting.ask(id(socket));
                    singles.push((question, socket, answer));
                }
                3 => {
                    let asked: BTreeSet<_> = (0..8).filter(|_| rng.bool()).collect();
                    let (question, answers) = waiting.ask_many(asked.iter().map(|&socket| id(socket)));
                    broadcasts.push((question, asked, answers));
                }
                4..6 if !singles.is_empty() => {
                    // The wrong client answers now and then.
                    let at = rng.usize(..singles.len());
                    let (question, asked, answer) = &mut singles[at];
                    waiting.answer(id(socket), question.number, data(step));
                    if *asked == socket {
                        assert_eq!(answer.try_recv().unwrap(), data(step), "step {step}");
                        singles.swap_remove(at);
                    } else {
                        assert!(answer.try_recv().is_err(), "step {step}");
                    }
                }
                6 | 7 if !broadcasts.is_empty() => {
                    let at = rng.usize(..broadcasts.len());
                    let (question, missing, answers) = &mut broadcasts[at];
                    waiting.answer(id(socket), question.number, data(step));
                    assert_eq!(answers.try_recv().is_ok(), missing.remove(&socket), "step {step}");
                }
                8 => {
                    waiting.left(id(socket));
                    singles.retain(|(_, asked, _)| *asked != socket);
                    for (_, missing, _) in &mut broadcasts {
                        missing.remove(&socket);
                    }
                }
                _ if rng.bool() && !singles.is_empty() => {
                    waiting.give_up(singles.swap_remove(rng.usize(..singles.len())).0);
                }
                _ if !broadcasts.is_empty() => {
                    waiting.give_up(broadcasts.swap_remove(rng.usize(..broadcasts.len())).0);
                }
                _ => {}
            }
            broadcasts.retain(|(_, missing, _)| !missing.is_empty());
            assert_eq!(waiting.len(), singles.len() + broadcasts.len(), "step {step}");
        }
    }
}
