//! Messages on the bus that no server of ours sent.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Cluster, run};
use crate::{
    adapter::envelope,
    bus::Routing,
    protocol::{Data, Encoded},
    socketio::App,
};

fn app() -> App {
    App::new().namespace("/", |namespace| namespace)
}

#[test]
fn what_ends_a_node_server_harms_nobody_here() {
    let path = format!("{}/../tests/vectors/redis_hostile.json", env!("CARGO_MANIFEST_DIR"));
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for routing in [Routing::Pattern, Routing::Exact] {
        run(|| async {
            let cluster = Cluster::new(routing, 2, app);
            let client = cluster.client(0).0;
            for case in vectors["cases"].as_array().unwrap() {
                let (Some(channel), Some(payload)) = (case["channel"].as_str(), case["payload_b64"].as_str()) else {
                    continue;
                };
                cluster.hub.inject(channel, &STANDARD.decode(payload).unwrap());
                cluster.settle().await;
                let effect = case["effect_on_node"].as_str().unwrap();
                // A refusal that Node hands on is kept from clients here.
                let delivered = effect.starts_with("delivered to every client");
                assert_eq!(client.received().len(), usize::from(delivered), "{}", case["name"]);
            }
            let malformed = cluster.workers[0].stats().counters.bus_malformed;
            assert!(malformed >= 5, "{malformed}");
            cluster.workers[1].sockets().emit("still", "here").unwrap();
            cluster.settle().await;
            assert_eq!(client.received(), ["2[\"still\",\"here\"]"]);
            assert!(client.is_open());
        });
    }
}

#[test]
fn clients_get_nothing_from_the_bus_that_they_would_take_for_their_servers_word() {
    run(|| async {
        let cluster = Cluster::new(Routing::Pattern, 1, app);
        let client = cluster.client(0).0;
        for (kind, data) in [
            (0, json!({"sid": "x"})),
            (1, Value::Null),
            (3, json!(["answer"])),
            (4, json!({"message": "no"})),
            (2, json!(["connect"])),
            (2, json!(["disconnect", "x"])),
            (2, json!([null])),
            (2, json!({"not": "an array"})),
        ] {
            let packet = json!({"type": kind, "data": data, "nsp": "/", "id": 7});
            let options = json!({"rooms": [], "except": [], "flags": {}});
            let broadcast = rmp_serde::to_vec(&json!(["other", packet, options])).unwrap();
            cluster.hub.inject("socket.io#/#", &broadcast);
            let request = json!({"type": 7, "uid": "other", "requestId": "r", "packet": packet, "opts": options});
            cluster.hub.inject("socket.io-request#/#", &rmp_serde::to_vec(&request).unwrap());
            cluster.settle().await;
            assert_eq!(client.received(), [""; 0], "{packet}");
        }
        assert_eq!(cluster.workers[0].stats().counters.bus_malformed, 16);
        let event = json!(["other", {"type": 2, "data": ["e"], "nsp": "/", "id": 7}, {"rooms": [], "except": []}]);
        cluster.hub.inject("socket.io#/#", &rmp_serde::to_vec(&event).unwrap());
        cluster.settle().await;
        assert_eq!(client.received(), ["2[\"e\"]"]);
    });
}

#[test]
fn an_envelope_that_comes_over_redis_is_nobodys() {
    run(|| async {
        let cluster = Cluster::new(Routing::Pattern, 2, app);
        let client = cluster.client(0).0;
        let packet = Encoded::event("/", None, &Data::event("e", &()).unwrap());
        let forged = envelope::encode(cluster.workers[1].io.0.worker, u64::MAX, false, &[], &[], &packet).unwrap();
        cluster.hub.inject("socket.io#/#", &forged);
        cluster.settle().await;
        assert_eq!((client.received().len(), cluster.workers[0].stats().counters.bus_malformed), (0, 1));
    });
}

#[test]
fn damaged_messages_of_every_kind_do_no_harm() {
    let seed = crate::seeds::new();
    run(|| async move {
        let mut rng = fastrand::Rng::with_seed(seed);
        for routing in [Routing::Pattern, Routing::Exact] {
            let cluster = Cluster::new(routing, 2, app);
            let clients = [cluster.client(0).0, cluster.client(1).0];
            // Real ones first, to be damaged.
            let namespace = cluster.workers[0].io.of("/").unwrap();
            namespace.sockets().to("r").emit("e", ("x", [1, 2])).unwrap();
            namespace.sockets().sockets_leave("r").unwrap();
            namespace.server_side_emit("s", 1).unwrap();
            let _ = namespace.sockets().fetch_sockets().await;
            let _ = tokio::time::timeout(super::SOON, namespace.sockets().emit_with_ack("q", ())).await;
            let real = std::mem::take(&mut *cluster.hub.published.borrow_mut());
            assert!(real.len() >= 6, "{}", real.len());
            for _ in 0..3000 {
                let (_, message) = &real[rng.usize(..real.len())];
                let (channel, _) = &real[rng.usize(..real.len())];
                let mut message = message.to_vec();
                for _ in 0..rng.usize(1..4) {
                    let at = rng.usize(..message.len());
                    message[at] = rng.u8(..);
                }
                message.truncate(if rng.u8(..4) == 0 { rng.usize(..message.len()) } else { message.len() });
                // The order to leave a room is one byte from that to disconnect, which another server may well give.
                if !message.windows(8).any(|part| part == b"\"type\":4") {
                    cluster.hub.inject(channel, &message);
                }
            }
            cluster.settle().await;
            clients.iter().for_each(|client| drop(client.received()));
            // Requests that still name worker 0 as their sender mean nothing to it: its client is where it was.
            cluster.workers[0].sockets().emit("still", ()).unwrap();
            cluster.settle().await;
            assert_eq!(clients[0].received(), ["2[\"still\"]"]);
        }
    });
}
