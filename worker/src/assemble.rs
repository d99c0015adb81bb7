//! A whole worker: the engine, the Socket.IO server with its application and its HTTP, and the bus.

use std::{cell::RefCell, os::fd::OwnedFd, process::ExitCode, rc::Rc, time::Instant};

use roomd_wire::{BusConfig, BusHealth, WorkerStats};
use tokio::sync::watch;

use crate::{
    bus::{Bus, BusHandler, EmbeddedBus, HealthTiming, RedisBus},
    engine::HttpService,
    memory::{self, Trim},
    page::Page,
    run::{self, Layers, Setup},
    socketio::{App, Http, Io, Leading},
};

/// Runs a worker until it has been told to leave. `make` makes its application, from the table `[app]`.
pub fn run(make: impl AsyncFnOnce(&serde_json::Value) -> Result<App, String>) -> ExitCode {
    run::run(async |setup| {
        let app = make(&setup.config.app).await?;
        assemble(setup, app)
    })
}

/// Builds the layers above the engine: the Socket.IO server with this application, its HTTP, and the bus.
///
/// # Errors
/// Where the bus cannot be used, in one line.
pub fn assemble(Setup { config, engine, hub }: Setup<'_>, mut app: App) -> Result<Layers, String> {
    // First what can fail: a bus that is driven has something to say of its end.
    app.check().map_err(|missing| missing.to_string())?;
    let page = Page::new(&config.socketio).service();
    let http = app.http.take();
    let hooks = std::mem::take(&mut app.http_hooks);
    let io = Io::new(engine.clone(), config.id, app);
    engine.set_hooks(hooks.bind(&io));
    let service = match http {
        None => HttpService::files(|_| None),
        Some(Http::Page) => page,
        Some(Http::Own(make)) => make(io.handle()),
    };
    let (bus, health, rejoin) = join(&config.bus, hub, Rc::new(io.clone()))?;
    io.attach(bus.clone());
    engine.on_flush(Rc::new(move || bus.flush()));
    let handler = Rc::new(io.clone());
    let (starting, stopping, leading) = (io.clone(), io.clone(), Leading::new(io.clone()));
    let trim = RefCell::new(Trim::new());
    let report = Box::new(move |stats: &mut WorkerStats| {
        io.report(stats);
        if trim.borrow_mut().is_due(io.ended_sessions(), Instant::now()) {
            memory::give_back();
        }
    });
    Ok(Layers {
        handler,
        service,
        bus: health,
        start: Box::pin(async move { starting.started().await }),
        rejoin,
        lead: Box::new(move |leads| leading.set(leads)),
        stop: Box::pin(async move { stopping.stopped().await }),
        report,
    })
}

/// The bus, which is driven from now on, how it is, and what to do with a stream to another hub.
type Joined = (Rc<dyn Bus>, watch::Receiver<BusHealth>, Box<dyn Fn(OwnedFd)>);

fn join(bus: &BusConfig, hub: Option<OwnedFd>, handler: Rc<dyn BusHandler>) -> Result<Joined, String> {
    let timing = HealthTiming::default();
    match (bus, hub) {
        (BusConfig::Embedded, Some(stream)) => {
            let (bus, driver) = EmbeddedBus::new(stream, timing, handler)
                .map_err(|error| format!("failed to join the embedded bus: {error}"))?;
            tokio::task::spawn_local(driver);
            let health = bus.health_changes();
            let rejoining = bus.clone();
            Ok((bus, health, Box::new(move |stream| rejoining.rejoin(stream))))
        }
        (BusConfig::Embedded, None) => Err("the supervisor gave no stream to the embedded bus".into()),
        (BusConfig::Redis { url }, _) => {
            let (bus, driver) = RedisBus::new(url, timing, handler).map_err(|error| format!("failed to {error}"))?;
            tokio::task::spawn_local(driver);
            let health = bus.health_changes();
            // Redis has no part in what becomes of the supervisor.
            Ok((bus, health, Box::new(drop)))
        }
    }
}
