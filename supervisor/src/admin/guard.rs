//! Who may ask and order what over HTTP.
//!
//! | the listener is on | token | /healthz, /readyz, the dashboard's files | other reads | orders |
//! | --- | --- | --- | --- | --- |
//! | loopback | no | open | open, but see below | open, but not for pages in a browser |
//! | loopback | yes | open | open, but see below | with the token |
//! | other addresses | yes | open | with the token | with the token |
//! | other addresses | no | open | nobody | nobody |
//!
//! Probes stay open: a load balancer or a kubelet has no place for a secret, and learns one word. The dashboard's files
//! hold no figures; the page asks for them as every program does.
//!
//! A page of a foreign site that a browser of this host shows must not order anything: its requests either have no
//! `application/json`, or the browser asks first and is refused. And they have an `Origin` or a `Sec-Fetch-Site`, even where a
//! name of the site's own leads to this host, and so the page is none of a foreign site in the browser's eyes. Such a page could
//! read, too: hence on loopback a request must name the host by an address or as `localhost`, which no site's name is.

use std::net::{IpAddr, Ipv6Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{HeaderMap, Request, Response, StatusCode, header};
use serde_json::json;

use super::answer::{JSON, respond};
use crate::config::Token;

/// Who may.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Who shows this.
    pub token: Option<Token>,
    /// Whether only programs of this host reach the listener; they may if no token is asked for.
    pub loopback: bool,
}

impl Guard {
    /// Whether a request shows the token.
    pub fn shown<B>(&self, request: &Request<B>) -> bool {
        let Some(token) = &self.token else { return false };
        authorization(request.headers()).and_then(bearer).is_some_and(|shown| token.is(shown))
    }

    /// What somebody is refused with who may not order.
    pub fn order_refusal<B>(&self, request: &Request<B>) -> Option<Response<String>> {
        if self.token.is_some() {
            return if self.shown(request) { None } else { Some(unknown(&["Bearer"])) };
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

    /// What somebody is refused with who may not read more than the probes do.
    pub fn read_refusal<B>(&self, request: &Request<B>) -> Option<Response<String>> {
        if self.shown(request) || self.shown_by_a_browser(request) {
            return None;
        }
        if self.loopback {
            let words =
                "name this host by its address or as `localhost`: by other names a page in a browser could read here";
            return (!names_this_host(request.headers())).then(|| refuse(StatusCode::FORBIDDEN, words));
        }
        if self.token.is_none() {
            let words = "the admin listener is not on loopback: set `token` or `token_file` in [admin] to read more than \
                         /healthz and /readyz here";
            return Some(refuse(StatusCode::FORBIDDEN, words));
        }
        Some(unknown(&["Bearer", "Basic realm=\"roomd: any name, and the token as password\""]))
    }

    /// As a password, which a browser asks its user for. Good for reading alone: it shows it to us on behalf of foreign pages too,
    /// which cannot read the answers.
    fn shown_by_a_browser<B>(&self, request: &Request<B>) -> bool {
        let password = || {
            let (scheme, text) = authorization(request.headers())?.split_at_checked(6)?;
            let pair = STANDARD.decode(text.trim_ascii()).ok().filter(|_| scheme.eq_ignore_ascii_case(b"basic "))?;
            let colon = pair.iter().position(|&byte| byte == b':')?;
            Some(pair[colon + 1..].to_vec())
        };
        self.token.as_ref().is_some_and(|token| password().is_some_and(|shown| token.is(&shown)))
    }
}

fn authorization(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION).map(|value| value.as_bytes())
}

/// The token in an `Authorization`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether each `Host` is an address or `localhost`. Browsers always send one.
fn names_this_host(headers: &HeaderMap) -> bool {
    headers.get_all(header::HOST).iter().all(|host| {
        let Ok(host) = host.to_str() else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
            || literal.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
    })
}

/// The answer to who does not show the token.
fn unknown(schemes: &[&'static str]) -> Response<String> {
    let words = "this needs the token of [admin] as `Authorization: Bearer TOKEN`";
    let mut response = refuse(StatusCode::UNAUTHORIZED, words);
    for scheme in schemes {
        response.headers_mut().append(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(scheme));
    }
    response
}

/// A refusal with its reason.
pub fn refuse(status: StatusCode, words: &str) -> Response<String> {
    respond(status, JSON, json!({ "error": words }).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(token: bool, loopback: bool) -> Guard {
        Guard { token: token.then(|| TOKEN.parse().unwrap()), loopback }
    }

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().uri("/x");
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    fn status(answer: &Option<Response<String>>) -> u16 {
        answer.as_ref().map_or(0, |answer| answer.status().as_u16())
    }

    #[test]
    fn who_may_order_depends_on_token_address_and_origin() {
        let (token, other, short) = ("Bearer 0123456789abcdef", "Bearer 0123456789abcdeg", "Bearer ");
        let origin = ("origin", "https://evil.example");
        for (has_token, loopback, headers, expected) in [
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
            (true, false, vec![("authorization", "Basic eDowMTIzNDU2Nzg5YWJjZGVm")], 401),
            (true, false, vec![("authorization", token)], 0),
            (true, true, vec![("authorization", "bearer  0123456789abcdef")], 0),
            (true, true, vec![origin, ("authorization", token)], 0),
            (true, true, vec![origin, ("authorization", other)], 401),
        ] {
            let answer = guard(has_token, loopback).order_refusal(&request(&headers));
            assert_eq!(status(&answer), expected, "{has_token} {loopback} {headers:?}");
            let asked = answer.is_some_and(|answer| answer.headers().contains_key("www-authenticate"));
            assert_eq!(asked, expected == 401, "{headers:?}");
        }
    }

    #[test]
    fn who_may_read_depends_on_token_and_address() {
        let token = ("authorization", "Bearer 0123456789abcdef");
        for (has_token, loopback, headers, expected) in [
            (false, true, vec![], 0),
            (true, true, vec![], 0),
            (false, false, vec![], 403),
            (false, false, vec![token], 403),
            (false, false, vec![("host", "localhost")], 403),
            (true, false, vec![], 401),
            (true, false, vec![("authorization", "Bearer 0123456789abcdeg")], 401),
            (true, false, vec![token], 0),
            (true, false, vec![token, ("host", "roomd.example")], 0),
            (true, false, vec![("authorization", "Basic eDowMTIzNDU2Nzg5YWJjZGVm")], 0),
            (true, false, vec![("authorization", "basic eDowMTIzNDU2Nzg5YWJjZGVn")], 401),
            (true, false, vec![("authorization", "Basic ?")], 401),
            (true, true, vec![token, ("host", "roomd.example")], 0),
        ] {
            let answer = guard(has_token, loopback).read_refusal(&request(&headers));
            assert_eq!(status(&answer), expected, "{has_token} {loopback} {headers:?}");
        }
    }

    #[test]
    fn on_loopback_a_name_that_a_site_may_have_reads_nothing() {
        for (host, expected) in [
            ("127.0.0.1", 0),
            ("127.0.0.1:3900", 0),
            ("localhost:3900", 0),
            ("LocalHost", 0),
            ("[::1]:3900", 0),
            ("[::1]", 0),
            ("evil.example", 403),
            ("evil.example:3900", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("x", 403),
            ("", 403),
            ("a:b", 403),
        ] {
            assert_eq!(status(&guard(false, true).read_refusal(&request(&[("host", host)]))), expected, "{host}");
            assert_eq!(status(&guard(true, true).read_refusal(&request(&[("host", host)]))), expected, "{host}");
        }
        let two = request(&[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(status(&guard(false, true).read_refusal(&two)), 403);
    }
}
