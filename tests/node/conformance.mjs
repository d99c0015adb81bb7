// The official servers as the public conformance suites want them. Usage: conformance.mjs engine|socket; its first line tells the port.
import { createServer } from "node:http";
import { Server as Engine } from "engine.io";
import { Server } from "socket.io";
import { answer, tell } from "./lines.mjs";

const http = createServer((request, response) => response.writeHead(404).end());
const options = { pingInterval: 300, pingTimeout: 200, maxPayload: 1000000, cors: { origin: "*" } };

if (process.argv[2] === "engine") {
  const engine = new Engine(options);
  engine.attach(http, { path: "/engine.io/" });
  engine.on("connection", (socket) => socket.on("data", (...args) => socket.send(...args)));
} else {
  const io = new Server(http, { ...options, connectTimeout: 1000, serveClient: false });
  io.on("connection", (socket) => {
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
  });
  io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));
}
answer({});
http.listen(0, "127.0.0.1", () => tell({ port: http.address().port }));
