//! Our engine alone: a worker in a thread of the test's, and a supervisor that hands each connection to it.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    rc::Rc,
    thread,
};

use bytes::Bytes;
use roomd_wire::{
    BusConfig, BusHealth, ConnectionId, Generation, Link, PROTOCOL_VERSION, PeerAddress, Slot, SocketIoConfig,
    ToSupervisor, ToWorker, WorkerConfig, WorkerId,
};
use roomd_worker::{
    engine::{CloseReason, Engine, Handshake, HttpService, SessionHandler, SessionKey},
    protocol::Encoded,
    run::{Layers, Setup, work},
};
use tokio::{runtime, sync::watch, task::LocalSet};

struct Echo(Engine);

impl SessionHandler for Echo {
    fn opened(&self, _: SessionKey, _: Rc<Handshake>) {}

    fn text(&self, session: SessionKey, message: &str) {
        self.0.send(session, &Encoded::engine(&format!("4{message}")));
    }

    fn binary(&self, session: SessionKey, message: Bytes) {
        self.0.send(session, &Encoded::bytes(&message));
    }

    fn closed(&self, _: SessionKey, _: CloseReason) {}
}

/// Starts it, for as long as the test's process lives.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, serve(listener));
    });
    address
}

async fn serve(listener: TcpListener) {
    let (link, socket) = Link::<ToWorker, ToSupervisor>::pair().unwrap();
    tokio::task::spawn_local(async move {
        work(socket, async |setup: Setup<'_>| Ok(layers(setup.engine))).await.unwrap();
    });
    link.recv().await.unwrap();
    let start = ToWorker::Start { protocol: PROTOCOL_VERSION, config: Box::new(config()) };
    link.send(&start, &[]).await.unwrap();
    while link.recv().await.unwrap().unwrap().0 != ToSupervisor::Ready {}
    let link = Rc::new(link);
    tokio::task::spawn_local({
        let link = link.clone();
        async move { while let Ok(Some(_)) = link.recv().await {} }
    });
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    for number in 0.. {
        let (connection, peer) = listener.accept().await.unwrap();
        let peer = PeerAddress::Ip(peer.ip(), peer.port());
        let message = ToWorker::Connection { id: ConnectionId(number), peer, moved: false, read: Vec::new() };
        link.send(&message, &[connection.as_fd()]).await.unwrap();
    }
}

fn layers(engine: &Engine) -> Layers {
    Layers {
        handler: Rc::new(Echo(engine.clone())),
        service: HttpService::files(|_| None),
        bus: watch::channel(BusHealth { up: true, ..BusHealth::default() }).1,
        start: Box::pin(std::future::ready(Ok(()))),
        rejoin: Box::new(drop),
        lead: Box::new(|_| {}),
        stop: Box::pin(std::future::ready(())),
        report: Box::new(|_| {}),
    }
}

fn config() -> WorkerConfig {
    WorkerConfig {
        orphan: None,
        id: WorkerId { slot: Slot(0), generation: Generation(1) },
        host: 1,
        workers: 1,
        socketio: SocketIoConfig {
            path: "/engine.io/".into(),
            ping_interval_ms: 300,
            ping_timeout_ms: 200,
            cors: Some(roomd_wire::CorsConfig::default()),
            ..SocketIoConfig::default()
        },
        bus: BusConfig::Embedded,
        bus_wait_ms: 0,
        trusted_proxies: Vec::new(),
        app: serde_json::Value::Null,
    }
}
