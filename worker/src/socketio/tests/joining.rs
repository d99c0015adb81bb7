//! Clients between the beginning of their session and their place in a namespace.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use roomd_wire::SocketIoConfig;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Cluster, run};
use crate::{
    bus::Routing,
    socketio::{
        App, Auth, ConnectError, MAX_ROOM_NAME_BYTES, MAX_ROOMS_PER_SOCKET, MAX_WAITING_HANDLERS, Reason, Socket,
    },
};

/// Whatever middleware of `/never` considers stays undecided.
fn undecided() -> App {
    App::new()
        .namespace("/", |namespace| namespace)
        .namespace("/never", |namespace| namespace.use_middleware(async || std::future::pending().await))
}

#[test]
fn who_joins_nothing_in_time_is_closed_and_who_did_once_is_not() {
    run(|| async {
        let config = SocketIoConfig { connect_timeout_ms: 60, ..SocketIoConfig::default() };
        let cluster = Cluster::with(&config, Routing::Exact, 1, undecided);
        let worker = &cluster.workers[0];
        let joins = cluster.client(0).0;
        let (silent, waits, refused, leaves) = (worker.session(), worker.session(), worker.session(), worker.session());
        waits.send("0/never,");
        refused.send("0/unknown,");
        leaves.connect("/");
        leaves.send("1");
        let gone = worker.session();
        gone.end();
        let late = loop {
            let late = worker.session();
            if !silent.is_open() {
                break late;
            }
            late.end();
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert!(late.is_open(), "it has its own time");
        while late.is_open() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cluster.settle().await;
        let open = [&joins, &silent, &waits, &refused, &leaves].map(|client| client.is_open());
        assert_eq!(open, [true, false, false, false, true]);
        let state = worker.io.0.state.borrow();
        assert_eq!((state.sessions.len(), state.joining.len()), (2, 0));
        assert!(state.namespaces.iter().all(|members| members.apart.is_empty()));
    });
}

#[test]
fn middleware_cannot_send_away_who_is_not_in_yet_but_refuse() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, || {
            App::new().namespace("/", |namespace| namespace).namespace("/guarded", |namespace| {
                namespace
                    .use_middleware(async |socket: Socket, Auth(auth): Auth<Value>| {
                        socket.disconnect(auth["close"] == true);
                        Ok(())
                    })
                    .on_connect(async |socket: Socket| {
                        socket.emit("is in", socket.is_connected()).unwrap();
                    })
            })
        });
        for close in [false, true] {
            let client = cluster.client(0).0;
            client.send(&format!("0/guarded,{{\"close\":{close}}}"));
            let received = client.received();
            assert!(received[0].starts_with("0/guarded,{\"sid\":"), "{received:?}");
            assert_eq!((&received[1..], client.is_open()), (&["2/guarded,[\"is in\",true]".to_owned()][..], true));
        }
    });
}

#[test]
fn nobody_is_let_in_after_the_end_of_the_session() {
    run(|| async {
        let (gate, joined) = (Rc::new(tokio::sync::Notify::new()), Rc::new(Cell::new(0)));
        let (opened, counted) = (gate.clone(), joined.clone());
        let cluster = Cluster::new(Routing::Exact, 1, move || {
            let (opened, counted) = (opened.clone(), counted.clone());
            App::new().namespace("/", move |namespace| {
                namespace
                    .use_middleware(move || {
                        let opened = opened.clone();
                        async move {
                            opened.notified().await;
                            Ok(())
                        }
                    })
                    .on_connect(move |_: Socket| {
                        counted.set(counted.get() + 1);
                        std::future::ready(())
                    })
            })
        });
        let worker = &cluster.workers[0];
        // Its own end, and one over a rule that it breaks; both in the turn of the loop in which middleware agrees.
        for breaks in [false, true] {
            let client = worker.session();
            client.send("0");
            cluster.settle().await;
            gate.notify_one();
            match breaks {
                true => assert!(!client.send("2[\"too early\"]")),
                false => client.end(),
            }
            cluster.settle().await;
            assert_eq!((joined.get(), client.received()), (0, vec![]));
        }
        assert_eq!((worker.stats().sockets, worker.io.0.state.borrow().sessions.len()), (0, 0));
    });
}

#[test]
fn the_end_is_heard_in_the_order_the_sockets_came_in() {
    run(|| async {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let log = heard.clone();
        let cluster = Cluster::new(Routing::Exact, 1, move || {
            ["/slow", "/a", "/b"].iter().fold(App::new(), |app, name| {
                let log = log.clone();
                app.namespace(name, move |namespace| {
                    namespace
                        .use_middleware(async |socket: Socket| {
                            if socket.namespace() == "/slow" {
                                tokio::task::yield_now().await;
                            }
                            Ok(())
                        })
                        .on_disconnect(move |socket: Socket, Reason(reason): Reason| {
                            log.borrow_mut().push((socket.namespace().to_owned(), reason));
                            std::future::ready(())
                        })
                })
            })
        });
        let client = cluster.workers[0].session();
        for namespace in ["/slow", "/b", "/a"] {
            client.send(&format!("0{namespace},"));
        }
        cluster.settle().await;
        assert_eq!(client.received().len(), 3);
        client.end();
        cluster.settle().await;
        let expected = ["/b", "/a", "/slow"].map(|namespace| (namespace.to_owned(), "transport close"));
        assert_eq!(*heard.borrow(), expected);
    });
}

/// Joins the rooms that `auth` names, and lets in unless that says no.
fn rooms_at_the_door() -> App {
    App::new().namespace("/", |namespace| {
        namespace
            .use_middleware(async |socket: Socket, Auth(auth): Auth<Value>| {
                let rooms: Vec<String> = serde_json::from_value(auth["rooms"].clone()).unwrap_or_default();
                let joined = rooms.iter().filter(|room| socket.join(room)).count();
                socket.leave("left again");
                socket.emit("at the door", (joined, socket.rooms())).unwrap();
                tokio::task::yield_now().await;
                if auth["no"] == true { Err(ConnectError::new("no")) } else { Ok(()) }
            })
            .on_connect(async |socket: Socket| {
                let rooms = socket.rooms();
                assert_eq!(rooms[0], socket.id());
                socket.emit("is in", rooms[1..].join(" ")).unwrap();
            })
            .on_disconnect(async |socket: Socket| assert!(!socket.join("too late") && socket.rooms().is_empty()))
    })
}

#[test]
fn rooms_that_middleware_joins_hold_once_the_socket_is_let_in() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 2, rooms_at_the_door);
        let worker = &cluster.workers[0];
        let always = worker.bus.channels.borrow().clone();
        let say = |text: &str| cluster.workers[1].sockets().to("one").to("two").emit(text, ()).unwrap();
        let client = worker.session();
        client.send("0{\"rooms\":[\"one\",\"two\",\"left again\",\"one\"]}");
        worker.sockets().to("one").emit("too early", ()).unwrap();
        assert_eq!(client.received(), ["2[\"at the door\",4,[\"one\",\"two\"]]"]);
        assert_eq!((worker.stats().rooms, worker.bus.channels.borrow().len()), (0, always.len()));
        cluster.settle().await;
        worker.sockets().to("two").emit("here", ()).unwrap();
        say("elsewhere");
        cluster.settle().await;
        let received = client.received();
        assert!(received[0].starts_with("0{\"sid\""), "{received:?}");
        assert_eq!(received[1..], ["2[\"is in\",\"one two\"]", "2[\"here\"]", "2[\"elsewhere\"]"]);
        client.end();
        cluster.settle().await;
        assert_eq!((worker.stats().rooms, worker.stats().counters.handler_panics), (0, 0));
        assert_eq!(*worker.bus.channels.borrow(), always);
    });
}

#[test]
fn rooms_that_middleware_joins_are_dropped_with_a_refusal_and_with_the_session() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, rooms_at_the_door);
        let worker = &cluster.workers[0];
        let always = worker.bus.channels.borrow().clone();
        let [refused, gone] = [worker.session(), worker.session()];
        refused.send("0{\"rooms\":[\"one\"],\"no\":true}");
        gone.send("0{\"rooms\":[\"one\"]}");
        gone.end();
        cluster.settle().await;
        worker.sockets().to("one").emit("nobody's", ()).unwrap();
        assert_eq!(refused.received(), ["2[\"at the door\",1,[\"one\"]]", "4{\"message\":\"no\"}"]);
        assert_eq!((worker.stats().rooms, worker.stats().sockets), (0, 0));
        assert_eq!(*worker.bus.channels.borrow(), always);
    });
}

#[test]
fn middleware_joins_no_more_rooms_than_a_handler_could() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, rooms_at_the_door);
        let client = cluster.workers[0].session();
        let mut rooms: Vec<_> = (0..MAX_ROOMS_PER_SOCKET + 10).map(|number| format!("room {number}")).collect();
        rooms.insert(0, "x".repeat(MAX_ROOM_NAME_BYTES + 1));
        client.send(&format!("0{}", serde_json::json!({ "rooms": rooms })));
        cluster.settle().await;
        let received = client.received();
        let joined = format!("2[\"at the door\",{MAX_ROOMS_PER_SOCKET},[\"room 0\",");
        assert!(received[0].starts_with(&joined), "{:.100}", received[0]);
        assert_eq!(cluster.workers[0].stats().rooms, MAX_ROOMS_PER_SOCKET as u64);
    });
}

#[test]
fn a_client_that_asks_again_while_it_waits_has_one_socket_and_it_is_the_last() {
    run(|| async {
        let gate: Rc<RefCell<VecDeque<oneshot::Sender<bool>>>> = Rc::default();
        let (waiting, log) = (gate.clone(), Rc::new(RefCell::new(Vec::new())));
        let (came, left) = (log.clone(), log.clone());
        let cluster = Cluster::new(Routing::Exact, 1, || {
            let (waiting, came, left) = (waiting.clone(), came.clone(), left.clone());
            App::new().namespace("/", |namespace| namespace).namespace("/slow", move |namespace| {
                namespace
                    .use_middleware(move |socket: Socket| {
                        assert!(socket.join("door"));
                        let (decide, decision) = oneshot::channel();
                        waiting.borrow_mut().push_back(decide);
                        async move { decision.await.unwrap().then_some(()).ok_or_else(|| ConnectError::new("no")) }
                    })
                    .on_connect(move |socket: Socket| {
                        came.borrow_mut().push(socket.auth()["try"].clone());
                        std::future::ready(())
                    })
                    .on_disconnect(move |Reason(reason): Reason| {
                        left.borrow_mut().push(reason.into());
                        std::future::ready(())
                    })
            })
        });
        let worker = &cluster.workers[0];
        let decide = |lets_in: bool| gate.borrow_mut().pop_front().unwrap().send(lets_in).unwrap();
        // Whatever middleware decides on the first, and whenever.
        for (first, last_is_first) in [(true, false), (false, false), (true, true), (false, true)] {
            let client = cluster.client(0).0;
            client.send("0/slow,{\"try\":1}");
            client.send("0/slow,{\"try\":2}");
            if last_is_first {
                gate.borrow_mut().swap(0, 1);
                decide(true);
                cluster.settle().await;
                decide(first);
            } else {
                decide(first);
                cluster.settle().await;
                assert_eq!((client.received(), log.borrow().len()), (vec![], 0));
                decide(true);
            }
            cluster.settle().await;
            let received = client.received();
            assert!(received.len() == 1 && received[0].starts_with("0/slow,{\"sid\":"), "{received:?}");
            worker.io.of("slow").unwrap().sockets().to("door").emit("once", ()).unwrap();
            assert_eq!(client.received(), ["2/slow,[\"once\"]"]);
            assert!(!client.send("0/slow,"), "it is in");
            cluster.settle().await;
            assert_eq!(*log.borrow(), [serde_json::json!(2), "forced close".into()]);
            log.borrow_mut().clear();
        }
        // Who never stops asking is closed.
        let client = cluster.client(0).0;
        for _ in 0..MAX_WAITING_HANDLERS {
            assert!(client.send("0/slow,"));
        }
        assert!(!client.send("0/slow,"));
        gate.borrow_mut().drain(..).for_each(|decide| decide.send(true).unwrap());
        cluster.settle().await;
        assert_eq!((worker.stats().sockets, log.borrow().len()), (0, 0));
    });
}
