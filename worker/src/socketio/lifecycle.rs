//! What the application does when its worker begins and ends.

use super::{Io, Rejection, call::WorkerCall, handlers};

impl Io {
    /// Calls the application's handlers of the start, one after the other.
    ///
    /// # Errors
    /// What the first of them says that fails.
    pub async fn started(&self) -> Result<(), String> {
        for handler in &self.0.start {
            let work = handler(&WorkerCall { io: self }).map_err(|Rejection(error)| error)?;
            if let Some(error) = work.await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Calls the application's handlers of the end, one after the other. One that panics ends alone.
    pub async fn stopped(&self) {
        for handler in &self.0.stop {
            match handler(&WorkerCall { io: self }) {
                Ok(work) => handlers::guarded(&self.0.failures, work).await,
                Err(Rejection(error)) => self.0.failures.note_error("stop", &error),
            }
        }
    }
}
