// The application of tests/src/bin/beside_app.rs, for the official server: what its clients and its log see is compared.
// Usage: application.mjs; its first line tells the port.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { answer, tell } from "./lines.mjs";

const http = createServer((request, response) => response.writeHead(404).end());
const io = new Server(http, { pingInterval: 60000, connectTimeout: 1000 });
let lines = [];
const log = (...line) => lines.push(line);
const rooms = (socket) => [socket.rooms.has(socket.id), ...[...socket.rooms].filter((room) => room !== socket.id).sort()];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const tried = (work) => {
  try {
    work();
    return "done";
  } catch {
    return "refused";
  }
};
let kept;

// How something is sent, step by step.
function chain(socket, { via, to, except, volatile, local, compress, timeout }) {
  let target = { socket, io: socket.nsp, broadcast: socket.broadcast }[via];
  if (timeout !== undefined) target = target.timeout(timeout);
  if (volatile) target = target.volatile;
  if (compress !== undefined) target = target.compress(compress);
  if (local) target = target.local;
  if (to) target = target.to(to);
  if (except) target = target.except(except);
  return target;
}

const calls = {
  join: (socket, room) => (socket.join(room), rooms(socket)),
  leave: (socket, room) => (socket.leave(room), rooms(socket)),
  rooms,
  send: (socket, how) => tried(() => chain(socket, how).emit(how.event, how.arg)),
  ask: (socket, how) => chain(socket, how).emitWithAck(how.event, how.arg).then((answer) => ({ answer: answer ?? null }), () => "too late"),
  "ask all": (socket, how) => chain(socket, how).emitWithAck(how.event, how.arg).then((answers) => ({ answers: answers.sort() }), ({ responses }) => ({ partial: responses.sort() })),
  "set data": (socket, data) => void (socket.data = data),
  fetch: async (socket, how) => (await chain(socket, how).fetchSockets()).map(({ id, rooms, data }) => ({ id, rooms: [...rooms].filter((room) => room !== id).sort(), data })),
  handshakes: async (socket) => (await socket.nsp.in(socket.id).fetchSockets())[0].handshake,
  handshake: ({ handshake }) => ({
    one: ["x-plain", "cookie", "origin", "X-Upper", "x-twice"].map((name) => handshake.headers[name.toLowerCase()] ?? null),
    query: ["plain", "enc oded", "empty", "none", "twice"].map((name) => handshake.query[name] ?? null),
    url: handshake.url,
    address: handshake.address,
    xdomain: handshake.xdomain,
    secure: handshake.secure,
    time: handshake.time,
    issued: handshake.issued,
    auth: handshake.auth,
  }),
  join_all: (socket, { via, to, except, room }) => void chain(socket, { via, to, except }).socketsJoin(room),
  leave_all: (socket, { via, to, except, room }) => void chain(socket, { via, to, except }).socketsLeave(room),
  disconnect_all: (socket, { via, to, except, close }) => void chain(socket, { via, to, except }).disconnectSockets(close),
  disconnect: (socket, close) => void socket.disconnect(close),
  "disconnect and go on": (socket) => {
    socket.disconnect();
    log("rooms", rooms(socket));
    socket.join("late");
    log("rooms", rooms(socket));
    socket.emit("late", 1);
    socket.disconnect(true);
    log("connected", socket.connected);
  },
  keep: (socket) => void (kept = socket),
  kept: (socket, event) => {
    kept.join("late");
    kept.leave("late");
    kept.emit(event, 1);
    kept.to(socket.id).emit("from the kept one", 1);
    socket.nsp.to(kept.id).emit(event, 2);
    kept.disconnect(true);
    return [kept.connected, rooms(kept), kept.data];
  },
  values(socket) {
    const values = {
      "not a number": NaN, infinite: [Infinity, -Infinity], none: [null, undefined], date: new Date(0), negative: -0, whole: 1.0, large: 2 ** 53 + 1, small: 1e-7, huge: 1e21,
      nested: { a: [{ b: Buffer.from([1, 2, 3]) }, Buffer.from([])] }, text: "\u0000\u2028\u{1f600}\"\\/\u007f", "": { "": "" }, deep: [[[[[[]]]]]],
    };
    for (const [event, value] of Object.entries(values)) socket.emit(event, value);
    socket.emit("several", 1, "two", null, [4], { five: Buffer.from([5]) });
    socket.emit("nothing");
  },
  wait: (socket, ms) => pause(ms).then(() => log("waited")),
  "server side": (socket, event) => tried(() => socket.nsp.serverSideEmit(event, 1)),
};

// What every namespace here has.
function common(nsp, more = () => {}) {
  nsp.on("connection", (socket) => {
    log("connect", socket.id, rooms(socket), socket.nsp.name);
    socket.on("disconnecting", (reason) => log("disconnecting", socket.id, reason, rooms(socket)));
    socket.on("disconnect", (reason) => log("disconnect", socket.id, reason, rooms(socket), socket.connected));
    socket.on("echo", (...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      ack ? ack(...args) : socket.emit("echo", ...args);
    });
    socket.on("typed", (value, ack) => ack(value));
    socket.on("twice", (ack) => (ack("first"), ack("second")));
    socket.on("do", async (call, arg, ack) => {
      const result = await calls[call](socket, arg);
      ack?.(result === undefined ? null : result);
    });
    more(socket);
  });
  return nsp;
}

common(io.of("/"));
common(io.of("/packets"), (socket) => {
  socket.use(([event], next) => {
    log("first middleware", event);
    if (event === "refused") return next(new Error("not this one"));
    if (event === "slow") return void setTimeout(next, 20);
    if (event === "leaves") socket.disconnect();
    next();
  });
  socket.use(([event, arg], next) => {
    log("second middleware", event, arg === undefined || typeof arg === "function" ? null : arg);
    next();
  });
  socket.on("error", () => {});
  socket.onAny((event) => log("any", event));
  socket.onAny((event) => log("any, again", event));
  for (const event of ["plain", "refused", "slow", "leaves"]) {
    socket.on(event, (...args) => {
      log("handler", event);
      socket.emit("answered", event);
      if (typeof args.at(-1) === "function") args.at(-1)(event);
    });
  }
});
common(io.of("/outgoing"), (socket) => {
  socket.onAnyOutgoing((event, ...args) => log("outgoing", socket.id, event, ...args));
  socket.onAnyOutgoing((event) => log("outgoing, again", socket.id, event));
  socket.emit("welcome", 1);
});
common(io.of("/rooms"));
for (const event of ["create-room", "delete-room", "join-room", "leave-room"]) io.of("/rooms").adapter.on(event, (room, id) => log(event, room, ...(id ? [id] : [])));
io.of("/rooms").use((socket, next) => {
  if (socket.handshake.auth.join) socket.join("early");
  next(socket.handshake.auth.no ? new Error("no") : undefined);
});
const guarded = common(io.of("/guarded"));
guarded.use((socket, next) => {
  const { mode } = socket.handshake.auth;
  log("asked", mode, socket.connected, rooms(socket));
  if (mode === "emit") socket.emit("early", 1);
  if (mode === "join") socket.join(["early", "bird"]);
  if (mode === "disconnect") socket.disconnect();
  if (mode === "data") return next(Object.assign(new Error("with data"), { data: { code: 7, list: [null, "x"] } }));
  if (mode === "error") return next(new Error("with \"quotes\" and \u{1f600}"));
  if (mode === "empty") return next(new Error(""));
  if (mode === "slow") return void setTimeout(next, 20);
  if (mode === "slow error") return void setTimeout(() => next(new Error("at last")), 20);
  next();
});
guarded.use((socket, next) => {
  log("asked again", socket.handshake.auth.mode, rooms(socket));
  next();
});
common(io.of("/leaving"), (socket) => {
  const { mode } = socket.handshake.auth;
  socket.emit("before", 1);
  if (mode !== "stays") socket.disconnect(mode === "close");
  socket.emit("behind", 1);
  log("joined", (socket.join("late"), rooms(socket)), socket.connected);
});
common(io.of(/^\/matching-\d+$/));
common(io.of((name, auth, next) => {
  if (!name.startsWith("/asked-")) return next(null, false);
  log("function", name, auth);
  setTimeout(() => next(auth.fails ? new Error("fails") : null, auth.yes === true), 1);
}));

io.of("/log").on("connection", (socket) => socket.on("take", (ack) => ack(lines.splice(0))));
// All that was logged until all have gone.
answer({ stop: () => new Promise((resolve) => io.close(() => resolve(lines))) });
http.listen(0, "127.0.0.1", () => tell({ port: http.address().port }));
