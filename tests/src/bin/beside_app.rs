//! The application of `node/application.mjs`, for roomd: what its clients and its log see is compared with what the official
//! server's do.
#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, process::ExitCode, time::Duration};

use roomd::{
    Ack, App, Args, Auth, Binary, Broadcast, ConnectError, Data, EncodeError, EventName, Name, Namespace, Reason,
    RequestError, Room, Socket, State,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the application has seen.
type Log = RefCell<Vec<Value>>;

/// A socket that is kept.
type Kept = RefCell<Option<Socket>>;

fn main() -> ExitCode {
    roomd::run(app)
}

fn app() -> App {
    App::new()
        .state(Log::default())
        .state(Kept::default())
        .on_stop(async |log: State<Log>| std::fs::write("seen at the end", Value::Array(log.take()).to_string()))
        .namespace("/", common)
        .namespace("/packets", |namespace| packets(common(namespace)))
        .namespace("/outgoing", |namespace| outgoing(common(namespace)))
        .namespace("/rooms", |namespace| rooms_told(common(namespace)))
        .namespace("/guarded", |namespace| guarded(common(namespace)))
        .namespace("/leaving", |namespace| common(namespace).on_connect(leaving))
        .namespace_matching("^/matching-[0-9]+$", common)
        .namespace_when(asked, common)
        .namespace("/log", |namespace| namespace.on("take", async |log: State<Log>, ack: Ack| ack.send((log.take(),))))
}

fn note(log: &Log, line: Value) {
    log.borrow_mut().push(line);
}

/// Whether it is in its own room, and the others.
fn rooms(socket: &Socket) -> Value {
    let mut rooms = socket.rooms();
    let own = rooms.iter().position(|room| room == socket.id());
    own.map(|place| rooms.remove(place));
    rooms.sort();
    let rooms = rooms.into_iter().map(Value::from);
    std::iter::once(json!(own.is_some())).chain(rooms).collect()
}

/// What every namespace here has.
fn common(namespace: Namespace) -> Namespace {
    namespace
        .on_connect(async |socket: Socket, log: State<Log>| note_connected(&socket, &log))
        .on_disconnecting(async |socket: Socket, Reason(reason): Reason, log: State<Log>| {
            note(&log, json!(["disconnecting", socket.id(), reason, rooms(&socket)]));
        })
        .on_disconnect(async |socket: Socket, Reason(reason): Reason, log: State<Log>| {
            note(&log, json!(["disconnect", socket.id(), reason, rooms(&socket), socket.is_connected()]));
        })
        .on("echo", async |socket: Socket, event: Data, ack: Ack| match ack.is_wanted() {
            true => ack.send_data(&event.without_name()),
            false => socket.emit_data(&event),
        })
        .on("typed", async |Args(value): Args<Value>, ack: Ack| ack.send((value,)))
        .on("twice", async |ack: Ack| ack.send("first"))
        .on("do", perform)
}

fn note_connected(socket: &Socket, log: &Log) {
    note(log, json!(["connect", socket.id(), rooms(socket), socket.namespace()]));
}

/// How something is sent, step by step.
#[derive(Deserialize, Default)]
#[serde(default)]
struct How {
    via: String,
    to: Option<Names>,
    except: Option<Names>,
    volatile: bool,
    local: bool,
    compress: Option<bool>,
    timeout: Option<u64>,
    event: String,
    arg: Value,
    room: Option<Names>,
    close: bool,
}

/// One name, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Names {
    fn all(&self) -> &[String] {
        match self {
            Names::One(name) => std::slice::from_ref(name),
            Names::Several(names) => names,
        }
    }
}

impl How {
    /// To others than the socket itself, or to all.
    fn chain<'a>(&'a self, socket: &'a Socket) -> Broadcast<'a> {
        let mut target = if self.via == "io" { socket.nsp().sockets() } else { socket.broadcast() };
        if let Some(within) = self.within() {
            target = target.timeout(within);
        }
        if self.volatile {
            target = target.volatile();
        }
        if let Some(compress) = self.compress {
            target = target.compress(compress);
        }
        if self.local {
            target = target.local();
        }
        if let Some(rooms) = &self.to {
            target = target.to(rooms.all());
        }
        if let Some(rooms) = &self.except {
            target = target.except(rooms.all());
        }
        target
    }

    /// Whether it is for the socket itself.
    fn is_own(&self) -> bool {
        self.via == "socket" && !self.local && self.to.is_none() && self.except.is_none()
    }

    fn within(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_millis)
    }

    fn rooms(&self) -> &[String] {
        self.room.as_ref().map_or(&[], Names::all)
    }

    fn send(&self, socket: &Socket) -> Result<(), EncodeError> {
        match self.is_own() {
            true if self.volatile => socket.volatile().emit(&self.event, (&self.arg,)),
            true => socket.compress(self.compress.unwrap_or(true)).emit(&self.event, (&self.arg,)),
            false => self.chain(socket).emit(&self.event, (&self.arg,)),
        }
    }
}

fn done<E>(result: Result<(), E>) -> Value {
    if result.is_ok() { "done".into() } else { "refused".into() }
}

fn nothing<E: std::fmt::Debug>(result: Result<(), E>) -> Value {
    result.unwrap();
    Value::Null
}

/// The calls that clients ask for.
async fn perform(
    socket: Socket,
    Args((call, arg)): Args<(String, Value)>,
    ack: Ack,
    log: State<Log>,
    kept: State<Kept>,
) -> Result<(), EncodeError> {
    let text = arg.as_str().unwrap_or_default();
    let how = How::deserialize(&arg).unwrap_or_default();
    let result = match call.as_str() {
        "join" => {
            match serde_json::from_value(arg.clone()).unwrap() {
                Names::One(room) => socket.join(&room),
                Names::Several(rooms) => socket.join(&rooms),
            };
            rooms(&socket)
        }
        "leave" => {
            socket.leave(text);
            rooms(&socket)
        }
        "rooms" => rooms(&socket),
        "send" => done(how.send(&socket)),
        "ask" => {
            let within = how.within().unwrap_or(Duration::from_secs(5));
            let answer = socket.emit_with_ack(&how.event, (&how.arg,), within).await;
            answer.map_or("too late".into(), |answer| json!({"answer": answer.ack_args::<Value>().unwrap()}))
        }
        "ask all" => ask_all(how.chain(&socket), &how).await,
        "set data" => nothing(socket.set_data(arg)),
        "fetch" => {
            let found = how.chain(&socket).fetch_sockets().await.unwrap();
            let told = found.answers.iter().map(|found| {
                let mut rooms: Vec<_> = found.rooms().filter(|room| *room != found.id()).collect();
                rooms.sort_unstable();
                json!({"id": found.id(), "rooms": rooms, "data": found.data::<Value>()})
            });
            told.collect()
        }
        "handshakes" => {
            let found = socket.nsp().to(socket.id()).fetch_sockets().await.unwrap();
            serde_json::to_value(found.answers[0].handshake()).unwrap()
        }
        "handshake" => handshake(&socket),
        "join_all" => nothing(how.chain(&socket).sockets_join(how.rooms())),
        "leave_all" => nothing(how.chain(&socket).sockets_leave(how.rooms())),
        "disconnect_all" => nothing(how.chain(&socket).disconnect_sockets(how.close)),
        "disconnect" => {
            socket.disconnect(arg == true);
            Value::Null
        }
        "disconnect and go on" => {
            socket.disconnect(false);
            note(&log, json!(["rooms", rooms(&socket)]));
            socket.join("late");
            note(&log, json!(["rooms", rooms(&socket)]));
            socket.emit("late", 1)?;
            socket.disconnect(true);
            note(&log, json!(["connected", socket.is_connected()]));
            Value::Null
        }
        "keep" => {
            *kept.borrow_mut() = Some(socket.clone());
            Value::Null
        }
        "kept" => {
            let kept = kept.borrow().clone().unwrap();
            kept.join("late");
            kept.leave("late");
            kept.emit(text, 1)?;
            kept.to(socket.id()).emit("from the kept one", 1)?;
            socket.nsp().to(kept.id()).emit(text, 2)?;
            kept.disconnect(true);
            json!([kept.is_connected(), rooms(&kept), kept.data::<Value>()])
        }
        "values" => {
            values(&socket)?;
            Value::Null
        }
        "wait" => {
            tokio::time::sleep(Duration::from_millis(arg.as_u64().unwrap())).await;
            note(&log, json!(["waited"]));
            Value::Null
        }
        "server side" => done(socket.nsp().server_side_emit(text, 1)),
        other => panic!("{other}"),
    };
    ack.send((result,))
}

async fn ask_all(target: Broadcast<'_>, how: &How) -> Value {
    let list = |answers: roomd::Answers<Option<Data>>| {
        let answers = answers.answers.into_iter();
        let texts = answers.map(|answer| answer.map_or(Value::Null, |answer| answer.decode().unwrap()));
        let mut texts: Vec<Value> = texts.collect();
        texts.sort_by_key(ToString::to_string);
        texts
    };
    match target.emit_with_ack(&how.event, (&how.arg,)).await {
        Ok(answers) => json!({"answers": list(answers)}),
        Err(error @ RequestError::Timeout { .. }) => json!({"partial": list(error.into_partial())}),
        Err(error) => json!(error.to_string()),
    }
}

fn handshake(socket: &Socket) -> Value {
    let handshake = socket.handshake().unwrap();
    let one = ["x-plain", "cookie", "origin", "X-Upper", "x-twice"].map(|name| handshake.header(name));
    let query = ["plain", "enc oded", "empty", "none", "twice"].map(|name| handshake.query(name));
    json!({
        "one": one,
        "query": query,
        "url": handshake.url(),
        "address": handshake.address(),
        "xdomain": handshake.xdomain(),
        "secure": handshake.secure(),
        "time": handshake.time(),
        "issued": handshake.issued(),
        "auth": socket.auth(),
    })
}

/// What has no JSON form of its own, or an odd one.
fn values(socket: &Socket) -> Result<(), EncodeError> {
    #[derive(serde::Serialize)]
    struct Nested {
        a: (Inner, Binary),
    }
    #[derive(serde::Serialize)]
    struct Inner {
        b: Binary,
    }
    let bytes = |bytes: &[u8]| Binary::from(bytes.to_vec());
    socket.emit("not a number", f64::NAN)?;
    socket.emit("infinite", vec![f64::INFINITY, f64::NEG_INFINITY])?;
    socket.emit("none", vec![None::<u8>, None])?;
    socket.emit("date", "1970-01-01T00:00:00.000Z")?;
    socket.emit("negative", -0.0)?;
    socket.emit("whole", 1.0)?;
    socket.emit("large", 9_007_199_254_740_992_u64)?;
    socket.emit("small", 1e-7)?;
    socket.emit("huge", 1e21)?;
    socket.emit("nested", Nested { a: (Inner { b: bytes(&[1, 2, 3]) }, bytes(&[])) })?;
    socket.emit("text", "\0\u{2028}\u{1f600}\"\\/\u{7f}")?;
    socket.emit("", json!({"": ""}))?;
    socket.emit("deep", json!([[[[[[]]]]]]))?;
    socket.emit("several", (1, "two", (), [4], std::collections::BTreeMap::from([("five", bytes(&[5]))])))?;
    socket.emit("nothing", ())
}

fn packets(namespace: Namespace) -> Namespace {
    let mut namespace = namespace
        .use_packet_middleware(async |socket: Socket, EventName(event): EventName, log: State<Log>| {
            note(&log, json!(["first middleware", event]));
            match event.as_str() {
                "refused" => return Err("not this one"),
                "slow" => tokio::time::sleep(Duration::from_millis(20)).await,
                "leaves" => socket.disconnect(false),
                _ => {}
            }
            Ok(())
        })
        .use_packet_middleware(async |EventName(event): EventName, Args(arg): Args<Value>, log: State<Log>| {
            note(&log, json!(["second middleware", event, arg]));
        })
        .on_any(async |EventName(event): EventName, log: State<Log>| note(&log, json!(["any", event])))
        .on_any(async |EventName(event): EventName, log: State<Log>| note(&log, json!(["any, again", event])));
    for event in ["plain", "refused", "slow", "leaves"] {
        namespace = namespace.on(event, async move |socket: Socket, log: State<Log>, ack: Ack| {
            note(&log, json!(["handler", event]));
            socket.emit("answered", event)?;
            ack.send(event)
        });
    }
    namespace
}

fn outgoing(namespace: Namespace) -> Namespace {
    namespace
        .on_any_outgoing(async |socket: Socket, EventName(event): EventName, data: Data, log: State<Log>| {
            let args = data.without_name().decode::<Vec<Value>>().unwrap();
            let line = [json!("outgoing"), json!(socket.id()), json!(event)].into_iter().chain(args);
            note(&log, line.collect());
        })
        .on_any_outgoing(async |socket: Socket, EventName(event): EventName, log: State<Log>| {
            note(&log, json!(["outgoing, again", socket.id(), event]));
        })
        .on_connect(async |socket: Socket, log: State<Log>| {
            note_connected(&socket, &log);
            socket.emit("welcome", 1)
        })
}

fn rooms_told(namespace: Namespace) -> Namespace {
    namespace
        .on_create_room(async |Room(room): Room, log: State<Log>| note(&log, json!(["create-room", room])))
        .on_delete_room(async |Room(room): Room, log: State<Log>| note(&log, json!(["delete-room", room])))
        .on_join_room(async |Room(room): Room, socket: Socket, log: State<Log>| {
            note(&log, json!(["join-room", room, socket.id()]));
        })
        .on_leave_room(async |Room(room): Room, socket: Socket, log: State<Log>| {
            note(&log, json!(["leave-room", room, socket.id()]));
        })
        .use_middleware(async |socket: Socket, Auth(auth): Auth<Value>| {
            if auth["join"] == true {
                socket.join("early");
            }
            if auth["no"] == true { Err(ConnectError::new("no")) } else { Ok(()) }
        })
}

fn guarded(namespace: Namespace) -> Namespace {
    namespace
        .use_middleware(async |socket: Socket, Auth(auth): Auth<Value>, log: State<Log>| {
            note(&log, json!(["asked", auth["mode"], socket.is_connected(), rooms(&socket)]));
            let slow = || tokio::time::sleep(Duration::from_millis(20));
            match auth["mode"].as_str().unwrap_or_default() {
                "emit" => socket.emit("early", 1).unwrap(),
                "join" => _ = socket.join(["early", "bird"]),
                "disconnect" => socket.disconnect(false),
                "data" => {
                    let data = Some(json!({"code": 7, "list": [null, "x"]}));
                    return Err(ConnectError { message: "with data".into(), data });
                }
                "error" => return Err("with \"quotes\" and \u{1f600}".into()),
                "empty" => return Err("".into()),
                "slow" => slow().await,
                "slow error" => {
                    slow().await;
                    return Err("at last".into());
                }
                _ => {}
            }
            Ok(())
        })
        .use_middleware(async |socket: Socket, Auth(auth): Auth<Value>, log: State<Log>| {
            note(&log, json!(["asked again", auth["mode"], rooms(&socket)]));
            Ok(())
        })
}

async fn leaving(socket: Socket, Auth(auth): Auth<Value>, log: State<Log>) -> Result<(), EncodeError> {
    note_connected(&socket, &log);
    socket.emit("before", 1)?;
    if auth["mode"] != "stays" {
        socket.disconnect(auth["mode"] == "close");
    }
    socket.emit("behind", 1)?;
    socket.join("late");
    note(&log, json!(["joined", rooms(&socket), socket.is_connected()]));
    Ok(())
}

async fn asked(Name(name): Name, Auth(auth): Auth<Value>, log: State<Log>) -> Result<bool, &'static str> {
    if !name.starts_with("/asked-") {
        return Ok(false);
    }
    note(&log, json!(["function", name, auth]));
    tokio::time::sleep(Duration::from_millis(1)).await;
    if auth["fails"] == true { Err("fails") } else { Ok(auth["yes"] == true) }
}
