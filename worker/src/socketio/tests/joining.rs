//! Clients between the beginning of their session and their place in a namespace.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use roomd_wire::SocketIoConfig;

use super::{Cluster, run, settle};
use crate::{
    bus::Routing,
    socketio::{App, Connecting, Socket},
};

/// Whatever middleware of `/never` considers stays undecided.
fn undecided() -> App {
    App::new()
        .namespace("/", |namespace| namespace)
        .namespace("/never", |namespace| namespace.use_middleware(async |_: Connecting| std::future::pending().await))
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
        settle().await;
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
                    .use_middleware(async |connecting: Connecting| {
                        connecting.socket.disconnect(connecting.auth["close"] == true);
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
                    .use_middleware(move |_: Connecting| {
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
            settle().await;
            gate.notify_one();
            match breaks {
                true => assert!(!client.send("0")),
                false => client.end(),
            }
            settle().await;
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
                        .use_middleware(async |connecting: Connecting| {
                            if connecting.socket.namespace() == "/slow" {
                                tokio::task::yield_now().await;
                            }
                            Ok(())
                        })
                        .on_disconnect(move |socket: Socket, reason| {
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
        settle().await;
        assert_eq!(client.received().len(), 3);
        client.end();
        settle().await;
        let expected = ["/b", "/a", "/slow"].map(|namespace| (namespace.to_owned(), "transport close"));
        assert_eq!(*heard.borrow(), expected);
    });
}
