//! How the Socket.IO server speaks HTTP: options of the official server that concern no message.

use serde::{Deserialize, Serialize};

/// Transports that are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transports {
    /// HTTP long-polling.
    pub polling: bool,
    /// WebSocket.
    pub websocket: bool,
}

impl Default for Transports {
    /// Both, as in the official server.
    fn default() -> Self {
        Transports { polling: true, websocket: true }
    }
}

/// Compression of what polls are answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HttpCompression {
    /// The shortest payload that is compressed, in bytes.
    pub threshold_bytes: u64,
}

impl Default for HttpCompression {
    /// The official server's default.
    fn default() -> Self {
        HttpCompression { threshold_bytes: 1024 }
    }
}

/// A cookie with the session's id, set when a session begins by polling. The server never reads it: it is for load balancers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CookieConfig {
    /// Its name, a token.
    pub name: String,
    /// `Path`
    pub path: Option<String>,
    /// `Domain`
    pub domain: Option<String>,
    /// `Max-Age`, in seconds.
    pub max_age_s: Option<u64>,
    /// `HttpOnly`
    pub http_only: bool,
    /// `Secure`
    pub secure: bool,
    /// `SameSite`
    pub same_site: Option<SameSite>,
}

/// To whose requests a browser adds a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the browsers' words
pub enum SameSite {
    Lax,
    Strict,
    None,
}

impl Default for CookieConfig {
    /// The official server's defaults.
    fn default() -> Self {
        CookieConfig {
            name: "io".into(),
            path: Some("/".into()),
            domain: None,
            max_age_s: None,
            http_only: true,
            secure: false,
            same_site: Some(SameSite::Lax),
        }
    }
}

/// Cross-origin headers, as the `cors` package's options have them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CorsConfig {
    /// Which origins are allowed.
    pub origin: CorsOrigin,
    /// `Access-Control-Allow-Methods` of a preflight; if empty, there is none.
    pub methods: String,
    /// `Access-Control-Allow-Headers` of a preflight; if empty, there is none. `None`: those that it asks for.
    pub allowed_headers: Option<String>,
    /// `Access-Control-Expose-Headers`; if empty, there is none.
    pub exposed_headers: String,
    /// `Access-Control-Allow-Credentials`
    pub credentials: bool,
    /// `Access-Control-Max-Age` of a preflight, in seconds.
    pub max_age_s: Option<u64>,
    /// The status of a preflight's answer.
    pub options_success_status: u16,
    /// A preflight is not answered, but gets its headers and goes on.
    pub preflight_continue: bool,
}

/// Which origins are allowed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CorsOrigin {
    /// All, told as `*`.
    Any,
    /// All, each told its own.
    Reflected,
    /// This one, whatever the request's is.
    Fixed(String),
    /// The request's own, if it is one of these or fits one that is a pattern: a regular expression between slashes.
    Listed(Vec<String>),
}

impl CorsOrigin {
    /// From a list, in which `*` stands for all.
    pub fn of_list(list: Vec<String>) -> CorsOrigin {
        if list.iter().any(|entry| entry == "*") { CorsOrigin::Any } else { CorsOrigin::Listed(list) }
    }

    /// The regular expression of an entry of a list, if it is one.
    pub fn pattern(entry: &str) -> Option<&str> {
        entry.strip_prefix('/')?.strip_suffix('/').filter(|pattern| !pattern.is_empty())
    }
}

impl Default for CorsConfig {
    /// The `cors` package's defaults.
    fn default() -> Self {
        CorsConfig {
            origin: CorsOrigin::Any,
            methods: "GET,HEAD,PUT,PATCH,POST,DELETE".into(),
            allowed_headers: None,
            exposed_headers: String::new(),
            credentials: false,
            max_age_s: None,
            options_success_status: 204,
            preflight_continue: false,
        }
    }
}
