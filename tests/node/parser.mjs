// The official MessagePack parser beside the official default one, asked by a test.
import msgpack from "socket.io-msgpack-parser";
import * as json from "socket.io-parser";
import { answer } from "./lines.mjs";

const [packer, texter] = [new msgpack.Encoder(), new json.Encoder()];

// What the default parser would send of the same packet: its messages, bytes in base64.
function asText(packet) {
  // It changes what it is given, and knows bytes by their constructor.
  return texter.encode({ ...packet }).map((part) => (typeof part === "string" ? part : { $bytes: Buffer.from(part).toString("base64") }));
}

function both(packet) {
  return { packed: packer.encode(packet)[0].toString("base64"), text: asText(packet) };
}

function read(bytes) {
  let packet;
  const decoder = new msgpack.Decoder();
  decoder.on("decoded", (decoded) => (packet = decoded));
  decoder.add(bytes);
  return packet;
}

// A generator with a seed: mulberry32.
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const EDGES = [0, 1, 31, 32, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, 2 ** 63 - 1024];
const NUMBERS = [...EDGES, ...EDGES.map((edge) => -edge - 1), -0, 0.1, -1.5, 1e-7, 5e-324, 1.7976931348623157e308, 1e21, NaN, Infinity, -Infinity].filter(
  // Whole numbers beyond 64 bits are garbled by the official encoder: it keeps their lowest digits.
  (number) => !Number.isInteger(number) || Math.abs(number) < 2 ** 63,
);
const TEXTS = ["", "a", "x".repeat(31), "x".repeat(32), "x".repeat(255), "x".repeat(256), "x".repeat(65535), "x".repeat(65536), "é\u2028\u0000\"\\", "\u{1f49c}".repeat(9), "\ufeff"];
const SIZES = [0, 1, 255, 256, 65535, 65536];
const DATES = [0, 1, -1, 1700000000123, -62167219200001, 8.64e15, 4294967296000];

function buffer(size) {
  return Buffer.alloc(size, 7);
}

// One event for each special value, alone and deep inside.
function table() {
  const values = [null, true, false, undefined, ...NUMBERS, ...TEXTS, ...SIZES.map(buffer), ...DATES.map((ms) => new Date(ms)), new Uint8Array([1, 2, 255]).buffer,
    [], {}, Array(16).fill(0), Array(70000).fill(1), Object.fromEntries([...Array(20).keys()].map((key) => ["k" + key, key])),
    { toJSON: () => ({ in: "stead" }) }, { _placeholder: true, num: 0 }, { a: undefined, b: [undefined], c: { d: undefined } }, new Map([[1, 2]])];
  return [...values.map((value) => ["e", value]), ...values.map((value) => ["e", { in: [{ side: value }, 1] }]), ["e"], ["e", "two", 2], [5, "a number for a name"]];
}

function random(next, depth) {
  const kind = Math.floor(next() * (depth > 0 ? 10 : 7));
  const of = (list) => list[Math.floor(next() * list.length)];
  if (kind === 0) return of([null, true, false, undefined]);
  if (kind === 1) return of(NUMBERS);
  if (kind === 2) return Math.floor((next() - 0.5) * 2 ** (next() * 60));
  if (kind === 3) return (next() - 0.5) * 10 ** (next() * 318 - 300);
  if (kind === 4) return String.fromCodePoint(...Array.from({ length: next() * 40 }, () => of([32, 0x7f, 0xe9, 0x20ac, 0x1f49c, 10, 34, 92, 0]) + Math.floor(next() * 8)));
  if (kind === 5) return next() < 0.3 ? buffer(Math.floor(next() * 300)) : next();
  if (kind === 6) return new Date(Math.floor((next() - 0.5) * 2 ** 50));
  const values = Array.from({ length: next() * 6 }, () => random(next, depth - 1));
  return kind === 7 ? Object.fromEntries(values.map((value) => ["k" + Math.floor(next() * 99), value])) : values;
}

function bytesIn(value) {
  if (Buffer.isBuffer(value) || value instanceof ArrayBuffer) return 1;
  return value && typeof value === "object" && !(value instanceof Date) ? Object.values(value).reduce((sum, inner) => sum + bytesIn(inner), 0) : 0;
}

answer({
  // Packets as both parsers write them.
  table: () => [...table().map((data, id) => ({ type: 2, data, nsp: id % 2 ? "/" : "/chat", ...(id % 3 ? {} : { id }) })), { id: 7, type: 3, data: [], nsp: "/" }, { type: 0, data: { token: "1" }, nsp: "/" }, { type: 0, nsp: "/x" }, { type: 1, nsp: "/x" }].map(both),
  random: ({ seed, count }) => {
    const next = generator(seed);
    const packets = Array.from({ length: count }, () => ({ type: next() < 0.5 ? 2 : 3, data: ["e", ...Array.from({ length: next() * 4 }, () => random(next, 4))], id: Math.floor(next() * 1e6), nsp: "/n" }));
    // The default parser takes ten at most.
    return packets.filter(({ data }) => bytesIn(data) <= 10).map(both);
  },
  // What becomes of each of our messages: as the default parser would write it, and packed again. Null where it is refused.
  read: ({ messages }) => messages.map((message) => {
    try {
      return both(read(Buffer.from(message, "base64")));
    } catch {
      return null;
    }
  }),
});
