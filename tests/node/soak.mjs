// Many official clients in rooms of a cluster that is put under faults; a test tells of the faults and asks for the figures.
import { io } from "socket.io-client";
import { answer } from "./lines.mjs";
import { Ledger } from "./soak_ledger.mjs";

const clients = [];
let ledger;
let timers = [];
let begun;
let connectedMs = 0;

// The slot of the worker that a session lives in: bytes 3 and 4 of its id.
function slotOf(socket) {
  return Buffer.from(socket.io.engine.id, "base64url").readUInt16BE(3);
}

function connect(number, { url, roomSize, reconnectionDelay }) {
  const room = `soak-${Math.floor(number / roomSize)}`;
  // Two in three go the way of browsers.
  const transports = number % 3 === 0 ? ["websocket"] : ["polling", "websocket"];
  const socket = io(url, { forceNew: true, transports, reconnectionDelay, reconnectionDelayMax: 4 * reconnectionDelay, timeout: 5000 });
  socket.on("connect", () => socket.emit("joinRoom", room));
  socket.on("message", ({ user, text }) => {
    if (user === "System") {
      if (text === `Client ${socket.id} joined ${room}`) ledger.joined(number, slotOf(socket), Date.now());
    } else if (text[0] === "#") ledger.gets(number, Number(text.slice(1)), Date.now());
  });
  socket.on("disconnect", (reason) => ledger.left(number, reason, Date.now()));
  socket.io.on("reconnect_error", (error) => ledger.error(String(error.message)));
  return { socket, room };
}

function everySecond() {
  const before = { at: Date.now() };
  timers.push(setInterval(() => {
    const now = Date.now();
    connectedMs += clients.filter((_, number) => ledger.isIn(number)).length * (now - before.at);
    before.at = now;
    ledger.settle(now);
  }, 1000));
}

// In each room one who is there speaks, so often.
function speak(room, roomSize, everyMs) {
  const members = Array.from({ length: roomSize }, (_, at) => room * roomSize + at);
  const say = () => {
    const there = members.filter((member) => ledger.isIn(member));
    if (there.length === 0) return;
    const sender = there[Math.floor(Math.random() * there.length)];
    const { socket, room: name } = clients[sender];
    socket.emit("roomMessage", name, `#${ledger.sends(sender, members, Date.now())}`);
  };
  setTimeout(() => timers.push(setInterval(say, everyMs)), Math.random() * everyMs);
}

answer({
  // Connects all and returns when each is in its room.
  async start({ url, rooms, roomSize, everyMs, reconnectionDelay }) {
    const count = rooms * roomSize;
    ledger = new Ledger(count);
    for (let number = 0; number < count; number++) {
      clients.push(connect(number, { url, roomSize, reconnectionDelay }));
      if (number % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    while (!clients.every((_, number) => ledger.isIn(number))) await new Promise((resolve) => setTimeout(resolve, 20));
    begun = Date.now();
    everySecond();
    for (let room = 0; room < rooms; room++) speak(room, roomSize, everyMs);
  },
  faultBegins({ kind, slot }) {
    ledger.faultBegins(kind, slot, Date.now());
  },
  faultEnds() {
    ledger.faultEnds(Date.now());
  },
  // How many are in their rooms.
  there() {
    return clients.filter((_, number) => ledger.isIn(number)).length;
  },
  // Says no more; what was said so far is judged when it is time.
  quiet() {
    timers.slice(1).forEach(clearInterval);
  },
  figures() {
    const elapsedMs = Date.now() - begun;
    return {
      ...ledger.figures,
      unexplained: ledger.unexplained,
      clients: clients.length,
      elapsedMs,
      thereShare: connectedMs / (elapsedMs * clients.length),
      latencyMs: { p50: ledger.latency(0.5), p99: ledger.latency(0.99), p999: ledger.latency(0.999), max: ledger.latency(1) },
      clientsRssBytes: process.memoryUsage().rss,
    };
  },
});
