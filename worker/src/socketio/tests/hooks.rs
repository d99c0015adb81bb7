//! Handlers that hear of rooms, and of what is sent.

use std::{cell::RefCell, rc::Rc};

use super::{Cluster, run};
use crate::{
    bus::Routing,
    protocol::{Binary, Data},
    socketio::{App, Args, EventName, Io, MAX_WAITING_HEARERS, Room, Socket, State},
};

type Log = Rc<RefCell<Vec<String>>>;

/// Handlers with the same log in all workers, in which a worker has its number.
fn rooms(log: &Log) -> App {
    App::new().state(log.clone()).namespace("/", |namespace| {
        namespace
            .use_middleware(async |socket: Socket| {
                socket.join("asked");
                Ok(())
            })
            .on_connect(async |socket: Socket, log: State<Log>| {
                note(&log, socket.io(), "connect".to_owned());
            })
            .on_create_room(async |Room(room): Room, io: Io, log: State<Log>| note(&log, &io, format!("create {room}")))
            .on_delete_room(async |Room(room): Room, io: Io, log: State<Log>| note(&log, &io, format!("delete {room}")))
            .on_join_room(async |socket: Socket, Room(room): Room, log: State<Log>| {
                // State is not held: it can be asked.
                assert!(socket.rooms().contains(&room));
                note(&log, socket.io(), format!("{} joins {room}", socket.id()));
            })
            .on_leave_room(async |socket: Socket, Room(room): Room, log: State<Log>| {
                assert!(!socket.rooms().contains(&room));
                note(&log, socket.io(), format!("{} leaves {room}", socket.id()));
            })
            .on_disconnect(async |socket: Socket, log: State<Log>| note(&log, socket.io(), "disconnect".to_owned()))
    })
}

fn note(log: &Log, io: &Io, what: String) {
    log.borrow_mut().push(format!("{}: {what}", io.worker().slot.0));
}

#[test]
fn rooms_are_heard_of_in_the_official_order_each_on_its_worker() {
    run(|| async {
        let log = Log::default();
        let cluster = Cluster::new(Routing::Exact, 2, || rooms(&log));
        let ((a, a_id), (b, b_id)) = (cluster.client(0), cluster.client(1));
        let heard = |expected: &[&str]| {
            let expected: Vec<_> = expected.iter().map(|line| line.replace("$a", &a_id).replace("$b", &b_id)).collect();
            assert_eq!(log.take(), expected);
        };
        heard(&[
            "0: create $a",
            "0: $a joins $a",
            "0: create asked",
            "0: $a joins asked",
            "0: connect",
            "1: create $b",
            "1: $b joins $b",
            "1: create asked",
            "1: $b joins asked",
            "1: connect",
        ]);
        let (c, c_id) = cluster.client(0);
        log.take();
        cluster.workers[0].socket(&a_id).join("x");
        cluster.workers[0].socket(&c_id).join("x");
        cluster.workers[0].socket(&c_id).join("x");
        // The room of another's id is there already.
        cluster.workers[0].socket(&a_id).join(&c_id);
        heard(&["0: create x", "0: $a joins x", &format!("0: {c_id} joins x"), &format!("0: $a joins {c_id}")]);
        cluster.workers[1].io.to(&a_id).sockets_leave("x").unwrap();
        cluster.settle().await;
        cluster.workers[0].socket(&c_id).leave("x");
        cluster.workers[0].socket(&c_id).leave("x");
        heard(&["0: $a leaves x", &format!("0: {c_id} leaves x"), "0: delete x"]);
        a.send("1");
        heard(&[
            "0: $a leaves $a",
            "0: delete $a",
            "0: $a leaves asked",
            &format!("0: $a leaves {c_id}"),
            "0: disconnect",
        ]);
        b.end();
        cluster.settle().await;
        heard(&["1: $b leaves $b", "1: delete $b", "1: $b leaves asked", "1: delete asked", "1: disconnect"]);
        drop(c);
    });
}

#[test]
fn what_is_sent_is_heard_once_for_each_client_on_its_worker() {
    for routing in [Routing::Exact, Routing::Pattern] {
        run(|| async move {
            let log = Log::default();
            let cluster = Cluster::new(routing, 2, || {
                App::new().state(log.clone()).namespace("/", |namespace| {
                    namespace
                        .on_any_outgoing(
                            async |socket: Socket, EventName(event): EventName, data: Data, log: State<Log>| {
                                assert_eq!(data.attachments().len(), usize::from(event == "bytes"));
                                note(&log, socket.io(), format!("{event} to {}", socket.id()));
                            },
                        )
                        .on("both", async |Args(()): Args<()>| ())
                })
            });
            let ((a, a_id), (b, b_id)) = (cluster.client(0), cluster.client(1));
            let io = &cluster.workers[0].io;
            io.emit("all", 1).unwrap();
            io.except(&a_id).emit("bytes", Binary::from(vec![1, 2])).unwrap();
            cluster.workers[0].socket(&a_id).emit("one", 3).unwrap();
            cluster.workers[0].socket(&a_id).broadcast().emit("others", 4).unwrap();
            io.to("nobody").emit("nobody", 5).unwrap();
            cluster.settle().await;
            let mut heard = log.take();
            heard.sort();
            let expected = [
                format!("0: all to {a_id}"),
                format!("0: one to {a_id}"),
                format!("1: all to {b_id}"),
                format!("1: bytes to {b_id}"),
                format!("1: others to {b_id}"),
            ];
            assert_eq!(heard, expected);
            assert_eq!((a.received().len(), b.received().len()), (2, 4));
        });
    }
}

#[test]
fn handlers_of_what_is_sent_do_not_pile_up_and_those_that_do_not_wait_are_always_called() {
    run(|| async {
        let log = Log::default();
        let cluster = Cluster::new(Routing::Exact, 1, || {
            App::new().state(log.clone()).namespace("/", |namespace| {
                namespace.on_any_outgoing(async |socket: Socket, log: State<Log>| {
                    note(&log, socket.io(), "begins".to_owned());
                    if socket.data::<bool>() {
                        std::future::pending::<()>().await;
                    }
                })
            })
        });
        let (client, id) = cluster.client(0);
        let socket = cluster.workers[0].socket(&id);
        socket.set_data(true).unwrap();
        for _ in 0..MAX_WAITING_HEARERS + 5 {
            socket.volatile().emit("event", ()).unwrap();
        }
        assert_eq!(log.take().len(), MAX_WAITING_HEARERS + 5);
        assert_eq!(cluster.workers[0].stats().counters.handler_errors, 5);
        socket.set_data(false).unwrap();
        socket.emit("event", ()).unwrap();
        assert_eq!((log.take().len(), client.is_open()), (1, true));
        assert_eq!(cluster.workers[0].stats().counters.handler_errors, 5);
    });
}
