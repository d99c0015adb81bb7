//! What handlers can ask for, and what becomes of those that fail.

use std::cell::Cell;

use serde::Deserialize;

use super::{Cluster, run};
use crate::{
    bus::Routing,
    protocol::EncodeError,
    socketio::{
        Ack, Answers, App, Args, Auth, ConnectError, FromCall, Io, Reason, Rejection, RequestError, Socket, State,
        call::{EventCall, OnEvent, SocketCall},
    },
};

#[derive(Default)]
struct Visits(Cell<u32>);

struct Lobby(&'static str);

#[derive(Deserialize)]
struct Who {
    name: Option<String>,
}

/// An argument of the application's own.
struct Shout(String);

impl FromCall<OnEvent> for Shout {
    fn from_call(call: &EventCall<'_>) -> Result<Self, Rejection> {
        let id = call.socket().id().to_uppercase();
        (id.len() == 20).then_some(Shout(id)).ok_or_else(|| Rejection("nobody shouts".into()))
    }
}

fn app() -> App {
    App::new().state(Visits::default()).state(Lobby("lobby")).namespace("/", |namespace| {
        namespace
            .use_middleware(async |Auth(who): Auth<Who>, visits: State<Visits>| {
                visits.0.0.set(visits.0.0.get() + 1);
                if who.name.as_deref() == Some("nobody") {
                    Err("go away")?
                }
                Ok::<(), ConnectError>(())
            })
            .on_connect(async |socket: Socket, State(lobby): State<Lobby>, Auth(who): Auth<Who>| {
                socket.join(lobby.0);
                socket.emit("welcome", who.name)
            })
            .on("visits", async |ack: Ack, visits: State<Visits>| ack.send(visits.0.0.get()))
            .on("say", async |Args(text): Args<String>, socket: Socket, lobby: State<Lobby>, io: Io| {
                io.of("/")
                    .ok_or("no namespace")?
                    .sockets()
                    .to(lobby.0.0)
                    .emit("said", (socket.id(), text))
                    .map_err(|_| "")
            })
            .on("shout", async |Shout(id): Shout, ack: Ack| -> Result<(), EncodeError> { ack.send(id) })
            .on("fail", async || Err::<(), _>("the database is away"))
            .on_disconnect(async |Reason(_): Reason, visits: State<Visits>| visits.0.0.set(0))
    })
}

#[test]
fn a_handler_may_be_one_that_never_returns() {
    let app = App::new().once_per_host(async |_: Io| {
        loop {
            std::future::pending::<()>().await;
        }
    });
    let app = app.namespace("/", |namespace| namespace.on("fail", async || panic!("as it ought to")));
    assert_eq!(app.check(), Ok(()));
}

#[test]
fn a_failed_request_without_its_answers_is_an_error_that_anyhow_takes() {
    fn gathers_all(_: &(impl std::error::Error + Send + Sync + 'static)) {}
    let partial = Answers { answers: vec![std::rc::Rc::new(1)], expected: 2 };
    let error = RequestError::Timeout { within: std::time::Duration::from_secs(5), partial };
    let text = error.to_string();
    let error = error.without_answers();
    gathers_all(&error);
    assert_eq!(error.to_string(), text);
}

#[test]
fn answers_are_counted_and_iterated_over_as_a_list() {
    let answers = Answers { answers: vec!["a", "b"], expected: 3 };
    assert_eq!((answers.len(), answers.first()), (2, Some(&"a")));
    assert_eq!((&answers).into_iter().chain(&answers).count(), 4);
    assert_eq!(answers.into_iter().collect::<String>(), "ab");
}

#[test]
fn a_handler_has_the_arguments_it_names_in_its_order() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, app);
        let client = cluster.workers[0].session();
        client.send("0{\"name\":\"Ada\"}");
        let received = client.received();
        let id = received[0].split('"').nth(3).unwrap().to_owned();
        assert_eq!(received[1], "2[\"welcome\",\"Ada\"]");
        for sent in ["20[\"visits\"]", "2[\"say\",\"hello\"]", "21[\"shout\"]"] {
            assert!(client.send(sent));
        }
        let expected =
            ["30[1]".to_owned(), format!("2[\"said\",\"{id}\",\"hello\"]"), format!("31[\"{}\"]", id.to_uppercase())];
        assert_eq!(client.received(), expected);
    });
}

#[test]
fn a_handler_that_fails_is_counted_and_harms_nobody() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, app);
        let (client, _) = cluster.client(0);
        client.received();
        assert!(client.send("20[\"fail\"]") && client.send("21[\"visits\"]"));
        assert_eq!(client.received(), ["31[1]"]);
        let counters = cluster.workers[0].stats().counters;
        assert_eq!((counters.handler_errors, counters.handler_panics, counters.bad_events), (1, 0, 0));
    });
}

#[test]
fn middleware_refuses_with_what_it_returns_and_auth_of_another_shape() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, app);
        let client = cluster.workers[0].session();
        client.send("0{\"name\":\"nobody\"}");
        client.send("0{\"name\":1}");
        let [refused, shape] = &client.received()[..] else { panic!("two answers") };
        assert_eq!(refused, "4{\"message\":\"go away\"}");
        assert!(shape.starts_with("4{\"message\":\"`auth` is of the wrong shape: "), "{shape}");
    });
}

#[test]
fn an_application_whose_handlers_miss_a_state_says_which() {
    assert_eq!(app().check(), Ok(()));
    let app = App::new()
        .state(Visits::default())
        .namespace("/admin", |namespace| namespace.on("say", async |_: State<Visits>, _: State<Lobby>| ()));
    let error = app.check().unwrap_err().to_string();
    assert!(error.starts_with("the handler of \"say\" in namespace /admin takes State<"), "{error}");
    assert!(error.contains("Lobby>, which the application has not: give it to App::state"), "{error}");
}
