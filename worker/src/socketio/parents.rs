//! Parents: what the application declared for many namespaces at once, by a pattern or by a function that is asked.

use std::rc::Rc;

use regex::Regex;
use serde_json::Value;

use super::{
    Io, Rejection,
    backlog::Waits,
    call::{AskedCall, OnAsked},
    handler::{Erased, Work},
    handlers,
    namespace::Namespace,
    namespaces::{Nsp, TooMany, may_be_child},
    server::{Inner, count},
    socket::no_auth,
};
use crate::engine::SessionKey;

/// What a client is told that asks for a namespace which there is not, in the official server's words.
pub(super) const INVALID_NAMESPACE: &str = "Invalid namespace";

/// Handlers that any number of namespaces have.
pub(super) struct Parent {
    pub(super) rule: Rule,
    pub(super) handlers: Rc<Namespace>,
}

/// Which names are a parent's.
pub(super) enum Rule {
    /// Those in which the pattern is found.
    Matching(Regex),
    /// Those of which the function says so, each time that a client asks for one that there is not.
    When(Erased<OnAsked, bool>),
}

/// What a function says that is asked for a namespace: whether there is one of that name. An error is a no, and is logged and
/// counted.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Name};
///
/// let by_number = async |name: Name| {
///     let number: u32 = name.trim_start_matches("/room-").parse()?;
///     Ok::<_, std::num::ParseIntError>(number < 100)
/// };
/// let app = App::new()
///     .namespace_when(by_number, |namespace| namespace)
///     .namespace_when(async |name: Name| &*name == "/lobby", |namespace| namespace);
/// # assert!(app.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "whether there is such a namespace is a `bool`, or a `Result<bool, E>` whose error can be displayed",
    label = "returned here is `{Self}`"
)]
pub trait Verdict: 'static {
    /// Whether it is a yes, or the error.
    ///
    /// # Errors
    /// Where it is one, in its words.
    fn verdict(self) -> Result<bool, String>;
}

impl Verdict for bool {
    fn verdict(self) -> Result<bool, String> {
        Ok(self)
    }
}

impl<E: std::fmt::Display + 'static> Verdict for Result<bool, E> {
    fn verdict(self) -> Result<bool, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// A client's wish to join a namespace.
pub(super) struct Wish {
    pub(super) session: SessionKey,
    pub(super) auth: Option<Value>,
    /// How much `auth` takes.
    pub(super) bytes: usize,
}

impl Inner {
    /// The namespace of this name for the application: one that has a place, or else the address of a child. A function cannot be
    /// asked, since there is no client: where there is one, it may say yes to every name.
    pub(super) fn address(&self, name: &str) -> Option<Rc<Nsp>> {
        if let Some(nsp) = self.namespace(name) {
            return Some(nsp);
        }
        if !may_be_child(name) {
            return None;
        }
        let handlers = self.parents.iter().find_map(|Parent { rule, handlers }| match rule {
            Rule::Matching(pattern) => pattern.is_match(name).then(|| Some(handlers.clone())),
            // Only a client's wish can tell whether it is this one or one that comes later: until then it is open to nobody.
            Rule::When(_) => Some(None),
        })?;
        Some(Nsp::new(name, self.uid.clone(), handlers, true))
    }
}

impl Io {
    /// A client asks for a namespace that is not open: the parents decide, in the order of their declaration, the first that wants
    /// it.
    pub(super) fn ask_parents(&self, name: &str, wish: Wish) {
        if !may_be_child(name) {
            return self.no_such_namespace(wish.session, name);
        }
        for (number, parent) in self.0.parents.iter().enumerate() {
            match &parent.rule {
                Rule::Matching(pattern) if pattern.is_match(name) => return self.let_into_child(parent, name, wish),
                Rule::Matching(_) => {}
                Rule::When(_) => return self.ask_functions(number, name, wish),
            }
        }
        self.no_such_namespace(wish.session, name);
    }

    /// The same from a parent on that has a function, which may take its time.
    fn ask_functions(&self, first: usize, name: &str, wish: Wish) {
        let (io, session, bytes) = (self.clone(), wish.session, wish.bytes);
        let mut undecided = Undecided::begin(self, session, name);
        let begin = || -> Work {
            Box::pin(async move {
                for parent in &io.0.parents[first..] {
                    if !parent.wants(&io, &undecided.name, &wish).await {
                        continue;
                    }
                    if undecided.decide() {
                        io.let_into_child(parent, &undecided.name, wish);
                    }
                    return;
                }
                if undecided.decide() {
                    io.no_such_namespace(session, &undecided.name);
                }
            })
        };
        handlers::run(&self.0.failures, "namespace", begin, || Waits::begin(self, session, bytes));
    }

    fn let_into_child(&self, parent: &Parent, name: &str, wish: Wish) {
        if self.is_in_most_namespaces(wish.session) {
            return self.too_many_namespaces(wish.session, name);
        }
        match self.0.child(name, &parent.handlers) {
            Ok(nsp) => {
                self.join_namespace(&nsp, wish);
                self.0.end_if_idle(&nsp);
            }
            Err(TooMany) => {
                tracing::warn!("there are as many child namespaces as a worker may have");
                self.too_many_namespaces(wish.session, name);
            }
        }
    }

    /// A client is in as many namespaces as it may be, or the worker has as many as it may have.
    pub(super) fn too_many_namespaces(&self, session: SessionKey, name: &str) {
        count(&self.0.counters.refused_namespaces);
        self.0.engine.send(session, &self.0.parser.connect_error(name, "Too many namespaces", None));
    }

    fn no_such_namespace(&self, session: SessionKey, name: &str) {
        self.0.engine.send(session, &self.0.parser.connect_error(name, INVALID_NAMESPACE, None));
    }
}

impl Parent {
    async fn wants(&self, io: &Io, name: &Rc<str>, wish: &Wish) -> bool {
        let function = match &self.rule {
            Rule::Matching(pattern) => return pattern.is_match(name),
            Rule::When(function) => function,
        };
        let none;
        let auth = match &wish.auth {
            Some(auth) => auth,
            None => {
                none = no_auth();
                &none
            }
        };
        match function(&AskedCall { io, name, auth }) {
            Ok(work) => work.await,
            Err(Rejection(error)) => {
                tracing::debug!(error, "whether there is a namespace could not be asked");
                false
            }
        }
    }
}

/// A session waits for the decision on a namespace. The last wish for the same one counts alone, as it does while middleware considers.
/// Refused if the decision ends in a panic.
struct Undecided {
    io: Io,
    session: SessionKey,
    name: Rc<str>,
    number: u64,
}

impl Undecided {
    fn begin(io: &Io, session: SessionKey, name: &str) -> Self {
        let name: Rc<str> = name.into();
        let state = &mut *io.0.state.borrow_mut();
        state.wishes += 1;
        state.undecided.insert((session, name.clone()), state.wishes);
        Undecided { io: io.clone(), session, name, number: state.wishes }
    }

    /// It is decided. False if that does not matter any more.
    fn decide(&mut self) -> bool {
        let state = &mut *self.io.0.state.borrow_mut();
        let key = (self.session, self.name.clone());
        let counts = state.undecided.get(&key) == Some(&self.number);
        if counts {
            state.undecided.remove(&key);
        }
        // It may have ended in this turn of the loop: then it is about to be told.
        counts && state.sessions.contains_key(&self.session) && self.io.0.engine.transport(self.session).is_some()
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if self.decide() {
            self.io.0.engine.send(self.session, &self.io.0.parser.connect_error(&self.name, "internal error", None));
        }
    }
}
