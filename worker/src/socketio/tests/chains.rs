//! The ways to say to whom something goes, and how.

use std::time::Duration;

use super::{Cluster, run};
use crate::{
    bus::Routing,
    protocol::Encoded,
    socketio::{AckError, App},
};

#[test]
fn the_main_namespace_is_there_and_reached_without_its_name() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 2, App::new);
        let ((a, id), (b, _)) = (cluster.client(0), cluster.client(1));
        let io = &cluster.workers[0].io;
        io.sockets_join(["red", "green"]).unwrap();
        cluster.settle().await;
        io.emit("all", 1).unwrap();
        io.sockets().emit("all", 2).unwrap();
        io.to(["red", "green"]).emit("once", ()).unwrap();
        io.except([&*id]).emit("others", ()).unwrap();
        io.local().emit("here", ()).unwrap();
        io.compress(false).emit("plain", ()).unwrap();
        // These clients have no connection.
        io.volatile().emit("lost", ()).unwrap();
        cluster.settle().await;
        let [all, again, once, others, here, plain] =
            ["[\"all\",1]", "[\"all\",2]", "[\"once\"]", "[\"others\"]", "[\"here\"]", "[\"plain\"]"]
                .map(|event| format!("2{event}"));
        assert_eq!(a.received(), [&*all, &*again, &*once, &*here, &*plain]);
        assert_eq!(b.received(), [&*all, &*again, &*once, &*others, &*plain]);
        assert_eq!(io.fetch_sockets().await.unwrap().answers.len(), 2);
        io.sockets_leave(["red"]).unwrap();
        io.disconnect_sockets(false).unwrap();
        cluster.settle().await;
        assert_eq!((a.received(), b.received()), (vec!["1".to_owned()], vec!["1".to_owned()]));
    });
}

#[test]
fn a_socket_says_how_before_it_says_what() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 2, App::new);
        let ((a, id), (b, _), (c, other)) = (cluster.client(0), cluster.client(0), cluster.client(1));
        let socket = cluster.workers[0].socket(&id);
        assert!(socket.join(["red", "green"]));
        cluster.workers[1].socket(&other).join("red");
        cluster.settle().await;
        socket.compress(true).emit("mine", ()).unwrap();
        socket.to(["red", "green"]).emit("theirs", ()).unwrap();
        socket.compress(false).to("red").emit("theirs", ()).unwrap();
        socket.except(["red"]).emit("not red", ()).unwrap();
        socket.local().emit("near", ()).unwrap();
        socket.compress(true).broadcast().emit("others", ()).unwrap();
        // These clients have no connection.
        socket.volatile().emit("lost", ()).unwrap();
        socket.volatile().broadcast().emit("lost", ()).unwrap();
        cluster.settle().await;
        assert_eq!(a.received(), ["2[\"mine\"]"]);
        assert_eq!(b.received(), ["2[\"not red\"]", "2[\"near\"]", "2[\"others\"]"]);
        assert_eq!(c.received(), ["2[\"theirs\"]", "2[\"theirs\"]", "2[\"others\"]"]);
        let late = socket.timeout(Duration::from_millis(1)).emit_with_ack("answer", ()).await;
        assert!(matches!(late, Err(AckError::Timeout(_))), "{late:?}");
    });
}

#[test]
fn whoever_awaits_an_answer_when_the_worker_leaves_gets_it_or_learns_that_none_comes() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, App::new);
        let ((quick, quick_id), (_silent, silent_id)) = (cluster.client(0), cluster.client(0));
        let asked = [quick_id, silent_id].map(|id| {
            let socket = cluster.workers[0].socket(&id);
            tokio::task::spawn_local(async move { socket.compress(true).emit_with_ack("ready?", ()).await })
        });
        cluster.settle().await;
        quick.send("30[true]");
        cluster.workers[0].engine.drain(super::SOON).await;
        let [answer, none] = asked;
        assert_eq!(answer.await.unwrap().unwrap().ack_args::<(bool,)>().unwrap(), (true,));
        let none = none.await.unwrap();
        assert!(matches!(none, Err(AckError::Disconnected)), "{none:?}");
    });
}

#[test]
fn whether_something_may_be_compressed_comes_with_it_to_every_worker() {
    for routing in [Routing::Exact, Routing::Pattern] {
        run(|| async move {
            let cluster = Cluster::new(routing, 2, App::new);
            let ((a, id), (b, _)) = (cluster.client(0), cluster.client(1));
            let socket = cluster.workers[0].socket(&id);
            let io = &cluster.workers[0].io;
            io.emit("plain", ()).unwrap();
            io.compress(false).emit("not", ()).unwrap();
            io.compress(true).emit("plain", ()).unwrap();
            socket.compress(false).emit("not", ()).unwrap();
            cluster.settle().await;
            let may = |client: &super::Client| -> Vec<bool> {
                client.engine.sent_for_tests(client.key).iter().map(Encoded::may_compress).collect()
            };
            assert_eq!((may(&a), may(&b)), (vec![true, false, true, false], vec![true, false, true]));
        });
    }
}
