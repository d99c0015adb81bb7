//! Cross-origin headers, as the `cors` package writes them. They never refuse anybody: a browser does that.

use http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
    },
};

/// Methods that the `cors` package allows by default.
const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");

/// Which origins are allowed.
#[derive(Debug)]
pub(super) enum Cors {
    /// No headers at all.
    Off,
    /// `*`
    All,
    /// The request's own origin, if it is one of these.
    Listed(Vec<String>),
}

impl Cors {
    /// From the configured origins.
    pub(super) fn new(origins: &[String]) -> Cors {
        if origins.is_empty() {
            Cors::Off
        } else if origins.iter().any(|origin| origin == "*") {
            Cors::All
        } else {
            Cors::Listed(origins.to_vec())
        }
    }

    /// Whether an OPTIONS request is answered here, as a preflight.
    pub(super) fn answers_preflight(&self) -> bool {
        !matches!(self, Cors::Off)
    }

    /// The headers of an answer to this request.
    pub(super) fn headers(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Cors::Off => {}
            Cors::All => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Cors::Listed(origins) => {
                let origin = request.get(ORIGIN);
                if let Some(origin) = origin.filter(|origin| origins.iter().any(|known| known == *origin)) {
                    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                }
                headers.insert(VARY, HeaderValue::from_static("Origin"));
            }
        }
        headers
    }

    /// The headers of an answer to this preflight.
    pub(super) fn preflight(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers(request);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        let vary = match self {
            Cors::Listed(_) => "Origin, Access-Control-Request-Headers",
            Cors::Off | Cors::All => "Access-Control-Request-Headers",
        };
        headers.insert(VARY, HeaderValue::from_static(vary));
        headers
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    fn request(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-foo"));
        headers
    }

    #[test]
    fn headers_are_those_of_the_cors_package() {
        let star = Cors::new(&["*".to_owned()]);
        let list = Cors::new(&["http://a.example".to_owned(), "http://b.example".to_owned()]);
        assert!(Cors::new(&[]).headers(&request("http://a.example")).is_empty());
        assert_eq!(lines(&star.headers(&request("http://a.example"))), ["access-control-allow-origin: *"]);
        assert_eq!(
            lines(&list.headers(&request("http://b.example"))),
            ["access-control-allow-origin: http://b.example", "vary: Origin"]
        );
        assert_eq!(lines(&list.headers(&request("http://c.example"))), ["vary: Origin"]);
        assert_eq!(
            lines(&star.preflight(&request("http://a.example"))),
            [
                "access-control-allow-headers: x-foo",
                "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
                "access-control-allow-origin: *",
                "vary: Access-Control-Request-Headers",
            ]
        );
        assert_eq!(
            lines(&list.preflight(&request("http://a.example"))),
            [
                "access-control-allow-headers: x-foo",
                "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
                "access-control-allow-origin: http://a.example",
                "vary: Origin, Access-Control-Request-Headers",
            ]
        );
    }
}
