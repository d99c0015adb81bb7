//! How an application is made: what [`crate::run`] takes, and the shape of its table `[app]`.

use std::{fmt::Display, future::Future};

use roomd_worker::socketio::App;
use serde::de::{DeserializeOwned, IgnoredAny};
use toml::{
    Spanned,
    de::{DeValue, ValueDeserializer},
};

/// What makes an application: a function or closure, sync or async, without an argument or with the application's own
/// configuration. `M` only tells these apart.
///
/// | function | for |
/// | --- | --- |
/// | `fn() -> App` | an application without configuration: `[app]` is left unread |
/// | `fn(C) -> App` | one whose `[app]` table is a `C`: a value of another shape is shown with line and column, by `roomd check`, at the start and at a reload |
/// | `async fn() -> Result<App, E>`, `async fn(C) -> Result<App, E>` | one that has to get something first, such as a connection to a database |
///
/// It is called in each worker, before any client comes. If it fails, the worker cannot start: the error is told by `roomd up`,
/// `roomd status` and the log.
///
/// ```
/// use roomd::App;
/// use serde::Deserialize;
///
/// /// `[app]` in `cluster.toml`: `greeting = "hello"`
/// #[derive(Deserialize)]
/// struct Config {
///     greeting: String,
/// }
///
/// async fn app(config: Config) -> Result<App, std::io::Error> {
///     let names = tokio::net::lookup_host("database:5432").await?;
///     Ok(App::new().state(config).state(names.collect::<Vec<_>>()))
/// }
///
/// # fn takes<M>(_app: impl roomd::MakeApp<M>) {}
/// # takes(app);
/// // In `main`: roomd::run(app)
/// ```
#[diagnostic::on_unimplemented(
    message = "this makes no application",
    note = "`roomd::run` takes a function without an argument, or with the configuration (which must be `Deserialize`), that returns an `App`, or one that is async and returns a `Result<App, E>`"
)]
pub trait MakeApp<M> {
    /// The shape of `[app]`.
    type Config: DeserializeOwned;

    /// Makes it.
    fn make(self, config: Self::Config) -> impl Future<Output = Result<App, String>>;
}

/// Tells functions of one shape from those of others.
pub struct Plain<A>(std::marker::PhantomData<A>);

/// The same for those that are async.
pub struct Awaited<A, E>(std::marker::PhantomData<(A, E)>);

impl<F: FnOnce() -> App> MakeApp<Plain<()>> for F {
    type Config = IgnoredAny;

    async fn make(self, _unread: IgnoredAny) -> Result<App, String> {
        Ok(self())
    }
}

impl<C: DeserializeOwned, F: FnOnce(C) -> App> MakeApp<Plain<(C,)>> for F {
    type Config = C;

    async fn make(self, config: C) -> Result<App, String> {
        Ok(self(config))
    }
}

impl<E: Display, F: AsyncFnOnce() -> Result<App, E>> MakeApp<Awaited<(), E>> for F {
    type Config = IgnoredAny;

    async fn make(self, _unread: IgnoredAny) -> Result<App, String> {
        self().await.map_err(|error| format!("{error:#}"))
    }
}

impl<C: DeserializeOwned, E: Display, F: AsyncFnOnce(C) -> Result<App, E>> MakeApp<Awaited<(C,), E>> for F {
    type Config = C;

    async fn make(self, config: C) -> Result<App, String> {
        self(config).await.map_err(|error| format!("{error:#}"))
    }
}

/// Checks the table `[app]`.
#[derive(Clone, Copy, Debug)]
pub struct AppShape(fn(Spanned<DeValue<'_>>) -> Result<(), toml::de::Error>);

impl AppShape {
    /// Whatever is a `C`.
    pub fn of<C: DeserializeOwned>() -> Self {
        AppShape(|table| C::deserialize(ValueDeserializer::from(table)).map(drop))
    }

    /// What is wrong with a table, if something is.
    pub fn check(self, table: Spanned<DeValue<'_>>) -> Option<toml::de::Error> {
        self.0(table).err()
    }
}

impl Default for AppShape {
    /// Anything.
    fn default() -> Self {
        AppShape::of::<IgnoredAny>()
    }
}
