//! Who may order what over HTTP, and what an order is answered.
//!
//! A page of a foreign site that a browser of this host shows must not order anything: its requests either have no
//! `application/json`, or the browser asks first and is refused. And they have an `Origin` or a `Sec-Fetch-Site`, even where a
//! name of the site's own leads to this host, and so the page is none of a foreign site in the browser's eyes.

use hyper::{Method, Request, Response, StatusCode, header};
use serde_json::json;

use super::answer::{JSON, respond};
use crate::{
    command::{CommandError, Published},
    config::Token,
    emit::{Kind, MAX_ORDER_BYTES, OrderError},
};

/// Who may order.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Who shows this.
    pub token: Option<Token>,
    /// Whether only programs of this host reach the listener; they may if no token is asked for.
    pub loopback: bool,
}

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

impl Guard {
    /// What a request at such a path is refused with by its head alone: then its body is not read.
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<Response<String>> {
        if request.method() != Method::POST {
            let refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "orders are POSTed");
            return Some(with(refusal, header::ALLOW, "POST"));
        }
        self.stranger(request).or_else(|| unfit(request))
    }

    fn stranger<B>(&self, request: &Request<B>) -> Option<Response<String>> {
        if let Some(token) = &self.token {
            let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
            if shown.is_some_and(|shown| token.is(shown)) {
                return None;
            }
            let words = "this needs the token of [admin] as `Authorization: Bearer TOKEN`";
            return Some(with(refuse(StatusCode::UNAUTHORIZED, words), header::WWW_AUTHENTICATE, "Bearer"));
        }
        if !self.loopback {
            let words =
                "the admin listener is not on loopback: set `token` or `token_file` in [admin] to order something here";
            return Some(refuse(StatusCode::FORBIDDEN, words));
        }
        if [header::ORIGIN.as_str(), "sec-fetch-site"].iter().any(|name| request.headers().contains_key(*name)) {
            let words =
                "a page in a browser may not order anything: set `token` or `token_file` in [admin], and show it";
            return Some(refuse(StatusCode::FORBIDDEN, words));
        }
        None
    }
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

/// The token in an `Authorization`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
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

fn refuse(status: StatusCode, words: &str) -> Response<String> {
    respond(status, JSON, json!({ "error": words }).to_string())
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

    const TOKEN: &str = "0123456789abcdef";

    fn guard(token: bool, loopback: bool) -> Guard {
        Guard { token: token.then(|| TOKEN.parse().unwrap()), loopback }
    }

    fn refused(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Option<Response<String>> {
        let builder = Request::builder().method(method).uri("/emit");
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        guard.refusal(&builder.body(()).unwrap())
    }

    #[test]
    fn who_may_order_depends_on_token_address_and_origin() {
        let (token, other, short) = ("Bearer 0123456789abcdef", "Bearer 0123456789abcdeg", "Bearer ");
        let origin = ("origin", "https://evil.example");
        for (has_token, loopback, headers, status) in [
            (false, true, vec![], 0),
            (false, true, vec![origin], 403),
            (false, true, vec![("origin", "null")], 403),
            (false, true, vec![("sec-fetch-site", "same-origin")], 403),
            (false, true, vec![origin, ("authorization", token)], 403),
            (false, false, vec![], 403),
            (false, false, vec![("authorization", token)], 403),
            (true, true, vec![], 401),
            (true, false, vec![], 401),
            (true, false, vec![("authorization", other)], 401),
            (true, false, vec![("authorization", short)], 401),
            (true, false, vec![("authorization", TOKEN)], 401),
            (true, false, vec![("authorization", "Basic 0123456789abcdef")], 401),
            (true, false, vec![("authorization", token)], 0),
            (true, true, vec![("authorization", "bearer  0123456789abcdef")], 0),
            (true, true, vec![origin, ("authorization", token)], 0),
            (true, true, vec![origin, ("authorization", other)], 401),
        ] {
            let headers: Vec<_> = headers.into_iter().chain([("content-type", JSON)]).collect();
            let answer = refused(&guard(has_token, loopback), "POST", &headers);
            let got = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            assert_eq!(got, status, "{has_token} {loopback} {headers:?}");
            assert_eq!(
                answer.is_some_and(|answer| answer.headers().contains_key("www-authenticate")),
                status == 401,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn orders_are_posted_as_json_of_a_bounded_length() {
        let open = guard(false, true);
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let answer = refused(&open, method, &[("content-type", JSON)]).unwrap();
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
            let answer = refused(&open, "POST", &[("content-type", content_type), ("content-length", length)]);
            let got = answer.map_or(0, |answer| answer.status().as_u16());
            assert_eq!(got, status, "{content_type} {length}");
        }
        assert_eq!(refused(&open, "POST", &[]).unwrap().status(), 415);
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
