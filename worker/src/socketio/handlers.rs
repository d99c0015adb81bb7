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

use super::app::Work;

/// Handlers that ended in a panic, since the start.
pub(super) type Panics = Rc<Cell<u64>>;

/// Runs a handler: what it does before it first waits happens now, the rest as a task.
pub(super) fn run(panics: &Panics, what: &str, begin: impl FnOnce() -> Work) {
    run_with(panics, what, begin, || ());
}

/// The same; what `wait` gives is kept for as long as the handler waits, if it does.
pub(super) fn run_with<T: 'static>(
    panics: &Panics,
    what: &str,
    begin: impl FnOnce() -> Work,
    wait: impl FnOnce() -> T,
) {
    match catch_unwind(AssertUnwindSafe(begin)) {
        Ok(work) => {
            let mut guarded = Guarded { work, panics: panics.clone() };
            if Pin::new(&mut guarded).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                let kept = wait();
                tokio::task::spawn_local(async move {
                    guarded.await;
                    drop(kept);
                });
            }
        }
        Err(panic) => note(panics, what, &*panic),
    }
}

/// A handler's work whose panic ends only itself.
struct Guarded {
    work: Work,
    panics: Panics,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match catch_unwind(AssertUnwindSafe(|| self.work.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                note(&self.panics, "handler", &*panic);
                Poll::Ready(())
            }
        }
    }
}

fn note(panics: &Panics, what: &str, panic: &(dyn Any + Send)) {
    panics.set(panics.get() + 1);
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(what, panic = text.unwrap_or("without words"), "a handler ended in a panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_runs_up_to_its_first_wait_at_once_and_its_panic_stays_inside() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (panics, steps) = (Panics::default(), Rc::new(Cell::new(0)));
                let counted = steps.clone();
                run(&panics, "event", || {
                    Box::pin(async move {
                        counted.set(1);
                        tokio::task::yield_now().await;
                        counted.set(2);
                        panic!("as tested");
                    })
                });
                assert_eq!(steps.get(), 1);
                while panics.get() == 0 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(steps.get(), 2);
                run(&panics, "event", || panic!("at once"));
                assert_eq!(panics.get(), 2);
            })
            .await;
    }
}
