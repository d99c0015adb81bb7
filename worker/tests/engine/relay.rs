//! Requests of sessions that live in another worker.

use std::time::Duration;

use roomd_wire::{Generation, Sid, SidHome, Slot, WorkerId};
use tokio::io::AsyncWriteExt;

use crate::{
    harness::{Cluster, eventually, get, options, post, read_reply, run},
    websocket::{say, text, with_client},
};

fn query(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

#[test]
fn any_worker_answers_any_request() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sid = home.handshake().await;
        for round in 0..20 {
            let text = format!("4é{round}");
            assert_eq!(other.post(&query(&sid), &text).await.body, "ok");
            let reply = other.get(&query(&sid)).await;
            assert_eq!((reply.status, &*reply.body), (200, &*text));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
        assert!(cluster.relays() <= 2, "streams are used again: {}", cluster.relays());
        let large = "x".repeat(90_000);
        assert_eq!(other.post(&query(&sid), &format!("4{large}")).await.body, "ok");
        assert_eq!(other.get(&query(&sid)).await.body.len(), 90_001);
        assert_eq!(other.post(&query(&sid), &"4".repeat(200_000)).await.status, 413);
        assert_eq!(home.engine.session_count(), 1);
        eventually("it is counted", || other.stats.borrow().counters.relayed_requests >= 43).await;
    });
}

#[test]
fn sessions_of_several_workers_share_a_connection() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sids = [home.handshake().await, other.handshake().await, home.handshake().await];
        let mut client = other.connect().await;
        for round in 0..10 {
            for sid in &sids {
                let body = format!("4{round}");
                let requests =
                    [post(&query(sid), &body), get(&query(sid))].concat().replace("Connection: close\r\n", "");
                client.write_all(requests.as_bytes()).await.unwrap();
                assert_eq!(read_reply(&mut client).await.body, "ok");
                assert_eq!(read_reply(&mut client).await.body, body);
            }
        }
    });
}

#[test]
fn a_dropped_poll_is_dropped_at_its_owner_too() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sid = home.handshake().await;
        let mut client = other.connect().await;
        client.write_all(get(&query(&sid)).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(home.engine.session_count(), 1);
        drop(client);
        eventually("the session is gone", || home.engine.session_count() == 0).await;
        eventually("and why", || home.heard().last().unwrap() == "closed transport error").await;
    });
}

#[test]
fn a_session_of_nobody_is_unknown() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = |host, slot, generation| {
            let worker = WorkerId { slot: Slot(slot), generation: Generation(generation) };
            Sid::new(SidHome { host, worker }, [1; 15]).to_string()
        };
        for sid in [sid(7, 0, 1), sid(7, 0, 9), sid(7, 5, 1), sid(8, 0, 1), sid(8, 5, 1)] {
            for reply in [worker.get(&query(&sid)).await, worker.post(&query(&sid), "4x").await] {
                assert_eq!(reply.body, "{\"code\":1,\"message\":\"Session ID unknown\"}");
                assert_eq!(reply.status, 400);
            }
        }
    });
}

#[test]
fn a_stream_that_was_closed_meanwhile_is_replaced() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sid = home.handshake().await;
        assert_eq!(other.post(&query(&sid), "4x").await.body, "ok");
        cluster.cut_relays();
        assert_eq!(other.get(&query(&sid)).await.body, "4x");
        assert_eq!(cluster.relays(), 2);
    });
}

#[test]
fn an_upgrade_moves_to_its_session() {
    run(|| async {
        let cluster = Cluster::new();
        let home = cluster.worker(0, options()).await;
        let other = cluster.worker(1, options()).await;
        let sid = home.handshake().await;
        with_client(&other, &format!("EIO=4&transport=websocket&sid={sid}"), |mut socket| {
            say(&mut socket, "2probe");
            assert_eq!(text(&mut socket), "3probe");
            say(&mut socket, "5");
            say(&mut socket, "4hello");
            assert_eq!(text(&mut socket), "4hello");
        })
        .await;
        assert_eq!(cluster.moves(), 1);
        assert_eq!(other.engine.connection_count(), 0);
        assert_eq!(home.heard()[..2], ["opened", "text hello"]);
        eventually("the connection's end is told once", || cluster.all_closed()).await;
    });
}
