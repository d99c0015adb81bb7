//! Clients that send faster than their events are handled.

use std::rc::Rc;

use roomd_wire::SocketIoConfig;
use serde::de::IgnoredAny;
use tokio::sync::Semaphore;

use super::{Cluster, run};
use crate::{
    bus::Routing,
    socketio::{Ack, App, Args, MAX_WAITING_HANDLERS, MAX_WAITING_PAYLOADS},
};

/// A worker whose handler of `slow` waits for a permit, and one of `quick` that does not.
fn slow(max_payload_bytes: u64) -> (Cluster, Rc<Semaphore>) {
    let gate = Rc::new(Semaphore::new(0));
    let closed = gate.clone();
    let config = SocketIoConfig { max_payload_bytes, ..SocketIoConfig::default() };
    let cluster = Cluster::with(&config, Routing::Exact, 1, move || {
        let gate = closed.clone();
        App::new().namespace("/", move |namespace| {
            namespace.on("quick", async |Args(_): Args<IgnoredAny>| {}).on(
                "slow",
                move |Args(_): Args<IgnoredAny>, ack: Ack| {
                    let gate = gate.clone();
                    async move {
                        gate.acquire().await.unwrap().forget();
                        ack.send(()).unwrap();
                    }
                },
            )
        })
    });
    (cluster, gate)
}

#[test]
fn who_makes_too_many_handlers_wait_is_closed() {
    run(|| async {
        let (cluster, gate) = slow(1_000_000);
        let (client, _) = cluster.client(0);
        for id in 0..MAX_WAITING_HANDLERS {
            assert!(client.send(&format!("2{id}[\"slow\"]")));
        }
        // Ten are done, so ten more may begin.
        gate.add_permits(10);
        cluster.settle().await;
        assert_eq!(client.received().len(), 10);
        for _ in 0..10 {
            assert!(client.send("2[\"slow\"]"));
        }
        assert!(!client.send("2[\"slow\"]"));
        gate.add_permits(2000);
        cluster.settle().await;
        assert_eq!((client.is_open(), cluster.workers[0].stats().sockets), (false, 0));
    });
}

#[test]
fn who_makes_handlers_wait_with_too_much_in_memory_is_closed() {
    run(|| async {
        for (max_payload, payload) in [(1_000_000, 1_000_000), (10_000, 1_000_000), (1_500_000, 1_500_000)] {
            let (cluster, gate) = slow(max_payload);
            let (client, other) = (cluster.client(0).0, cluster.client(0).0);
            let text = "x".repeat(payload - r#"["slow",""]"#.len());
            let quick = format!("2[\"quick\",\"{text}\"]");
            let event = format!("21[\"slow\",\"{text}\"]");
            for _ in 0..MAX_WAITING_PAYLOADS {
                assert!(client.send(&event), "{max_payload}");
            }
            assert!(client.send(&quick), "it does not wait");
            gate.add_permits(1);
            cluster.settle().await;
            assert_eq!(client.received(), ["31[]"]);
            // What is done takes no place; bytes that came as an attachment do.
            assert!(client.send("51-[\"slow\",{\"_placeholder\":true,\"num\":0}]"));
            assert!(client.send_binary(&vec![0; payload - 100]), "{max_payload}");
            assert!(!client.send(&event), "{max_payload}");
            assert!(other.send(&event), "each has its own");
            gate.add_permits(2000);
            cluster.settle().await;
            assert_eq!((client.is_open(), other.is_open(), cluster.workers[0].stats().sockets), (false, true, 1));
        }
    });
}

#[test]
fn who_comes_and_goes_faster_than_is_heard_of_it_is_closed() {
    run(|| async {
        let gate = Rc::new(Semaphore::new(0));
        let closed = gate.clone();
        let cluster = Cluster::with(&SocketIoConfig::default(), Routing::Exact, 1, move || {
            let gate = closed.clone();
            App::new().namespace("/", move |namespace| {
                namespace.on_disconnect(move || {
                    let gate = gate.clone();
                    async move { gate.acquire().await.unwrap().forget() }
                })
            })
        });
        let (client, _) = cluster.client(0);
        for _ in 0..MAX_WAITING_HANDLERS {
            assert!(client.send("1") && client.send("0"));
        }
        cluster.settle().await;
        assert!(client.is_open());
        client.send("1");
        cluster.settle().await;
        assert!(!client.is_open());
        gate.add_permits(2 * MAX_WAITING_HANDLERS as usize);
        cluster.settle().await;
        // Who comes next has nothing of it.
        assert!(cluster.client(0).0.is_open());
    });
}
