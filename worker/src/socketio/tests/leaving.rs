//! Clients that leave while something is wanted of them.

use std::{cell::RefCell, rc::Rc};

use serde_json::Value;

use super::{Cluster, SOON, run};
use crate::{
    bus::Routing,
    socketio::{AckError, App, Auth, ConnectError, Socket},
};

#[test]
fn many_that_were_asked_leave_and_only_who_stays_is_waited_for() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, || App::new().namespace("/", |namespace| namespace));
        let waiting = || cluster.workers[0].io.0.state.borrow().namespaces.at(0).unwrap().waiting.len();
        let clients: Vec<_> = (0..300).map(|_| cluster.client(0)).collect();
        let asked: Vec<_> = clients
            .iter()
            .map(|(_, id)| {
                let socket = cluster.workers[0].socket(id);
                tokio::task::spawn_local(async move { socket.emit_with_ack("q", (), SOON * 100).await })
            })
            .collect();
        cluster.settle().await;
        assert_eq!(waiting(), 300);
        for (client, _) in &clients[1..] {
            client.end();
        }
        cluster.settle().await;
        assert_eq!(waiting(), 1);
        // The answer of the one that stays still finds its question.
        let (stays, _) = &clients[0];
        let question = stays.received().remove(0);
        let (number, _) = question[1..].split_once('[').unwrap();
        assert!(stays.send(&format!("3{number}[\"here\"]")));
        for (at, answer) in asked.into_iter().enumerate() {
            match answer.await.unwrap() {
                Ok(answer) => assert_eq!((at, answer.json()), (0, "[\"here\"]")),
                Err(error) => assert!(at > 0 && matches!(error, AckError::Disconnected), "{at}: {error}"),
            }
        }
    });
}

#[test]
fn who_asks_a_client_that_is_not_in_learns_at_once_when_it_has_gone() {
    run(|| async {
        let answers = Rc::new(RefCell::new(Vec::new()));
        let (of_middleware, of_end) = (answers.clone(), answers.clone());
        let ask = |answers: Rc<RefCell<Vec<_>>>, socket: Socket, place: &'static str| async move {
            let answer = socket.emit_with_ack("q", (), SOON * 1000).await;
            answers.borrow_mut().push((place, matches!(answer, Err(AckError::Disconnected))));
        };
        let cluster = Cluster::new(Routing::Exact, 1, || {
            let (of_middleware, of_end) = (of_middleware.clone(), of_end.clone());
            App::new().namespace("/", move |namespace| {
                namespace
                    .use_middleware(move |socket: Socket, Auth(auth): Auth<Value>| {
                        let refuses = auth["no"] == true;
                        let asked = ask(of_middleware.clone(), socket, "middleware");
                        async move {
                            if refuses {
                                tokio::task::spawn_local(asked);
                                tokio::task::yield_now().await;
                                return Err(ConnectError::new("no"));
                            }
                            Ok(())
                        }
                    })
                    .on_disconnect(move |socket: Socket| ask(of_end.clone(), socket, "end"))
            })
        });
        let refused = cluster.workers[0].session();
        refused.send("0{\"no\":true}");
        cluster.client(0).0.end();
        cluster.settle().await;
        assert_eq!(refused.received(), ["20[\"q\"]", "4{\"message\":\"no\"}"]);
        assert_eq!(*answers.borrow(), [("middleware", true), ("end", true)]);
    });
}
