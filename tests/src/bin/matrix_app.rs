//! The application of the matrix of calls: the counterpart of `node/matrix.mjs`, told what to do by clients in `/control`.
#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, collections::HashMap, process::ExitCode, rc::Rc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use indexmap::IndexMap;
use roomd::{
    Ack, Answers, App, Args, Auth, Binary, Broadcast, Data, Io, Namespace, RemoteSocket, RequestError, ServerAck,
    Socket,
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeTuple};
use serde_json::{Map, Number, Value, json};

/// What other servers said in each namespace, until it is asked for.
type Heard = Rc<RefCell<HashMap<&'static str, Vec<Value>>>>;

fn main() -> ExitCode {
    roomd::run(|| {
        let heard = Heard::default();
        let [main, admin] = ["/", "/admin"].map(|name| talking(name, heard.clone()));
        App::new().namespace("/", main).namespace("/admin", admin).namespace("/control", |namespace| {
            namespace.on_connect(called).on(
                "cluster",
                move |io: Io, Args((call, target, args)): Args<(String, Target, Vec<Value>)>, ack: Ack| {
                    let heard = heard.clone();
                    async move {
                        let result = match call.as_str() {
                            "heard" => json!(heard.borrow_mut().remove(target.of.as_str()).unwrap_or_default()).into(),
                            call => cluster(&io, call, &target, &args).await,
                        };
                        ack.send((result,)).unwrap();
                    }
                },
            )
        })
    })
}

async fn called(socket: Socket, Auth(auth): Auth<Value>) {
    socket.set_data(json!({"from": auth["name"]})).unwrap();
}

fn talking(name: &'static str, heard: Heard) -> impl FnOnce(Namespace) -> Namespace {
    move |namespace| {
        namespace
            .on_connect(called)
            .on_server_side("said", move |event: Data, ack: ServerAck| {
                let mut args: Vec<Value> = event.without_name().decode().unwrap();
                heard.borrow_mut().entry(name).or_default().push(json!(args));
                async move {
                    if ack.is_wanted() {
                        ack.send(if args.is_empty() { Value::Null } else { args.remove(0) }).unwrap();
                    }
                }
            })
            .on_server_side("silent", async || {})
    }
}

/// Whom and how a call means.
#[derive(Deserialize)]
#[serde(default)]
struct Target {
    of: String,
    to: Vec<Room>,
    except: Vec<Room>,
    local: bool,
    volatile: bool,
    compress: Option<bool>,
    timeout: u64,
}

impl Default for Target {
    fn default() -> Self {
        let (to, except) = Default::default();
        Target { of: "/".into(), to, except, local: false, volatile: false, compress: None, timeout: 3000 }
    }
}

/// Rooms' names are texts here: a number is its text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Room {
    Text(String),
    Number(Number),
}

impl Room {
    fn name(&self) -> String {
        match self {
            Room::Text(text) => text.clone(),
            Room::Number(number) => number.to_string(),
        }
    }
}

async fn cluster(io: &Io, call: &str, target: &Target, args: &[Value]) -> Any {
    let nsp = io.of(&target.of).unwrap().timeout(within(target));
    let rooms = |rooms: &[Room]| rooms.iter().map(Room::name).collect::<Vec<_>>();
    let (to, except) = (rooms(&target.to), rooms(&target.except));
    let sockets = select(nsp.sockets().to(&to).except(&except), target);
    match call {
        "emit" => sockets.emit(name(args), several(args)).unwrap(),
        "emit with ack" => {
            return answered(sockets.emit_with_ack(name(args), several(args)).await, any);
        }
        "fetch" => return answered(sockets.fetch_sockets().await, told),
        "join" => sockets.sockets_join(&names(&args[0])).unwrap(),
        "leave" => sockets.sockets_leave(&names(&args[0])).unwrap(),
        "disconnect" => sockets.disconnect_sockets(args[0] == true).unwrap(),
        "all rooms" => return answered(nsp.all_rooms().await, |room| Value::from(room).into()),
        "server emit" => nsp.server_side_emit(name(args), several(args)).unwrap(),
        "server emit with ack" => {
            return answered(nsp.server_side_emit_with_ack(name(args), several(args)).await, any);
        }
        "each" => {
            let found = sockets.fetch_sockets().await.unwrap().answers;
            let each = found.iter().map(|found| each(found, within(target), name(args), &args[1..]));
            let mut answers = Vec::new();
            for one in each {
                answers.extend(one.await);
            }
            if args[0] == "emit with ack" {
                return answers_of(false, answers);
            }
        }
        other => panic!("{other}"),
    }
    Value::Null.into()
}

fn within(target: &Target) -> Duration {
    Duration::from_millis(target.timeout)
}

fn select<'a>(mut sockets: Broadcast<'a>, target: &Target) -> Broadcast<'a> {
    if target.local {
        sockets = sockets.local();
    }
    if target.volatile {
        sockets = sockets.volatile();
    }
    match target.compress {
        Some(compress) => sockets.compress(compress),
        None => sockets,
    }
}

/// A call of one socket, wherever it is.
async fn each(found: &RemoteSocket, within: Duration, call: &str, args: &[Value]) -> Option<Any> {
    match call {
        "emit" => found.emit(name(args), several(args)).unwrap(),
        "join" => found.join(&names(&args[0])).unwrap(),
        "leave" => found.leave(&names(&args[0])).unwrap(),
        "disconnect" => found.disconnect(args[0] == true).unwrap(),
        "emit with ack" => {
            let answer = found.emit_with_ack(name(args), several(args), within).await;
            return Some(answer.map_or_else(|_| Value::from("no answer").into(), any));
        }
        other => panic!("{other}"),
    }
    None
}

fn told(found: RemoteSocket) -> Any {
    json!({"id": found.id(), "rooms": found.rooms().collect::<Vec<_>>(), "data": found.data::<Value>(),
        "handshake": found.handshake()})
    .into()
}

fn any(answer: Option<Data>) -> Any {
    let Some(data) = answer else { return Value::Null.into() };
    // `Binary` is also what Node writes a buffer as where there are no bytes.
    if data.attachments().is_empty() { Any::Value(data.decode().unwrap()) } else { data.decode().unwrap() }
}

fn answered<T>(result: Result<Answers<T>, RequestError<T>>, value: fn(T) -> Any) -> Any
where
    RequestError<T>: std::fmt::Debug,
{
    let (timeout, found) = match result {
        Ok(found) => (false, found),
        Err(RequestError::Timeout { partial, .. }) => (true, partial),
        Err(error) => panic!("{error:?}"),
    };
    answers_of(timeout, found.answers.into_iter().map(value).collect())
}

fn answers_of(timeout: bool, answers: Vec<Any>) -> Any {
    let mut object = vec![("answers".to_owned(), Any::List(answers))];
    if timeout {
        object.push(("timeout".to_owned(), Value::Bool(true).into()));
    }
    Any::Object(object.into_iter().collect())
}

fn name(args: &[Value]) -> &str {
    args[0].as_str().unwrap()
}

/// One room, or several in an array.
fn names(rooms: &Value) -> Vec<String> {
    let room = |room: &Value| Room::deserialize(room).unwrap().name();
    rooms.as_array().map_or_else(|| vec![room(rooms)], |rooms| rooms.iter().map(room).collect())
}

/// The arguments behind an event's name.
fn several(args: &[Value]) -> Several {
    Several(args[1..].iter().map(made).collect())
}

/// Values whose number is not known before: a tuple is several arguments.
struct Several(Vec<Any>);

impl Serialize for Several {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|value| tuple.serialize_element(value))?;
        tuple.end()
    }
}

/// Any value, bytes too.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    #[serde(skip_deserializing)]
    Float(f64),
    Bytes(Binary),
    List(Vec<Any>),
    Object(IndexMap<String, Any>),
    Value(Value),
}

impl From<Value> for Any {
    fn from(value: Value) -> Any {
        Any::Value(value)
    }
}

/// The value that is told in `lines.mjs`'s way.
fn made(told: &Value) -> Any {
    match told {
        Value::Array(list) => Any::List(list.iter().map(made).collect()),
        Value::Object(object) => special(object).unwrap_or_else(|| {
            let set = object.iter().filter(|(_, value)| value["$js"] != "undefined");
            Any::Object(set.map(|(key, value)| (key.clone(), made(value))).collect())
        }),
        plain => plain.clone().into(),
    }
}

fn special(object: &Map<String, Value>) -> Option<Any> {
    if let Some(Value::String(base64)) = object.get("$bytes") {
        return Some(Any::Bytes(STANDARD.decode(base64).unwrap().into()));
    }
    if let Some(Value::String(text)) = object.get("$text") {
        return Some(Value::from(text.repeat(object["times"].as_u64()? as usize)).into());
    }
    if let Some(Value::Number(bytes)) = object.get("$zeros") {
        return Some(Any::Bytes(vec![0; bytes.as_u64()? as usize].into()));
    }
    Some(match object.get("$js")?.as_str()? {
        "undefined" => Value::Null.into(),
        "NaN" => Any::Float(f64::NAN),
        "Infinity" => Any::Float(f64::INFINITY),
        "-0" => Any::Float(-0.0),
        date => Value::from(date).into(),
    })
}
