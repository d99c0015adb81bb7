// Official clients, driven by a test.
import { createHash } from "node:crypto";
import { io } from "socket.io-client";
import { answer, packed, unpacked } from "./lines.mjs";
import { withParser } from "./parsers.mjs";

const clients = new Map();

// Values with long texts in them told by length and hash.
function short(value) {
  if (typeof value === "string" && value.length > 1000) {
    return `${value.length} characters, ${createHash("sha1").update(value).digest("hex")}`;
  }
  if (Array.isArray(value)) return value.map(short);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, short(v)]));
  return value;
}

answer({
  // Waits until the client is connected, or was refused.
  connect({ name, url, options }) {
    const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 500, ...withParser(options) });
    const client = { socket, events: [], log: [] };
    clients.set(name, client);
    socket.onAny((event, ...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      client.events.push({ event, args: packed(args) });
      if (ack && !client.mute) ack(...(client.answer || ["ok from " + name]));
    });
    socket.on("disconnect", (reason) => client.log.push({ disconnect: reason }));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("not connected in time")), 15000);
      socket.on("connect", () => {
        client.log.push({ connect: socket.id });
        clearTimeout(timer);
        resolve({ id: socket.id });
      });
      socket.on("connect_error", (error) => {
        client.log.push({ connect_error: error.message, data: error.data });
        if (options && options.expectError) {
          clearTimeout(timer);
          resolve({ error: error.message, data: error.data });
        }
      });
    });
  },
  // As a component that is mounted twice does it, on the connection that another client has. Does not wait.
  connectTwice({ name, on, namespace, auth }) {
    const socket = clients.get(on).socket.io.socket(namespace, { auth });
    const client = { socket, events: [], log: [] };
    clients.set(name, client);
    socket.on("connect", () => client.log.push({ connect: socket.id }));
    socket.disconnect().connect();
  },
  emit({ name, event, args }) {
    clients.get(name).socket.emit(event, ...unpacked(args || []));
  },
  async ask({ name, event, args, timeout }) {
    return packed(await clients.get(name).socket.timeout(timeout || 10000).emitWithAck(event, ...unpacked(args || [])));
  },
  // The same with arguments that the server unpacks.
  async order({ name, event, args }) {
    return short(packed(await clients.get(name).socket.timeout(10000).emitWithAck(event, ...args)));
  },
  // The same for several questions, in two steps: what was asked is answered later.
  begin({ name, asks, timeout }) {
    const { socket } = clients.get(name);
    const ask = ([event, ...args]) => socket.timeout(timeout || 10000).emitWithAck(event, ...unpacked(args));
    clients.get(name).asked = Promise.all(asks.map(ask));
    clients.get(name).asked.catch(() => {});
  },
  async end({ name }) {
    return packed(await clients.get(name).asked);
  },
  // It answers no more, or does again.
  mute({ name, mute = true }) {
    clients.get(name).mute = mute;
  },
  // What the client answers when the server wants an answer.
  answers({ name, args }) {
    clients.get(name).answer = unpacked(args);
  },
  events({ name, event }) {
    return clients.get(name).events.filter((got) => !event || got.event === event).map((got) => event ? got.args : got);
  },
  // Waits until each of the clients has got an event, or has gone.
  async settle({ names, event }) {
    const waiting = () => names.filter((name) => {
      const { socket, events } = clients.get(name);
      return socket.connected && !events.some((got) => got.event === event);
    });
    const until = Date.now() + 10000;
    while (waiting().length > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 1));
    return waiting();
  },
  // What the clients got and why they left since they were asked last, and who is there still.
  take({ names }) {
    const taken = (name) => {
      const { socket, events, log } = clients.get(name);
      return { events: short(events.splice(0)), log: log.splice(0), connected: socket.connected };
    };
    return names.map(taken);
  },
  forget({ name }) {
    clients.get(name).events.length = 0;
  },
  state({ name }) {
    const { socket, log } = clients.get(name);
    const engine = socket.io.engine;
    return { connected: socket.connected, id: socket.id, sid: engine && engine.id, transport: engine && engine.transport && engine.transport.name, log };
  },
  disconnect({ name }) {
    clients.get(name).socket.disconnect();
  },
  // The transport breaks, without a goodbye.
  break({ name }) {
    clients.get(name).socket.io.engine.close();
  },
});
