// What clients of the same application see at two servers. Usage: scenarios.mjs URL URL; for each scenario a line
// {name, seen: [[line, …], [line, …]]}, at the end {done: true}. Before the last one it wants both servers to stop: {stop: true}.
// A third argument plays only those scenarios whose name has it.
import { request } from "node:http";
import { io } from "socket.io-client";
import { packed, tell } from "./lines.mjs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const PATIENCE = 5000;

// One server, and the clients of one scenario.
class Stage {
  clients = new Map();
  names = new Map();
  seen = [];
  log = [];

  constructor(url, control) {
    this.url = url;
    this.control = control;
  }

  // Ids are named after their clients, and times left out.
  note(who, ...what) {
    let line = JSON.stringify(packed(what));
    for (const [id, name] of this.names) line = line.replaceAll(`"${id}"`, `"${name}"`);
    line = line.replace(/"[\w-]{20}"/g, '"an id"');
    this.seen.push(`${who}: ${line}`);
  }

  // Waits until the client is let in, refused or, with `wait: false`, not at all.
  async connect(name, nsp = "/", { wait = true, on, answers, ...options } = {}) {
    const socket = on
      ? this.clients.get(on).socket.io.socket(nsp, options)
      : io(this.url + nsp, { forceNew: true, transports: ["websocket"], reconnection: false, ...options });
    const client = { socket, answers, ids: [] };
    this.clients.set(name, client);
    let decided;
    const decision = new Promise((resolve) => (decided = resolve));
    socket.on("connect", () => {
      this.names.set(socket.id, name);
      client.ids.push(socket.id);
      this.note(name, "connect");
      decided();
    });
    socket.on("connect_error", (error) => {
      this.note(name, "connect_error", error.message, error.data === undefined ? "without data" : error.data);
      decided();
    });
    socket.on("disconnect", (reason) => this.note(name, "disconnect", reason));
    socket.onAny((event, ...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      this.note(name, ack ? "question" : "event", event, ...args);
      if (ack && client.answers) ack(...client.answers);
      if (ack && client.late) setTimeout(() => ack(...client.late), 60);
    });
    if (wait) await decision;
    return socket;
  }

  socket(name) {
    return this.clients.get(name).socket;
  }

  emit(name, ...args) {
    this.socket(name).emit(...args);
  }

  // Asks the server for something; what it answers, or that it does not.
  async ask(name, ...args) {
    try {
      this.note(name, `answer to ${args[0]}`, ...(await this.raw(name, ...args)));
    } catch (error) {
      this.note(name, "no answer", error.message);
    }
  }

  raw(name, ...args) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("in time")), this.patience ?? PATIENCE);
      this.socket(name).once("disconnect", () => (clearTimeout(timer), reject(new Error("it has gone"))));
      this.socket(name).emit(...args, (...answer) => (clearTimeout(timer), resolve(answer)));
    });
  }

  do(name, call, arg = null) {
    return this.ask(name, "do", call, arg);
  }

  async until(what, found) {
    for (const end = Date.now() + PATIENCE; !(await found()); await pause(3)) {
      if (Date.now() > end) return this.note("it", "waited in vain", what);
    }
  }

  // Until the clients have got what was on its way to them.
  async settle() {
    for (const { socket } of this.clients.values()) if (socket.connected) await socket.timeout(PATIENCE).emitWithAck("typed", 0).catch(() => {});
  }

  sees(name, text) {
    return this.until(`${name} sees ${text}`, () => this.seen.some((line) => line.startsWith(`${name}: `) && line.includes(text)));
  }

  async take() {
    this.log.push(...(await this.control.timeout(PATIENCE).emitWithAck("take")));
  }

  logs(...parts) {
    const has = (line) => parts.every((part) => line.includes(part));
    return this.until(`the log has ${parts}`, async () => (await this.take(), this.log.some(has)));
  }

  // All clients leave, one after the other; the server has seen it.
  async end() {
    await this.settle();
    for (const { socket, ids } of this.clients.values()) {
      socket.disconnect();
      for (const id of ids) await this.logs("disconnect", id);
      socket.io.engine?.close();
    }
    await this.take();
    for (const line of this.log) this.note("server", ...line);
    const whose = (line) => line.slice(0, line.indexOf(": "));
    // What one client sees is in order, not what two do.
    return [...this.seen.entries()].sort(([a, x], [b, y]) => whose(x).localeCompare(whose(y)) || a - b).map(([, line]) => line);
  }

  // A session without an official client: what it is sent waits for `poll`.
  async session(query = "", headers = {}) {
    const target = "/socket.io/?EIO=4&transport=polling" + query;
    const { sid } = JSON.parse((await this.http("GET", target, headers)).slice(1));
    const own = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    return {
      poll: () => this.http("GET", own, headers),
      post: (body) => this.http("POST", own, headers, body),
    };
  }

  http(method, path, headers, body) {
    return new Promise((resolve, reject) => {
      request(this.url + path, { method, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part) => (text += part)).on("end", () => resolve(text));
      }).on("error", reject).end(body);
    });
  }
}

const scenarios = {
  async "connect, and every way to leave"(s) {
    await s.connect("a");
    await s.do("a", "join", "red");
    s.socket("a").disconnect();
    await s.connect("b");
    s.emit("b", "do", "disconnect", false);
    await s.sees("b", "disconnect");
    await s.connect("c");
    s.emit("c", "do", "disconnect", true);
    await s.sees("c", "disconnect");
    for (const transports of [["websocket"], ["polling"]]) {
      const name = transports[0];
      await s.connect(name, "/", { transports });
      s.socket(name).io.engine.close();
      await s.logs("disconnect", s.clients.get(name).ids[0]);
    }
    await s.connect("broken");
    s.socket("broken").io.engine.transport.ws.terminate();
    await s.logs("disconnect", s.clients.get("broken").ids[0]);
    await s.connect("odd");
    s.socket("odd").io.engine.write("no packet");
    await s.sees("odd", "disconnect");
    await s.connect("large");
    s.emit("large", "echo", "x".repeat(1e6));
    await s.sees("large", "disconnect");
  },
  async "leaving one namespace of several"(s) {
    await s.connect("main");
    await s.connect("outgoing", "/outgoing", { on: "main" });
    s.emit("outgoing", "do", "disconnect", false);
    await s.sees("outgoing", "disconnect");
    await s.connect("again", "/rooms", { on: "main" });
    s.emit("again", "do", "disconnect", true);
    await s.sees("again", "disconnect");
    await s.sees("main", "disconnect");
  },
  async "rooms, as disconnecting and disconnect see them"(s) {
    await s.connect("a");
    await s.do("a", "join", ["blue", "red"]);
    await s.do("a", "join", "blue");
    await s.do("a", "leave", "blue");
    await s.do("a", "leave", "unknown");
    await s.do("a", "join", ["green", "green"]);
    await s.do("a", "join", "");
  },
  async "leaving the own room"(s) {
    await s.connect("a");
    await s.do("a", "leave", s.socket("a").id);
    await s.do("a", "send", { via: "io", to: s.socket("a").id, event: "to the own room", arg: 1 });
    await s.do("a", "send", { via: "io", event: "to all", arg: 1 });
  },
  async "events of rooms"(s) {
    await s.connect("a", "/rooms");
    await s.connect("b", "/rooms");
    await s.do("a", "join", "red");
    await s.do("a", "join", "red");
    await s.do("b", "join", ["red", "blue"]);
    await s.do("a", "leave", "red");
    await s.do("a", "leave", "red");
    await s.do("a", "leave", "unknown");
    await s.do("a", "join_all", { via: "io", room: ["all", "red"] });
    await s.do("a", "leave_all", { via: "io", room: ["all", "red"] });
    await s.do("a", "join", s.socket("b").id);
    await s.do("a", "leave", s.socket("b").id);
    await s.do("a", "disconnect_all", { via: "io", to: s.socket("b").id });
    await s.sees("b", "disconnect");
  },
  async "events of rooms that are joined in middleware"(s) {
    await s.connect("a", "/rooms", { auth: { join: true } });
  },
  async "events of rooms that are joined in middleware that refuses"(s) {
    await s.connect("b", "/rooms", { auth: { join: true, no: true } });
  },
  async "middleware of packets"(s) {
    await s.connect("a", "/packets");
    s.emit("a", "plain", 1);
    await s.sees("a", "answered");
    for (const event of ["unheard of", "refused"]) {
      s.emit("a", event, 1);
      await s.settle();
    }
    await s.ask("a", "plain");
    await s.ask("a", "plain", 1);
    await s.ask("a", "slow", 1);
    await s.do("a", "ask", { via: "socket", event: "question", arg: 1, timeout: 50 });
    s.clients.get("a").answers = ["an answer"];
    await s.do("a", "ask", { via: "socket", event: "question", arg: 1, timeout: 1000 });
  },
  async "middleware of packets that refuses a question"(s) {
    await s.connect("a", "/packets");
    s.patience = 60;
    await s.ask("a", "refused", 1);
  },
  async "middleware of packets that sends the client away"(s) {
    await s.connect("a", "/packets");
    s.emit("a", "leaves", 1);
    await s.sees("a", "disconnect");
  },
  async "events behind one that waits in middleware"(s) {
    await s.connect("a", "/packets");
    s.emit("a", "slow", 1);
    s.emit("a", "plain", 2);
    await s.until("both are answered", () => s.seen.filter((line) => line.includes("answered")).length === 2);
  },
  async "what on_any_outgoing hears"(s) {
    await s.connect("a", "/outgoing");
    await s.connect("b", "/outgoing");
    await s.do("b", "join", "red");
    const to = (how) => s.do("a", "send", { event: "word", arg: how, ...how });
    await to({ via: "socket" });
    await to({ via: "socket", volatile: true });
    await to({ via: "socket", to: "red" });
    await to({ via: "io", to: ["red", "blue"] });
    await to({ via: "io", to: "nobody" });
    await to({ via: "broadcast", local: true });
    await to({ via: "io", to: s.socket("a").id });
    s.clients.get("a").answers = s.clients.get("b").answers = ["yes"];
    await s.do("a", "ask", { via: "socket", event: "question", arg: 1, timeout: 1000 });
    await s.do("a", "ask all", { via: "io", to: s.socket("b").id, event: "question", arg: 1, timeout: 1000 });
    await s.ask("a", "echo", "an answer is no event");
  },
  async "a volatile event with nobody polling"(s) {
    const session = await s.session();
    await session.post("40/outgoing,");
    const poll = async () => s.note("polling", (await session.poll()).replace(/"sid":"[^"]*"/, ""));
    await poll();
    for (const via of ["io", "socket"]) {
      for (const [volatile, event] of [[true, "lost"], [false, "kept"]]) await session.post(`42/outgoing,["do","send",{"via":"${via}","volatile":${volatile},"event":"${event}","arg":1}]`);
      await poll();
    }
    await session.post("41/outgoing,");
    await s.logs("disconnect");
    await session.post("1");
  },
  async "to whom: to, except, arrays, the own id"(s) {
    for (const name of ["a", "b", "c"]) await s.connect(name);
    await s.do("a", "join", "red");
    await s.do("b", "join", ["red", "blue"]);
    await s.do("c", "join", "blue");
    const [a, b] = ["a", "b"].map((name) => s.socket(name).id);
    for (const how of [
      {}, { to: "red" }, { to: ["red", "blue"] }, { to: [] }, { to: a }, { to: [a, b] }, { to: "nobody" }, { except: "red" }, { except: ["red", "blue"] },
      { except: [] }, { except: a }, { except: b }, { to: "red", except: "blue" }, { to: a, except: a }, { to: "red", except: "red" }, { local: true },
      { to: "red", local: true }, { compress: false }, { compress: false, to: "blue" }, { volatile: true, to: "blue", except: a }, { to: ["red", "red"] },
    ]) {
      for (const via of ["socket", "broadcast", "io"]) await s.do("a", "send", { via, ...how, event: "word", arg: how });
      await s.settle();
    }
  },
  async "sockets that are found, and what they keep"(s) {
    await s.connect("a");
    await s.do("a", "set data", { name: "Anna", list: [1, null], deep: { er: true } });
    await s.do("a", "join", ["red", "blue"]);
    await s.do("a", "fetch", { via: "io" });
    await s.do("a", "fetch", { via: "broadcast" });
    await s.do("a", "fetch", { via: "io", to: "red" });
    await s.do("a", "fetch", { via: "io", except: ["red", "unknown"] });
    await s.connect("b");
    await s.do("b", "fetch", { via: "broadcast" });
    await s.do("b", "fetch", { via: "io", to: s.socket("b").id });
    await s.do("b", "set data", "a text");
    await s.do("b", "fetch", { via: "io", to: s.socket("b").id });
  },
  async "the handshake, by its accessors and from afar"(s) {
    const session = await s.session("&plain=1&enc%20oded=%C3%A9%26+x&empty=&twice=1&twice=2", {
      "X-Plain": "A Value", "X-Upper": "UPPER", Cookie: ["a=1", "b=2"], "X-Twice": ["one", "two"], Origin: "http://a.example", Accept: ["a/b", "c/d"], "User-Agent": "this one",
      Connection: "keep-alive", "If-Match": ["x", "y"],
    });
    await session.post('40{"token":"t","nested":{"x":[1]}}');
    await session.poll();
    const sorted = (value) => {
      if (Array.isArray(value) || !value || typeof value !== "object") return value;
      return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
    };
    for (const call of ["handshake", "handshakes"]) {
      await session.post(`420["do","${call}",null]`);
      const text = await session.poll();
      const { time, issued, ...told } = JSON.parse(text.slice(text.indexOf("[")))[0];
      const written = /^(\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d) (GMT[+-]\d{4}) \(.*\)$/.exec(time);
      s.note(call, "time", written?.[2], Math.abs(Date.parse(time) - issued) < 1000, Math.abs(Date.now() - issued) < 60000);
      told.headers && (told.headers.host = told.headers.host.replace(/\d+$/, ""));
      for (const [key, value] of Object.entries(sorted(told))) s.note(call, key, value);
    }
    await session.post("41");
    await s.logs("disconnect");
    await session.post("1");
  },
  async "auth in every form"(s) {
    for (const [index, auth] of [undefined, {}, { a: 1 }, (send) => send({ from: "a function" })].entries()) {
      await s.connect(`auth ${index}`, "/", { auth });
      const answer = await s.raw(`auth ${index}`, "do", "handshake", null);
      s.note(`auth ${index}`, answer[0].auth);
    }
  },
  async "values with no JSON form, or an odd one"(s) {
    await s.connect("a");
    await s.do("a", "values");
  },
  async "values from clients and back"(s) {
    await s.connect("a");
    for (const value of [
      null, undefined, 0, -0, 1.5, 2 ** 53, 1e300, NaN, "", "\u{1f600}", "\ud83d", "\ude00\ud83d", "\u0000", "__proto__", { __proto__: null, constructor: 1 }, [], {}, [[]],
      { "": 1 }, Buffer.from([1, 2]), [Buffer.alloc(0), { b: Buffer.from("x") }], { _placeholder: true, num: 7 }, new Date(0), true, new Map([[1, 2]]), new Uint8Array([9]),
    ]) {
      await s.ask("a", "echo", value);
      await s.ask("a", "typed", value);
      s.emit("a", "echo", value);
    }
    await s.ask("a", "echo");
    await s.ask("a", "echo", 1, "two", Buffer.from([3]), null, { four: [4] });
    s.emit("a", "echo", 1, "two", Buffer.from([3]), null, { four: [4] });
    s.emit("a", "echo");
    await s.ask("a", "twice");
  },
  async "questions to clients"(s) {
    const a = await s.connect("a");
    const client = s.clients.get("a");
    const ask = (timeout) => s.do("a", "ask", { via: "socket", event: "question", arg: 1, timeout });
    await ask(30);
    client.late = ["late"];
    await ask(30);
    await ask(1000);
    client.late = undefined;
    client.answers = ["one", "two", 3];
    await ask(1000);
    client.answers = [];
    await ask(1000);
    client.answers = [null];
    await ask();
    client.answers = undefined;
    a.on("question", (arg, ack) => (ack("first"), ack("second")));
    await ask(1000);
  },
  async "questions to many"(s) {
    for (const name of ["a", "b", "c"]) await s.connect(name, "/", { answers: [`from ${name}`, "more"] });
    const ask = (how) => s.do("a", "ask all", { event: "question", arg: 1, timeout: 1000, ...how });
    await s.do("b", "join", "red");
    await s.do("c", "join", "red");
    await ask({ via: "io" });
    await ask({ via: "broadcast" });
    await ask({ via: "io", to: "red" });
    await ask({ via: "io", to: "nobody" });
    await ask({ via: "io", except: "red" });
    s.clients.get("b").answers = undefined;
    await ask({ via: "io", timeout: 40 });
    s.clients.get("c").answers = undefined;
    await ask({ via: "io", to: "red", timeout: 40 });
    s.clients.get("b").answers = [null];
    s.clients.get("c").answers = [];
    await ask({ via: "io" });
  },
  async "reserved names"(s) {
    await s.connect("a");
    const names = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "connection", "error", "message", "ping", "new_namespace"];
    for (const event of names) {
      for (const via of ["socket", "io"]) s.note(event, via, ...(await s.raw("a", "do", "send", { via, event, arg: 1 })));
      s.note(event, "server side", ...(await s.raw("a", "do", "server side", event)));
    }
  },
  async "middleware of namespaces"(s) {
    for (const mode of ["emit", "join", "disconnect", "data", "error", "empty", "slow", "slow error", "none"]) {
      await s.connect(mode, "/guarded", { auth: { mode } });
      await s.settle();
    }
  },
  async "a client that leaves while middleware waits"(s) {
    await s.connect("main");
    await s.connect("slow", "/guarded", { on: "main", auth: { mode: "slow" }, wait: false });
    await s.logs("asked", "slow");
    // Nobody tells the server: it lets the socket in, which leaves with its session.
    s.socket("slow").disconnect();
    await s.logs("asked again");
    await s.logs("connect", "/guarded");
    s.socket("main").io.engine.close();
    await s.until("both leave", async () => (await s.take(), s.log.filter(([what]) => what === "disconnect").length === 2));
  },
  async "leaving inside the handler of connect"(s) {
    for (const mode of ["stays", "leaves", "close"]) {
      await s.connect(mode, "/leaving", { auth: { mode } });
      if (mode !== "stays") await s.sees(mode, "disconnect");
      await s.settle();
    }
  },
  async "what a socket that has left can still do"(s) {
    await s.connect("a");
    s.emit("a", "do", "disconnect and go on", null);
    await s.sees("a", "disconnect");
    await s.logs("connected");
  },
  async "a socket that is kept and has gone"(s) {
    await s.connect("a");
    await s.do("a", "set data", "kept");
    await s.do("a", "keep");
    await s.connect("b");
    s.socket("a").disconnect();
    await s.logs("disconnect", s.clients.get("a").ids[0]);
    await s.do("b", "kept", "word");
    await s.do("b", "rooms");
  },
  async "an event whose client has gone"(s) {
    await s.connect("a");
    s.emit("a", "do", "wait", 20, () => s.note("a", "an answer"));
    await s.ask("a", "echo", 1);
    s.socket("a").disconnect();
    await s.logs("waited");
  },
  async "connecting twice"(s) {
    await s.connect("first");
    await s.connect("second", "/rooms", { on: "first" });
    // Without a word to the client, the same wish again.
    s.socket("first").io.engine.write("40/rooms,");
    await s.sees("second", "disconnect");
    await s.sees("first", "disconnect");
  },
  async "connecting again"(s) {
    const a = await s.connect("a");
    a.disconnect().connect();
    await s.until("it is there", () => a.connected);
    await s.do("a", "rooms");
  },
  async "namespaces that are not, or not yet"(s) {
    await s.connect("none", "/none");
    await s.connect("matching", "/matching-1");
    await s.do("matching", "join", "red");
    await s.connect("not matching", "/matching-x");
    await s.connect("another", "/matching-2", { on: "matching" });
    await s.do("matching", "send", { via: "io", event: "word", arg: 1 });
    await s.connect("asked", "/asked-1", { auth: { yes: true, who: "a" } });
    await s.connect("refused", "/asked-2", { auth: { yes: false } });
    await s.connect("fails", "/asked-3", { auth: { fails: true } });
    await s.connect("behind", "/asked-1", { auth: { yes: false } });
    await s.connect("query", "/matching-3?x=1");
  },
  async "a client that joins nothing"(s) {
    const session = await s.session();
    s.note("polling", await session.poll());
  },
};

const urls = process.argv.slice(2, 4);
const controls = urls.map((url) => io(url + "/log", { transports: ["websocket"] }));
const only = process.argv[4];
for (const [name, play] of Object.entries(scenarios)) {
  if (only && !name.includes(only)) continue;
  const seen = await Promise.all(urls.map(async (url, index) => {
    const stage = new Stage(url, controls[index]);
    try {
      await play(stage);
    } catch (error) {
      stage.note("it", "failed", String(error.stack));
    }
    return stage.end();
  }));
  tell({ name, seen });
}
if (!only) {
  const stages = urls.map((url, index) => new Stage(url, controls[index]));
  for (const stage of stages) {
    await stage.connect("websocket");
    await stage.connect("polling", "/", { transports: ["polling"] });
    await stage.connect("rooms", "/rooms", { on: "websocket" });
  }
  tell({ stop: true });
  for (const stage of stages) for (const name of stage.clients.keys()) await stage.sees(name, "disconnect");
  tell({ name: "the server stops", seen: stages.map(({ seen }) => seen.sort()) });
}
tell({ done: true });
process.exit(0);
