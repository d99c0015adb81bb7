//! One worker that accepts its clients itself: no supervisor, no balancer, no bus. What a connection costs beside this is what
//! the balancer costs. Prints its address, serves until its standard input ends.

use std::{io, process::ExitCode, rc::Rc};

use roomd_wire::{BusConfig, ConnectionId, Generation, PeerAddress, Slot, SocketIoConfig, WorkerConfig, WorkerId};
use roomd_worker::{
    chat,
    control::{Outbox, WorkerLink},
    engine::{Engine, HttpService, Incoming},
    socketio::Io,
};
use tokio::{io::AsyncReadExt, net::TcpListener, task::LocalSet};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, serve())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("single: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> io::Result<()> {
    let id = WorkerId { slot: Slot(0), generation: Generation(1) };
    let config = WorkerConfig {
        orphan: None,
        id,
        host: 0,
        workers: 1,
        socketio: SocketIoConfig { ping_interval_ms: 600_000, ..SocketIoConfig::default() },
        bus: BusConfig::Embedded,
        bus_wait_ms: 0,
        trusted_proxies: Vec::new(),
        app: serde_json::Value::Null,
    };
    // A control socket whose other side has gone: what would be said to a supervisor is not even written.
    let (link, other_end) = WorkerLink::pair()?;
    drop(other_end);
    let engine = Engine::new(&config, Outbox::new(Rc::new(link))).map_err(io::Error::other)?;
    let io = Io::new(engine.clone(), id, chat::app());
    engine.start(Rc::new(io), HttpService::files(|_| None));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    let mut stdin = tokio::io::stdin();
    let (mut byte, mut next) = ([0], 0);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, peer) = accepted?;
                next += 1;
                engine.accept(Incoming {
                    id: ConnectionId(next),
                    peer: PeerAddress::Ip(peer.ip(), peer.port()),
                    moved: false,
                    read: Vec::new(),
                    socket: stream.into_std()?.into(),
                });
            }
            _ = stdin.read(&mut byte) => return Ok(()),
        }
    }
}
