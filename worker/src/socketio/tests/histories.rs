//! Random histories of clients that join, leave, break rules and go, against a small model. `ROOMD_SEED` repeats one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Client, Cluster, run};
use crate::{
    bus::Routing,
    socketio::{App, Args, Socket},
};

const NAMESPACES: [&str; 3] = ["/", "/a", "/b"];
const ROOMS: [&str; 4] = ["one", "two", "three", ""];

fn app() -> App {
    NAMESPACES.iter().fold(App::new(), |app, name| {
        app.namespace(name, |namespace| {
            namespace
                .on("join", async |socket: Socket, Args(room): Args<String>| {
                    socket.join(&room);
                })
                .on("leave", async |socket: Socket, Args(room): Args<String>| socket.leave(&room))
                .on("say", async |socket: Socket, Args(room): Args<String>| socket.to(&room).emit("said", ()).unwrap())
        })
    })
}

/// A client as it should be.
struct Model {
    client: Client,
    worker: usize,
    /// Its namespaces, and its rooms in each.
    joined: BTreeMap<&'static str, BTreeSet<&'static str>>,
    open: bool,
}

/// How a packet of a namespace begins after its type.
fn of(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

#[test]
fn clients_get_what_a_plain_model_says() {
    let seed = crate::seeds::new();
    for routing in [Routing::Exact, Routing::Pattern] {
        run(|| history(routing, fastrand::Rng::with_seed(seed)));
    }
}

async fn history(routing: Routing, mut rng: fastrand::Rng) {
    let cluster = Cluster::new(routing, 2, app);
    let always: Vec<_> = cluster.workers.iter().map(|worker| worker.bus.channels.borrow().clone()).collect();
    let mut models: Vec<Model> = Vec::new();
    for step in 0..1500 {
        if models.len() < 6 {
            let worker = rng.usize(..2);
            let client = cluster.workers[worker].session();
            models.push(Model { client, worker, joined: BTreeMap::new(), open: true });
        }
        let at = rng.usize(..models.len());
        let (namespace, room) = (NAMESPACES[rng.usize(..3)], ROOMS[rng.usize(..4)]);
        let action = rng.u8(..40);
        let sender = &mut models[at];
        let event = |name: &str| format!("2{}[\"{name}\",\"{room}\"]", of(namespace));
        let sent = match action {
            0..8 => format!("0{namespace},"),
            8..20 => event("join"),
            20..24 => event("leave"),
            24..36 => event("say"),
            36 | 37 => format!("1{}", of(namespace)),
            38 => "9".to_owned(),
            _ => {
                sender.client.end();
                sender.open = false;
                String::new()
            }
        };
        if action < 39 {
            // A second join, any other packet for a namespace that was not joined, and what is no packet end the session.
            sender.open = action != 38 && (action < 8) != sender.joined.contains_key(namespace);
            assert_eq!(sender.client.send(&sent), sender.open, "step {step}: {sent}");
        }
        cluster.settle().await;
        let sender = &mut models[at];
        if !sender.open {
            sender.joined.clear();
        } else if action < 8 {
            sender.joined.insert(namespace, BTreeSet::new());
            let answer = sender.client.received();
            assert!(
                matches!(&answer[..], [one] if one.starts_with(&format!("0{}{{\"sid\"", of(namespace)))),
                "{answer:?}"
            );
        } else if let (true, Some(rooms)) = (action < 36, sender.joined.get_mut(namespace)) {
            match action {
                8..20 => drop(rooms.insert(room)),
                20..24 => drop(rooms.remove(room)),
                _ => {}
            }
        } else {
            sender.joined.remove(namespace);
        }
        let said = (24..36).contains(&action) && models[at].open;
        for (other, model) in models.iter().enumerate() {
            let hears = said && other != at && model.joined.get(namespace).is_some_and(|rooms| rooms.contains(room));
            let expected = if hears { vec![format!("2{}[\"said\"]", of(namespace))] } else { vec![] };
            assert_eq!(model.client.received(), expected, "step {step}: {sent} by {at}, heard by {other}");
        }
        for (worker, running) in cluster.workers.iter().enumerate() {
            let here = || models.iter().filter(|model| model.worker == worker);
            let rooms: BTreeSet<_> = here()
                .flat_map(|model| &model.joined)
                .flat_map(|(namespace, rooms)| rooms.iter().map(move |room| (*namespace, *room)))
                .collect();
            let sockets: usize = here().map(|model| model.joined.len()).sum();
            let stats = running.stats();
            assert_eq!((stats.sockets, stats.rooms), (sockets as u64, rooms.len() as u64), "step {step}");
        }
        models.retain(|model| model.open);
    }
    models.iter().for_each(|model| model.client.end());
    cluster.settle().await;
    for (worker, always) in cluster.workers.iter().zip(always) {
        assert_eq!(*worker.bus.channels.borrow(), always);
        assert_eq!(worker.io.0.state.borrow().sessions.len(), 0);
    }
}
