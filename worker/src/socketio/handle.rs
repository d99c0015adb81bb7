//! The server from other threads and from tasks that may move between threads, such as those of an HTTP framework.

use std::{fmt, future::Future};

use tokio::sync::{mpsc, oneshot};

use super::Io;

/// How many calls may wait for the worker; whoever makes one more waits.
const WAITING_CALLS: usize = 1024;

type Call = Box<dyn FnOnce(&Io) + Send>;

/// A worker's server, for code that must be `Send`. [`Io`] and [`Socket`](super::Socket) themselves stay on the worker's thread.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Handle, Io};
///
/// // A task that may move between threads.
/// async fn announce(sockets: Handle) {
///     match sockets.with(|io| io.emit("notice", "all is well")).await {
///         Ok(Ok(())) => println!("sent"),
///         Ok(Err(error)) => println!("{error}"),
///         Err(gone) => println!("{gone}"),
///     }
/// }
///
/// let app = App::new().on_start(async |io: Io| {
///     tokio::spawn(announce(io.handle()));
/// });
/// ```
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Call>);

/// The worker has ended, or what was called panicked.
///
/// ```
/// # use roomd_worker::socketio::*;
/// assert_eq!(Gone.to_string(), "reach the worker: it has ended, or the call panicked");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("reach the worker: it has ended, or the call panicked")]
pub struct Gone;

impl Handle {
    pub(super) fn new(io: &Io) -> Handle {
        let (sender, mut calls) = mpsc::channel::<Call>(WAITING_CALLS);
        let io = io.clone();
        tokio::task::spawn_local(async move {
            while let Some(call) = calls.recv().await {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(&io)));
                if caught.is_err() {
                    tracing::error!("a call of the application's ended in a panic");
                }
            }
        });
        Handle(sender)
    }

    /// Calls a function with the server, on its thread, and waits for what it returns.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(sockets: Handle) -> Result<(), Gone> {
    /// let worker = sockets.with(|io| io.worker().to_string()).await?;
    /// println!("on worker {worker}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where it could not be called.
    pub async fn with<T, F>(&self, call: F) -> Result<T, Gone>
    where
        T: Send + 'static,
        F: FnOnce(&Io) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(move |io: &Io| {
            // Whoever called may have given up.
            let _ = answer.send(call(io));
        });
        self.0.send(call).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// The same with an async function: for questions to clients and to other servers.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # async fn example(sockets: Handle) -> Result<(), Gone> {
    /// let people = sockets.run(async |io: Io| io.fetch_sockets().await.map_or(0, |found| found.answers.len())).await?;
    /// println!("{people} are here");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where it could not be called.
    pub async fn run<T, F, W>(&self, call: F) -> Result<T, Gone>
    where
        T: Send + 'static,
        F: FnOnce(Io) -> W + Send + 'static,
        W: Future<Output = T> + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(move |io: &Io| {
            let work = call(io.clone());
            tokio::task::spawn_local(async move {
                let _ = answer.send(work.await);
            });
        });
        self.0.send(call).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}
