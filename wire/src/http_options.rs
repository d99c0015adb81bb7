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
