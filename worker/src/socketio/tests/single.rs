//! One worker and its clients.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use serde_json::{Value, json};

use super::{Cluster, SOON, run};
use crate::{
    bus::Routing,
    chat,
    protocol::Data,
    socketio::{Ack, AckError, App, Args, Auth, ConnectError, Reason, RequestError, Socket},
};

fn plain() -> App {
    App::new().namespace("/", |namespace| {
        namespace
            .on("number", async |Args(number): Args<u32>, ack: Ack| ack.send(number + 1).unwrap())
            .on("panic", async || -> () { panic!("as tested") })
    })
}

#[test]
fn an_event_of_the_wrong_shape_is_answered_counted_and_harmless() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, plain);
        let (client, _) = cluster.client(0);
        for sent in ["20[\"number\",\"one\"]", "2[\"number\",{}]", "21[\"number\"]", "2[\"panic\"]", "22[\"number\",1]"]
        {
            assert!(client.send(sent), "{sent}");
        }
        let received = client.received();
        assert_eq!(received.len(), 3, "{received:?}");
        assert!(received[0].starts_with("30[{\"error\":\""), "{received:?}");
        assert!(received[1].starts_with("31[{\"error\":\""), "{received:?}");
        assert_eq!(received[2], "32[2]");
        let counters = cluster.workers[0].stats().counters;
        assert_eq!((counters.events_in, counters.bad_events, counters.handler_panics), (5, 3, 1));
    });
}

#[test]
fn who_listens_to_any_event_hears_each_before_its_own_handler() {
    run(|| async {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let log = heard.clone();
        let cluster = Cluster::new(Routing::Exact, 1, move || {
            let listener = |number: u8| {
                let log = log.clone();
                move |event: Data| {
                    log.borrow_mut().push(format!("any {number}: {}", event.json()));
                    std::future::ready(())
                }
            };
            let (own, said) = (log.clone(), log.clone());
            App::new().namespace("/", |namespace| {
                namespace
                    .on("number", move |Args(number): Args<u32>, ack: Ack| {
                        own.borrow_mut().push(format!("own: {number}"));
                        async move { ack.send(number + 1).unwrap() }
                    })
                    .on_any(listener(1))
                    .on_any(listener(2))
                    .on_any(async |socket: Socket, event: Data, ack: Ack| match event.elements().nth(1) {
                        Some("0") => socket.disconnect(false),
                        Some("1") => ack.send("first").unwrap(),
                        Some("2") => panic!("as tested"),
                        _ => {}
                    })
                    .on_disconnect(move || {
                        said.borrow_mut().push("left".to_owned());
                        std::future::ready(())
                    })
            })
        });
        let client = cluster.client(0).0;
        for (sent, order, answer) in [
            // With a handler of its own, with none, with one that panics, with an answer that another one takes away.
            ("20[\"number\",5]", &["any 1: [\"number\",5]", "any 2: [\"number\",5]", "own: 5"][..], &["30[6]"][..]),
            ("21[\"other\"]", &["any 1: [\"other\"]", "any 2: [\"other\"]"], &[]),
            ("22[\"number\",2]", &["any 1: [\"number\",2]", "any 2: [\"number\",2]", "own: 2"], &["32[3]"]),
            ("23[\"number\",1]", &["any 1: [\"number\",1]", "any 2: [\"number\",1]", "own: 1"], &["33[\"first\"]"]),
            ("24[\"number\",\"x\"]", &["any 1: [\"number\",\"x\"]", "any 2: [\"number\",\"x\"]"], &["34[{\"error\""]),
            // Sent away, it hears nothing any more.
            ("25[\"number\",0]", &["any 1: [\"number\",0]", "any 2: [\"number\",0]", "left"], &["1"]),
        ] {
            client.send(sent);
            let received = client.received();
            assert_eq!(std::mem::take(&mut *heard.borrow_mut()), order, "{sent}");
            assert_eq!(received.len(), answer.len(), "{sent}: {received:?}");
            assert!(received.iter().zip(answer).all(|(got, begin)| got.starts_with(begin)), "{sent}: {received:?}");
        }
        let counters = cluster.workers[0].stats().counters;
        assert_eq!((counters.events_in, counters.bad_events, counters.handler_panics), (6, 1, 1));
    });
}

#[test]
fn middleware_is_asked_in_order_and_nothing_reaches_the_namespace_before_it_agrees() {
    run(|| async {
        let gate = Rc::new(tokio::sync::Notify::new());
        let opened = gate.clone();
        let cluster = Cluster::new(Routing::Exact, 1, move || {
            let opened = opened.clone();
            App::new().namespace("/", move |namespace| {
                namespace
                    .use_middleware(async |socket: Socket, Auth(auth): Auth<Value>| {
                        socket.set_data(json!({"user": auth["user"]})).unwrap();
                        socket.emit("early", ()).unwrap();
                        Ok(())
                    })
                    .use_middleware(move |socket: Socket| {
                        let opened = opened.clone();
                        async move {
                            opened.notified().await;
                            match socket.data::<Value>()["user"] == "good" {
                                true => Ok(()),
                                false => Err(ConnectError::new("who are you")),
                            }
                        }
                    })
                    .on_connect(async |socket: Socket| socket.emit("hello", socket.auth()).unwrap())
            })
        });
        let worker = &cluster.workers[0];
        for (auth, expected) in [("good", "0{\"sid\":"), ("bad", "4{\"message\":\"who are you\"}")] {
            let client = worker.session();
            client.send(&format!("0{{\"user\":\"{auth}\"}}"));
            cluster.settle().await;
            worker.sockets().emit("to all", ()).unwrap();
            assert_eq!(client.received(), ["2[\"early\"]"]);
            gate.notify_one();
            cluster.settle().await;
            let received = client.received();
            assert!(received[0].starts_with(expected), "{received:?}");
            assert_eq!(received.len(), if auth == "good" { 2 } else { 1 }, "{received:?}");
            assert!(client.is_open());
        }
        // One that leaves while middleware considers, and one that is impatient.
        let client = worker.session();
        client.send("0{\"user\":\"good\"}");
        client.end();
        let impatient = worker.session();
        impatient.send("0{\"user\":\"good\"}");
        assert!(!impatient.send("2[\"event\"]"));
        cluster.settle().await;
        gate.notify_one();
        gate.notify_one();
        cluster.settle().await;
        gate.notify_one();
        cluster.settle().await;
        assert_eq!(worker.stats().sockets, 1);
    });
}

#[test]
fn a_client_answers_in_time_too_late_or_leaves() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, plain);
        let worker = &cluster.workers[0];
        let (client, id) = cluster.client(0);
        let socket = worker.socket(&id);
        let asked = tokio::task::spawn_local({
            let socket = socket.clone();
            async move { socket.emit_with_ack("q", "x", SOON * 100).await }
        });
        cluster.settle().await;
        assert_eq!(client.received(), ["20[\"q\",\"x\"]"]);
        let (other, _) = cluster.client(0);
        other.send("30[\"not asked\"]");
        client.send("30[1,2]");
        assert_eq!(asked.await.unwrap().unwrap().ack_args::<(u8, u8)>().unwrap(), (1, 2));
        // Too late.
        let late = socket.emit_with_ack("q", (), SOON).await;
        assert!(matches!(late, Err(AckError::Timeout(SOON))), "{late:?}");
        assert!(client.send("31[1]"));
        // Given up by the application: nothing is kept.
        let given_up = tokio::time::timeout(SOON, socket.emit_with_ack("q", (), SOON * 100)).await;
        assert!(given_up.is_err());
        assert_eq!(waiting(&cluster), 0);
        let leaves = tokio::task::spawn_local({
            let socket = socket.clone();
            async move { socket.emit_with_ack("q", (), SOON * 100).await }
        });
        cluster.settle().await;
        client.end();
        assert!(matches!(leaves.await.unwrap(), Err(AckError::Disconnected)));
        assert!(matches!(socket.emit_with_ack("q", (), SOON).await, Err(AckError::Disconnected)));
        assert_eq!(waiting(&cluster), 0);
    });
}

#[test]
fn a_broadcast_with_acks_keeps_nothing_of_clients_that_do_not_answer() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, plain);
        let worker = &cluster.workers[0];
        let ((answers, _), (silent, _)) = (cluster.client(0), cluster.client(0));
        let io = worker.io.clone();
        let asked = tokio::task::spawn_local(async move {
            io.of("/").unwrap().sockets().timeout(SOON * 3).emit_with_ack("q", ()).await
        });
        cluster.settle().await;
        assert_eq!((answers.received(), silent.received()), (vec!["20[\"q\"]".into()], vec!["20[\"q\"]".into()]));
        answers.send("30[\"here\",\"the second does not count\"]");
        match asked.await.unwrap() {
            Err(RequestError::Timeout { partial, .. }) => {
                assert_eq!(partial.expected, 2);
                let texts: Vec<_> = partial.answers.iter().flatten().map(Data::json).collect();
                assert_eq!(texts, ["\"here\""]);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(waiting(&cluster), 0);
    });
}

/// How many acknowledgements are waited for in the main namespaces.
fn waiting(cluster: &Cluster) -> usize {
    cluster.workers.iter().map(|worker| worker.io.0.state.borrow().namespaces.at(0).unwrap().waiting.len()).sum()
}

#[test]
fn a_disconnect_that_closes_ends_all_sockets_of_the_session_in_order() {
    run(|| async {
        let reasons = Rc::new(Cell::new(0));
        let counted = reasons.clone();
        let cluster = Cluster::new(Routing::Exact, 1, move || {
            let of = |namespace: crate::socketio::Namespace, counted: Rc<Cell<i32>>| {
                namespace.on_disconnect(move |Reason(reason): Reason| {
                    assert_eq!(reason, "server namespace disconnect");
                    counted.set(counted.get() + 1);
                    std::future::ready(())
                })
            };
            let (a, b) = (counted.clone(), counted.clone());
            App::new().namespace("/", |namespace| of(namespace, a)).namespace("b", |namespace| of(namespace, b))
        });
        let (client, id) = cluster.client(0);
        client.connect("/b");
        for name in ["b", "/b"] {
            cluster.workers[0].io.of(name).unwrap().sockets().emit(name, ()).unwrap();
        }
        assert!(cluster.workers[0].io.of("c").is_none());
        assert_eq!(client.received(), ["2/b,[\"b\"]", "2/b,[\"/b\"]"]);
        cluster.workers[0].socket(&id).disconnect(true);
        assert_eq!(client.received(), ["1", "1/b,"]);
        cluster.settle().await;
        assert!(!client.is_open());
        assert_eq!((reasons.get(), cluster.workers[0].stats().sockets), (2, 0));
    });
}

#[test]
fn the_chat_does_what_its_table_says() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 2, chat::app);
        let ((a, a_id), (b, b_id)) = (cluster.client(0), cluster.client(1));
        cluster.settle().await;
        let said = |client: &super::Client| -> Vec<(String, String)> {
            let event = |text: String| -> (String, Value) { serde_json::from_str(&text[1..]).unwrap() };
            let read = |(name, said): (String, Value)| {
                assert_eq!((name.as_str(), said.as_object().unwrap().len()), ("message", 3));
                assert!(said["timestamp"].as_u64().unwrap() > 1_600_000_000_000);
                (said["user"].as_str().unwrap().to_owned(), said["text"].as_str().unwrap().to_owned())
            };
            client.received().into_iter().map(event).map(read).collect()
        };
        let pair = |user: &str, text: &str| (user.to_owned(), text.to_owned());
        a.send("2[\"chatMessage\",\"hi\"]");
        cluster.settle().await;
        assert_eq!((said(&a), said(&b)), (vec![pair(&a_id, "hi")], vec![pair(&a_id, "hi")]));
        b.send("2[\"joinRoom\",\"den\"]");
        cluster.settle().await;
        assert_eq!((said(&a), said(&b)), (vec![], vec![pair("System", &format!("Client {b_id} joined den"))]));
        a.send("2[\"chatMessage\",\"not in the den\"]");
        a.send("2[\"roomMessage\",\"den\",\"in the den\"]");
        cluster.settle().await;
        assert_eq!((said(&a), said(&b)), (vec![pair(&a_id, "not in the den")], vec![pair(&a_id, "in the den")]));
        assert_eq!(cluster.workers[1].socket(&b_id).rooms(), [b_id.as_str(), "den"]);
        a.send("20[\"chatMessage\",{\"not\":\"a text\"}]");
        assert!(a.received()[0].starts_with("30[{\"error\":"));
        a.send(&format!("21[\"joinRoom\",\"{}\"]", "x".repeat(100_000)));
        assert!(a.received()[0].starts_with("31[{\"error\":"));
        assert_eq!(cluster.workers[0].socket(&a_id).rooms(), [a_id.as_str(), "general"]);
        b.end();
        cluster.settle().await;
        assert_eq!(said(&a), [pair("System", &format!("Client {b_id} disconnected"))]);
    });
}

#[test]
fn middleware_that_panics_refuses() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, || {
            App::new().namespace("/", |namespace| {
                namespace.use_middleware(async || {
                    tokio::task::yield_now().await;
                    panic!("as tested")
                })
            })
        });
        let client = cluster.workers[0].session();
        for _ in 0..2 {
            client.send("0");
            cluster.settle().await;
            assert_eq!(client.received(), ["4{\"message\":\"internal error\"}"]);
        }
        let stats = cluster.workers[0].stats();
        assert_eq!((stats.sockets, stats.counters.handler_panics), (0, 2));
    });
}

#[test]
fn a_volatile_event_is_dropped_where_the_client_cannot_take_it() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, plain);
        let (client, id) = cluster.client(0);
        let socket = cluster.workers[0].socket(&id);
        socket.emit_volatile("lost", ()).unwrap();
        socket.emit("kept", ()).unwrap();
        assert_eq!(client.received(), ["2[\"kept\"]"]);
    });
}
