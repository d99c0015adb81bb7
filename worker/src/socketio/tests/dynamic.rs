//! Namespaces that clients make, of patterns and functions.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use roomd_wire::SocketIoConfig;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Client, Cluster, Worker, run};
use crate::{
    bus::Routing,
    protocol::Data,
    socketio::{
        App, Args, Auth, ConnectError, MAX_CHILD_NAME_BYTES, MAX_CHILD_NAMESPACES, MAX_NAMESPACES_PER_SESSION, Name,
        Namespace, RequestError, ServerAck, Socket, app::AppError,
    },
};

const BOTH: [Routing; 2] = [Routing::Exact, Routing::Pattern];

/// Says who it is, and to whom it belongs.
fn talking(parent: &'static str) -> impl Fn(Namespace) -> Namespace {
    move |namespace| {
        namespace
            .on_connect(async move |socket: Socket| socket.emit("welcome", (parent, socket.namespace())))
            .on("join", async |socket: Socket, Args(room): Args<String>| {
                socket.join(&room);
            })
            .on("say", async |socket: Socket, Args(text): Args<String>| socket.nsp().sockets().emit("said", text))
            .on("room", async |socket: Socket, Args((room, text)): Args<(String, String)>| {
                socket.to(&room).emit("said", text)
            })
            .on_server_side("who", async |ack: ServerAck| ack.send("me"))
    }
}

fn app() -> App {
    App::new()
        .namespace("/", |namespace| namespace)
        .namespace("/dyn-exact", talking("exact"))
        .namespace_matching("^/dyn-", talking("pattern"))
        .namespace_when(
            async |name: Name, Auth(auth): Auth<Value>| match auth["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(auth["token"] == "ok" && name.starts_with("/fn-")),
            },
            talking("function"),
        )
        .namespace_matching("^/fn-|^/late", talking("last"))
}

impl Worker {
    /// The names of the namespaces in which somebody is.
    fn children(&self) -> Vec<String> {
        let mut names: Vec<_> = self.io.children().map(|child| child.name().to_owned()).collect();
        names.sort();
        names
    }
}

/// What a client gets that asks for a namespace.
fn asked(client: &Client, name: &str, auth: &str) -> Vec<String> {
    client.send(&format!("0{name},{auth}"));
    let received = client.received();
    received.iter().map(|text| text.split(",{\"sid\"").next().unwrap().to_owned()).collect()
}

#[test]
fn exact_names_come_first_then_parents_in_the_order_of_their_declaration() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, app);
        let worker = &cluster.workers[0];
        let long = format!("/dyn-{}", "x".repeat(MAX_CHILD_NAME_BYTES - 4));
        for (name, auth, parent) in [
            ("/dyn-exact", "", Some("exact")),
            ("/dyn-7", "", Some("pattern")),
            ("/dyn-é", "", Some("pattern")),
            ("/fn-1", "{\"token\":\"ok\"}", Some("function")),
            ("/fn-2", "{\"token\":\"no\"}", Some("last")),
            ("/fn-3", "", Some("last")),
            ("/fn-4", "{\"error\":\"as tested\"}", Some("last")),
            ("/late", "{\"token\":\"ok\"}", Some("last")),
            ("/other", "{\"token\":\"ok\"}", None),
            ("/dyn", "", None),
            ("/dyn-a#b", "", None),
            (&long, "", None),
        ] {
            let client = worker.session();
            let expected = match parent {
                Some(parent) => {
                    vec![format!("0{name}"), format!("2{name},[\"welcome\",\"{parent}\",\"{name}\"]")]
                }
                None => vec![format!("4{name},{{\"message\":\"Invalid namespace\"}}")],
            };
            assert_eq!(asked(&client, name, auth), expected, "{name}");
            client.end();
        }
        cluster.settle().await;
        assert_eq!(worker.children(), [""; 0]);
        assert_eq!(worker.stats().counters.handler_errors, 1, "the function's error is logged and counted");
    });
}

#[test]
fn a_child_is_as_any_namespace_over_all_workers_and_leaves_nothing_behind() {
    for routing in BOTH {
        run(|| async move {
            let cluster = Cluster::new(routing, 2, app);
            let before = cluster.workers.iter().map(|worker| worker.bus.wanted()).collect::<Vec<_>>();
            let clients = [0, 1].map(|worker| cluster.workers[worker].session());
            let others = [0, 1].map(|worker| cluster.workers[worker].session());
            clients.iter().for_each(|client| drop(client.connect("/dyn-7")));
            others.iter().for_each(|client| drop(client.connect("/dyn-8")));
            clients[1].send("2/dyn-7,[\"join\",\"r\"]");
            others[1].send("2/dyn-8,[\"join\",\"r\"]");
            cluster.settle().await;
            clients.iter().chain(&others).for_each(|client| drop(client.received()));
            clients[0].send("2/dyn-7,[\"say\",\"all\"]");
            clients[0].send("2/dyn-7,[\"room\",\"r\",\"room\"]");
            cluster.settle().await;
            assert_eq!(clients[0].received(), ["2/dyn-7,[\"said\",\"all\"]"]);
            assert_eq!(clients[1].received(), ["2/dyn-7,[\"said\",\"all\"]", "2/dyn-7,[\"said\",\"room\"]"]);
            assert!(others.iter().all(|client| client.received().is_empty()));
            assert_eq!(cluster.workers[1].children(), ["/dyn-7", "/dyn-8"]);
            let sockets = cluster.workers[0].io.of("/dyn-7").unwrap().sockets().fetch_sockets().await.unwrap();
            assert_eq!(sockets.answers.len(), 2);
            clients.iter().chain(&others).for_each(Client::end);
            cluster.settle().await;
            for (worker, before) in cluster.workers.iter().zip(before) {
                assert_eq!(worker.children(), [""; 0]);
                assert_eq!(worker.bus.wanted(), before, "no subscription is left");
            }
        });
    }
}

#[test]
fn the_application_reaches_a_child_in_which_no_client_of_its_worker_is() {
    for routing in BOTH {
        run(|| async move {
            let cluster = Cluster::new(routing, 3, app);
            let (near, far) = (&cluster.workers[0], cluster.workers[1].session());
            let before = near.bus.wanted();
            for (name, auth) in [("/dyn-7", ""), ("/fn-1", "{\"token\":\"ok\"}")] {
                far.send(&format!("0{name},{auth}"));
                far.received();
                let nsp = near.io.of(name).unwrap();
                nsp.sockets().emit("news", 1).unwrap();
                nsp.sockets().sockets_join("r").unwrap();
                cluster.settle().await;
                nsp.sockets().to("r").emit("news", 2).unwrap();
                cluster.settle().await;
                assert_eq!(far.received(), [1, 2].map(|number| format!("2{name},[\"news\",{number}]")));
                assert_eq!(nsp.sockets().fetch_sockets().await.unwrap().answers.len(), 1, "{routing:?}");
                assert!(nsp.all_rooms().await.unwrap().answers.contains(&"r".to_owned()));
                let answers = nsp.server_side_emit_with_ack("who", ()).await.unwrap();
                assert_eq!((answers.answers.len(), answers.expected), (1, 1), "the one server that has it");
                let all = nsp.sockets();
                let asking = all.emit_with_ack("question", ());
                let answering = async {
                    cluster.settle().await;
                    let question = far.received().pop().unwrap();
                    let number: String =
                        question[1 + name.len() + 1..].chars().take_while(char::is_ascii_digit).collect();
                    far.send(&format!("3{name},{number}[\"yes\"]"));
                };
                let (answers, ()) = tokio::join!(asking, answering);
                let answers = answers.unwrap().answers;
                assert_eq!(answers[0].as_ref().unwrap().decode::<String>().unwrap(), "yes");
                assert_eq!(near.children(), [""; 0]);
                assert_eq!(near.bus.wanted(), before, "{name}: what was subscribed to for the answers");
            }
            assert!(near.io.of("/dyn-a#b").is_none());
            assert!(near.io.of("dyn-1").is_some());
            assert!(
                Cluster::new(routing, 1, || App::new().namespace_matching("^/a$", |namespace| namespace)).workers[0]
                    .io
                    .of("/b")
                    .is_none()
            );
        });
    }
}

#[test]
fn a_function_is_asked_by_clients_even_while_the_application_asks_in_the_namespace() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, app);
        let worker = &cluster.workers[0];
        cluster.hub.silent.set(1);
        let nsp = worker.io.of("/fn-1").unwrap().timeout(Duration::from_millis(20));
        let asking = nsp.server_side_emit_with_ack("who", ());
        let client = worker.session();
        let joining = async {
            cluster.settle().await;
            let first = asked(&client, "/fn-1", "{\"token\":\"ok\"}");
            assert_eq!(first[1], "2/fn-1,[\"welcome\",\"function\",\"/fn-1\"]");
        };
        let (answers, ()) = tokio::join!(asking, joining);
        assert!(matches!(answers, Err(RequestError::Timeout { .. })));
        assert_eq!(worker.children(), ["/fn-1"], "a client is in it");
        client.end();
        cluster.settle().await;
        assert_eq!(worker.children(), [""; 0]);
    });
}

#[test]
fn an_address_that_was_kept_reaches_its_own_namespace_and_never_another() {
    for routing in BOTH {
        run(|| async move {
            let kept: Rc<RefCell<Vec<Socket>>> = Rc::default();
            let keep = kept.clone();
            let make = move || {
                let keep = keep.clone();
                App::new().namespace_matching("^/", move |namespace| {
                    namespace.on_connect(async move |socket: Socket| keep.borrow_mut().push(socket))
                })
            };
            let cluster = Cluster::new(routing, 2, make);
            let (first, second) = (cluster.workers[0].session(), cluster.workers[0].session());
            first.connect("/a");
            let old = kept.borrow()[0].clone();
            first.end();
            cluster.settle().await;
            let nsp = old.nsp();
            second.connect("/b");
            let act = || {
                old.emit("wrong", ()).unwrap();
                old.broadcast().emit("right", 1).unwrap();
                nsp.sockets().emit("right", 2).unwrap();
                assert!(!old.join("r") && !old.is_connected() && old.rooms().is_empty());
                old.set_data(json!({"x": 1})).unwrap();
                old.leave("r");
                old.disconnect(true);
                nsp.sockets().disconnect_sockets(false).unwrap();
            };
            act();
            cluster.settle().await;
            assert_eq!(second.received(), [""; 0], "the other one has the old one's place");
            assert!(second.is_open());
            assert_eq!(old.namespace(), "/a");
            assert_eq!(nsp.sockets().fetch_sockets().await.unwrap().answers.len(), 0);
            assert!(old.emit_with_ack("wrong", (), Duration::from_secs(1)).await.is_err());
            // The name is the address: who is there now is reached, here and elsewhere.
            let again = [0, 1].map(|worker| cluster.workers[worker].session());
            again.iter().for_each(|client| drop(client.connect("/a")));
            old.broadcast().emit("right", 1).unwrap();
            nsp.sockets().emit("right", 2).unwrap();
            assert_eq!(nsp.sockets().fetch_sockets().await.unwrap().answers.len(), 2);
            cluster.settle().await;
            for client in again {
                assert_eq!(client.received(), ["2/a,[\"right\",1]", "2/a,[\"right\",2]"]);
            }
            assert_eq!(second.received(), [""; 0]);
        });
    }
}

/// Decisions that wait for the test, in the order they were asked for.
type Gate<T> = Rc<RefCell<VecDeque<oneshot::Sender<T>>>>;

async fn wait<T>(gate: Gate<T>) -> T {
    let (sender, decision) = oneshot::channel();
    gate.borrow_mut().push_back(sender);
    decision.await.expect("a decision")
}

fn decide<T>(gate: &Gate<T>, decision: T) {
    assert!(gate.borrow_mut().pop_front().expect("a question").send(decision).is_ok(), "nobody waits");
}

/// A function, or else middleware, that waits for the test.
fn gated(gate: &Gate<bool>, by_function: bool) -> App {
    let (asked, considered) = (gate.clone(), gate.clone());
    let app = App::new().namespace("/", |namespace| namespace);
    match by_function {
        true => app.namespace_when(move || wait(asked.clone()), talking("function")),
        false => app.namespace_matching("^/", move |namespace| {
            talking("pattern")(namespace).use_middleware(async move || match wait(considered.clone()).await {
                true => Ok(()),
                false => Err(ConnectError::new("no")),
            })
        }),
    }
}

#[test]
fn while_a_function_decides_the_last_wish_counts_and_its_end_is_a_no() {
    run(|| async {
        let gate = Gate::default();
        let cluster = Cluster::new(Routing::Exact, 1, || gated(&gate, true));
        let worker = &cluster.workers[0];
        let welcome = ["0/x", "2/x,[\"welcome\",\"function\",\"/x\"]"];
        let joined = |client: &Client| {
            let received = client.received();
            received.iter().map(|text| text.split(",{\"sid\"").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        // Two wishes of one client: as a component that is mounted twice has.
        let client = worker.session();
        client.send("0/x,");
        client.send("0/x,");
        decide(&gate, true);
        cluster.settle().await;
        assert_eq!(joined(&client), [""; 0]);
        decide(&gate, true);
        cluster.settle().await;
        assert_eq!(joined(&client), welcome);
        assert!(client.is_open());
        // Once it is there nobody is asked.
        let second = worker.session();
        second.send("0/x,");
        assert_eq!(joined(&second), welcome);
        second.end();
        client.end();
        cluster.settle().await;
        // Two clients ask for one at once.
        let both = [worker.session(), worker.session()];
        both.iter().for_each(|client| assert!(client.send("0/x,")));
        decide(&gate, true);
        cluster.settle().await;
        decide(&gate, true);
        cluster.settle().await;
        both.iter().for_each(|client| assert_eq!(joined(client), welcome));
        // The first wish is not decided when the namespace is there, for the same client.
        both.iter().for_each(Client::end);
        cluster.settle().await;
        let (eager, other) = (worker.session(), worker.session());
        eager.send("0/x,");
        other.send("0/x,");
        gate.borrow_mut().swap(0, 1);
        decide(&gate, true);
        cluster.settle().await;
        eager.send("0/x,");
        assert_eq!(joined(&eager), welcome);
        decide(&gate, true);
        cluster.settle().await;
        assert_eq!(joined(&eager), [""; 0]);
        assert!(eager.is_open());
        // One that has gone, one that is refused, and one whose decision panics.
        let [gone, refused, panics] = [worker.session(), worker.session(), worker.session()];
        gone.send("0/y,");
        gone.end();
        decide(&gate, true);
        refused.send("0/y,");
        decide(&gate, false);
        panics.send("0/y,");
        gate.borrow_mut().clear();
        cluster.settle().await;
        assert_eq!(refused.received(), ["4/y,{\"message\":\"Invalid namespace\"}"]);
        assert_eq!(panics.received(), ["4/y,{\"message\":\"internal error\"}"]);
        assert_eq!(worker.children(), ["/x"]);
        // A packet for a namespace that is not decided on breaks the rules, as while middleware considers.
        let early = worker.session();
        early.send("0/z,");
        early.send("2/z,[\"say\",\"x\"]");
        assert!(!early.is_open());
        decide(&gate, true);
        cluster.settle().await;
        assert_eq!(worker.children(), ["/x"]);
        assert_eq!(worker.io.0.state.borrow().undecided.len(), 0);
    });
}

#[test]
fn a_child_stays_while_middleware_considers_and_goes_when_it_refuses_the_only_one() {
    run(|| async {
        let gate = Gate::default();
        let cluster = Cluster::new(Routing::Exact, 1, || gated(&gate, false));
        let worker = &cluster.workers[0];
        let before = worker.bus.wanted();
        let (leaves, joins, refused) = (worker.session(), worker.session(), worker.session());
        leaves.send("0/x,");
        decide(&gate, true);
        cluster.settle().await;
        joins.send("0/x,");
        leaves.send("1/x,");
        assert_eq!(worker.children(), ["/x"], "one is on its way in");
        decide(&gate, true);
        cluster.settle().await;
        assert_eq!(joins.received().len(), 2);
        joins.end();
        cluster.settle().await;
        assert_eq!(worker.bus.wanted(), before);
        refused.send("0/x,");
        assert_eq!(worker.children(), ["/x"]);
        decide(&gate, false);
        cluster.settle().await;
        assert_eq!(refused.received(), ["4/x,{\"message\":\"no\"}"]);
        assert_eq!(worker.children(), [""; 0]);
        assert_eq!(worker.bus.wanted(), before);
    });
}

#[test]
fn children_that_clients_make_are_bounded_and_can_be_kept() {
    for cleanup in [true, false] {
        run(|| async move {
            let config = SocketIoConfig { cleanup_empty_child_namespaces: cleanup, ..SocketIoConfig::default() };
            let cluster = Cluster::with(&config, Routing::Exact, 1, app);
            let worker = &cluster.workers[0];
            let too_many = ["4/dyn-x,{\"message\":\"Too many namespaces\"}"];
            let mut clients = Vec::new();
            for number in 0..MAX_CHILD_NAMESPACES {
                if number % MAX_NAMESPACES_PER_SESSION == 0 {
                    clients.push(worker.session());
                }
                clients.last().unwrap().send(&format!("0/dyn-{number},"));
                if number == MAX_NAMESPACES_PER_SESSION {
                    clients[0].received();
                    assert_eq!(asked(&clients[0], "/dyn-x", ""), too_many, "one client does not take all places");
                    assert_eq!(asked(&clients[0], "/dyn-exact", "")[0], "0/dyn-exact");
                }
            }
            let client = worker.session();
            assert_eq!(asked(&client, "/dyn-x", ""), too_many);
            assert_eq!(asked(&client, "/dyn-exact", "")[0], "0/dyn-exact");
            assert_eq!(worker.stats().counters.refused_namespaces, 2);
            clients.push(client);
            let nsp = worker.io.of("/dyn-x").unwrap();
            nsp.sockets().emit("news", ()).unwrap();
            assert!(matches!(nsp.sockets().fetch_sockets().await, Err(RequestError::TooManyNamespaces)));
            clients.iter().for_each(Client::end);
            cluster.settle().await;
            assert_eq!(worker.children().len(), if cleanup { 0 } else { MAX_CHILD_NAMESPACES });
            let next = worker.session();
            assert_eq!(asked(&next, "/dyn-x", "").len(), if cleanup { 2 } else { 1 });
            assert_eq!(asked(&next, "/dyn-7", "").len(), 2);
        });
    }
}

#[test]
fn a_child_of_redis_is_asked_in_once_its_subscriptions_are_confirmed() {
    run(|| async {
        let cluster = Cluster::new(Routing::Pattern, 2, app);
        let far = cluster.workers[1].session();
        far.connect("/dyn-7");
        cluster.workers[0].bus.unconfirmed.set(3);
        let found = cluster.workers[0].io.of("/dyn-7").unwrap().sockets().fetch_sockets().await.unwrap();
        assert_eq!((found.answers.len(), found.expected), (1, 2));
        assert_eq!(cluster.workers[0].bus.unconfirmed.get(), 0);
    });
}

/// Clients of two workers come and go in few namespaces; whoever is in one gets what is sent there, once, and nothing else.
fn history(rng: &mut fastrand::Rng) {
    let (routing, seed) = (BOTH[rng.usize(..2)], rng.u64(..));
    run(|| async move {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cluster = Cluster::new(routing, 2, app);
        let before = cluster.workers.iter().map(|worker| worker.bus.wanted()).collect::<Vec<_>>();
        let mut clients: Vec<(Client, Option<String>)> = Vec::new();
        let sent = Cell::new(0);
        for _ in 0..60 {
            let name = format!("/dyn-{}", rng.u8(..4));
            match rng.u8(..10) {
                0..4 => {
                    let client = cluster.workers[rng.usize(..2)].session();
                    client.connect(&name);
                    clients.push((client, Some(name)));
                }
                4..7 if !clients.is_empty() => {
                    let at = rng.usize(..clients.len());
                    match clients[at].1.take() {
                        Some(name) if rng.bool() => drop(clients[at].0.send(&format!("1{name},"))),
                        _ => clients.swap_remove(at).0.end(),
                    }
                }
                _ => {
                    let data = Data::event("news", &[sent.replace(sent.get() + 1)]).unwrap();
                    let nsp = cluster.workers[rng.usize(..2)].io.of(&name).unwrap();
                    cluster.settle().await;
                    clients.iter().for_each(|(client, _)| drop(client.received()));
                    nsp.sockets().emit_data(&data);
                    cluster.settle().await;
                    for (client, of) in &clients {
                        let expected = usize::from(of.as_ref() == Some(&name));
                        assert_eq!(client.received().len(), expected, "{name}: {of:?}");
                    }
                }
            }
        }
        clients.drain(..).for_each(|(client, _)| client.end());
        cluster.settle().await;
        for (worker, before) in cluster.workers.iter().zip(before) {
            assert_eq!((worker.children().len(), worker.bus.wanted()), (0, before));
        }
    });
}

#[test]
fn whoever_comes_and_goes_each_gets_what_is_sent_to_its_namespace() {
    crate::seeds::each(40, history);
}

#[test]
fn what_can_be_no_namespace_is_told_in_words() {
    let declared = |name: &str| App::new().namespace(name, |namespace| namespace).check();
    for (name, part) in
        [("/a,b", "a comma ends a name"), ("/a?b", "is the query"), ("a#b", "a `#` ends a name on the bus")]
    {
        let error = declared(name).unwrap_err();
        assert!(matches!(error, AppError::Name { .. }));
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(declared("/a b.é"), Ok(()));
    let error = App::new().namespace_matching("^/(dyn", |namespace| namespace).check().unwrap_err().to_string();
    assert_eq!(error, "the pattern \"^/(dyn\" of namespaces cannot be read: unclosed group");
    let large = App::new().namespace_matching("(?:a{1000}){1000}", |namespace| namespace).check().unwrap_err();
    assert!(large.to_string().contains("size limit"), "{large}");
    struct Missing;
    let app =
        App::new().namespace_matching("^/x", |namespace| namespace.on("e", async |_: super::super::State<Missing>| ()));
    let error = app.check().unwrap_err().to_string();
    assert!(error.starts_with("the handler of \"e\" in the namespaces of ^/x takes State<"), "{error}");
}
