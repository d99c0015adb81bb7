//! Why a client may not join a namespace.

use serde_json::Value;

use crate::protocol::EncodeError;

/// Why a client may not join: it is told the message and the data.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::ConnectError;
/// use serde_json::json;
///
/// let plain: ConnectError = "who are you?".into();
/// assert_eq!(plain, ConnectError { message: "who are you?".to_owned(), data: None });
///
/// // With `data`, which the client finds in `error.data`.
/// let full = ConnectError { message: "come back later".to_owned(), data: Some(json!({ "after": 30 })) };
/// assert_eq!(full.to_string(), "come back later");
/// ```
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// For the client's `connect_error` event.
    pub message: String,
    /// Details for it, if any.
    pub data: Option<Value>,
}

impl ConnectError {
    /// A refusal with a message alone.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// assert_eq!(ConnectError::new("who are you?").to_string(), "who are you?");
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        ConnectError { message: message.into(), data: None }
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        ConnectError::new(message)
    }
}

/// Of [`Socket::set_data`](super::Socket::set_data) and the like. Other errors have to be given words of their own: what a
/// database says is not for clients.
impl From<EncodeError> for ConnectError {
    fn from(error: EncodeError) -> Self {
        ConnectError::new(error.to_string())
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        ConnectError::new(message)
    }
}
