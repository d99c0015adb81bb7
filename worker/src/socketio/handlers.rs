//! Running the application's handlers: at once, in order, and without letting a panic out.

use std::{
    any::Any,
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::handler::Work;
use crate::running;

/// Handlers that failed, since the start. A clone counts with it.
#[derive(Clone, Default)]
pub(super) struct Failures(Rc<Counts>);

#[derive(Default)]
struct Counts {
    panics: Cell<u64>,
    errors: Cell<u64>,
}

impl Failures {
    /// Those that ended in a panic.
    pub(super) fn panics(&self) -> u64 {
        self.0.panics.get()
    }

    /// Those that returned an error.
    pub(super) fn errors(&self) -> u64 {
        self.0.errors.get()
    }

    /// A handler returned an error.
    pub(super) fn note_error(&self, what: &str, error: &str) {
        self.count_error();
        tracing::error!(handler = what, error, "a handler failed");
    }

    fn count_error(&self) {
        self.0.errors.set(self.0.errors.get() + 1);
    }

    pub(super) fn note_panic(&self, what: &str, panic: &(dyn Any + Send)) {
        self.0.panics.set(self.0.panics.get() + 1);
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let handler = running::take_panicked();
        let what = handler.as_deref().unwrap_or(what);
        tracing::error!(handler = what, panic = text.unwrap_or("without words"), "a handler ended in a panic");
    }
}

/// Runs a handler: what it does before it first waits happens now, the rest as a task. What `wait` gives is kept for as long as the
/// handler waits, if it does.
pub(super) fn run<T: 'static>(failures: &Failures, what: &str, begin: impl FnOnce() -> Work, wait: impl FnOnce() -> T) {
    run_bounded(failures, what, begin, || Some(wait()));
}

/// The same where only so many may wait: one for which `enter` has no place ends where it would, and counts as one that failed.
pub(super) fn run_bounded<T: 'static>(
    failures: &Failures,
    what: &str,
    begin: impl FnOnce() -> Work,
    enter: impl FnOnce() -> Option<T>,
) {
    match catch_unwind(AssertUnwindSafe(begin)) {
        Ok(work) => {
            let mut guarded = guarded(failures, work);
            if Pin::new(&mut guarded).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                // Whoever has no place has told the log.
                let Some(kept) = enter() else { return failures.count_error() };
                tokio::task::spawn_local(async move {
                    guarded.await;
                    drop(kept);
                });
            }
        }
        Err(panic) => failures.note_panic(what, &*panic),
    }
}

/// A handler's work whose panic ends only itself.
pub(super) fn guarded(failures: &Failures, work: Work) -> impl Future<Output = ()> + Unpin + 'static {
    Guarded { work, failures: failures.clone() }
}

/// See [`guarded`].
struct Guarded {
    work: Work,
    failures: Failures,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match catch_unwind(AssertUnwindSafe(|| self.work.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                self.failures.note_panic("handler", &*panic);
                Poll::Ready(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_runs_up_to_its_first_wait_at_once_and_its_panic_stays_inside() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (failures, steps) = (Failures::default(), Rc::new(Cell::new(0)));
                let counted = steps.clone();
                run(
                    &failures,
                    "event",
                    || {
                        Box::pin(async move {
                            counted.set(1);
                            tokio::task::yield_now().await;
                            counted.set(2);
                            panic!("as tested");
                        })
                    },
                    || (),
                );
                assert_eq!(steps.get(), 1);
                while failures.panics() == 0 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(steps.get(), 2);
                run(&failures, "event", || panic!("at once"), || ());
                assert_eq!(failures.panics(), 2);
            })
            .await;
    }
}
