//! Orders over HTTP: at which path, in what shape, and what they are answered. Who may give them says [`Guard`].

use hyper::{Method, Request, Response, StatusCode, header};
use serde_json::json;

use super::{
    answer::{JSON, respond},
    guard::{Guard, refuse},
};
use crate::{
    command::{CommandError, Published},
    emit::{Kind, MAX_ORDER_BYTES, OrderError},
};

/// What is ordered at this path, if it is one for orders.
pub fn kind_at(path: &str) -> Option<Kind> {
    match path {
        "/emit" => Some(Kind::Emit),
        "/sockets/join" => Some(Kind::Join),
        "/sockets/leave" => Some(Kind::Leave),
        "/sockets/disconnect" => Some(Kind::Disconnect),
        _ => None,
    }
}

/// What a request at such a path is refused with by its head alone: then its body is not read.
pub fn refusal<B>(guard: &Guard, request: &Request<B>) -> Option<Response<String>> {
    if request.method() != Method::POST {
        let refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "orders are POSTed");
        return Some(with(refusal, header::ALLOW, "POST"));
    }
    guard.order_refusal(request).or_else(|| unfit(request))
}

fn unfit<B>(request: &Request<B>) -> Option<Response<String>> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let essence = header(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(JSON) {
        return Some(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON with `Content-Type: application/json`"));
    }
    let length = header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    length.filter(|length: &u64| *length > MAX_ORDER_BYTES as u64).map(|_| too_long())
}

/// The answer to a body longer than an order may be.
pub fn too_long() -> Response<String> {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, &OrderError::TooLong.to_string())
}

/// The answer to a body that did not come.
pub fn no_body() -> Response<String> {
    refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come, or not in time")
}

/// The answer to an order that is none.
pub fn mistaken(error: &OrderError) -> Response<String> {
    refuse(StatusCode::BAD_REQUEST, &error.to_string())
}

/// The answer to an order that was carried out, or not; none means that the supervise loop did not answer.
pub fn outcome(outcome: Option<Result<Published, CommandError>>) -> Response<String> {
    match outcome {
        Some(Ok(done)) => respond(StatusCode::ACCEPTED, JSON, json!(done).to_string()),
        Some(Err(error)) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        None => refuse(StatusCode::SERVICE_UNAVAILABLE, "the supervisor does not answer"),
    }
}

fn with(mut response: Response<String>, name: header::HeaderName, value: &'static str) -> Response<String> {
    response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomd_worker::bus::PublishError;

    use super::*;

    fn refused(method: &str, headers: &[(&str, &str)]) -> Option<Response<String>> {
        let builder = Request::builder().method(method).uri("/emit");
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        refusal(&Guard { token: None, loopback: true }, &builder.body(()).unwrap())
    }

    #[test]
    fn orders_are_posted_as_json_of_a_bounded_length() {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let answer = refused(method, &[("content-type", JSON)]).unwrap();
            assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
        }
        for (content_type, length, status) in [
            ("application/json", "10", 0),
            ("Application/JSON; charset=utf-8", "1000000", 0),
            ("application/json", "1000001", 413),
            ("text/plain", "10", 415),
            ("application/x-www-form-urlencoded", "10", 415),
            ("application/jsonp", "10", 415),
            ("text/plain; application/json", "10", 415),
            ("", "10", 415),
        ] {
            let answer = refused("POST", &[("content-type", content_type), ("content-length", length)]);
            let got = answer.map_or(0, |answer| answer.status().as_u16());
            assert_eq!(got, status, "{content_type} {length}");
        }
        assert_eq!(refused("POST", &[]).unwrap().status(), 415);
    }

    #[test]
    fn answers_are_json_with_the_reason() {
        let done = outcome(Some(Ok(Published { published: true })));
        assert_eq!((done.status().as_u16(), done.body().as_str()), (202, r#"{"published":true}"#));
        let down = outcome(Some(Err(CommandError::Publish(PublishError::Down("refused".into())))));
        let words = r#"{"error":"failed to publish: the bus is down (refused): `roomd status` shows how the bus is"}"#;
        assert_eq!((down.status().as_u16(), down.body().as_str()), (503, words));
        assert_eq!(outcome(None).status(), 503);
        let mistaken = mistaken(&OrderError::Missing("event"));
        assert_eq!((mistaken.status().as_u16(), mistaken.body().as_str()), (400, r#"{"error":"`event` is missing"}"#));
        assert_eq!(mistaken.headers()["content-type"], JSON);
    }
}
