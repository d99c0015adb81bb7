// The official parsers by the name that the option `parser` has in a test.
import msgpack from "socket.io-msgpack-parser";

export function withParser({ parser, ...options } = {}) {
  return parser === "msgpack" ? { ...options, parser: msgpack } : options;
}
