// An official server for the matrix of calls: the counterpart of matrix_app.rs, told what to do by clients in `/control`.
// Usage: matrix.mjs REDIS_URL; its first line tells the port.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { answer, tell, unpacked } from "./lines.mjs";

const faults = [];
process.on("uncaughtException", (error) => faults.push(String(error.stack || error)));
process.on("unhandledRejection", (error) => faults.push(String((error && error.stack) || error)));

const [publisher, subscriber] = [createClient({ url: process.argv[2] }), createClient({ url: process.argv[2] })];
await Promise.all([publisher.connect(), subscriber.connect()]);
const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber, { requestsTimeout: 1000 }) });

// What other servers said, until it is asked for.
const heard = {};
for (const name of ["/", "/admin"]) {
  heard[name] = [];
  io.of(name).on("connection", (socket) => (socket.data = { from: socket.handshake.auth.name }));
  io.of(name).on("said", (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    heard[name].push(args);
    if (ack) ack(args[0], "no second answer travels");
  });
  io.of(name).on("silent", () => {});
}

function select({ of, to = [], except = [], local, volatile, compress, timeout }) {
  let target = io.of(of);
  for (const room of to) target = target.to(room);
  for (const room of except) target = target.except(room);
  if (local) target = target.local;
  if (volatile) target = target.volatile;
  if (compress !== undefined) target = target.compress(compress);
  return timeout ? target.timeout(timeout) : target;
}

// The answers; where the time was over, those that came.
async function answers(promise) {
  try {
    return { answers: await promise };
  } catch (error) {
    return { timeout: true, answers: error.responses || [] };
  }
}

const told = ({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake });

const calls = {
  emit: (target, args) => void select(target).emit(...args),
  "emit with ack": (target, args) => answers(select({ timeout: 3000, ...target }).emitWithAck(...args)),
  fetch: async (target) => answers(select(target).fetchSockets().then((found) => found.map(told))),
  join: (target, [rooms]) => void select(target).socketsJoin(rooms),
  leave: (target, [rooms]) => void select(target).socketsLeave(rooms),
  disconnect: (target, [close]) => void select(target).disconnectSockets(close),
  "all rooms": async ({ of }) => ({ answers: [...(await io.of(of).adapter.allRooms())] }),
  "server emit": ({ of }, args) => void io.of(of).serverSideEmit(...args),
  "server emit with ack": ({ of }, args) => answers(io.of(of).serverSideEmitWithAck(...args)),
  // A call of each socket that is found.
  async each(target, [call, ...args]) {
    const found = await select(target).fetchSockets();
    if (call !== "emit with ack") return void found.forEach((one) => one[call](...args));
    const asked = (one) => one.timeout(target.timeout || 3000).emitWithAck(...args).catch(() => "no answer");
    return { answers: await Promise.all(found.map(asked)) };
  },
  heard: ({ of }) => heard[of].splice(0),
};

io.of("/control").on("connection", (socket) => {
  socket.data = { from: socket.handshake.auth.name };
  socket.on("cluster", async (call, target, args, ack) => {
    const result = await calls[call](target, unpacked(args));
    ack(result === undefined ? null : result);
  });
});

answer({ faults: () => faults });
http.listen(0, "127.0.0.1", () => tell({ port: http.address().port }));
