//! Random histories of sockets that wait for middleware, come in, are sent away and go: what each one's handlers and client hear.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use serde_json::Value;
use tokio::sync::oneshot;

use super::{Client, Cluster, run};
use crate::{
    bus::Routing,
    protocol::Data,
    seeds,
    socketio::{App, Auth, ConnectError, Socket},
};

const NAMESPACES: [&str; 3] = ["/", "/a", "/b"];

/// What the application and the test share.
struct Shared {
    /// What each socket's handlers heard, by its id.
    heard: BTreeMap<String, Vec<&'static str>>,
    /// Those that middleware considers: each is let in, refused, or, where this is dropped, ended by a panic.
    gate: VecDeque<oneshot::Sender<bool>>,
    rng: fastrand::Rng,
}

type Handle = Rc<RefCell<Shared>>;

fn app(shared: &Handle) -> App {
    NAMESPACES.iter().fold(App::new(), |app, name| {
        let [at_the_gate, on_connect, on_any, on_disconnecting, on_disconnect] = [0; 5].map(|_| shared.clone());
        app.namespace(name, move |namespace| {
            namespace
                .use_middleware(move |socket: Socket, Auth(auth): Auth<Value>| {
                    assert!(socket.join("door") && !socket.is_connected());
                    let decision = (auth["wait"] == true).then(|| {
                        let (decide, decision) = oneshot::channel();
                        at_the_gate.borrow_mut().gate.push_back(decide);
                        decision
                    });
                    async move {
                        let lets_in = match decision {
                            Some(decision) => decision.await.expect("a test without a decision is a panic"),
                            None => true,
                        };
                        lets_in.then_some(()).ok_or_else(|| ConnectError::new("no"))
                    }
                })
                .on_connect(move |socket: Socket| {
                    assert_eq!(socket.rooms(), [socket.id(), "door"]);
                    note(&on_connect, &socket, "connect");
                    socket.emit("welcome", ()).unwrap();
                    std::future::ready(())
                })
                .on_any(move |socket: Socket, event: Data| {
                    note(&on_any, &socket, "event");
                    match event.elements().next() {
                        Some("\"kick me\"") => socket.disconnect(false),
                        Some("\"close me\"") => socket.disconnect(true),
                        _ => {}
                    }
                    std::future::ready(())
                })
                .on_disconnecting(move |socket: Socket| {
                    assert_eq!(socket.rooms().len(), 2);
                    note(&on_disconnecting, &socket, "disconnecting");
                    disturb(&on_disconnecting, &socket);
                    std::future::ready(())
                })
                .on_disconnect(move |socket: Socket| {
                    assert!(socket.rooms().is_empty() && !socket.is_connected());
                    note(&on_disconnect, &socket, "disconnect");
                    disturb(&on_disconnect, &socket);
                    std::future::ready(())
                })
        })
    })
}

fn note(shared: &Handle, socket: &Socket, what: &'static str) {
    shared.borrow_mut().heard.entry(socket.id().to_owned()).or_default().push(what);
}

/// A handler that sends somebody away now and then: itself, once more, or all of a namespace.
fn disturb(shared: &Handle, socket: &Socket) {
    let mut rng = shared.borrow_mut().rng.fork();
    match rng.u8(..12) {
        0 => {
            let namespace = socket.io().of(NAMESPACES[rng.usize(..3)]).unwrap();
            namespace.sockets().local().disconnect_sockets(rng.bool()).unwrap();
        }
        1 | 2 => socket.disconnect(rng.bool()),
        _ => {}
    }
}

/// A client, and how far it is in each namespace by what it has been sent.
struct Guest {
    client: Client,
    inside: [Inside; 3],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inside {
    Out,
    Asked,
    In,
}

impl Guest {
    /// Reads what came. Whatever comes for a namespace comes between its CONNECT and its DISCONNECT.
    fn read(&mut self) {
        for message in self.client.received() {
            let (kind, rest) = message.split_at(1);
            let at = (1..3).find(|&at| rest.starts_with(NAMESPACES[at])).unwrap_or(0);
            let (before, after) = match kind {
                "0" => (Inside::Asked, Inside::In),
                "4" => (Inside::Asked, Inside::Out),
                "1" => (Inside::In, Inside::Out),
                "2" => (Inside::In, Inside::In),
                _ => panic!("{message}"),
            };
            assert_eq!(self.inside[at], before, "{message}");
            self.inside[at] = after;
        }
    }

    /// Sends something, which mostly breaks no rule.
    fn act(&mut self, rng: &mut fastrand::Rng) {
        let at = rng.usize(..3);
        let name = if at == 0 { String::new() } else { format!("{},", NAMESPACES[at]) };
        let event = match rng.u8(..12) {
            0 => "kick me",
            1 => "close me",
            _ => "other",
        };
        match self.inside[at] {
            Inside::Out => {
                self.inside[at] = Inside::Asked;
                self.client.send(&format!("0{name}{{\"wait\":{}}}", rng.bool()));
            }
            Inside::In if rng.u8(..6) == 0 => {
                self.client.send(&format!("1{name}"));
                self.read();
                self.inside[at] = Inside::Out;
            }
            Inside::In => drop(self.client.send(&format!("2{name}[\"{event}\"]"))),
            // It must wait: everything else is the end.
            Inside::Asked if rng.u8(..15) == 0 => drop(self.client.send(&format!("{}{name}", rng.u8(..2)))),
            Inside::Asked => {}
        }
    }
}

async fn history(mut rng: fastrand::Rng) {
    let shared: Handle =
        Rc::new(RefCell::new(Shared { heard: BTreeMap::new(), gate: VecDeque::new(), rng: rng.fork() }));
    let cluster = Cluster::new(Routing::Exact, 1, || app(&shared));
    let worker = &cluster.workers[0];
    let always = worker.bus.channels.borrow().clone();
    let mut guests: Vec<Guest> = Vec::new();
    let mut panics = 0;
    for _ in 0..3000 {
        if guests.len() < 5 {
            guests.push(Guest { client: worker.session(), inside: [Inside::Out; 3] });
        }
        let at = rng.usize(..guests.len());
        match rng.u8(..30) {
            0 => guests[at].client.end(),
            1..6 => {
                let decide = shared.borrow_mut().gate.pop_front();
                match decide {
                    Some(decide) if rng.u8(..10) > 0 => decide.send(rng.u8(..4) > 0).unwrap(),
                    undecided => panics += u64::from(undecided.is_some()),
                }
            }
            6 => {
                let sockets = worker.io.of(NAMESPACES[rng.usize(..3)]).unwrap().sockets();
                sockets.disconnect_sockets(rng.u8(..4) == 0).unwrap();
            }
            7..9 => {
                let sockets = worker.io.of(NAMESPACES[rng.usize(..3)]).unwrap().sockets();
                sockets.to("door").emit("news", ()).unwrap();
            }
            _ => guests[at].act(&mut rng),
        }
        // Now and then several things happen in one turn of the loop.
        if rng.u8(..4) > 0 {
            cluster.settle().await;
        }
        guests.iter_mut().for_each(Guest::read);
        guests.retain(|guest| guest.client.is_open());
    }
    guests.iter().for_each(|guest| guest.client.end());
    panics += shared.borrow_mut().gate.drain(..).len() as u64;
    cluster.settle().await;
    assert_eq!(worker.stats().counters.handler_panics, panics, "no handler found things other than it should");
    let heard = std::mem::take(&mut shared.borrow_mut().heard);
    assert!(heard.len() > 300, "{}", heard.len());
    for (id, heard) in heard {
        let [first @ "connect", events @ .., "disconnecting", last @ "disconnect"] = &heard[..] else {
            panic!("{id}: {heard:?}");
        };
        assert!(events.iter().all(|event| *event == "event"), "{id}: {first}, {events:?}, {last}");
    }
    let state = worker.io.0.state.borrow();
    assert_eq!((state.sessions.len(), state.joining.len()), (0, 0));
    for members in state.namespaces.iter() {
        assert_eq!((members.sockets.len(), members.apart.len(), members.waiting.len()), (0, 0, 0));
        assert_eq!(members.rooms.count(), 0);
    }
    assert_eq!(*worker.bus.channels.borrow(), always);
}

#[test]
fn each_socket_hears_one_beginning_and_one_end_with_its_events_between() {
    let seed = seeds::new();
    run(|| history(fastrand::Rng::with_seed(seed)));
}
