//! Workers that share a bus: everything they tell and ask each other, both ways of subscribing.

use std::{cell::Cell, future::Future, rc::Rc, time::Duration};

use serde_json::{Value, json};

use super::{Client, Cluster, SOON, run};
use crate::{
    adapter::{codec, envelope},
    bus::Routing,
    protocol::{Binary, Data},
    socketio::{
        App, Args, Io, RequestError, ServerAck, Socket,
        requests::{MAX_PASSED_REQUESTS, MAX_SERVER_EVENTS},
    },
};

const BOTH: [Routing; 2] = [Routing::Exact, Routing::Pattern];

fn app() -> App {
    App::new()
        .namespace("/", |namespace| {
            namespace
                .on("join", async |socket: Socket, Args(room): Args<String>| {
                    socket.join(&room);
                })
                .on_server_side("add", async |Args((a, b)): Args<(i32, i32)>, ack: ServerAck| ack.send(a + b).unwrap())
                .on_server_side("silence", async || {})
                .on_server_side("tell", async |io: Io, Args(text): Args<String>| {
                    io.of("/").unwrap().sockets().local().emit("told", text).unwrap();
                })
        })
        .namespace("/chat", |namespace| namespace)
}

fn each_routing<F: Future<Output = ()>>(workers: u16, test: impl Fn(Rc<Cluster>, Routing) -> F) {
    for routing in BOTH {
        run(|| test(Rc::new(Cluster::new(routing, workers, app)), routing));
    }
}

fn all<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Vec<Vec<String>> {
    clients.into_iter().map(Client::received).collect()
}

/// What one text message makes for each client that got it and each that did not.
fn texts(got: &[bool], text: &str) -> Vec<Vec<String>> {
    got.iter().map(|&got| if got { vec![text.to_owned()] } else { vec![] }).collect()
}

#[test]
fn a_broadcast_reaches_its_rooms_on_all_workers_once_and_none_of_the_excepted() {
    each_routing(3, |cluster, routing| async move {
        let (clients, ids): (Vec<_>, Vec<_>) = (0..6).map(|at| cluster.client(at % 3)).unzip();
        let other = cluster.workers[1].session();
        other.connect("/chat");
        for (at, room) in [(0, "a"), (1, "a"), (2, "a"), (2, "b"), (3, "b"), (4, "c")] {
            assert!(cluster.workers[at % 3].socket(&ids[at]).join(room));
        }
        cluster.settle().await;
        let sockets = || cluster.workers[0].sockets();
        let own = ids[5].as_str();
        for (broadcast, got) in [
            (sockets(), [true; 6]),
            (sockets().to("a"), [true, true, true, false, false, false]),
            (sockets().to("a").to("b"), [true, true, true, true, false, false]),
            (sockets().to("a").to("b").except("b"), [true, true, false, false, false, false]),
            (sockets().except("a").except("c"), [false, false, false, true, false, true]),
            (sockets().to(own), [false, false, false, false, false, true]),
            (sockets().to("a").to(own).except(own), [true, true, true, false, false, false]),
            (sockets().to("nobody"), [false; 6]),
            (sockets().to("a").local(), [true, false, false, false, false, false]),
            (sockets().to("a").volatile(), [false; 6]),
        ] {
            broadcast.emit("e", ("x", 1)).unwrap();
            cluster.settle().await;
            assert_eq!(all(&clients), texts(&got, "2[\"e\",\"x\",1]"), "{routing:?}");
        }
        cluster.workers[2].socket(&ids[2]).to("a").emit("from 2", ()).unwrap();
        cluster.settle().await;
        assert_eq!(all(&clients), texts(&[true, true, false, false, false, false], "2[\"from 2\"]"));
        assert_eq!(other.received(), [""; 0]);
    });
}

#[test]
fn bytes_travel_and_a_namespace_is_closed_to_others() {
    each_routing(2, |cluster, _| async move {
        let clients = [cluster.workers[0].session(), cluster.workers[1].session()];
        clients.iter().for_each(|client| drop(client.connect("/chat")));
        let main = cluster.client(1).0;
        let bytes = Binary(vec![0xde, 0xad].into());
        cluster.workers[0].io.of("/chat").unwrap().sockets().emit("b", (bytes, "x")).unwrap();
        cluster.settle().await;
        for client in &clients {
            assert_eq!(client.received(), ["51-/chat,[\"b\",{\"_placeholder\":true,\"num\":0},\"x\"]", "bdead"]);
        }
        assert_eq!(main.received(), [""; 0]);
    });
}

#[test]
fn what_is_published_is_the_official_form_over_redis_and_an_envelope_over_the_embedded_bus() {
    each_routing(2, |cluster, routing| async move {
        let sockets = cluster.workers[0].sockets();
        sockets.clone().to("r").emit("e", 1).unwrap();
        sockets.to("r").to("s").emit("e", 2).unwrap();
        cluster.settle().await;
        let published = cluster.hub.published.borrow();
        let channels: Vec<_> = published.iter().map(|(channel, _)| channel.as_str()).collect();
        assert_eq!(channels, ["socket.io#/#r#", "socket.io#/#"]);
        for (_, message) in &*published {
            assert_eq!(envelope::is_envelope(message), routing == Routing::Exact);
            assert_eq!(codec::Broadcast::decode(message).is_ok(), routing == Routing::Pattern);
        }
    });
}

#[test]
fn a_message_that_comes_twice_is_delivered_once_over_the_embedded_bus() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 2, app);
        let client = cluster.client(1).0;
        cluster.hub.doubling.set(true);
        for number in 0..3 {
            cluster.workers[0].sockets().emit("n", number).unwrap();
        }
        cluster.settle().await;
        assert_eq!(client.received(), ["2[\"n\",0]", "2[\"n\",1]", "2[\"n\",2]"]);
    });
}

#[test]
fn a_rooms_channel_is_wanted_exactly_while_it_has_members_here() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 2, app);
        let worker = &cluster.workers[0];
        let wants = |name: &str| worker.bus.channels.borrow().contains(&format!("socket.io#/#{name}#"));
        let always = worker.bus.channels.borrow().clone();
        let ((a, a_id), (b, b_id)) = (cluster.client(0), cluster.client(0));
        let (a_socket, b_socket) = (worker.socket(&a_id), worker.socket(&b_id));
        for socket in [&a_socket, &b_socket, &b_socket] {
            socket.join("room");
        }
        assert!(wants("room") && wants(&a_id) && wants(&b_id));
        a_socket.leave("room");
        assert!(wants("room"));
        b_socket.leave("room");
        b_socket.leave("room");
        assert!(!wants("room"));
        // A room that others joined under a socket's id: it has members as long as either is there.
        b_socket.join(&a_id);
        b_socket.leave(&a_id);
        assert!(wants(&a_id));
        b_socket.join(&a_id);
        a.end();
        cluster.settle().await;
        assert!(wants(&a_id));
        cluster.workers[1].sockets().to(&a_id).emit("e", ()).unwrap();
        cluster.settle().await;
        assert_eq!(b.received(), ["2[\"e\"]"]);
        b.end();
        cluster.settle().await;
        assert_eq!(*worker.bus.channels.borrow(), always);
        assert_eq!(worker.stats().rooms, 0);
    });
}

#[test]
fn joins_leaves_and_disconnects_reach_all_workers_and_the_own_one_at_once() {
    each_routing(2, |cluster, _| async move {
        let ((a, a_id), (b, b_id)) = (cluster.client(0), cluster.client(1));
        let rooms = |worker: usize, id: &str| cluster.workers[worker].socket(id).rooms().split_off(1);
        let sockets = || cluster.workers[0].sockets();
        sockets().sockets_join("r").unwrap();
        assert_eq!((rooms(0, &a_id), rooms(1, &b_id).len()), (vec!["r".to_owned()], 0));
        cluster.settle().await;
        assert_eq!(rooms(1, &b_id), ["r"]);
        sockets().to("r").except(&a_id).sockets_join("s").unwrap();
        cluster.settle().await;
        assert_eq!((rooms(0, &a_id), rooms(1, &b_id)), (vec!["r".into()], vec!["r".into(), "s".into()]));
        sockets().to("s").sockets_leave("r").unwrap();
        cluster.settle().await;
        assert_eq!((rooms(0, &a_id), rooms(1, &b_id)), (vec!["r".into()], vec!["s".into()]));
        sockets().local().sockets_join("here").unwrap();
        cluster.settle().await;
        assert_eq!(rooms(1, &b_id), ["s"]);
        sockets().except(&a_id).disconnect_sockets(false).unwrap();
        cluster.settle().await;
        assert_eq!((b.received(), b.is_open(), a.received()), (vec!["1".to_owned()], true, vec![]));
        sockets().disconnect_sockets(true).unwrap();
        cluster.settle().await;
        assert_eq!((a.received(), a.is_open(), b.is_open()), (vec!["1".to_owned()], false, true));
    });
}

#[test]
fn orders_act_here_at_once_though_the_bus_is_away() {
    each_routing(2, |cluster, _| async move {
        let (client, id) = cluster.client(0);
        cluster.hub.down.set(true);
        let sockets = || cluster.workers[0].sockets();
        sockets().sockets_join("r").unwrap();
        sockets().to("r").emit("e", ()).unwrap();
        assert_eq!(client.received(), ["2[\"e\"]"]);
        assert!(matches!(sockets().fetch_sockets().await, Err(RequestError::Bus { partial, .. })
            if partial.answers.len() == 1 && partial.answers[0].id() == id));
        assert_eq!(sockets().local().fetch_sockets().await.unwrap().answers.len(), 1);
    });
}

#[test]
fn sockets_of_all_workers_are_fetched_with_all_that_is_known() {
    each_routing(3, |cluster, _| async move {
        let (_a, a_id) = cluster.client(0);
        let (_b, b_id) = cluster.client(1);
        let session = cluster.workers[1].session();
        session.send("0{\"token\":\"t\"}");
        cluster.workers[1].socket(&b_id).join("r");
        cluster.workers[1].socket(&b_id).set_data(json!({"name": "bob"})).unwrap();
        let found = cluster.workers[0].sockets().fetch_sockets().await.unwrap();
        assert_eq!((found.answers.len(), found.expected), (3, 3));
        let found = cluster.workers[0].sockets().to("r").to(&a_id).fetch_sockets().await.unwrap().answers;
        assert_eq!(found.iter().map(|socket| socket.id()).collect::<Vec<_>>(), [&a_id, &b_id]);
        let bob = serde_json::to_value(&found[1]).unwrap();
        assert_eq!(bob["rooms"], json!([b_id, "r"]));
        assert_eq!(bob["data"], json!({"name": "bob"}));
        assert_eq!(bob["handshake"]["headers"]["host"], "localhost");
        assert_eq!(
            (&bob["handshake"]["issued"], &bob["handshake"]["xdomain"]),
            (&json!(1_700_000_000_000u64), &json!(true))
        );
        assert_eq!(bob["handshake"]["query"], json!({"EIO": "4", "transport": "polling"}));
        let rooms = cluster.workers[2].io.of("/").unwrap().all_rooms().await.unwrap().answers;
        assert_eq!(rooms.iter().filter(|room| room.len() < 20).collect::<Vec<_>>(), ["r"]);
        assert_eq!(rooms.len(), 4);
    });
}

/// Long enough to fail a test that waits it out.
const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_server_that_leaves_is_not_waited_for() {
    each_routing(2, |cluster, _| async move {
        let _clients = [cluster.client(0), cluster.client(1)];
        // A third server does not answer, and leaves.
        let leave = async {
            tokio::time::sleep(SOON).await;
            cluster.hub.silent.set(0);
        };
        cluster.hub.silent.set(1);
        let sockets = cluster.workers[0].sockets().timeout(LONG);
        match tokio::join!(sockets.fetch_sockets(), leave).0 {
            Err(RequestError::Left { left, partial }) => {
                assert_eq!((left, partial.answers.len(), partial.expected), (vec!["unknown".to_owned()], 2, 3));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_bus_that_goes_down_ends_a_request_with_what_came() {
    each_routing(2, |cluster, _| async move {
        let _clients = [cluster.client(0), cluster.client(1)];
        cluster.hub.silent.set(1);
        let fall = async {
            tokio::time::sleep(SOON).await;
            cluster.hub.down.set(true);
        };
        let sockets = cluster.workers[0].sockets().timeout(LONG);
        match tokio::join!(sockets.fetch_sockets(), fall).0 {
            Err(RequestError::Bus { partial, .. }) => assert_eq!((partial.answers.len(), partial.expected), (2, 3)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_silent_server_costs_the_time_and_the_others_answers_are_kept() {
    each_routing(2, |cluster, _| async move {
        let _clients = [cluster.client(0), cluster.client(1)];
        cluster.hub.silent.set(1);
        match cluster.workers[0].sockets().timeout(SOON).fetch_sockets().await {
            Err(RequestError::Timeout { partial, .. }) => {
                assert_eq!((partial.answers.len(), partial.expected), (2, 3));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(cluster.workers[0].io.0.state.borrow().namespaces.at(0).unwrap().pending.len(), 0);
    });
}

#[test]
fn an_answer_that_is_too_long_to_travel_is_told_at_once_and_the_others_are_kept() {
    each_routing(3, |cluster, _| async move {
        let clients: Vec<_> = (0..3).map(|worker| cluster.client(worker)).collect();
        // That a test on a busy machine reads and writes so much may take a while.
        let patience = SOON * 1000;
        let large = "x".repeat(codec::MAX_MESSAGE_BYTES);
        cluster.workers[1].socket(&clients[1].1).set_data(&large).unwrap();
        match cluster.workers[0].sockets().timeout(patience).fetch_sockets().await {
            Err(RequestError::TooLong { bytes, partial }) => {
                assert!(bytes > large.len() as u64, "{bytes}");
                let ids: Vec<_> = partial.answers.iter().map(|socket| socket.id()).collect();
                assert_eq!((ids, partial.expected), (vec![&*clients[0].1, &*clients[2].1], 3));
            }
            other => panic!("{other:?}"),
        }
        // So is a client's.
        let io = cluster.workers[0].io.clone();
        let asked = tokio::task::spawn_local(async move {
            io.of("/").unwrap().sockets().timeout(patience).emit_with_ack("q", ()).await
        });
        cluster.settle().await;
        for (number, (client, _)) in clients.iter().enumerate() {
            let received = client.received();
            let (id, _) = received[0].strip_prefix('2').unwrap().split_once('[').unwrap();
            client.send(&format!("3{id}[\"{}\"]", if number == 1 { &large } else { "short" }));
        }
        match asked.await.unwrap() {
            Err(RequestError::TooLong { partial, .. }) => {
                assert_eq!((partial.answers.len(), partial.expected), (2, 3));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_list_of_rooms_names_each_once_whether_or_not_all_servers_answer() {
    each_routing(2, |cluster, _| async move {
        let clients = [cluster.client(0), cluster.client(1)];
        clients.iter().zip(&cluster.workers).for_each(|((_, id), worker)| assert!(worker.socket(id).join("room")));
        let ask = || async { cluster.workers[0].io.of("/").unwrap().timeout(SOON).all_rooms().await };
        let mut all = vec![clients[0].1.clone(), clients[1].1.clone(), "room".to_owned()];
        all.sort_unstable();
        assert_eq!(ask().await.unwrap().answers, all);
        cluster.hub.silent.set(1);
        match ask().await {
            Err(RequestError::Timeout { partial, .. }) => assert_eq!((partial.answers, partial.expected), (all, 3)),
            other => panic!("{other:?}"),
        }
        cluster.hub.down.set(true);
        match ask().await {
            Err(RequestError::Bus { mut partial, .. }) => {
                partial.answers.retain(|room| room != &clients[0].1);
                assert_eq!(partial.answers, ["room"]);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn servers_tell_each_other_events_and_answer() {
    each_routing(3, |cluster, _| async move {
        let clients: Vec<_> = (0..3).map(|worker| cluster.client(worker).0).collect();
        let namespace = |worker: usize| cluster.workers[worker].io.of("/").unwrap();
        namespace(0).server_side_emit("tell", "news").unwrap();
        cluster.settle().await;
        assert_eq!(all(&clients), texts(&[false, true, true], "2[\"told\",\"news\"]"));
        let answers = namespace(1).server_side_emit_with_ack("add", (1, 2)).await.unwrap();
        let numbers: Vec<_> = answers.answers.iter().flatten().map(Data::json).collect();
        assert_eq!((numbers, answers.expected), (vec!["3", "3"], 2));
        match namespace(1).timeout(SOON).server_side_emit_with_ack("silence", ()).await {
            Err(RequestError::Timeout { partial, .. }) => assert_eq!((partial.answers.len(), partial.expected), (0, 2)),
            other => panic!("{other:?}"),
        }
        for reserved in ["connection", "connect", "new_namespace", "error"] {
            assert!(namespace(0).server_side_emit(reserved, ()).is_err(), "{reserved}");
        }
        for reserved_towards_clients in ["disconnect", "disconnecting", "newListener"] {
            assert!(namespace(0).server_side_emit(reserved_towards_clients, ()).is_ok(), "{reserved_towards_clients}");
        }
    });
}

#[test]
fn a_broadcast_collects_the_answers_of_clients_on_all_workers() {
    each_routing(3, |cluster, _| async move {
        let clients: Vec<_> = (0..4).map(|at| cluster.client(at % 2).0).collect();
        let answer = |clients: &[Client]| {
            for (number, client) in clients.iter().enumerate() {
                let received = client.received();
                let (id, _) = received[0].strip_prefix('2').unwrap().split_once('[').unwrap();
                if number == 0 {
                    client.send(&format!("61-{id}[{{\"_placeholder\":true,\"num\":0}}]"));
                    client.send_binary(&[7]);
                } else {
                    client.send(&format!("3{id}[{number},\"second\"]"));
                }
            }
        };
        let ask = |within| {
            let io = cluster.workers[0].io.clone();
            tokio::task::spawn_local(async move {
                io.of("/").unwrap().sockets().timeout(within).emit_with_ack("q", ()).await
            })
        };
        let asked = ask(SOON * 100);
        cluster.settle().await;
        answer(&clients);
        let answers = asked.await.unwrap().unwrap();
        assert_eq!(answers.expected, 4);
        let mut texts: Vec<_> = answers.answers.iter().flatten().map(Data::json).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["1", "2", "3", "{\"_placeholder\":true,\"num\":0}"]);
        let bytes = answers.answers.iter().flatten().find(|answer| !answer.attachments().is_empty()).unwrap();
        assert_eq!(bytes.attachments(), [&[7][..]]);
        // One does not answer: the others' answers are not lost, and nobody waits on.
        let asked = ask(SOON * 2);
        cluster.settle().await;
        answer(&clients[..3]);
        match asked.await.unwrap() {
            Err(RequestError::Timeout { partial, .. }) => assert_eq!((partial.answers.len(), partial.expected), (3, 4)),
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(SOON).await;
        for worker in &cluster.workers {
            let state = worker.io.0.state.borrow();
            assert_eq!(
                (state.namespaces.at(0).unwrap().waiting.len(), state.namespaces.at(0).unwrap().pending.len()),
                (0, 0)
            );
        }
    });
}

#[test]
fn requests_of_old_servers_and_of_the_emitter_are_served() {
    each_routing(1, |cluster, _| async move {
        let (client, id) = cluster.client(0);
        let socket = cluster.workers[0].socket(&id);
        let request = |request: Value| cluster.hub.inject("socket.io-request#/#", request.to_string().as_bytes());
        let answers = || -> Vec<Value> {
            let published = std::mem::take(&mut *cluster.hub.published.borrow_mut());
            let read = |(channel, message): (String, bytes::Bytes)| {
                assert_eq!(channel, "socket.io-response#/#");
                let mut answer: Value = serde_json::from_slice(&message).unwrap();
                assert!(answer.as_object_mut().unwrap().remove("from").is_some(), "ours say who they are");
                answer
            };
            published.into_iter().map(read).collect()
        };
        request(json!({"type": 2, "requestId": "1", "sid": id, "room": "old"}));
        cluster.settle().await;
        assert_eq!((socket.rooms().len(), answers()), (2, vec![json!({"requestId": "1"})]));
        request(json!({"type": 0, "requestId": "2", "rooms": ["old"]}));
        request(json!({"type": 0, "requestId": "3", "rooms": ["nobody"]}));
        cluster.settle().await;
        assert_eq!(answers(), [json!({"requestId": "2", "sockets": [id]}), json!({"requestId": "3", "sockets": []})]);
        request(json!({"type": 3, "requestId": "4", "sid": id, "room": "old"}));
        request(json!({"type": 2, "requestId": "5", "sid": "somebody else", "room": "old"}));
        cluster.settle().await;
        assert_eq!((socket.rooms().len(), answers()), (1, vec![json!({"requestId": "4"})]));
        request(json!({"type": 2, "opts": {"rooms": [id], "except": []}, "rooms": ["e1", 42]}));
        request(json!({"type": 6, "uid": "emitter", "data": ["tell", "x"]}));
        request(json!({"type": 4, "opts": {"rooms": ["e1"], "except": []}, "close": false}));
        cluster.settle().await;
        assert_eq!((client.received(), answers().len()), (vec!["2[\"told\",\"x\"]".to_owned(), "1".to_owned()], 0));
    });
}

#[test]
fn what_waits_for_other_servers_is_bounded_and_what_is_done_makes_room() {
    run(|| async {
        let gate = Rc::new(tokio::sync::Semaphore::new(0));
        let (closed, begun) = (gate.clone(), Rc::new(Cell::new(0)));
        let counted = begun.clone();
        let cluster = Cluster::new(Routing::Exact, 1, || {
            let (closed, counted) = (closed.clone(), counted.clone());
            App::new().namespace("/", |namespace| {
                namespace.on_server_side("wait", move || {
                    counted.set(counted.get() + 1);
                    let closed = closed.clone();
                    async move { closed.acquire().await.unwrap().forget() }
                })
            })
        });
        let client = cluster.client(0).0;
        let inject = |request: &Value| {
            cluster.hub.inject("socket.io-request#/#", &rmp_serde::to_vec(request).unwrap());
        };
        let event = json!({"type": 6, "uid": "other", "data": ["wait"]});
        (0..MAX_SERVER_EVENTS + 5).for_each(|_| inject(&event));
        cluster.settle().await;
        assert_eq!(begun.take(), MAX_SERVER_EVENTS);
        gate.add_permits(3);
        cluster.settle().await;
        (0..5).for_each(|_| inject(&event));
        cluster.settle().await;
        assert_eq!(begun.take(), 3);
        // Broadcasts with answers: all are delivered, but no more than so many are waited for.
        let options = json!({"rooms": [], "except": [], "flags": {"timeout": 60_000}});
        let packet = json!({"type": 2, "data": ["q"], "nsp": "/"});
        let ask = json!({"type": 7, "uid": "other", "requestId": "r", "packet": packet, "opts": options});
        (0..MAX_PASSED_REQUESTS + 5).for_each(|_| inject(&ask));
        cluster.settle().await;
        let received = client.received();
        let asked = received.iter().filter(|packet| *packet != "2[\"q\"]").count();
        assert_eq!((received.len(), asked), (MAX_PASSED_REQUESTS + 5, MAX_PASSED_REQUESTS));
        client.send(&received[0].replace("[\"q\"]", "[]").replacen('2', "3", 1));
        cluster.settle().await;
        inject(&ask);
        inject(&ask);
        cluster.settle().await;
        assert_eq!(client.received().iter().filter(|packet| *packet != "2[\"q\"]").count(), 1);
    });
}
