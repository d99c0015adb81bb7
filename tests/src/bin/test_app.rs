//! An application that tests drive: it answers through acks what the built-in chat has no use for, and fails at its start if told.
#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, process::ExitCode, rc::Rc, time::Duration};

use roomd::{
    Ack, Answers, App, Args, Auth, Binary, ConnectError, ConnectionErrorInfo, Data, HeaderMap, Name, Namespace,
    Refusal, RemoteSocket, RequestError, RequestInfo, ServerAck, Socket,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

fn main() -> ExitCode {
    roomd::run(|| {
        fail_if_told();
        app()
    })
}

/// What is wrong with an application in practice: it says so and exits, it panics, it gets ready late or never, or it
/// is ready and crashes then.
fn fail_if_told() {
    // A file, so that it can change between two starts of workers of one cluster.
    let told = || std::fs::read_to_string("fail").unwrap_or_default();
    match told().as_str() {
        "" => {}
        "wait" => {
            while told() == "wait" {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        "exit" => {
            eprintln!("the application cannot start: no database");
            std::process::exit(3);
        }
        "hang" => std::thread::sleep(Duration::from_secs(600)),
        crash if crash.starts_with("crash ") => {
            let after = Duration::from_millis(crash.trim_start_matches("crash ").parse().unwrap());
            std::thread::spawn(move || {
                std::thread::sleep(after);
                eprintln!("the application crashes, as told");
                std::process::exit(101);
            });
        }
        other => panic!("the application panics: {other}"),
    }
}

fn app() -> App {
    let heard: Rc<RefCell<Vec<Value>>> = Rc::default();
    let of_servers = heard.clone();
    let door: Rc<Notify> = Rc::default();
    let opened = door.clone();
    with_http_hooks(App::new())
        .namespace_matching("^/dyn-[0-9]+$", dynamic)
        .namespace_when(
            async |name: Name, Auth(auth): Auth<Value>| {
                if !name.starts_with("/fn-") {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                auth["token"] == "open sesame"
            },
            dynamic,
        )
        .namespace("/", |namespace| {
            namespace.on_connect(async |socket: Socket| hello(&socket)).on_any(echo).on("both", both).on(
                "grow",
                async |Args(bytes): Args<usize>, ack: Ack| {
                    std::mem::forget(vec![1u8; bytes]);
                    ack.send(true).unwrap();
                },
            )
        })
        .namespace("/guarded", |namespace| {
            namespace.use_middleware(guard).on_connect(async |socket: Socket| hello(&socket)).on_any(echo)
        })
        .namespace("/test", |namespace| {
            namespace
                .use_middleware(move |socket: Socket, Auth(auth): Auth<Value>| doorkeeper(socket, auth, door.clone()))
                .on("block", async |Args(ms): Args<u64>| std::thread::sleep(Duration::from_millis(ms)))
                .on("open the door", move |ack: Ack| {
                    opened.notify_waiters();
                    async move { ack.send(true).unwrap() }
                })
                .on("join", async |socket: Socket, Args(room): Args<String>, ack: Ack| {
                    ack.send(socket.join(&room)).unwrap()
                })
                .on("leave", async |socket: Socket, Args(room): Args<String>, ack: Ack| {
                    socket.leave(&room);
                    ack.send(true).unwrap();
                })
                .on("set data", async |socket: Socket, Args(data): Args<Value>, ack: Ack| {
                    ack.send(socket.set_data(data).is_ok()).unwrap();
                })
                .on("rooms", async |socket: Socket, ack: Ack| ack.send((socket.rooms(),)).unwrap())
                .on(
                    "cluster",
                    async |socket: Socket, Args((call, target, args)): Args<(String, Value, Value)>, ack: Ack| {
                        ack.send(cluster(&socket, &call, &target, args).await).unwrap();
                    },
                )
                .on("heard", move |ack: Ack| {
                    let heard = heard.clone();
                    async move { ack.send((heard.borrow().clone(),)).unwrap() }
                })
                .on("bytes", async |socket: Socket, Args((room, bytes)): Args<(String, Binary)>, ack: Ack| {
                    socket.nsp().sockets().to(&room).emit("bytes", (json!({"before": 1}), bytes)).unwrap();
                    ack.send(true).unwrap();
                })
                .on_server_side("hello", move |Args(said): Args<Value>, ack: ServerAck| {
                    of_servers.borrow_mut().push(said);
                    async move {
                        if ack.is_wanted() {
                            ack.send("roomd heard it").unwrap();
                        }
                    }
                })
        })
}

/// What clients make: with the calls of the whole cluster, and refused if they want.
fn dynamic(namespace: Namespace) -> Namespace {
    namespace
        .use_middleware(async |Auth(auth): Auth<Value>| match auth["no"] == true {
            true => Err(ConnectError::new("as the client wants")),
            false => Ok(()),
        })
        .on_connect(async |socket: Socket| socket.emit("welcome", socket.namespace()))
        .on("cluster", async |socket: Socket, Args((call, target, args)): Args<(String, Value, Value)>, ack: Ack| {
            ack.send(cluster(&socket, &call, &target, args).await).unwrap();
        })
        .on_server_side("hello", async |Args(_): Args<Value>, ack: ServerAck| ack.send("roomd heard it"))
}

/// What the application says to requests that ask it for something.
fn with_http_hooks(app: App) -> App {
    let refused: Rc<RefCell<Vec<Value>>> = Rc::default();
    let told = refused.clone();
    app.allow_request(async |request: RequestInfo| match request.header("x-allow") {
        Some("no") => Err(Refusal::default()),
        Some("no \"you\"") => Err(Refusal::new("not \"you\", caf\u{e9}")),
        Some("panic") => panic!("as asked for"),
        Some("long") => {
            tokio::time::sleep(Duration::from_secs(40)).await;
            Ok(())
        }
        Some("wait") => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(Refusal::new(format!("{} waited", request.query("transport").unwrap())))
        }
        _ => Ok(()),
    })
    .initial_headers(|headers: &mut HeaderMap, request: &RequestInfo| {
        if request.header("x-headers").is_some() {
            headers.insert("x-initial", request.url().parse().unwrap());
            headers.insert("vary", "X-Headers".parse().unwrap());
        }
    })
    .headers(move |headers: &mut HeaderMap, request: &RequestInfo| {
        if request.header("x-headers").is_some() {
            headers.insert("x-every", request.method().as_str().parse().unwrap());
        }
        if request.header("x-refused").is_some() {
            headers.insert("x-refused", Value::Array(refused.take()).to_string().parse().unwrap());
        }
    })
    .on_connection_error(move |error: ConnectionErrorInfo| {
        if error.request.header("x-tell").is_some() {
            let url = error.request.url();
            told.borrow_mut().push(json!([error.code, error.message, error.context, url]));
        }
        std::future::ready(())
    })
}

fn hello(socket: &Socket) {
    socket.emit("auth", socket.auth()).unwrap();
}

async fn guard(Auth(auth): Auth<Value>) -> Result<(), ConnectError> {
    if auth["token"] == "open sesame" {
        return Ok(());
    }
    Err(ConnectError { message: "not authorized".into(), data: Some(json!({"hint": "say the words"})) })
}

/// Joins the rooms that the client asks for, and then lets it in unless it says no; if it wants to wait, once the door is opened.
async fn doorkeeper(socket: Socket, auth: Value, door: Rc<Notify>) -> Result<(), ConnectError> {
    for room in auth["rooms"].as_array().into_iter().flatten() {
        assert!(socket.join(room.as_str().unwrap()));
    }
    match auth["wait"] == true {
        true => door.notified().await,
        false => tokio::task::yield_now().await,
    }
    if auth["no"] == true { Err(ConnectError::new("as the client wants")) } else { Ok(()) }
}

/// Answers with what came, and emits it where no answer is wanted; `ask me` asks back first.
async fn echo(socket: Socket, event: Data, ack: Ack) {
    let name = event.elements().next().unwrap_or_default().to_owned();
    match name.as_str() {
        "\"ask me\"" => {
            let answer = socket
                .emit_with_ack("question", event.without_name().decode::<Value>().unwrap(), Duration::from_secs(5))
                .await;
            match answer {
                Ok(answer) => ack.send_data(&answer),
                Err(error) => ack.send(json!({"error": error.to_string()})).unwrap(),
            }
        }
        "\"kick me\"" => socket.disconnect(false),
        "\"close me\"" => socket.disconnect(true),
        _ if ack.is_wanted() => ack.send_data(&event.without_name()),
        // A socket's id is a room.
        _ => socket.nsp().sockets().to(socket.id()).emit_data(&event),
    }
}

/// A handler besides the echo, whose answer comes first.
async fn both(socket: Socket, Args(said): Args<Value>, ack: Ack) {
    ack.send("too late").unwrap();
    socket.emit("heard by both", said).unwrap();
}

/// Calls of the whole cluster. The target is `{"of": …, "to": […], "except": […], "local": …}`.
async fn cluster(socket: &Socket, call: &str, target: &Value, args: Value) -> Value {
    let names = |key: &str| -> Vec<String> {
        let names = target[key].as_array().into_iter().flatten();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let (rooms, except) = (names("to"), names("except"));
    let nsp = target["of"].as_str().map_or_else(|| socket.nsp(), |name| socket.io().of(name).unwrap());
    let mut sockets = rooms.iter().fold(nsp.sockets(), |sockets, room| sockets.to(room));
    sockets = except.iter().fold(sockets, |sockets, room| sockets.except(room));
    if target["local"] == true {
        sockets = sockets.local();
    }
    let text = || args[0].as_str().unwrap();
    match call {
        "emit" => json!(sockets.emit(text(), &args[1]).is_ok()),
        "emit with ack" => {
            answered(sockets.timeout(Duration::from_secs(3)).emit_with_ack(text(), &args[1]).await, |answer| {
                answer.map_or(Value::Null, |data| data.decode().unwrap())
            })
        }
        "fetch" => answered(sockets.fetch_sockets().await, |found| {
            json!({"id": found.id(), "rooms": found.rooms().collect::<Vec<_>>(), "data": found.data::<Value>(),
                "handshake": found.handshake()})
        }),
        "each" => {
            let mut done = Vec::new();
            for found in sockets.fetch_sockets().await.unwrap().answers {
                done.push(each(&found, text(), &args[1]).await);
            }
            json!(done)
        }
        "join" => json!(sockets.sockets_join(text()).is_ok()),
        "leave" => json!(sockets.sockets_leave(text()).is_ok()),
        "disconnect" => json!(sockets.disconnect_sockets(args[0] == true).is_ok()),
        "all rooms" => answered(nsp.all_rooms().await, Value::from),
        "server emit" => json!(nsp.server_side_emit(text(), &args[1]).is_ok()),
        "server emit with ack" => answered(nsp.server_side_emit_with_ack(text(), &args[1]).await, |answer| {
            answer.map_or(Value::Null, |data| data.decode().unwrap())
        }),
        other => panic!("{other}"),
    }
}

/// A call of one socket, wherever it is.
async fn each(found: &RemoteSocket, call: &str, arg: &Value) -> Value {
    let text = || arg.as_str().unwrap();
    match call {
        "emit" => json!(found.emit("word", arg).is_ok()),
        "join" => json!(found.join([text(), "second"]).is_ok()),
        "leave" => json!(found.leave(text()).is_ok()),
        "disconnect" => json!(found.disconnect(arg == true).is_ok()),
        "emit with ack" => match found.emit_with_ack("question", arg, Duration::from_secs(3)).await {
            Ok(answer) => answer.map_or(Value::Null, |data| data.decode().unwrap()),
            Err(error) => json!(error.to_string()),
        },
        other => panic!("{other}"),
    }
}

fn answered<T, E: FnMut(T) -> Value>(result: Result<Answers<T>, RequestError<T>>, value: E) -> Value
where
    RequestError<T>: std::fmt::Display,
{
    match result {
        Ok(answers) => json!({"answers": answers.answers.into_iter().map(value).collect::<Vec<_>>()}),
        Err(RequestError::Timeout { partial, .. }) => {
            json!({"timeout": true, "answers": partial.answers.into_iter().map(value).collect::<Vec<_>>()})
        }
        Err(RequestError::Left { left, partial }) => {
            json!({"left": left, "answers": partial.answers.into_iter().map(value).collect::<Vec<_>>()})
        }
        Err(RequestError::Bus { partial, .. }) => {
            json!({"bus": true, "answers": partial.answers.into_iter().map(value).collect::<Vec<_>>()})
        }
        Err(error) => json!({"error": error.to_string()}),
    }
}
