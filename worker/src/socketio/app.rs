//! What an application declares.

use std::{borrow::Cow, collections::HashMap};

use regex::Regex;

use super::{
    Handle, Verdict,
    call::{OnAsked, OnStart, OnStop},
    handler::{Erased, Handler, Outcome, erase_logged, erase_outcome, erase_verdict},
    http_hooks::HttpHooks,
    namespace::{Namespace, Need},
    parents::{Parent, Rule},
    states::States,
};
use crate::{
    engine::{BoxError, HttpService},
    running,
};

/// An application: its namespaces. Built once in each worker, before any client comes; handlers belong to a namespace and
/// never to a client, so that a session can be served by another process.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Args, Socket};
///
/// let app = App::new()
///     .namespace("/", |namespace| {
///         namespace.on("say", async |socket: Socket, Args(text): Args<String>| socket.broadcast().emit("said", text))
///     })
///     .namespace("/admin", |namespace| namespace);
/// # assert!(app.check().is_ok());
/// ```
#[derive(Default)]
pub struct App {
    pub(super) namespaces: HashMap<String, Namespace>,
    pub(super) parents: Vec<Parent>,
    bad_patterns: Vec<AppError>,
    pub(super) states: States,
    pub(super) start: Vec<Erased<OnStart, Option<String>>>,
    pub(super) stop: Vec<Erased<OnStop>>,
    pub(super) once: Vec<Erased<OnStart, Option<String>>>,
    pub(crate) http: Option<Http>,
    pub(crate) http_hooks: HttpHooks,
    needs: Vec<Need>,
}

/// What answers requests outside the Socket.IO path.
pub(crate) enum Http {
    /// The page of the built-in chat.
    Page,
    /// The application's own.
    Own(Box<dyn FnOnce(Handle) -> HttpService>),
}

/// Why an application cannot run.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, AppError};
///
/// let error = App::new().namespace("/a?b", |namespace| namespace).check().unwrap_err();
/// assert!(matches!(error, AppError::Name { name, .. } if name == "/a?b"));
/// ```
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum AppError {
    /// A handler takes a state that there is not.
    #[error("the handler of {handler} takes State<{state}>, which the application has not: give it to App::state")]
    MissingState {
        /// Of what, and where.
        handler: String,
        /// The state's type.
        state: &'static str,
    },
    /// A namespace's name.
    #[error("the namespace {name:?} cannot be: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why it cannot be one.
        reason: &'static str,
    },
    /// A pattern that is none.
    #[error("the pattern {pattern:?} of namespaces cannot be read: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong in it.
        reason: String,
    },
}

impl App {
    /// An application of the main namespace, `/`, without handlers: clients can join it, as in Node.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new();
    /// assert!(app.check().is_ok());
    /// ```
    pub fn new() -> Self {
        App::default()
    }

    /// Declares a namespace, such as `/` or `/admin`; the slash in front may be left out.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// let app = App::new()
    ///     .namespace("/", |namespace| namespace.on_connect(async |socket: Socket| socket.emit("hello", ())))
    ///     .namespace("/admin", |namespace| namespace.on("stop", async || println!("stop!")));
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn namespace(mut self, name: &str, declare: impl FnOnce(Namespace) -> Namespace) -> Self {
        let name = full_name(name).into_owned();
        let namespace = self.namespaces.remove(&name).unwrap_or_default();
        let namespace = running::declaring(&name, || declare(namespace));
        self.namespaces.insert(name, namespace);
        self
    }

    /// Declares all namespaces in whose names, the slash in front, a pattern is found, such as `^/room-[0-9]+$`; there are none but
    /// those that clients ask for. A client may join every one of them, unless middleware refuses it. In Node this is
    /// `io.of(/pattern/)`.
    ///
    /// The pattern is one of the crate [`regex`]: it is searched for in time that is linear in the name's length, whatever the
    /// client's name, so it has no look-around and no references back. As in JavaScript it is found anywhere, unless `^` and `$` say
    /// otherwise. `\d` and `\w` mean the digits and letters of all scripts.
    ///
    /// A namespace with the name itself comes first, then patterns and functions in the order of their declaration. Names have at
    /// most [`MAX_CHILD_NAME_BYTES`](super::MAX_CHILD_NAME_BYTES) bytes and no `#`, and a worker has at most
    /// [`MAX_CHILD_NAMESPACES`](super::MAX_CHILD_NAMESPACES) of them; each begins with its first socket, and ends with its last one
    /// unless the configuration says otherwise, of which handlers notice nothing.
    ///
    /// ```
    /// use roomd_worker::socketio::{App, Socket};
    ///
    /// let app = App::new().namespace_matching("^/room-[0-9]+$", |namespace| {
    ///     namespace.on_connect(async |socket: Socket| {
    ///         socket.broadcast().emit("came", (socket.id(), socket.namespace()))
    ///     })
    /// });
    /// assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn namespace_matching(mut self, pattern: &str, declare: impl FnOnce(Namespace) -> Namespace) -> Self {
        let handlers = running::declaring(pattern, || declare(Namespace::default())).into();
        match Regex::new(pattern) {
            Ok(pattern) => self.parents.push(Parent { rule: Rule::Matching(pattern), handlers }),
            Err(error) => {
                // The error shows the pattern, and what is wrong in it, in several lines; the last is the reason.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                self.bad_patterns.push(AppError::Pattern { pattern: pattern.to_owned(), reason });
            }
        }
        self
    }

    /// Declares all namespaces of which a function says that there are. It is asked when a client asks for one that there is not yet
    /// on its worker, and gets the [`Name`](super::Name) and the client's [`Auth<T>`](super::Auth); an `auth` of another shape and an
    /// error are a no. Who is let in is the middleware's to decide: the function is not asked for a namespace that another client is
    /// in already. In Node this is `io.of((name, auth, next) => …)`.
    ///
    /// All else is as with [`App::namespace_matching`].
    ///
    /// ```
    /// use roomd_worker::socketio::{App, Name, State};
    ///
    /// type Tenants = Vec<String>;
    ///
    /// let is_known = async |name: Name, tenants: State<Tenants>| tenants.iter().any(|tenant| name[1..] == **tenant);
    /// let app = App::new().state(vec!["acme".to_owned()]).namespace_when(is_known, |namespace| namespace);
    /// assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn namespace_when<A: 'static, H: Handler<OnAsked, A>>(
        mut self,
        is: H,
        declare: impl FnOnce(Namespace) -> Namespace,
    ) -> Self
    where
        H::Output: Verdict,
    {
        let handlers = running::declaring("of a function", || declare(Namespace::default())).into();
        self.needs.push(Need { handler: "namespace_when".to_owned(), missing: H::missing });
        self.parents.push(Parent { rule: Rule::When(erase_verdict("namespace", is)), handlers });
        self
    }

    /// Keeps something for handlers, which get it as [`State<T>`](super::State), by its type. Each worker has its own; what is to
    /// be the same in all of them is kept with sockets, or outside.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// use std::cell::Cell;
    ///
    /// #[derive(Default)]
    /// struct Visits {
    ///     count: Cell<u64>,
    /// }
    ///
    /// let app = App::new().state(Visits::default()).namespace("/", |namespace| {
    ///     namespace.on_connect(async |socket: Socket, visits: State<Visits>| {
    ///         visits.count.set(visits.count.get() + 1);
    ///         socket.emit("visits", visits.count.get())
    ///     })
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    ///
    /// # Panics
    /// Where there is one of this type already.
    #[must_use]
    pub fn state<T: 'static>(mut self, state: T) -> Self {
        let new = self.states.insert(state);
        assert!(new, "the application has a state {} already", std::any::type_name::<T>());
        self
    }

    /// Serves the application's own HTTP on the same port: all requests outside the Socket.IO path. `make` gives a `tower` service,
    /// such as a router of axum's, and gets the way from there to the sockets. Without, those requests are answered with 404.
    /// WebSockets are the Socket.IO server's alone.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// use axum::{Router, extract::State, routing::post};
    ///
    /// // `curl -d 'all is well' …/notify`
    /// async fn notify(State(sockets): State<Handle>, text: String) -> &'static str {
    ///     match sockets.with(move |io| io.emit("notice", text)).await {
    ///         Ok(Ok(())) => "sent",
    ///         _ => "not sent",
    ///     }
    /// }
    ///
    /// let app = App::new().http(|sockets| Router::new().route("/notify", post(notify)).with_state(sockets));
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn http<S, B>(mut self, make: impl FnOnce(Handle) -> S + 'static) -> Self
    where
        S: tower_service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>> + Clone + 'static,
        S::Error: Into<BoxError>,
        B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.http = Some(Http::Own(Box::new(|handle| HttpService::new(make(handle)))));
        self
    }

    /// Serves the page of the built-in chat.
    pub(crate) fn with_page(mut self) -> Self {
        self.http = Some(Http::Page);
        self
    }

    /// Called in each worker when it has its bus and is about to take clients: to begin what runs beside them. Several are called
    /// one after the other, each waited for. The worker cannot start if one fails, and its error is told by `roomd up`, `roomd
    /// status` and the log.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// use std::time::Duration;
    ///
    /// let app = App::new().on_start(async |io: Io| {
    ///     tokio::task::spawn_local(async move {
    ///         loop {
    ///             tokio::time::sleep(Duration::from_secs(1)).await;
    ///             // Each worker to its own clients.
    ///             let _ = io.local().volatile().emit("tick", ());
    ///         }
    ///     });
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_start<A: 'static, H: Handler<OnStart, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs.push(Need { handler: "start".to_owned(), missing: H::missing });
        self.start.push(erase_outcome("start", handler));
        self
    }

    /// Called in each worker that has been told to leave when its last client has gone, for as long as the grace allows.
    /// An error is logged and counted.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # struct Journal;
    /// # impl Journal { async fn flush(&self) -> std::io::Result<()> { Ok(()) } }
    /// let app = App::new().state(Journal).on_stop(async |journal: State<Journal>| journal.flush().await);
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn on_stop<A: 'static, H: Handler<OnStop, A>>(mut self, handler: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs.push(Need { handler: "stop".to_owned(), missing: H::missing });
        self.stop.push(erase_logged("stop", handler));
        self
    }

    /// Runs in one worker of the host at a time, from its being ready, as the loop of a game does: in another one when that
    /// worker leaves or dies, which it is waited for, so that never two run. What one has to leave to the next is kept outside. It
    /// is dropped at the point where it waits when its worker leaves. Where it fails or panics it is called again a second later;
    /// where it returns otherwise it is not, until another worker has its turn.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// use std::time::Duration;
    ///
    /// let app = App::new().once_per_host(async |io: Io| -> Result<(), EncodeError> {
    ///     for round in 1.. {
    ///         io.emit("round", round)?;
    ///         tokio::time::sleep(Duration::from_secs(60)).await;
    ///     }
    ///     Ok(())
    /// });
    /// # assert!(app.check().is_ok());
    /// ```
    #[must_use]
    pub fn once_per_host<A: 'static, H: Handler<OnStart, A>>(mut self, task: H) -> Self
    where
        H::Output: Outcome,
    {
        self.needs.push(Need { handler: "once_per_host".to_owned(), missing: H::missing });
        self.once.push(erase_outcome("once_per_host", task));
        self
    }

    pub(super) fn need(&mut self, handler: &str, missing: fn(&States) -> Option<&'static str>) {
        self.needs.push(Need { handler: handler.to_owned(), missing });
    }

    /// Whether it can run: names and patterns can be some, and handlers find what they need.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// struct Rates;
    ///
    /// fn app() -> App {
    ///     App::new().namespace("/", |namespace| namespace.on("rate", async |rates: State<Rates>| drop(rates)))
    /// }
    ///
    /// // Nobody has given it to `App::state`.
    /// assert!(app().check().unwrap_err().to_string().starts_with("the handler of \"rate\" in namespace / takes State<"));
    /// assert!(app().state(Rates).check().is_ok());
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), AppError> {
        let bad_name = |name: &String| Some(AppError::Name { name: name.clone(), reason: wrong_in_name(name)? });
        if let Some(error) = self.namespaces.keys().find_map(bad_name).or_else(|| self.bad_patterns.first().cloned()) {
            return Err(error);
        }
        let missed = |Need { handler, missing }: &Need, place: &str| {
            missing(&self.states).map(|state| AppError::MissingState { handler: format!("{handler}{place}"), state })
        };
        let own = self.needs.iter().find_map(|need| missed(need, ""));
        let of_namespaces = || {
            self.namespaces.iter().find_map(|(name, namespace)| {
                let place = format!(" in namespace {name}");
                namespace.needs.iter().find_map(|need| missed(need, &place))
            })
        };
        let of_parents = || {
            self.parents.iter().find_map(|Parent { rule, handlers }| {
                let place = match rule {
                    Rule::Matching(pattern) => format!(" in the namespaces of {pattern}"),
                    Rule::When(_) => " in the namespaces of a function".to_owned(),
                };
                handlers.needs.iter().find_map(|need| missed(need, &place))
            })
        };
        own.or_else(of_namespaces).or_else(of_parents).map_or(Ok(()), Err)
    }
}

/// Why a namespace cannot have this name.
fn wrong_in_name(name: &str) -> Option<&'static str> {
    match name.chars().find(|character| matches!(character, ',' | '?' | '#'))? {
        ',' => Some("a comma ends a name in a packet, so no client can ask for it"),
        '?' => Some("what follows a `?` is the query, so no client can ask for it"),
        _ => Some("a `#` ends a name on the bus, so it could not be told from a room of another namespace"),
    }
}

/// A namespace's name as on the wire, where it begins with a slash.
pub(super) fn full_name(name: &str) -> Cow<'_, str> {
    if name.starts_with('/') { name.into() } else { format!("/{name}").into() }
}
