//! What waits for one connection, and the answers that are due on it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    time::Instant,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Notify, oneshot},
};

use super::{error::RedisError, session::SPARE_BYTES};

/// The most that may wait for the publisher connection.
const MAX_QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// Commands that wait to be written, and the answers that are due for what was queued.
#[derive(Default)]
pub struct Queue {
    waiting: RefCell<Vec<u8>>,
    /// Bytes that were taken out to be written and are not yet.
    writing: Cell<usize>,
    /// In the order of the commands.
    answers: RefCell<VecDeque<Expected>>,
    /// When an answer became due while none was.
    due_since: Cell<Option<Instant>>,
    /// Whether there is a connection to write to.
    open: Cell<bool>,
    /// Messages are being dropped since the queue is full; said once.
    full: Cell<bool>,
    filled: Notify,
}

/// What a command's answer is for.
pub enum Answer {
    /// A message of the layer above.
    Publish,
    /// A message of ours.
    Probe,
    /// The number of subscribers.
    Count(oneshot::Sender<u64>),
    /// The channels that are subscribed to, for what comes in front of their names.
    Channels(oneshot::Sender<Vec<String>>),
    /// What the server tells of itself, or why it does not.
    Info(oneshot::Sender<Result<String, String>>),
}

/// Answers that are due; messages are many, and counted together.
enum Expected {
    Publishes(u64),
    Probe,
    Count(oneshot::Sender<u64>),
    Channels(oneshot::Sender<Vec<String>>),
    Info(oneshot::Sender<Result<String, String>>),
}

impl Queue {
    /// There is a connection: what is pushed will be written.
    pub fn open(&self) {
        self.open.set(true);
    }

    /// The connection is gone. Says how many messages of the layer above were not confirmed.
    pub fn close(&self) -> u64 {
        self.open.set(false);
        self.full.set(false);
        self.writing.set(0);
        *self.waiting.borrow_mut() = Vec::new();
        let messages = |expected| if let Expected::Publishes(count) = expected { count } else { 0 };
        // The askers' channels go with their entries, which tells them.
        self.answers.take().into_iter().map(messages).sum()
    }

    /// Queues a command that is not answered one to one, or whose loss does not matter without a connection.
    pub fn push_if_open(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.open.get() {
            encode(&mut self.waiting.borrow_mut());
            self.filled.notify_one();
        }
    }

    /// Queues a command and what to do with its answer; false if there is no connection, or no room for what is not ours.
    pub fn push(&self, answer: Answer, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        if !self.open.get() {
            return false;
        }
        let queued = self.waiting.borrow().len() + self.writing.get();
        if queued > MAX_QUEUE_BYTES && !matches!(answer, Answer::Probe) {
            if !self.full.replace(true) {
                tracing::warn!(bytes = queued, "the queue to redis is full: messages are dropped and counted");
            }
            return false;
        }
        self.push_if_open(encode);
        let mut answers = self.answers.borrow_mut();
        if answers.is_empty() {
            self.due_since.set(Some(Instant::now()));
        }
        match (answer, answers.back_mut()) {
            (Answer::Publish, Some(Expected::Publishes(count))) => *count += 1,
            (Answer::Publish, _) => answers.push_back(Expected::Publishes(1)),
            (Answer::Probe, _) => answers.push_back(Expected::Probe),
            (Answer::Count(asker), _) => answers.push_back(Expected::Count(asker)),
            (Answer::Channels(asker), _) => answers.push_back(Expected::Channels(asker)),
            (Answer::Info(asker), _) => answers.push_back(Expected::Info(asker)),
        }
        true
    }

    /// Since when answers are due, if any are.
    pub fn due_since(&self) -> Option<Instant> {
        self.due_since.get().filter(|_| !self.answers.borrow().is_empty())
    }

    /// An answer came: what it is for.
    pub fn answered(&self) -> Option<Answer> {
        let mut answers = self.answers.borrow_mut();
        if let Some(Expected::Publishes(count)) = answers.front_mut()
            && *count > 1
        {
            *count -= 1;
            return Some(Answer::Publish);
        }
        Some(match answers.pop_front()? {
            Expected::Publishes(_) => Answer::Publish,
            Expected::Probe => Answer::Probe,
            Expected::Count(asker) => Answer::Count(asker),
            Expected::Channels(asker) => Answer::Channels(asker),
            Expected::Info(asker) => Answer::Info(asker),
        })
    }

    /// Writes what is queued, all of a turn at once, until the connection breaks.
    pub async fn write_to(&self, mut to: impl AsyncWrite + Unpin) -> RedisError {
        let mut spare = Vec::new();
        loop {
            let mut chunk = self.waiting.replace(spare);
            if chunk.is_empty() {
                self.full.set(false);
                spare = chunk;
                self.filled.notified().await;
                continue;
            }
            self.writing.set(chunk.len());
            let written = async {
                to.write_all(&chunk).await?;
                to.flush().await
            };
            if let Err(error) = written.await {
                return RedisError::Broken(error);
            }
            self.writing.set(0);
            chunk.clear();
            spare = if chunk.capacity() <= SPARE_BYTES { chunk } else { Vec::new() };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn push(queue: &Queue, answer: Answer) -> bool {
        queue.push(answer, |bytes| bytes.extend_from_slice(&[0; 1024 * 1024]))
    }

    #[test]
    fn each_answer_is_for_the_command_in_its_place() {
        let queue = Queue::default();
        assert!(!push(&queue, Answer::Publish));
        queue.open();
        let (asker, mut answer) = oneshot::channel();
        for answer in [Answer::Publish, Answer::Publish, Answer::Count(asker), Answer::Probe, Answer::Publish] {
            assert!(push(&queue, answer));
        }
        assert!(queue.due_since().is_some());
        assert!(matches!(queue.answered(), Some(Answer::Publish)));
        assert!(matches!(queue.answered(), Some(Answer::Publish)));
        let Some(Answer::Count(asker)) = queue.answered() else { panic!("not the question") };
        asker.send(7).unwrap();
        assert_eq!(answer.try_recv(), Ok(7));
        assert!(matches!(queue.answered(), Some(Answer::Probe)));
        assert_eq!(queue.close(), 1);
        assert!(queue.answered().is_none() && queue.due_since().is_none());
    }

    #[test]
    fn a_full_queue_takes_only_what_measures_it() {
        let queue = Queue::default();
        queue.open();
        let taken = (0..100).take_while(|_| push(&queue, Answer::Publish)).count();
        assert_eq!(taken, MAX_QUEUE_BYTES / (1024 * 1024) + 1);
        let (asker, mut answer) = oneshot::channel();
        assert!(!push(&queue, Answer::Count(asker)));
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(push(&queue, Answer::Probe));
    }
}
