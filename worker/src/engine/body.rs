//! Bodies of answers: a few bytes of ours, or what comes from another worker or the application.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{
    http::OpenRequest,
    service::{BoxError, ServiceBody},
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ResponseBody {
    content: Content,
    /// Dropped when the last byte is with hyper.
    request: Option<OpenRequest>,
}

#[derive(Debug)]
enum Content {
    /// Known bytes, announced with their length.
    Full(Option<Bytes>),
    /// Known bytes, sent in chunks as Node sends what was not announced.
    Chunked(Option<Bytes>),
    /// Passed on as it comes.
    Relayed(Incoming),
    /// The application's.
    Service(ServiceBody),
}

impl ResponseBody {
    pub(super) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody { content: Content::Full(Some(bytes.into())), request: None }
    }

    pub(super) fn chunked(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody { content: Content::Chunked(Some(bytes.into())), request: None }
    }

    pub(super) fn relayed(body: Incoming) -> ResponseBody {
        ResponseBody { content: Content::Relayed(body), request: None }
    }

    pub(super) fn of_service(body: ServiceBody) -> ResponseBody {
        ResponseBody { content: Content::Service(body), request: None }
    }

    /// Keeps the request open until the body has been passed on.
    pub(super) fn keep(&mut self, request: OpenRequest) {
        self.request = Some(request);
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().content {
            Content::Full(bytes) | Content::Chunked(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Content::Relayed(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Content::Service(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Chunked(bytes) => bytes.is_none(),
            Content::Relayed(incoming) => incoming.is_end_stream(),
            Content::Service(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Chunked(_) => SizeHint::default(),
            Content::Relayed(incoming) => incoming.size_hint(),
            Content::Service(body) => body.size_hint(),
        }
    }
}

/// Why a request gets no answer: its connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("the session ended while a request of it was read")]
pub(super) struct Reset;
