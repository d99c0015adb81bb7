//! Clients that leave while something is wanted of them.

use super::{Cluster, SOON, run, settle};
use crate::{
    bus::Routing,
    socketio::{AckError, App},
};

#[test]
fn many_that_were_asked_leave_and_only_who_stays_is_waited_for() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, || App::new().namespace("/", |namespace| namespace));
        let waiting = || cluster.workers[0].io.0.state.borrow().namespaces[0].waiting.len();
        let clients: Vec<_> = (0..300).map(|_| cluster.client(0)).collect();
        let asked: Vec<_> = clients
            .iter()
            .map(|(_, id)| {
                let socket = cluster.workers[0].socket(id);
                tokio::task::spawn_local(async move { socket.emit_with_ack("q", (), SOON * 100).await })
            })
            .collect();
        settle().await;
        assert_eq!(waiting(), 300);
        for (client, _) in &clients[1..] {
            client.end();
        }
        settle().await;
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
