//! A namespace as the application holds it.

use std::{rc::Rc, time::Duration};

use serde::Serialize;

use super::{
    Broadcast, Io, REQUESTS_TIMEOUT,
    ack::{Answers, RequestError},
    namespaces::Nsp,
};
use crate::{
    adapter::codec::WriteError,
    protocol::{Data, EncodeError},
};

/// A namespace in the whole cluster, for what concerns no single socket.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{EncodeError, Io};
///
/// fn announce(io: &Io) -> Result<(), EncodeError> {
///     if let Some(admin) = io.of("/admin") {
///         admin.to("on-duty").emit("alarm", "it is full")?;
///     }
///     Ok(())
/// }
/// ```
pub struct Namespaced<'a> {
    io: &'a Io,
    namespace: Rc<Nsp>,
    within: Duration,
}

impl<'a> Namespaced<'a> {
    pub(super) fn new(io: &'a Io, namespace: Rc<Nsp>) -> Self {
        Namespaced { io, namespace, within: REQUESTS_TIMEOUT }
    }

    /// Its name.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{} is busy", namespace.name());
    /// # Ok(())
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.namespace.name
    }

    /// How long the next question to the other servers waits for answers; else [`REQUESTS_TIMEOUT`].
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(io: Io) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let main = io.sockets().timeout(Duration::from_secs(1));
    /// let answers = main.server_side_emit_with_ack("load?", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn timeout(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// To the sockets that are selected next.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// let everybody = namespace.sockets();
    /// everybody.emit("notice", "we close soon")?;
    /// everybody.disconnect_sockets(true)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sockets(&self) -> Broadcast<'a> {
        Broadcast::new(self.io, self.namespace.clone()).timeout(self.within)
    }

    /// The rooms of all servers, those of sockets' own ids among them, each once.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(namespace: Namespaced<'_>) -> Result<(), Box<dyn std::error::Error>> {
    /// let rooms = namespace.all_rooms().await?.answers;
    /// let games = rooms.iter().filter(|room| room.starts_with("game:")).count();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where not all servers answer in time: then with what those did that answered.
    pub async fn all_rooms(&self) -> Result<Answers<String>, RequestError<String>> {
        self.io.all_rooms(&self.namespace, self.within).await
    }

    /// Sends an event to the other servers of the cluster, not to clients.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(namespace: &Namespaced) -> Result<(), Box<dyn std::error::Error>> {
    /// namespace.server_side_emit("settings-changed", "colours")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or the name may not be sent.
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) -> Result<(), ServerEmitError> {
        let data = Data::server_event(event, &args)?;
        Ok(self.io.tell_servers(&self.namespace, data)?)
    }

    /// Sends an event to the other servers, and waits for an answer of each.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(namespace: Namespaced<'_>) -> Result<(), Box<dyn std::error::Error>> {
    /// let loads = namespace.server_side_emit_with_ack("load?", ()).await?;
    /// for load in loads.answers.into_iter().flatten() {
    ///     println!("{}", load.decode::<f64>()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where a value has no JSON form, or not all servers answer in time: then with the answers that came.
    pub async fn server_side_emit_with_ack(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let data = Data::server_event(event, &args)?;
        self.io.ask_servers(&self.namespace, data, self.within).await
    }
}

/// Why an event was not sent to the other servers.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{Io, ServerEmitError};
///
/// fn tell(io: &Io) -> Result<(), ServerEmitError> {
///     io.sockets().server_side_emit("settings-changed", "colours")
/// }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ServerEmitError {
    /// A value has no JSON form.
    #[error("write the event")]
    Encode(#[from] EncodeError),
    /// The adapter's format does not allow it.
    #[error("write the event")]
    Write(#[from] WriteError),
}
