//! Bodies of answers: a few bytes of ours, or what comes from another worker.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// See the module's documentation.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Known bytes, announced with their length.
    Full(Option<Bytes>),
    /// Known bytes, sent in chunks as Node sends what was not announced.
    Chunked(Option<Bytes>),
    /// Passed on as it comes.
    Relayed(Incoming),
}

impl ResponseBody {
    pub(super) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody::Full(Some(bytes.into()))
    }

    pub(super) fn chunked(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody::Chunked(Some(bytes.into()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            ResponseBody::Full(bytes) | ResponseBody::Chunked(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            ResponseBody::Relayed(incoming) => Pin::new(incoming).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            ResponseBody::Chunked(bytes) => bytes.is_none(),
            ResponseBody::Relayed(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            ResponseBody::Chunked(_) => SizeHint::default(),
            ResponseBody::Relayed(incoming) => incoming.size_hint(),
        }
    }
}

/// Why a request gets no answer: its connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("the session ended while a request of it was read")]
pub(super) struct Reset;
