//! When a worker says that it is ready, as to its bus.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use roomd_worker::socketio::App;

use super::{RedisServer, member::PATIENCE, proxy::Proxy, run, worker::Worker};

fn app() -> App {
    App::new().namespace("/", |namespace| namespace)
}

/// Else a client that connects at once misses what is said elsewhere.
#[test]
fn a_worker_is_ready_once_redis_has_confirmed_its_subscriptions() {
    run(async {
        let server = RedisServer::start(&[]);
        let proxy = Proxy::start(server.port);
        proxy.hold_subscriptions(true);
        let worker = Worker::start(proxy.url(), PATIENCE, app).await;
        let early = tokio::time::timeout(Duration::from_millis(500), worker.ready()).await;
        assert!(early.is_err(), "ready before it is subscribed");
        proxy.hold_subscriptions(false);
        worker.ready().await;
        assert_eq!(server.publish("socket.io#/#", b"to all"), 1);
        assert_eq!(server.publish("socket.io-request#/#", b"to servers"), 1);
        assert!(worker.stats(|_| true).await.bus.up);
    });
}

#[test]
fn a_worker_whose_redis_is_silent_is_ready_without_it_in_the_end_and_goes_on_trying() {
    run(async {
        let server = RedisServer::start(&[]);
        server.signal(Signal::SIGSTOP);
        let started = Instant::now();
        let worker = Worker::start(server.url(), Duration::from_millis(300), app).await;
        worker.ready().await;
        assert!(started.elapsed() >= Duration::from_millis(300));
        assert!(!worker.stats(|_| true).await.bus.up);
        server.signal(Signal::SIGCONT);
        worker.stats(|stats| stats.bus.up).await;
        assert_eq!(server.publish("socket.io#/#", b"to all"), 1);
    });
}
