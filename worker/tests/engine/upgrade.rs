//! From polling to WebSocket.

use std::time::Duration;

use roomd_wire::SocketIoConfig;
use tokio::io::AsyncWriteExt;

use crate::{
    harness::{Cluster, eventually, get, options, read_reply, run},
    websocket::{close_frame, say, text, with_client},
};

fn polling(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

fn websocket(sid: &str) -> String {
    format!("EIO=4&transport=websocket&sid={sid}")
}

#[test]
fn the_official_sequence() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let mut poll = worker.connect().await;
        poll.write_all(get(&polling(&sid)).as_bytes()).await.unwrap();
        let (probed, has_probed) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let query = websocket(&sid);
        let client = with_client(&worker, &query, move |mut socket| {
            say(&mut socket, "2probe");
            assert_eq!(text(&mut socket), "3probe");
            probed.send(()).unwrap();
            may_go_on.recv().unwrap();
            say(&mut socket, "5");
            assert_eq!(text(&mut socket), "4buffered");
            say(&mut socket, "4hello");
            assert_eq!(text(&mut socket), "4hello");
            may_go_on.recv().unwrap();
        });
        let rest = async {
            has_probed.await.unwrap();
            assert_eq!(read_reply(&mut poll).await.body, "6");
            assert_eq!(worker.post(&polling(&sid), "4buffered").await.body, "ok");
            go_on.send(()).unwrap();
            eventually("it is upgraded", || worker.heard().contains(&"text hello".to_owned())).await;
            let late = worker.get(&polling(&sid)).await;
            assert_eq!(late.body, "{\"code\":3,\"message\":\"Bad request\"}");
            with_client(&worker, &websocket(&sid), |mut second| assert_eq!(close_frame(&mut second), None)).await;
            assert_eq!(worker.engine.session_count(), 1);
            go_on.send(()).unwrap();
        };
        tokio::join!(client, rest);
        eventually("the session ended with its socket", || worker.engine.session_count() == 0).await;
        assert_eq!(worker.heard().iter().filter(|heard| *heard == "opened").count(), 1);
    });
}

#[test]
fn a_probe_that_goes_wrong_leaves_polling_alone() {
    for first in ["4hello", "2", "x", ""] {
        run(|| async {
            let cluster = Cluster::new();
            let worker = cluster.worker(0, options()).await;
            let sid = worker.handshake().await;
            with_client(&worker, &websocket(&sid), move |mut socket| {
                say(&mut socket, first);
                assert_eq!(close_frame(&mut socket), None, "{first:?}");
            })
            .await;
            // It dies in the middle of it.
            with_client(&worker, &websocket(&sid), |mut socket| {
                say(&mut socket, "2probe");
                assert_eq!(text(&mut socket), "3probe");
            })
            .await;
            assert_eq!(worker.post(&polling(&sid), "4alive").await.body, "ok");
            assert_eq!(worker.get(&polling(&sid)).await.body, "4alive");
            // And once more it may.
            with_client(&worker, &websocket(&sid), |mut socket| {
                say(&mut socket, "5");
                say(&mut socket, "4hello");
                assert_eq!(text(&mut socket), "4hello");
            })
            .await;
        });
    }
}

#[test]
fn one_websocket_at_a_time() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, options()).await;
        let sid = worker.handshake().await;
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let (probed, has_probed) = tokio::sync::oneshot::channel();
        let query = websocket(&sid);
        let first = with_client(&worker, &query, move |mut socket| {
            say(&mut socket, "2probe");
            assert_eq!(text(&mut socket), "3probe");
            probed.send(()).unwrap();
            may_go_on.recv().unwrap();
            say(&mut socket, "5");
            say(&mut socket, "4hello");
            assert_eq!(text(&mut socket), "4hello");
        });
        let second = async {
            has_probed.await.unwrap();
            with_client(&worker, &websocket(&sid), |mut socket| assert_eq!(close_frame(&mut socket), None)).await;
            go_on.send(()).unwrap();
        };
        tokio::join!(first, second);
    });
}

#[test]
fn an_upgrade_that_takes_too_long_is_given_up() {
    run(|| async {
        let cluster = Cluster::new();
        let worker = cluster.worker(0, SocketIoConfig { upgrade_timeout_ms: 100, ..options() }).await;
        let sid = worker.handshake().await;
        with_client(&worker, &websocket(&sid), |mut socket| {
            say(&mut socket, "2probe");
            assert_eq!(text(&mut socket), "3probe");
            assert_eq!(close_frame(&mut socket), None);
        })
        .await;
        assert_eq!(worker.post(&polling(&sid), "4alive").await.body, "ok");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(worker.get(&polling(&sid)).await.body, "4alive");
    });
}
