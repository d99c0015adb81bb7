// The test application as an official server, as far as tests compare them. Usage: echo.mjs [options]; its first line tells the port.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { answer, tell } from "./lines.mjs";

const http = createServer((request, response) => response.writeHead(404).end());
// Its paths are the demo page's or the application's with us, and its files are in no Node server of this comparison.
const refused = [];
function allowRequest(request, decide) {
  const said = request.headers["x-allow"];
  if (said === "no") decide(undefined, false);
  else if (said === 'no "you"') decide('not "you", caf\u00e9', false);
  else if (said === "panic") decide(undefined, false);
  else if (said === "wait") setTimeout(() => decide(`${request._query.transport} waited`, false), 50);
  else decide(null, true);
}
// In JSON a regular expression is a text between slashes.
const revive = (key, value) => (typeof value === "string" && /^\/.+[^/]\/$/.test(value) && key !== "path" ? new RegExp(value.slice(1, -1)) : value);
const io = new Server(http, { serveClient: false, allowRequest, ...JSON.parse(process.argv[2] || "{}", revive) });
io.engine.on("initial_headers", (headers, request) => {
  if (!request.headers["x-headers"]) return;
  headers["x-initial"] = request.url;
  headers["Vary"] = "X-Headers";
});
io.engine.on("headers", (headers, request) => {
  if (request.headers["x-headers"]) headers["x-every"] = request.method;
  if (request.headers["x-refused"]) headers["x-refused"] = JSON.stringify(refused.splice(0));
});
io.engine.on("connection_error", ({ req, code, message, context }) => {
  if (req.headers["x-tell"]) refused.push([code, message, context, req.url]);
});

function serve(socket) {
  socket.emit("auth", socket.handshake.auth);
  socket.onAny(async (event, ...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    if (event === "ask me") {
      // A client that neither answers nor stays must not end the whole server.
      const answer = await socket.timeout(5000).emitWithAck("question", args).catch((error) => ({ error: error.message }));
      ack?.(answer);
    } else if (event === "kick me") socket.disconnect(false);
    else if (event === "close me") socket.disconnect(true);
    else if (ack) ack(...args);
    else socket.emit(event, ...args);
  });
}

io.on("connection", (socket) => {
  serve(socket);
  socket.on("both", (said, ack) => {
    if (ack) ack("too late");
    socket.emit("heard by both", said);
  });
});
io.of("/guarded").on("connection", serve);
io.of("/guarded").use((socket, next) => {
  if (socket.handshake.auth.token === "open sesame") return next();
  next(Object.assign(new Error("not authorized"), { data: { hint: "say the words" } }));
});
io.of("/test").on("connection", (socket) => {
  socket.on("join", (room, ack) => (socket.join(room), ack(true)));
  socket.on("leave", (room, ack) => (socket.leave(room), ack(true)));
  socket.on("cluster", (_disconnect, { to }, [close], ack) => (io.of("/test").to(to).disconnectSockets(close), ack(true)));
  socket.on("bytes", (room, bytes, ack) => (io.of("/test").to(room).emit("bytes", { before: 1 }, bytes), ack(true)));
});
// Longer than any conversation: how long an idle connection is kept is not compared.
http.keepAliveTimeout = 60000;
answer({});
http.listen(0, "127.0.0.1", () => tell({ port: http.address().port }));
