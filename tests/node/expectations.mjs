// What a client may expect of any server, tried by one version of the official client. `python/expectations.py` is its twin.
// Usage: expectations.mjs PACKAGE [PARSER]
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { answer } from "./lines.mjs";
import { withParser } from "./parsers.mjs";

const connect = createRequire(import.meta.url)(process.argv[2]);
const PARSER = withParser({ parser: process.argv[3] });
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const PATIENCE = 10000;

async function until(what, condition) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = condition();
    if (found) return found;
    assert(Date.now() < deadline, "in vain: " + what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// A socket, and all that happened to it.
class Client {
  constructor(socket) {
    this.socket = socket;
    this.got = [];
    this.log = [];
    socket.onAny((event, ...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      this.got.push([event, ...args]);
      if (ack) ack(this.answer);
    });
    socket.on("connect", () => this.log.push("connect"));
    socket.on("connect_error", ({ message, data }) => this.log.push({ message, data }));
    socket.on("disconnect", (reason) => this.log.push(reason));
  }

  static to(url, transports, namespace, options) {
    return new Client(connect(url + namespace, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, transports, ...PARSER, ...options }));
  }

  // Another namespace on the same connection.
  beside(namespace) {
    return new Client(this.socket.io.socket(namespace));
  }

  get engine() {
    return this.socket.io.engine;
  }

  // The worker that has the session, which its sid says.
  get slot() {
    return Buffer.from(this.engine.id, "base64url").readUInt16BE(3);
  }

  connected() {
    return until("it connects; until now: " + JSON.stringify(this.log), () => this.socket.connected);
  }

  logged(entry) {
    const has = () => this.log.some((logged) => { try { assert.deepEqual(logged, entry); return true; } catch { return false; } });
    return until(`${JSON.stringify(entry)} in ${JSON.stringify(this.log)}`, has);
  }

  // The first event of a name, which is then forgotten.
  async take(name) {
    const at = await until("the event " + name, () => this.got.findIndex(([event]) => event === name) + 1);
    return this.got.splice(at - 1, 1)[0].slice(1);
  }

  // Emits, and gives the answer's arguments. The oldest clients have no promise for that.
  ask(...event) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${event[0]}`)), PATIENCE);
      this.socket.emit(...event, (...answers) => (clearTimeout(timer), resolve(answers)));
    });
  }
}

// Two connected clients, on two workers if there are; with the main namespace and one that has rooms.
async function pair(url, transports, apart) {
  const clients = [];
  for (let tries = 0; tries < 30; tries += 1) {
    const client = Client.to(url, transports, "/");
    await client.connected();
    clients.push(client);
    if (clients.length === 1 || (apart && client.slot === clients[0].slot)) continue;
    clients.slice(1, -1).forEach((other) => other.socket.disconnect());
    const both = [clients[0], client];
    for (const one of both) one.room = one.beside("/test");
    for (const one of both) await one.room.connected();
    return both;
  }
  throw new Error("thirty clients came to one worker");
}

// One that is in a room gets bytes from another worker, and one that left does not.
async function talkInRoom(a, b) {
  const room = "room of " + a.socket.id;
  for (const one of [a, b]) assert.deepEqual(await one.room.ask("join", room), [true]);
  assert.deepEqual(await a.room.ask("bytes", room, Buffer.from("first")), [true]);
  for (const one of [a, b]) assert.deepEqual(await one.room.take("bytes"), [{ before: 1 }, Buffer.from("first")]);
  assert.deepEqual(await b.room.ask("leave", room), [true]);
  assert.deepEqual(await b.room.ask("bytes", room, Buffer.from("second")), [true]);
  assert.deepEqual(await a.room.take("bytes"), [{ before: 1 }, Buffer.from("second")]);
  assert.deepEqual(b.room.got, [], "b left");
}

const deep = (leaf) => [{ text: "ü\u{1f49c}", none: null, list: [1, 2.5, { leaf }], empty: {} }, leaf, false];

// Each under the name by which the test knows it; in this order.
const EXPECTATIONS = {
  async "it connects over the transport it wants"({ a, b, transports }) {
    for (const client of [a, b]) {
      assert.match(client.socket.id, /^[\w-]{20}$/);
      assert.notEqual(client.socket.id, client.room.socket.id);
      await until("it is upgraded", () => client.engine.transport.name === transports.at(-1));
      assert.deepEqual(await client.take("auth"), [{}]);
    }
  },
  async "events come back"({ a }) {
    a.socket.emit("said", ...deep("x"));
    assert.deepEqual(await a.take("said"), deep("x"));
    a.socket.emit("nothing");
    assert.deepEqual(await a.take("nothing"), []);
  },
  async "events keep their order"({ a }) {
    for (let number = 0; number < 100; number += 1) a.socket.emit("number", number);
    for (let number = 0; number < 100; number += 1) assert.deepEqual(await a.take("number"), [number]);
  },
  async "bytes come back"({ a }) {
    for (const leaf of [Buffer.from([0, 1, 2, 255]), Buffer.alloc(0), Buffer.alloc(100_000, 7)]) {
      a.socket.emit("bytes", ...deep(leaf));
      assert.deepEqual(await a.take("bytes"), deep(leaf));
    }
  },
  async "the server answers"({ a }) {
    assert.deepEqual(await a.ask("echo", ...deep("x")), deep("x"));
    assert.deepEqual(await a.ask("echo"), []);
    const numbers = [...Array(50).keys()];
    assert.deepEqual(await Promise.all(numbers.map((number) => a.ask("echo", number))), numbers.map((number) => [number]));
  },
  async "the client answers"({ a }) {
    [a.answer] = deep("x");
    assert.deepEqual(await a.ask("ask me", "what?"), [a.answer]);
    assert.deepEqual(await a.take("question"), [["what?"]]);
  },
  async "answers carry bytes"({ a }) {
    assert.deepEqual(await a.ask("echo", ...deep(Buffer.from("bytes"))), deep(Buffer.from("bytes")));
    [a.answer] = deep(Buffer.from([255, 254]));
    assert.deepEqual(await a.ask("ask me", "for bytes"), [a.answer]);
    await a.take("question");
  },
  async "a room spans the workers"({ a, b }) {
    await talkInRoom(a, b);
  },
  async "a namespace lets in who has the words"({ url, transports }) {
    const client = Client.to(url, transports, "/guarded", { auth: { token: "open sesame" } });
    await client.connected();
    assert.deepEqual(await client.take("auth"), [{ token: "open sesame" }]);
    assert.deepEqual(await client.ask("echo", 1), [1]);
    client.socket.disconnect();
  },
  async "a refused client is told why"({ url, transports }) {
    const refused = Client.to(url, transports, "/guarded", { auth: { token: "wrong" } });
    await refused.logged({ message: "not authorized", data: { hint: "say the words" } });
    const lost = Client.to(url, transports, "/unknown");
    await lost.logged({ message: "Invalid namespace", data: undefined });
    for (const client of [refused, lost]) {
      assert(!client.socket.connected);
      client.socket.disconnect();
    }
  },
  async "a client is told that the server disconnects it"({ url, transports, a }) {
    for (const wholeSession of [false, true]) {
      const client = Client.to(url, transports, "/test", { reconnection: false });
      await client.connected();
      assert.deepEqual(await a.room.ask("cluster", "disconnect", { to: [client.socket.id] }, [wholeSession]), [true]);
      await client.logged("io server disconnect");
      assert.deepEqual(client.log, ["connect", "io server disconnect"]);
    }
  },
  async "a client disconnects"({ url, transports }) {
    const client = Client.to(url, transports, "/");
    await client.connected();
    client.socket.disconnect();
    assert.deepEqual(client.log, ["connect", "io client disconnect"]);
  },
};

// For each transport: what held, up to the first that did not.
function overEach(act) {
  const runs = Object.keys(TRANSPORTS).map(async (transport) => {
    const report = { held: [], failed: null };
    await act(transport, report.held).catch((error) => (report.failed = String(error.stack)));
    return [transport, report];
  });
  return Promise.all(runs).then(Object.fromEntries);
}

const pairs = {};

answer({
  // Tries all. The pairs stay connected.
  expect: ({ url, apart }) => overEach(async (transport, held) => {
    const transports = TRANSPORTS[transport];
    const [a, b] = (pairs[transport] = await pair(url, transports, apart));
    for (const [name, holds] of Object.entries(EXPECTATIONS)) {
      await holds({ url, transports, a, b });
      held.push(name);
    }
    assert.deepEqual([a.log, b.log], [["connect"], ["connect"]]);
    for (const client of [a, b]) client.was = { slot: client.slot, id: client.socket.id, sid: client.engine.id };
  }),
  // After a worker was killed.
  back: ({ killed }) => overEach(async (transport, held) => {
    const [a, b] = pairs[transport];
    for (const client of [a, b]) {
      const moved = client.was.slot === killed;
      for (const one of moved ? [client, client.room] : []) {
        await until("it is back: " + JSON.stringify(one.log), () => one.log.length > 1 && one.socket.connected);
        assert(["transport close", "transport error"].includes(one.log[1]), one.log[1]);
      }
      assert(moved || client.log.length === 1, client.log[1]);
      assert.equal(client.socket.id === client.was.id, !moved);
      assert.equal(client.engine.id === client.was.sid, !moved);
      assert.deepEqual(await client.ask("echo", "back"), ["back"]);
      held.push(moved ? "it comes back" : "it stays");
    }
    await talkInRoom(a, b);
    for (const { socket, room } of [a, b]) for (const one of [socket, room.socket]) one.disconnect();
  }),
});
