// The demo chat: one page over the official Socket.IO client, or over fallback.js where that cannot be loaded.
"use strict";

const HOME = "general";
const KEPT_MESSAGES = 500;
const LOAD_TIMEOUT_MS = 4000;

const at = (id) => document.getElementById(id);
const { path, client } = document.body.dataset;
let room = HOME;

function load(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const timer = setTimeout(() => reject(new Error("timeout")), LOAD_TIMEOUT_MS);
    script.src = src;
    script.onload = () => { clearTimeout(timer); resolve(); };
    script.onerror = () => { clearTimeout(timer); reject(new Error("not loaded")); };
    document.head.append(script);
  });
}

async function connect() {
  try {
    await load(client);
    if (typeof window.io === "function") return window.io({ path });
  } catch (_) { /* said below */ }
  if (client.includes(".msgpack.")) {
    notice("The official Socket.IO client could not be loaded from " + client +
      ", and the client that this page has of its own speaks no MessagePack.");
    return new Promise(() => {});
  }
  await load("/page/fallback.js");
  notice("The official Socket.IO client could not be loaded from " + client +
    ". This page uses a small client of its own instead (WebSocket only).");
  document.body.dataset.fallback = "yes";
  return window.roomdFallbackClient(path);
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
}

function state(name) {
  at("state").textContent = name;
  at("state").dataset.state = name;
}

// A session id names its home: version, host (2 bytes), slot (2), generation (4), then random bytes, in base64url.
function workerOf(sid) {
  try {
    const bytes = Uint8Array.from(atob(sid.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return view.getUint16(3) + " (generation " + view.getUint32(5) + ")";
  } catch (_) {
    return "–";
  }
}

function show(message, own) {
  const item = document.createElement("li");
  const who = document.createElement("b");
  const text = document.createElement("p");
  const time = document.createElement("time");
  item.className = own ? "own" : message.user === "System" ? "system" : "";
  who.textContent = own ? "you" : message.user;
  who.title = message.user;
  text.textContent = message.text;
  const when = new Date(message.timestamp);
  time.dateTime = when.toISOString();
  time.textContent = when.toLocaleTimeString();
  item.append(who, text, time);
  const list = at("messages");
  const box = list.parentElement;
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  list.append(item);
  while (list.children.length > KEPT_MESSAGES) list.firstElementChild.remove();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

connect().then((socket) => {
  const link = () => {
    const engine = socket.io.engine;
    at("worker").textContent = workerOf(engine.id);
    at("transport").textContent = engine.transport.name;
  };
  socket.on("connect", () => {
    state("connected");
    link();
    const engine = socket.io.engine;
    if (typeof engine.on === "function") engine.on("upgrade", link);
    // A new socket is in the first room again: go back to where this page was.
    if (room !== HOME) socket.emit("joinRoom", room);
    at("room").textContent = room;
  });
  socket.on("disconnect", () => state("disconnected"));
  socket.on("connect_error", () => state("connecting"));
  socket.on("message", (message) => show(message, message.user === socket.id));
  at("say").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = at("text").value.trim();
    if (!text) return;
    if (room === HOME) socket.emit("chatMessage", text); else socket.emit("roomMessage", room, text);
    at("text").value = "";
  });
  at("join").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = at("name").value.trim();
    if (!name) return;
    room = name;
    socket.emit("joinRoom", room);
    at("room").textContent = room;
    at("name").value = "";
    at("text").focus();
  });
  window.roomd = { socket };
});
