//! A game: one loop for all players of the host, wherever they are connected. It runs in one worker at a time; when that one dies,
//! another goes on from the last state that it has heard.
//!
//! `cargo run --release --example game`, then open <http://127.0.0.1:3000> in two tabs, and `roomd kill 0`.

use std::{cell::RefCell, collections::BTreeMap, process::ExitCode, time::Duration};

use axum::{Router, response::Html, routing::get};
use roomd::{App, Args, Io, RequestError, ServerEmitError, Socket, State};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

/// Time between two steps of the world.
const STEP: Duration = Duration::from_millis(50);
/// Steps between two copies of the world for the other workers.
const COPY_EVERY: u64 = 10;
/// The field's width and height, how far a step leads, and how near a coin is taken.
const FIELD: f64 = 100.0;
const PACE: f64 = 1.5;
const REACH: f64 = 4.0;

/// What a player's keys say: -1, 0 or 1 in each direction.
#[derive(Serialize, Deserialize, Clone, Copy, Default)]
struct Keys {
    x: i8,
    y: i8,
}

#[derive(Serialize, Deserialize, Clone)]
struct Player {
    x: f64,
    y: f64,
    coins: u32,
}

/// What everybody sees.
#[derive(Serialize, Deserialize, Clone)]
struct World {
    step: u64,
    coin: (f64, f64),
    players: BTreeMap<String, Player>,
}

/// What each worker knows. Only the one with the loop changes the world; the others keep the copy they heard last.
struct Game {
    world: World,
    keys: BTreeMap<String, Keys>,
}

type Shared = State<RefCell<Game>>;

fn main() -> ExitCode {
    roomd::run(app)
}

fn app() -> App {
    let world = World { step: 0, coin: (FIELD / 2.0, FIELD / 2.0), players: BTreeMap::new() };
    App::new()
        .state(RefCell::new(Game { world, keys: BTreeMap::new() }))
        .namespace("/", |namespace| {
            namespace
                .on_connect(async |socket: Socket, game: Shared| pressed(&socket, Keys::default(), &game))
                .on("keys", async |socket: Socket, Args(keys): Args<Keys>, game: Shared| pressed(&socket, keys, &game))
                .on_disconnect(async |socket: Socket, game: Shared| {
                    game.borrow_mut().keys.remove(socket.id());
                    socket.nsp().server_side_emit("left", socket.id())
                })
                .on_server_side("keys", async |Args((player, keys)): Args<(String, Keys)>, game: Shared| {
                    game.borrow_mut().keys.insert(player, keys);
                })
                .on_server_side("left", async |Args(player): Args<String>, game: Shared| {
                    game.borrow_mut().keys.remove(&player);
                })
                .on_server_side("world", async |Args(world): Args<World>, game: Shared| {
                    game.borrow_mut().world = world;
                })
        })
        .once_per_host(play)
        .http(|_| Router::new().route("/", get(async || Html(include_str!("game.html")))))
}

/// A player's keys are known to every worker, as the loop may run in any of them, and soon in another.
fn pressed(socket: &Socket, keys: Keys, game: &Shared) -> Result<(), ServerEmitError> {
    let keys = Keys { x: keys.x.signum(), y: keys.y.signum() };
    game.borrow_mut().keys.insert(socket.id().to_owned(), keys);
    socket.nsp().server_side_emit("keys", (socket.id(), keys))
}

/// The loop. What a client cannot take now it gets with the next step: volatile.
async fn play(io: Io, game: Shared) -> Result<(), String> {
    let players = io.of("/").ok_or("no namespace")?;
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Those who were with a worker that died said no goodbye, and nobody may have heard of those who came meanwhile.
    let present = players.sockets().fetch_sockets().await;
    let present = present.unwrap_or_else(RequestError::into_partial).answers;
    {
        let game = &mut *game.borrow_mut();
        game.keys.retain(|id, _| present.iter().any(|socket| socket.id() == id));
        for socket in present {
            game.keys.entry(socket.id().to_owned()).or_default();
        }
    }
    loop {
        steps.tick().await;
        let world = {
            let game = &mut *game.borrow_mut();
            step(game);
            game.world.clone()
        };
        players.sockets().volatile().emit("world", &world).map_err(|error| error.to_string())?;
        if world.step.is_multiple_of(COPY_EVERY) {
            players.server_side_emit("world", &world).map_err(|error| error.to_string())?;
        }
    }
}

fn step(Game { world, keys }: &mut Game) {
    world.step += 1;
    world.players.retain(|id, _| keys.contains_key(id));
    for (id, keys) in keys {
        let middle = FIELD / 2.0;
        let player = world.players.entry(id.clone()).or_insert(Player { x: middle, y: middle, coins: 0 });
        player.x = (player.x + PACE * f64::from(keys.x)).clamp(0.0, FIELD);
        player.y = (player.y + PACE * f64::from(keys.y)).clamp(0.0, FIELD);
        if (player.x - world.coin.0).hypot(player.y - world.coin.1) < REACH {
            player.coins += 1;
            // The next one lies somewhere else; where exactly is nobody's secret.
            world.coin = ((world.coin.0 * 7.0 + 31.0) % FIELD, (world.coin.1 * 11.0 + 17.0) % FIELD);
        }
    }
}
