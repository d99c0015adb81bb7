// An official server over the official Redis adapter: the chat in the main namespace, and calls of the whole cluster.
// Usage: server.mjs [redis URL]; its first line tells the port.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { answer, packed, tell, unpacked } from "./lines.mjs";
import { withParser } from "./parsers.mjs";

const [redis, options] = [process.argv[2], JSON.parse(process.argv[3] || "{}")];
const http = createServer((request, response) => response.writeHead(404).end());
const io = new Server(http, withParser(options));
const faults = [];
process.on("uncaughtException", (error) => faults.push(String(error.stack || error)));
process.on("unhandledRejection", (error) => faults.push(String((error && error.stack) || error)));

if (redis) {
  const [publisher, subscriber] = [createClient({ url: redis }), createClient({ url: redis })];
  for (const client of [publisher, subscriber]) client.on("error", (error) => faults.push(String(error)));
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

io.on("connection", (socket) => {
  const say = (room, user, text) => io.to(room).emit("message", { user, text, timestamp: Date.now() });
  socket.join("general");
  socket.on("chatMessage", (text) => say("general", socket.id, text));
  socket.on("joinRoom", (room) => {
    for (const old of socket.rooms) if (old !== socket.id) socket.leave(old);
    socket.join(room);
    say(room, "System", `Client ${socket.id} joined ${room}`);
  });
  socket.on("roomMessage", (room, text) => say(room, socket.id, text));
  socket.on("disconnect", () => say("general", "System", `Client ${socket.id} disconnected`));
});

const heard = [];
const test = io.of("/test");
test.on("connection", (socket) => {
  socket.on("join", (room, ack) => (socket.join(room), ack(true)));
  socket.on("set data", (data, ack) => ((socket.data = data), ack(true)));
  socket.on("rooms", (ack) => ack([...socket.rooms]));
});
test.on("hello", (said, ack) => {
  heard.push(said);
  if (ack) ack("node heard it");
});

io.of(/^\/dyn-\d+$/).on("connection", (socket) => {
  socket.nsp.removeAllListeners("hello");
  socket.nsp.on("hello", (said, ack) => ack && ack("node heard it"));
  socket.emit("welcome", socket.nsp.name);
});

function select(of, { to = [], except = [], local } = {}) {
  let target = io.of(of);
  for (const room of to) target = target.to(room);
  for (const room of except) target = target.except(room);
  return local ? target.local : target;
}

const calls = {
  emit: (target, event, ...args) => target.emit(event, ...args),
  "emit with ack": async (target, event, ...args) => await target.timeout(3000).emitWithAck(event, ...args),
  fetch: async (target) => (await target.fetchSockets()).map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake })),
  join: (target, room) => target.socketsJoin(room),
  leave: (target, room) => target.socketsLeave(room),
  disconnect: (target, close) => target.disconnectSockets(close),
};

answer({
  async cluster({ of, call, target, args }) {
    const result = await calls[call](select(of || "/test", target), ...unpacked(args || []));
    return ["emit", "join", "leave", "disconnect"].includes(call) ? null : packed(result);
  },
  serverEmit: ({ event, args }) => void test.serverSideEmit(event, ...args),
  serverEmitWithAck: ({ of, event, args }) => io.of(of || "/test").serverSideEmitWithAck(event, ...args),
  allRooms: async ({ of }) => [...(await io.of(of || "/test").adapter.allRooms())],
  servers: async () => await test.adapter.serverCount(),
  heard: () => heard,
  faults: () => faults,
});
http.listen(0, "127.0.0.1", () => tell({ port: http.address().port }));
