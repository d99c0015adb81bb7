//! Which of the application's handlers runs now, so that one that blocks the worker can be named.
//!
//! The event loop notes the handler that it is about to run: a load and a store. A thread looks at that now and then. Where the same
//! run of the same handler is seen for too long, nothing else happens in this worker: the thread tells the log, and the
//! supervisor, which will find that the worker does not answer and can say why.
//!
//! A process has one event loop, and so there is one such note.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    os::fd::{AsFd, OwnedFd},
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use roomd_wire::{ToSupervisor, send_now};

/// How often the thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A handler is told of when it was seen so many times more. Well below the shortest time after which a worker counts as hung, a
/// second, so that it is named before that.
const TELL_AFTER: u32 = 2;

static NOW: Now = Now(AtomicU64::new(0));

/// By [`HandlerId`], which are counted from 1. Handlers are declared once, when a worker starts.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// The namespace that is being declared.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };

    /// The handler that ended in a panic last.
    static PANICKED: Cell<HandlerId> = const { Cell::new(HandlerId(0)) };
}

/// Names a handler; zero is none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct HandlerId(u32);

/// The handler that runs, and in the upper half a number that changes with each note.
struct Now(AtomicU64);

impl Now {
    fn get(&self) -> HandlerId {
        HandlerId(self.0.load(Relaxed) as u32)
    }

    /// Only one thread does this: nothing happens between the load and the store.
    fn set(&self, id: HandlerId) {
        let turn = (self.0.load(Relaxed) >> 32) + 1;
        self.0.store(turn << 32 | u64::from(id.0), Relaxed);
    }
}

/// What the thread has seen.
#[derive(Default)]
struct Watch {
    note: u64,
    again: u32,
}

impl Watch {
    /// Takes a look: the handler that is to be told of, if there is one, once.
    fn look(&mut self, now: &Now) -> Option<HandlerId> {
        let note = now.0.load(Relaxed);
        let id = HandlerId(note as u32);
        if id == HandlerId::default() || note != self.note {
            *self = Watch { note, again: 0 };
            return None;
        }
        self.again = self.again.saturating_add(1);
        (self.again == TELL_AFTER).then_some(id)
    }
}

/// Declares what is declared inside to be of a namespace.
pub(crate) fn declaring<T>(namespace: &str, declare: impl FnOnce() -> T) -> T {
    PLACE.set(Some(namespace.to_owned()));
    let declared = declare();
    PLACE.set(None);
    declared
}

/// A new handler of this name.
pub(crate) fn declare(what: &str) -> HandlerId {
    let name = PLACE.with_borrow(|place| match place {
        Some(namespace) => format!("{what:?} in namespace {namespace}"),
        None => format!("{what:?}"),
    });
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.push(name);
    HandlerId(u32::try_from(names.len()).unwrap_or_default())
}

/// Work of a handler, which is noted whenever it goes on.
pub(crate) async fn noted<F: Future>(id: HandlerId, work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(move |cx| {
        let _before = Before(NOW.get());
        NOW.set(id);
        work.as_mut().poll(cx)
    })
    .await
}

/// The handler that ran before one that it called indirectly, as it does when it emits to a client that somebody listens to. Dropped,
/// it is the one that runs, or none is.
struct Before(HandlerId);

impl Drop for Before {
    fn drop(&mut self) {
        if thread::panicking() {
            PANICKED.set(NOW.get());
        }
        NOW.set(self.0);
    }
}

/// The name of the handler whose panic has just been caught; `None` where it was none that is noted.
pub(crate) fn take_panicked() -> Option<String> {
    Some(name(PANICKED.take())).filter(|name| !name.is_empty())
}

fn name(id: HandlerId) -> String {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    usize::try_from(id.0).ok().and_then(|at| names.get(at.checked_sub(1)?)).cloned().unwrap_or_default()
}

/// Starts the thread. `socket` is the control socket.
pub(crate) fn watch(socket: &OwnedFd) -> io::Result<()> {
    let socket = socket.try_clone()?;
    let look = move || {
        let mut watch = Watch::default();
        loop {
            thread::sleep(LOOK_EVERY);
            let Some(id) = watch.look(&NOW) else { continue };
            let handler = name(id);
            // First what matters: whoever reads the log may be what the handler waits for.
            let told = send_now(socket.as_fd(), &ToSupervisor::Busy { handler: handler.clone() });
            tracing::warn!(handler, "a handler blocks the worker: nothing else happens here until it returns or waits");
            if let Err(error) = told {
                tracing::debug!(%error, "the supervisor was not told");
            }
        }
    };
    thread::Builder::new().name("handler-watch".into()).stack_size(256 * 1024).spawn(look).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_told_of_once_when_one_run_of_it_lasts() {
        let (now, mut watch) = (Now(AtomicU64::new(0)), Watch::default());
        let look = |watch: &mut Watch| watch.look(&now);
        assert_eq!((0..9).filter_map(|_| look(&mut watch)).count(), 0, "none runs");
        for _ in 0..9 {
            // Many short runs of one are not a long one.
            now.set(HandlerId(7));
            assert_eq!(look(&mut watch), None);
            now.set(HandlerId::default());
        }
        now.set(HandlerId(7));
        assert_eq!([(); 5].map(|()| look(&mut watch)), [None, None, Some(HandlerId(7)), None, None]);
        now.set(HandlerId(8));
        assert_eq!(now.get(), HandlerId(8));
        assert_eq!([(); 3].map(|()| look(&mut watch)), [None, None, Some(HandlerId(8))]);
    }

    #[test]
    fn a_handler_that_ended_in_a_panic_is_named_once_and_one_that_called_it_is_not() {
        let [outer, inner] = declaring("/chat", || [declare("say"), declare("any outgoing")]);
        let caught = |work: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
            let mut work = std::panic::AssertUnwindSafe(work);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            std::panic::catch_unwind(move || work.as_mut().poll(&mut context).is_ready()).is_err()
        };
        let calls = noted(outer, async move {
            assert!(caught(Box::pin(noted(inner, async { panic!("as tested") }))));
            assert_eq!(take_panicked().as_deref(), Some("\"any outgoing\" in namespace /chat"));
        });
        assert!(!caught(Box::pin(calls)));
        assert_eq!(take_panicked(), None);
    }

    #[test]
    fn a_handler_has_its_namespace_in_its_name() {
        let [of_chat, of_none] = [declaring("/chat", || declare("say")), declare("start")];
        assert_eq!((&*name(of_chat), &*name(of_none)), ("\"say\" in namespace /chat", "\"start\""));
    }
}
