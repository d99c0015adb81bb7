//! A WebSocket's sending side: the session's packets and the protocol's own frames, written without waiting.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    task::{Context, Waker},
};

use smallvec::SmallVec;

use super::{
    counters::{Counters, add},
    stream::WriteHalf,
};
use crate::protocol::{
    deflate::Window,
    frames::{EMPTY_CLOSE, close_frame},
    queue::Queue,
    session::{Ending, GOING_AWAY},
};

/// Up to here several packets are copied together and written at once; above, they are gathered by the system.
const JOINED_BYTES: usize = 32 * 1024;
/// How many pieces one gathering write has at most.
const MAX_PIECES: usize = 64;
/// How many bytes of answers to pings may wait. A client that sends more of them than it reads gets no more.
const MAX_CONTROL_BYTES: usize = 1024;

/// Shared by the session, which writes, and the connection's task, which reads and knows when writing is possible again.
#[derive(Debug)]
pub(super) struct Socket {
    write: WriteHalf,
    /// Wakes the connection's task.
    task: RefCell<Option<Waker>>,
    /// Frames of the protocol itself, written before the session's next packet.
    control: RefCell<Vec<u8>>,
    /// How much of the queue's first packet is written.
    written: Cell<usize>,
    /// The system took less than it was given; the task tries again when it takes more.
    blocked: Cell<bool>,
    /// Compression was agreed on, with so much to look back at.
    deflates: Option<Window>,
    goodbye: RefCell<Option<Box<Goodbye>>>,
}

/// What is left to write when the session is over. It is the task's to do.
#[derive(Debug)]
pub(super) struct Goodbye {
    pub(super) rest: Queue,
    /// `None`: close without a word.
    pub(super) close: Option<Vec<u8>>,
}

/// How a write went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// All of it.
    All,
    /// The client takes no more at the moment.
    Blocked,
    /// The connection is dead.
    Failed,
}

impl Socket {
    pub(super) fn new(write: WriteHalf, deflates: Option<Window>) -> Socket {
        Socket {
            write,
            task: RefCell::default(),
            control: RefCell::default(),
            written: Cell::new(0),
            blocked: Cell::new(false),
            deflates,
            goodbye: RefCell::default(),
        }
    }

    /// Remembers the connection's task.
    pub(super) fn set_task(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Whether an earlier packet still waits for the client.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// For how much to look back at messages may be compressed, if that was agreed on.
    pub(super) fn deflates(&self) -> Option<Window> {
        self.deflates
    }

    pub(super) fn half(&self) -> &WriteHalf {
        &self.write
    }

    /// Queues a frame of the protocol itself, to be written with the next [`Socket::write`].
    pub(super) fn push_control(&self, frame: &[u8]) {
        let mut control = self.control.borrow_mut();
        if control.len() + frame.len() <= MAX_CONTROL_BYTES {
            control.extend_from_slice(frame);
        }
    }

    /// The session is over; wakes the task to see to the rest.
    pub(super) fn end(&self, ending: Ending, rest: Queue) {
        let close = match ending {
            Ending::Orderly => Some(EMPTY_CLOSE.to_vec()),
            Ending::Code(GOING_AWAY) => Some(close_frame(GOING_AWAY, "the server leaves")),
            Ending::Code(code) => Some(close_frame(code, "")),
            Ending::Abrupt => None,
        };
        *self.goodbye.borrow_mut() = Some(Box::new(Goodbye { rest, close }));
        self.wake();
    }

    /// What is left to do, if the session is over.
    pub(super) fn take_goodbye(&self) -> Option<Box<Goodbye>> {
        self.goodbye.borrow_mut().take()
    }

    /// Whether the session is over.
    pub(super) fn has_ended(&self) -> bool {
        self.goodbye.borrow().is_some()
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// Writes all that is due, in one system call where the client takes it. If it does not, the task is woken when it takes more.
    pub(super) fn write(&self, queue: &mut Queue, scratch: &mut Vec<u8>, counters: &Counters) -> Written {
        let mut control = self.control.borrow_mut();
        while !(queue.is_empty() && control.is_empty()) {
            match self.write_some(queue, &control, scratch) {
                Ok(bytes) => {
                    add(&counters.bytes_out, bytes);
                    self.advance(bytes, queue, &mut control);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.set(true);
                    self.wait_until_writable();
                    return Written::Blocked;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Written::Failed,
            }
        }
        if control.capacity() > 0 {
            *control = Vec::new();
        }
        self.blocked.set(false);
        Written::All
    }

    fn write_some(&self, queue: &Queue, control: &[u8], scratch: &mut Vec<u8>) -> io::Result<usize> {
        let written = self.written.get();
        // A frame that is begun must be finished before the protocol's own can go.
        let control = if written == 0 { control } else { &[] };
        let total = control.len() + queue.bytes() - written;
        let mut pieces = queue.iter().map(|packet| &packet.wire()[..]);
        if control.is_empty() && queue.len() == 1 {
            return self.write.try_write(&pieces.next().unwrap_or_default()[written..]);
        }
        if total <= JOINED_BYTES {
            scratch.clear();
            scratch.extend_from_slice(control);
            scratch.extend_from_slice(&pieces.next().unwrap_or_default()[written..]);
            pieces.for_each(|piece| scratch.extend_from_slice(piece));
            return self.write.try_write(scratch);
        }
        let first = pieces.next().unwrap_or_default();
        let gathered: SmallVec<[IoSlice<'_>; MAX_PIECES]> =
            [control, &first[written..]].into_iter().chain(pieces).take(MAX_PIECES).map(IoSlice::new).collect();
        self.write.try_write_vectored(&gathered)
    }

    fn advance(&self, mut bytes: usize, queue: &mut Queue, control: &mut Vec<u8>) {
        let mut written = self.written.get();
        if written == 0 {
            let of_control = bytes.min(control.len());
            control.drain(..of_control);
            bytes -= of_control;
        }
        while bytes > 0 {
            let Some(len) = queue.iter().next().map(|packet| packet.len()) else { break };
            if written + bytes < len {
                written += bytes;
                break;
            }
            bytes -= len - written;
            written = 0;
            queue.pop();
        }
        self.written.set(written);
    }

    /// Asks the runtime to wake the connection's task when the client takes more.
    fn wait_until_writable(&self) {
        if let Some(task) = &*self.task.borrow()
            && self.write.poll_write_ready(&mut Context::from_waker(task)).is_ready()
        {
            task.wake_by_ref();
        }
    }
}
