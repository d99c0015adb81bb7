// Talk in lines of JSON: each request {"do": name, …} is answered by {"result"} or {"error"}.
import { createInterface } from "node:readline";

export function tell(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

export function answer(actions) {
  createInterface({ input: process.stdin })
    .on("line", async (line) => {
      const request = JSON.parse(line);
      try {
        const result = await actions[request.do](request);
        tell({ result: result === undefined ? null : result });
      } catch (error) {
        tell({ error: String(error && error.stack || error) });
      }
    })
    .on("close", () => process.exit(0));
}

// Bytes cross this pipe as {"$bytes": base64}, what JSON has no form for as {"$js": its name, or a date}. To say them shortly there
// are {"$text": text, "times": number} and {"$zeros": number of bytes}.
export function packed(value) {
  if (Object.is(value, -0)) return { $js: "-0" };
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(packed);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, packed(v)]));
  return value;
}

const specials = { undefined: undefined, NaN: NaN, Infinity: Infinity, "-0": -0 };

export function unpacked(value) {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value && typeof value === "object") {
    if (typeof value.$bytes === "string") return Buffer.from(value.$bytes, "base64");
    if (typeof value.$text === "string") return value.$text.repeat(value.times);
    if (typeof value.$zeros === "number") return Buffer.alloc(value.$zeros);
    if (typeof value.$js === "string") return value.$js in specials ? specials[value.$js] : new Date(value.$js);
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, unpacked(v)]));
  }
  return value;
}
