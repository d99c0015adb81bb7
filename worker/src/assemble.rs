//! A whole worker: the engine, the Socket.IO server with its application, the bus, and the page.

use std::{cell::RefCell, fs, os::fd::OwnedFd, process::ExitCode, rc::Rc, time::Instant};

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use roomd_wire::{BusConfig, BusHealth, WorkerConfig, WorkerStats};
use tokio::sync::watch;

use crate::{
    bus::{Bus, BusHandler, EmbeddedBus, HealthTiming, RedisBus},
    engine::Fallback,
    memory::{self, Trim},
    page::{CONTENT_SECURITY_POLICY, Page},
    run::{self, Layers, Setup},
    socketio::{App, Io},
};

/// Runs a worker until it has been told to leave. `make` makes its application, from the table `[app]`.
pub fn run(make: impl AsyncFnOnce(&serde_json::Value) -> Result<App, String>) -> ExitCode {
    run::run(async |setup| {
        let app = make(&setup.config.app).await?;
        assemble(setup, app)
    })
}

/// Builds the layers above the engine: the Socket.IO server with this application, the bus, and the page.
///
/// # Errors
/// Where the bus cannot be used or a file cannot be read, in one line.
pub fn assemble(Setup { config, engine, hub }: Setup<'_>, app: App) -> Result<Layers, String> {
    // First what can fail: a bus that is driven has something to say of its end.
    app.check().map_err(|missing| missing.to_string())?;
    let io = Io::new(engine.clone(), config.id, app);
    let fallback = fallback(config)?;
    let (bus, health) = join(&config.bus, hub, Rc::new(io.clone()))?;
    io.attach(bus.clone());
    engine.on_flush(Rc::new(move || bus.flush()));
    let handler = Rc::new(io.clone());
    let (starting, stopping) = (io.clone(), io.clone());
    let trim = RefCell::new(Trim::new());
    let report = Box::new(move |stats: &mut WorkerStats| {
        io.report(stats);
        if trim.borrow_mut().is_due(io.ended_sessions(), Instant::now()) {
            memory::give_back();
        }
    });
    Ok(Layers {
        handler,
        fallback,
        bus: health,
        start: Box::pin(async move { starting.started().await }),
        stop: Box::pin(async move { stopping.stopped().await }),
        report,
    })
}

/// The bus, which is driven from now on, and how it is.
fn join(
    bus: &BusConfig,
    hub: Option<OwnedFd>,
    handler: Rc<dyn BusHandler>,
) -> Result<(Rc<dyn Bus>, watch::Receiver<BusHealth>), String> {
    let timing = HealthTiming::default();
    match (bus, hub) {
        (BusConfig::Embedded, Some(stream)) => {
            let (bus, driver) = EmbeddedBus::new(stream, timing, handler)
                .map_err(|error| format!("failed to join the embedded bus: {error}"))?;
            tokio::task::spawn_local(driver);
            let health = bus.health_changes();
            Ok((bus, health))
        }
        (BusConfig::Embedded, None) => Err("the supervisor gave no stream to the embedded bus".into()),
        (BusConfig::Redis { url }, _) => {
            let (bus, driver) = RedisBus::new(url, timing, handler).map_err(|error| format!("failed to {error}"))?;
            tokio::task::spawn_local(driver);
            let health = bus.health_changes();
            Ok((bus, health))
        }
    }
}

/// Serves the demo page where the Socket.IO path does not.
fn fallback(config: &WorkerConfig) -> Result<Fallback, String> {
    let client = match &config.client_file {
        Some(path) => {
            let content =
                fs::read(path).map_err(|error| format!("failed to read client_file {}: {error}", path.display()))?;
            Some(Bytes::from(content))
        }
        None => None,
    };
    let page = Page::new(&config.socketio.path, client);
    Ok(Rc::new(move |request| {
        let file = page.file(request.uri.path())?;
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut refused = Response::new(Bytes::new());
            *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return Some(refused);
        }
        let response = Response::builder()
            .header(header::CONTENT_TYPE, file.content_type)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .body(file.body);
        response.ok()
    }))
}
