//! A real-time server on every core of one host: Socket.IO workers, the balancer in front of them, the bus between them and the
//! supervisor over them, in one executable. The official Socket.IO clients (3.x, 4.x) connect as they are.
//!
//! An application says which namespaces there are and what happens in them; [`run`] is the rest of `main`:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use roomd::{Ack, App, Args, Socket};
//!
//! fn main() -> ExitCode {
//!     roomd::run(app)
//! }
//!
//! fn app() -> App {
//!     App::new().namespace("/", |namespace| {
//!         namespace
//!             .on_connect(async |socket: Socket| {
//!                 socket.join("lobby");
//!             })
//!             .on("say", async |socket: Socket, Args(text): Args<String>, ack: Ack| {
//!                 // To everybody else in the room, whichever worker they are on.
//!                 socket.to("lobby").emit("said", (socket.id(), text))?;
//!                 ack.send("done")
//!             })
//!     })
//! }
//! ```
//!
//! Built, this program has all commands of roomd: it starts a cluster by itself or as `up`, with one worker for each core, and
//! `status`, `reload`, `scale`, `emit`, `stop` and others talk to it (`--help` lists them). A page connects as to every Socket.IO
//! server:
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000");
//! socket.on("said", (who, text) => console.log(who, text));
//! console.log(await socket.emitWithAck("say", "hello"));
//! ```
//!
//! # How it runs
//!
//! - Each worker is a process with **one thread**; `app` is called once in each. Handlers need not be `Send`, may share [`State`] by
//!   `Rc` and `RefCell`, and must not block: whatever waits is awaited.
//! - Handlers are async closures or functions. They **ask for what they need by the types of their arguments**, in any order:
//!   [`FromCall`] has the table. They return nothing, or a `Result` whose error is logged and counted.
//! - What is sent to a room, or asked of one, is for the **whole cluster**, unless `local()` is said.
//! - `emit` takes what serde can serialize: a **tuple is several arguments**, `()` none, everything else one. (An array of
//!   fixed length, `[1, 2]`, is a tuple to serde; a slice or `Vec` is not.) Bytes are [`Binary`].
//! - A session lives in one worker. When that leaves or dies its clients connect again, as new sockets; what must outlast that is
//!   kept outside.
//!
//! # What you want, and where it is
//!
//! | to | use |
//! | --- | --- |
//! | declare namespaces, also by a pattern or a function | [`App::namespace`], [`App::namespace_matching`], [`App::namespace_when`] |
//! | refuse clients | [`Namespace::use_middleware`] with [`Auth`] and [`ConnectError`]; before there is a session [`App::allow_request`] |
//! | handle events | [`Namespace::on`] with [`Args`] and [`Ack`], [`Namespace::on_any`]; [`Namespace::use_packet_middleware`] to refuse some |
//! | know who comes and goes | [`Namespace::on_connect`], [`Namespace::on_disconnecting`], [`Namespace::on_disconnect`] with [`Reason`] |
//! | send to one client | [`Socket::emit`]; [`Socket::emit_with_ack`] to ask it; [`Socket::volatile`], [`Socket::timeout`], [`Socket::compress`] before |
//! | send to many | [`Socket::to`], [`Socket::broadcast`] without the sender; [`Io::to`], [`Io::emit`]; all of them a [`Broadcast`] |
//! | use rooms | [`Socket::join`], [`Socket::leave`], [`Socket::rooms`]; for many sockets [`Broadcast::sockets_join`] |
//! | keep something with a client | [`Socket::set_data`], [`Socket::data`] |
//! | keep something in the worker | [`App::state`], then [`State`] |
//! | see who is connected, everywhere | [`Broadcast::fetch_sockets`], which finds [`RemoteSocket`]s; [`Namespaced::all_rooms`] |
//! | know what a client's request was | [`Socket::handshake`], [`Socket::peer`] |
//! | hear of rooms that begin and end | [`Namespace::on_create_room`], [`on_join_room`](Namespace::on_join_room) and so on |
//! | speak with the other workers | [`Namespaced::server_side_emit`], [`Namespace::on_server_side`] |
//! | serve HTTP on the same port | [`App::http`]; from there to the sockets by a [`Handle`] |
//! | begin and end things with a worker | [`App::on_start`], [`App::on_stop`]; one job for the host: [`App::once_per_host`] |
//! | have a configuration of your own | the table `[app]` of `cluster.toml`: a function with an argument, see [`MakeApp`] |
//! | set headers, see refusals | [`App::initial_headers`], [`App::headers`], [`App::on_connection_error`] |
//! | check an application in a test | [`App::check`] |
//!
//! Methods have the names of Node's API. `docs/from-node.md` in the repository has every line of that beside what it is here, and
//! what differs; `examples/` has whole programs (a chat, a dashboard, a shared document, a game, notifications by HTTP);
//! `cluster.toml` every key of the configuration, and the README the commands and how to run it.
//!
//! # What can go wrong
//!
//! | error | of |
//! | --- | --- |
//! | [`EncodeError`] | `emit` and all that sends: a value has no JSON form, or the event's name is reserved. Nothing was sent |
//! | [`AckError`] | asking one client: no answer in time, or the client has gone |
//! | [`RequestError`] | asking many clients or servers: it holds the answers that did come, [`RequestError::into_partial`] |
//! | [`WriteError`] | orders to the other workers, such as `sockets_join`: too long to travel |
//! | [`Rejection`] | an argument that could not be taken: its handler is not called |
//! | [`AppError`] | an application that cannot run, found at the start |
//!
//! `emit` never waits and never fails since a client is slow or gone. Who reads too slowly is disconnected; what could not go out
//! on a bus that is down reaches the clients of the own worker, and is counted.
mod admin;
mod application;
mod audit;
mod cli;
mod command;
mod config;
mod control;
mod emit;
// For tests that run the hub without a supervisor.
#[doc(hidden)]
pub mod hub;
mod human;
mod inherit;
mod last_words;
mod lead;
mod ledger;
mod limits;
mod logging;
mod places;
mod process;
mod process_figures;
mod program;
mod reaper;
mod recycle;
mod rollout;
mod slot;
mod status;
mod supervise;
mod systemd;
mod top;
mod up;
mod worker;

pub use application::MakeApp;
pub use program::run;
use program::{Cluster, Load};
#[doc(inline)]
pub use roomd_worker::{chat, socketio::*};

/// The examples in the documents compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/from-node.md")]
struct Documents;
