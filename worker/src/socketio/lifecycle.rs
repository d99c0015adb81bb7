//! What the application does when its worker begins and ends.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::task::JoinSet;

use super::{Io, Rejection, call::WorkerCall, handlers};

/// After a task of the host has failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Io {
    /// Calls the application's handlers of the start, one after the other.
    ///
    /// # Errors
    /// What the first of them says that fails.
    pub(crate) async fn started(&self) -> Result<(), String> {
        for handler in &self.0.start {
            let work = handler(&WorkerCall { io: self }).map_err(|Rejection(error)| error)?;
            if let Some(error) = work.await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Calls the application's handlers of the end, one after the other. One that panics ends alone.
    pub(crate) async fn stopped(&self) {
        for handler in &self.0.stop {
            match handler(&WorkerCall { io: self }) {
                Ok(work) => handlers::guarded(&self.0.failures, work).await,
                Err(Rejection(error)) => self.0.failures.note_error("stop", &error),
            }
        }
    }
}

/// What one worker of the host does.
pub(crate) struct Leading {
    io: Io,
    tasks: RefCell<JoinSet<()>>,
}

impl Leading {
    pub(crate) fn new(io: Io) -> Self {
        Leading { io, tasks: RefCell::default() }
    }

    /// Begins or ends it. A task that is ended does nothing more, not even in this turn of the loop.
    pub(crate) fn set(&self, leads: bool) {
        let mut tasks = self.tasks.borrow_mut();
        *tasks = JoinSet::new();
        for task in 0..if leads { self.io.0.once.len() } else { 0 } {
            tasks.spawn_local(self.io.clone().repeat(task));
        }
    }
}

impl Io {
    /// A task of the host: again and again until it succeeds.
    async fn repeat(self, task: usize) {
        let succeeded = Rc::new(Cell::new(false));
        while !succeeded.get() {
            let once = Box::pin(self.clone().once(task, succeeded.clone()));
            handlers::guarded(&self.0.failures, once).await;
            if !succeeded.get() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }

    async fn once(self, task: usize, succeeded: Rc<Cell<bool>>) {
        let error = match self.0.once[task](&WorkerCall { io: &self }) {
            Ok(work) => work.await,
            Err(Rejection(error)) => Some(error),
        };
        match error {
            Some(error) => self.0.failures.note_error("once_per_host", &error),
            None => succeeded.set(true),
        }
    }
}
