//! Middleware for each event of a client.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::sync::Notify;

use super::{Client, Cluster, run};
use crate::{
    bus::Routing,
    protocol::Data,
    socketio::{Ack, App, Args, EventName, MAX_WAITING_HANDLERS, Socket, State},
};

#[derive(Default)]
struct Door {
    opened: Notify,
    heard: RefCell<Vec<String>>,
    judged: Cell<u32>,
}

fn app(door: &Rc<Door>) -> App {
    App::new().state(door.clone()).namespace("/", |namespace| {
        namespace
            .on_any(async |EventName(event): EventName, door: State<Rc<Door>>| {
                door.heard.borrow_mut().push(event);
            })
            .use_packet_middleware(async |EventName(event): EventName, event_data: Data, door: State<Rc<Door>>| {
                door.judged.set(door.judged.get() + 1);
                match &*event {
                    "wait" => door.opened.notified().await,
                    "panic" => panic!("as tested"),
                    "refused" => return Err("not today"),
                    _ => {}
                }
                assert!(event_data.attachments().is_empty());
                Ok(())
            })
            .use_packet_middleware(async |socket: Socket, EventName(event): EventName| {
                if event == "leave" {
                    socket.disconnect(false);
                }
            })
            .on("wait", async |Args(number): Args<u32>, ack: Ack| ack.send(number))
            .on("next", async |Args(number): Args<u32>, ack: Ack| ack.send(number))
            .on("refused", async |ack: Ack| ack.send("never"))
            .on("leave", async |door: State<Rc<Door>>| door.heard.borrow_mut().push("never".to_owned()))
    })
}

fn start(door: &Rc<Door>) -> (Cluster, Client) {
    let cluster = Cluster::new(Routing::Exact, 1, || app(door));
    let (client, _) = cluster.client(0);
    (cluster, client)
}

#[test]
fn an_event_that_is_refused_is_answered_with_the_error() {
    run(|| async {
        let door = Rc::default();
        let (cluster, client) = start(&door);
        for sent in ["20[\"refused\"]", "2[\"refused\"]", "21[\"panic\"]", "22[\"next\",2]", "23[\"unknown\"]"] {
            assert!(client.send(sent));
        }
        assert_eq!(client.received(), ["30[{\"error\":\"not today\"}]", "32[2]"]);
        assert_eq!(*door.heard.borrow(), ["refused", "refused", "panic", "next", "unknown"]);
        assert_eq!(door.judged.get(), 5);
        let counters = cluster.workers[0].stats().counters;
        assert_eq!((counters.bad_events, counters.handler_panics), (2, 1));
    });
}

#[test]
fn events_behind_one_whose_middleware_waits_keep_their_order() {
    run(|| async {
        let door: Rc<Door> = Rc::default();
        let (cluster, client) = start(&door);
        let (other, _) = cluster.client(0);
        for sent in ["20[\"wait\",0]", "21[\"next\",1]", "22[\"panic\"]", "23[\"wait\",3]", "24[\"next\",4]"] {
            client.send(sent);
        }
        other.send("20[\"next\",7]");
        cluster.settle().await;
        assert_eq!((client.received(), other.received()), (vec![], vec!["30[7]".to_owned()]));
        door.opened.notify_waiters();
        cluster.settle().await;
        assert_eq!(client.received(), ["30[0]", "31[1]"]);
        door.opened.notify_waiters();
        cluster.settle().await;
        assert_eq!(client.received(), ["33[3]", "34[4]"]);
        assert!(cluster.workers[0].io.0.state.borrow().held.is_empty());
        client.send("25[\"next\",5]");
        assert_eq!(client.received(), ["35[5]"]);
    });
}

#[test]
fn a_client_that_goes_takes_its_waiting_events_along_and_one_that_sends_too_many_is_closed() {
    run(|| async {
        let door: Rc<Door> = Rc::default();
        let (cluster, client) = start(&door);
        client.send("2[\"wait\",0]");
        client.send("2[\"leave\"]");
        client.send("2[\"leave\"]");
        client.end();
        cluster.settle().await;
        door.opened.notify_waiters();
        cluster.settle().await;
        assert!(!door.heard.borrow().contains(&"never".to_owned()));
        assert!(cluster.workers[0].io.0.state.borrow().held.is_empty());

        let (client, _) = cluster.client(0);
        client.send("2[\"leave\"]");
        assert_eq!(client.received(), ["1"]);
        assert!(!door.heard.borrow().contains(&"never".to_owned()));

        let (client, _) = cluster.client(0);
        for _ in 0..MAX_WAITING_HANDLERS {
            client.send("2[\"wait\",0]");
        }
        assert!(client.is_open());
        client.send("2[\"wait\",0]");
        cluster.settle().await;
        assert!(!client.is_open());
    });
}
