//! A connection as hyper reads and writes it: counted, with what was read before it came here first, and telling
//! whether all that hyper wrote is on its way. The client's end is told a turn later than it comes.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    counters::{Counters, add},
    stream::Stream,
};

pub(super) struct HttpIo {
    stream: Stream,
    /// Bytes that were read by somebody else, to be read first.
    unread: Bytes,
    /// The client has ended its side.
    ended: bool,
    /// hyper has bytes that the socket has not taken. It flushes only when it has written all.
    unflushed: Rc<Cell<bool>>,
    /// How many bytes the socket has taken.
    written: Rc<Cell<usize>>,
    counters: Rc<Counters>,
}

impl HttpIo {
    pub(super) fn new(stream: Stream, unread: Bytes, counters: Rc<Counters>) -> HttpIo {
        HttpIo { stream, unread, ended: false, unflushed: Rc::default(), written: Rc::default(), counters }
    }

    /// To look at whether hyper has still something to write.
    pub(super) fn unflushed(&self) -> Rc<Cell<bool>> {
        self.unflushed.clone()
    }

    /// To look at how many bytes the socket has taken.
    pub(super) fn written(&self) -> Rc<Cell<usize>> {
        self.written.clone()
    }

    /// The connection, and what was never read of `unread`.
    pub(super) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.unread)
    }

    fn count_written(&self, bytes: usize) {
        self.written.set(self.written.get().wrapping_add(bytes));
        add(&self.counters.bytes_out, bytes);
    }
}

impl AsyncRead for HttpIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.has_remaining() {
            let taken = this.unread.split_to(this.unread.len().min(buf.remaining()));
            buf.put_slice(&taken);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let bytes = buf.filled().len() - before;
        add(&this.counters.bytes_in, bytes);
        // At the end hyper drops the request it has just read. Told of it a turn later, it has sent an answer that was ready.
        if bytes == 0 && buf.remaining() > 0 && !std::mem::replace(&mut this.ended, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.unflushed.set(true);
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.count_written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.unflushed.set(true);
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        this.count_written(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unflushed.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
