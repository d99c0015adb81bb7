//! A WebSocket while it is open: a small task that reads, and finishes writing what the flush could not.

use std::{
    future::poll_fn,
    ops::ControlFlow,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::{
    counters::add,
    deflate::Deflate,
    handler::SessionKey,
    handshake::Accepted,
    server::Engine,
    socket::{Goodbye, Socket, Written},
    stream::ReadHalf,
};
use crate::protocol::{
    Encoded,
    engine_packet::{PROBE_ANSWER, Packet},
    frames::{FrameError, FrameReader, Incoming, Rules, close_frame, pong_frame},
    queue::Queue,
    session::{Ending, Probe},
};

/// Bytes that are read at once, into one buffer per worker.
const SCRATCH_BYTES: usize = 64 * 1024;
/// How many reads one client gets before others have their turn.
const READS: usize = 4;
/// What of a client's messages is handled before others have their turn, in bytes (see [`Rules::left`]): some 250 small ones.
pub(super) const TURN: usize = 1024 * 1024;
/// How long a closed WebSocket may take to take the rest and to close its side.
const GOODBYE: Duration = Duration::from_secs(5);

thread_local! {
    /// The worker's one buffer to read into; a worker has one thread.
    static SCRATCH: std::cell::Cell<Option<Box<[u8]>>> = const { std::cell::Cell::new(None) };
}

/// What a WebSocket is to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Its transport.
    Transport,
    /// What may become it.
    Probe,
}

/// Serves an open WebSocket to its end.
pub(super) async fn serve(engine: Engine, accepted: Accepted) {
    let Accepted { key, role, socket, read, rest } = accepted;
    let mut task = Task { engine, key, role, socket, read, reader: FrameReader::default(), peer_closed: None };
    if !rest.is_empty() && !task.socket.has_ended() {
        let mut left = TURN;
        task.take(&mut rest.to_vec(), &mut left);
    }
    drop(rest);
    if poll_fn(|cx| task.poll(cx)).await == End::Closing
        && let Some(goodbye) = task.socket.take_goodbye()
    {
        Box::pin(say_goodbye(&mut task, *goodbye)).await;
    }
}

/// How reading ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection is dead.
    Dead,
    /// There is a goodbye to say.
    Closing,
}

/// What a connection costs while it is a WebSocket: keep it small.
struct Task {
    engine: Engine,
    key: SessionKey,
    role: Role,
    socket: Rc<Socket>,
    read: ReadHalf,
    reader: FrameReader,
    /// The client's close frame came, with its code.
    peer_closed: Option<Option<u16>>,
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.socket.set_task(cx.waker());
        let mut scratch = SCRATCH.take().unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice());
        let polled = self.poll_with(cx, &mut scratch);
        SCRATCH.set(Some(scratch));
        polled
    }

    fn poll_with(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        if self.socket.is_blocked() {
            self.write();
        }
        let mut left = TURN;
        if self.reader.is_paused() {
            self.take(&mut [], &mut left);
        }
        for _ in 0..READS {
            if self.socket.has_ended() {
                return Poll::Ready(End::Closing);
            }
            if self.reader.is_paused() {
                // Woken by itself it could have many turns before the worker looks at its sockets again.
                let _pending = pin!(tokio::task::yield_now()).poll(cx);
                return Poll::Pending;
            }
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.read).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Dead),
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buffer.filled_mut();
            if bytes.is_empty() {
                return Poll::Ready(End::Dead);
            }
            add(&self.engine.0.counters.bytes_in, bytes.len());
            self.take(bytes, &mut left);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what waits: the session's at the end of the turn, else what this WebSocket has of its own.
    fn write(&self) {
        match self.role {
            Role::Transport => self.engine.mark_dirty(self.key),
            Role::Probe => {
                // A dead connection shows when it is read.
                self.socket.write(&mut Queue::default(), &mut Vec::new(), &self.engine.0.counters);
            }
        }
    }

    /// Takes what came, as much as is `left` of the turn. What ends the WebSocket leaves a goodbye.
    fn take(&mut self, bytes: &mut [u8], left: &mut usize) {
        let max = self.engine.max_payload();
        let mut reader = std::mem::take(&mut self.reader);
        let deflate = self.engine.0.deflate.as_ref().filter(|_| self.socket.deflates().is_some());
        let mut inflater = deflate.map(Deflate::take_inflater);
        let mut rules = Rules { max, left: *left, inflater: inflater.as_mut() };
        let result = reader.read(bytes, &mut rules, &mut |incoming| self.incoming(incoming));
        *left = rules.left;
        self.reader = reader;
        if let (Some(deflate), Some(inflater)) = (&self.engine.0.deflate, inflater) {
            deflate.keep_inflater(inflater);
        }
        if let Err(error) = result {
            self.failed(error);
        }
    }

    fn incoming(&mut self, incoming: Incoming<'_>) -> ControlFlow<()> {
        let packet = match incoming {
            Incoming::Text(text) => Packet::from_text(text),
            Incoming::Binary(bytes) => Ok(Packet::from_binary(bytes)),
            Incoming::Ping(payload) => {
                self.socket.push_control(&pong_frame(payload));
                self.write();
                return ControlFlow::Continue(());
            }
            Incoming::Pong => return ControlFlow::Continue(()),
            Incoming::Close(code) => {
                self.peer_closed = Some(code);
                self.leave();
                return ControlFlow::Break(());
            }
        };
        let goes_on = match self.role {
            Role::Transport => self.engine.incoming(self.key, packet),
            Role::Probe => self.probe(packet.ok().as_ref()),
        };
        if goes_on && !self.socket.has_ended() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn probe(&mut self, packet: Option<&Packet<'_>>) -> bool {
        let probe = self.engine.with_session(self.key, |entry, now, settings, out| {
            let probe = entry.session.probe_packet(packet, now, settings, out);
            if probe == Probe::Refused {
                entry.socket = None;
            }
            probe
        });
        match probe {
            Some(Probe::Answer) => {
                self.socket.push_control(Encoded::engine(PROBE_ANSWER).wire());
                self.write();
                true
            }
            Some(Probe::Switched) => {
                self.role = Role::Transport;
                self.engine.mark_dirty(self.key);
                true
            }
            Some(Probe::Refused) | None => {
                self.end(Ending::Orderly);
                false
            }
        }
    }

    fn failed(&mut self, error: FrameError) {
        let code = error.close_code();
        match self.role {
            Role::Transport => {
                self.engine.with_session(self.key, |entry, _, _, out| entry.session.socket_failed(code, out));
            }
            Role::Probe => {
                self.end(Ending::Code(code));
                self.leave();
            }
        }
    }

    /// Tells the session that this WebSocket is gone.
    fn leave(&self) {
        self.engine.with_session(self.key, |entry, _, _, out| match self.role {
            Role::Transport => entry.session.socket_closed(out),
            // The session may have a newer one, or have ended.
            Role::Probe => {
                if entry.socket.as_ref().is_some_and(|socket| Rc::ptr_eq(socket, &self.socket)) {
                    entry.socket = None;
                    entry.session.probe_closed();
                }
            }
        });
        self.end(Ending::Orderly);
    }

    /// Leaves a goodbye if the session has not.
    fn end(&self, ending: Ending) {
        if !self.socket.has_ended() {
            self.socket.end(ending, Queue::default());
        }
    }
}

impl Drop for Task {
    /// However it ends, in a panic too, the session learns of it.
    fn drop(&mut self) {
        self.leave();
    }
}

/// Sends the rest and the close frame, and waits a while for the client to close its side.
async fn say_goodbye(task: &mut Task, goodbye: Goodbye) {
    let Goodbye { mut rest, close } = goodbye;
    let close = close.map(|frame| match task.peer_closed {
        Some(Some(code)) => close_frame(code, ""),
        _ => frame,
    });
    if let Some(close) = close {
        let send = async {
            write_all(task, &mut rest).await?;
            task.socket.push_control(&close);
            write_all(task, &mut rest).await?;
            task.socket.half().shutdown(Shutdown::Write);
            let mut buffer = [0; 512];
            while let Ok(1..) = task.read.read(&mut buffer).await {}
            Some(())
        };
        // One who takes longer loses the rest.
        let _ = tokio::time::timeout(GOODBYE, send).await;
    }
    task.socket.half().shutdown(Shutdown::Both);
}

/// Writes all, or `None` if the connection is dead.
async fn write_all(task: &Task, queue: &mut Queue) -> Option<()> {
    let mut scratch = Vec::new();
    poll_fn(|cx| {
        task.socket.set_task(cx.waker());
        match task.socket.write(queue, &mut scratch, &task.engine.0.counters) {
            Written::All => Poll::Ready(Some(())),
            Written::Blocked => Poll::Pending,
            Written::Failed => Poll::Ready(None),
        }
    })
    .await
}
