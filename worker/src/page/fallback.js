// A small Socket.IO client for the demo page, used where the official one cannot be loaded: WebSocket only, main
// namespace only, text events without acknowledgements. It offers the part of the official client's interface that page.js uses.
"use strict";

window.roomdFallbackClient = function connect(path) {
  const handlers = new Map();
  const socket = {
    id: undefined,
    connected: false,
    io: { engine: { id: undefined, transport: { name: "websocket" } } },
    on(event, handler) { handlers.set(event, (handlers.get(event) || []).concat(handler)); return socket; },
    emit(event, ...args) {
      const packet = "42" + JSON.stringify([event, ...args]);
      if (socket.connected) link.send(packet); else if (waiting.length < 100) waiting.push(packet);
      return socket;
    },
  };
  const waiting = [];
  let link, watchdog, attempt = 0;

  const fire = (event, ...args) => (handlers.get(event) || []).forEach((handler) => handler(...args));

  // The server pings; when it has been silent for interval + timeout, the link is dead however open it looks.
  let silence = 45000;
  function heard() {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => link.close(), silence);
  }

  function onPacket(data) {
    if (typeof data !== "string") return;
    heard();
    const body = data.slice(1);
    if (data[0] === "0") {
      const open = JSON.parse(body);
      socket.io.engine.id = open.sid;
      silence = open.pingInterval + open.pingTimeout;
      heard();
      link.send("40");
    } else if (data[0] === "2") {
      link.send("3" + body);
    } else if (data.startsWith("40{")) {
      socket.id = JSON.parse(data.slice(2)).sid;
      socket.connected = true;
      attempt = 0;
      fire("connect");
      waiting.splice(0).forEach((packet) => link.send(packet));
    } else if (data.startsWith("42[")) {
      fire(...JSON.parse(data.slice(2)));
    } else if (data === "41") {
      link.close();
    }
  }

  function open() {
    const scheme = location.protocol === "https:" ? "wss://" : "ws://";
    link = new WebSocket(scheme + location.host + path + "?EIO=4&transport=websocket");
    link.onmessage = (message) => onPacket(message.data);
    link.onclose = () => {
      clearTimeout(watchdog);
      const was = socket.connected;
      socket.connected = false;
      socket.id = undefined;
      if (was) fire("disconnect", "transport close");
      // As the official client: 1 s, doubled up to 5 s, give or take a half, so that not all come back at once.
      const delay = Math.min(1000 * 2 ** attempt++, 5000) * (0.5 + Math.random());
      setTimeout(open, delay);
    };
  }

  open();
  return socket;
};
