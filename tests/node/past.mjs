// The official client of version 2, whose protocol is the revision before.
import io from "socket.io-client-2";
import { answer } from "./lines.mjs";

answer({
  // What becomes of a client.
  connect({ url, transports }) {
    const socket = io(url, { forceNew: true, reconnection: false, timeout: 5000, transports });
    return new Promise((resolve) => {
      socket.on("connect", () => resolve({ connected: socket.id }));
      // With polling there is a status, with a WebSocket an object of another package.
      socket.on("connect_error", ({ type, message, description }) => {
        resolve({ type, message, status: typeof description === "number" ? description : null });
      });
    }).finally(() => socket.close());
  },
});
