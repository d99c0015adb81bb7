// The official emitter, which is no server but publishes as one. Usage: emitter.mjs REDIS_URL
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { answer, unpacked } from "./lines.mjs";

const redis = createClient({ url: process.argv[2] });
await redis.connect();
const emitter = new Emitter(redis);

function select(of, { to = [], except = [] } = {}) {
  let target = emitter.of(of);
  for (const room of to) target = target.to(room);
  for (const room of except) target = target.except(room);
  return target;
}

answer({
  emit: ({ of, target, event, args }) => void select(of || "/", target).emit(event, ...unpacked(args || [])),
  join: ({ of, target, room }) => void select(of || "/", target).socketsJoin(room),
  leave: ({ of, target, room }) => void select(of || "/", target).socketsLeave(room),
  disconnect: ({ of, target, close }) => void select(of || "/", target).disconnectSockets(close),
  serverEmit: ({ of, event, args }) => void emitter.of(of || "/").serverSideEmit(event, ...args),
});
