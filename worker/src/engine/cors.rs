//! Cross-origin headers, as the `cors` package writes them. They never refuse anybody: a browser does that.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
    },
};
use regex::Regex;
use roomd_wire::{CorsConfig, CorsOrigin};

/// What is added to answers.
#[derive(Debug)]
pub(super) struct Cors(Option<On>);

#[derive(Debug)]
struct On {
    origin: Origin,
    /// With every answer.
    always: HeaderMap,
    /// With the answer to a preflight.
    preflight: HeaderMap,
    /// A preflight is allowed the headers it asks for.
    reflects_headers: bool,
    status: StatusCode,
    goes_on: bool,
}

#[derive(Debug)]
enum Origin {
    Any,
    Reflected,
    Fixed(HeaderValue),
    Listed { exact: Vec<String>, patterns: Vec<Regex> },
}

/// A configuration of cross-origin headers that was not checked.
#[derive(Debug, thiserror::Error)]
pub enum NotCors {
    /// A header cannot hold a value.
    #[error("no header can hold {0:?}")]
    Value(String),
    /// A pattern is no regular expression.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    /// No such status.
    #[error("{0} is no status of HTTP")]
    Status(u16),
}

impl Cors {
    /// As configured; without, there are no headers.
    pub(super) fn new(config: Option<&CorsConfig>) -> Result<Cors, NotCors> {
        config.map(On::new).transpose().map(Cors)
    }

    /// Whether an OPTIONS request is answered here, as a preflight.
    pub(super) fn answers_preflight(&self) -> bool {
        self.0.as_ref().is_some_and(|on| !on.goes_on)
    }

    /// The status of that answer.
    pub(super) fn preflight_status(&self) -> StatusCode {
        self.0.as_ref().map_or(StatusCode::NO_CONTENT, |on| on.status)
    }

    /// The headers of an answer to this request.
    pub(super) fn headers(&self, request: &HeaderMap) -> HeaderMap {
        let Some(on) = &self.0 else { return HeaderMap::new() };
        let mut headers = on.always.clone();
        let own = request.get(ORIGIN);
        let told = match &on.origin {
            Origin::Any => Some(HeaderValue::from_static("*")),
            Origin::Fixed(origin) => Some(origin.clone()),
            Origin::Reflected => own.cloned(),
            Origin::Listed { exact, patterns } => own.filter(|own| is_listed(own, exact, patterns)).cloned(),
        };
        if let Some(told) = told {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, told);
        }
        if !matches!(on.origin, Origin::Any) {
            headers.insert(VARY, HeaderValue::from_static("Origin"));
        }
        headers
    }

    /// The headers of an answer to this preflight.
    pub(super) fn preflight(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers(request);
        let Some(on) = &self.0 else { return headers };
        headers.extend(on.preflight.clone());
        if on.reflects_headers {
            if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
            let vary = match on.origin {
                Origin::Any => "Access-Control-Request-Headers",
                _ => "Origin, Access-Control-Request-Headers",
            };
            headers.insert(VARY, HeaderValue::from_static(vary));
        }
        headers
    }
}

impl On {
    fn new(config: &CorsConfig) -> Result<On, NotCors> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| NotCors::Value(text.to_owned()));
        let add = |headers: &mut HeaderMap, name: HeaderName, text: &str| {
            if !text.is_empty() {
                headers.insert(name, value(text)?);
            }
            Ok::<_, NotCors>(())
        };
        let (mut always, mut preflight) = (HeaderMap::new(), HeaderMap::new());
        if config.credentials {
            add(&mut always, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
        }
        add(&mut always, ACCESS_CONTROL_EXPOSE_HEADERS, &config.exposed_headers)?;
        add(&mut preflight, ACCESS_CONTROL_ALLOW_METHODS, &config.methods)?;
        add(&mut preflight, ACCESS_CONTROL_ALLOW_HEADERS, config.allowed_headers.as_deref().unwrap_or_default())?;
        if let Some(seconds) = config.max_age_s {
            preflight.insert(ACCESS_CONTROL_MAX_AGE, seconds.into());
        }
        let origin = match &config.origin {
            CorsOrigin::Any => Origin::Any,
            CorsOrigin::Reflected => Origin::Reflected,
            CorsOrigin::Fixed(origin) => Origin::Fixed(value(origin)?),
            CorsOrigin::Listed(list) => Origin::Listed {
                exact: list.iter().filter(|entry| CorsOrigin::pattern(entry).is_none()).cloned().collect(),
                patterns: list
                    .iter()
                    .filter_map(|entry| CorsOrigin::pattern(entry))
                    .map(Regex::new)
                    .collect::<Result<_, _>>()?,
            },
        };
        let status = config.options_success_status;
        Ok(On {
            origin,
            always,
            preflight,
            reflects_headers: config.allowed_headers.is_none(),
            status: StatusCode::from_u16(status).map_err(|_| NotCors::Status(status))?,
            goes_on: config.preflight_continue,
        })
    }
}

fn is_listed(origin: &HeaderValue, exact: &[String], patterns: &[Regex]) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    exact.iter().any(|known| known == origin) || patterns.iter().any(|pattern| pattern.is_match(origin))
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

    fn cors(origin: CorsOrigin) -> Cors {
        Cors::new(Some(&CorsConfig { origin, ..CorsConfig::default() })).unwrap()
    }

    #[test]
    fn headers_are_those_of_the_cors_package() {
        let star = cors(CorsOrigin::Any);
        let list = cors(CorsOrigin::Listed(vec![
            "http://a.example".to_owned(),
            "http://b.example".to_owned(),
            r"/^https:\/\/[a-z]+\.c\.example$/".to_owned(),
        ]));
        assert!(Cors::new(None).unwrap().headers(&request("http://a.example")).is_empty());
        assert_eq!(lines(&star.headers(&request("http://a.example"))), ["access-control-allow-origin: *"]);
        for origin in ["http://b.example", "https://www.c.example"] {
            let expected = [format!("access-control-allow-origin: {origin}"), "vary: Origin".into()];
            assert_eq!(lines(&list.headers(&request(origin))), expected);
        }
        for origin in ["http://c.example", "http://b.example.evil.example", "https://www.c.example.evil.example"] {
            assert_eq!(lines(&list.headers(&request(origin))), ["vary: Origin"], "{origin}");
        }
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

    #[test]
    fn what_was_not_checked_is_an_error() {
        let config = CorsConfig { origin: CorsOrigin::Listed(vec!["/(/".into()]), ..CorsConfig::default() };
        assert!(Cors::new(Some(&config)).is_err());
        let config = CorsConfig { methods: "a\n".into(), ..CorsConfig::default() };
        assert!(Cors::new(Some(&config)).is_err());
    }
}
