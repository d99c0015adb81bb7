//! The application's own HTTP, on the same port: whatever the Socket.IO path does not take.

use std::{
    error::Error,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Incoming};
use tower_service::Service;

use super::body::ResponseBody;

/// An error of whatever type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an application's answer.
pub type ServiceBody = UnsyncBoxBody<Bytes, BoxError>;

type Find = dyn Fn(&Parts) -> Option<Response<Bytes>>;
type Answering = Pin<Box<dyn Future<Output = Response<ServiceBody>>>>;

/// The application's own HTTP. A request has the client's [`roomd_wire::PeerAddress`] among its extensions.
#[derive(Clone)]
pub struct HttpService(Kind);

#[derive(Clone)]
enum Kind {
    Tower(Rc<dyn Fn(Request<Incoming>) -> Answering>),
    Files(Rc<Find>),
}

impl HttpService {
    /// A `tower` service, such as a router of axum's. Where it fails or panics, the client is answered with 500, and nobody else
    /// is harmed.
    pub fn new<S, B>(service: S) -> HttpService
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        HttpService(Kind::Tower(Rc::new(move |request| {
            let mut service = service.clone();
            let answered = async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            };
            let mut answered = Box::pin(answered);
            Box::pin(async move {
                let caught = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answered.as_mut().poll(cx))) {
                    Ok(poll) => poll.map(Some),
                    Err(_told_by_the_panic_hook) => std::task::Poll::Ready(None),
                });
                match caught.await {
                    Some(Ok(response)) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
                    Some(Err(error)) => {
                        let error: BoxError = error.into();
                        tracing::error!(error = &*error as &dyn Error, "the application's HTTP failed");
                        failed()
                    }
                    None => {
                        tracing::error!("the application's HTTP ended in a panic");
                        failed()
                    }
                }
            })
        })))
    }

    /// A function of a request's head, for files; `None` is 404.
    pub fn files(find: impl Fn(&Parts) -> Option<Response<Bytes>> + 'static) -> HttpService {
        HttpService(Kind::Files(Rc::new(find)))
    }

    /// Answers a request; takes its body if it is for somebody. `None`: there is nothing.
    pub(super) async fn answer(&self, head: Parts, body: &mut Option<Incoming>) -> Option<Response<ResponseBody>> {
        match &self.0 {
            Kind::Tower(call) => {
                let request = Request::from_parts(head, body.take()?);
                Some(call(request).await.map(ResponseBody::of_service))
            }
            Kind::Files(find) => find(&head).map(|response| response.map(ResponseBody::full)),
        }
    }
}

fn full(bytes: Bytes) -> ServiceBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn failed() -> Response<ServiceBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
