// Asks for the status each second and shows it.

import * as banner from "./banner.js";
import { Chart, named, perWorker } from "./chart.js";
import { say } from "./dom.js";
import { bytes, bytesRate, count, duration, milliseconds, percent, rate } from "./format.js";
import { History, values } from "./history.js";
import * as panels from "./panels.js";
import { Meter } from "./rates.js";
import * as token from "./token.js";

const EVERY = 1000;

// How long an answer may take: the supervisor has five seconds for it.
const PATIENCE = 6000;

const by = (id) => document.getElementById(id);

const charts = [
  { title: "Connections and sockets", lines: named({ connections: "connections", sockets: "sockets" }), format: count, least: 10 },
  { title: "Events in and packets out, per second", lines: named({ eventsIn: "events in", packetsOut: "packets out" }), format: rate, least: 10 },
  { title: "Bytes per second", lines: named({ bytesIn: "in", bytesOut: "out" }), format: bytesRate, least: 1024, binary: true },
  { title: "Accepted and refused, per second", lines: named({ accepted: "accepted", refused: "refused" }), format: rate, least: 1 },
  { title: "Event-loop lag by worker, 99 of 100 below", lines: perWorker("lag"), format: milliseconds, least: 1 },
  { title: "Bus latency", lines: named({ bus: "" }), format: milliseconds, least: 1 },
  { title: "Bus messages per second", lines: named({ busOut: "published", busIn: "received" }), format: rate, least: 10 },
  { title: "CPU by worker, of one core", lines: perWorker("cpu"), format: percent, least: 10 },
  { title: "Memory by worker", lines: perWorker("memory"), format: bytes, least: 1 << 24, binary: true },
].map((options) => new Chart(options));
by("charts").append(...charts.map(({ figure }) => figure));

const meter = new Meter();
const history = new History();
let answered = null;

async function ask() {
  // The browser is not to ask for a password in its own way.
  const how = { headers: token.headers(), credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(PATIENCE) };
  const answer = await fetch("status", how);
  if (answer.status === 401) {
    refused("token needed", null);
    return token.ask(await words(answer));
  }
  if (answer.status === 403) {
    refused("refused", `No figures: ${await words(answer)}`);
    // Each refusal is a line in the log.
    return new Promise((done) => setTimeout(done, 30 * EVERY));
  }
  if (!answer.ok) throw new Error(await words(answer));
  show(meter.take(await answer.json(), performance.now()));
}

// What an answer that is no status says: JSON with a reason, or text.
async function words(answer) {
  const text = (await answer.text()).trim();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text || `it answered ${answer.status}`;
  }
}

function show(figures) {
  const { status } = figures;
  const now = Date.now();
  answered = now;
  history.add(now, values(figures));
  history.noteDeaths(status.workers, now);
  header(status);
  const reason = banner.notReady(status);
  if (reason) banner.show(reason);
  else banner.show(banner.warning(status), "warn");
  by("live").hidden = false;
  panels.tiles(by("tiles"), figures);
  panels.workers(by("workers"), figures);
  panels.rooms(by("rooms"), figures);
  panels.refused(by("refusals"), figures);
  panels.bus(by("bus"), figures);
  panels.deaths(by("deaths"), history, now);
  for (const chart of charts) chart.draw(history);
}

function header({ supervisor, bus }) {
  state(supervisor.state, supervisor.state === "running" ? "good" : "");
  say(by("about"), `${supervisor.version} · process ${supervisor.pid} · up ${duration(supervisor.uptime_s)} · ${bytes(supervisor.rss_bytes)} · ${bus.kind} bus ${bus.state}`);
  document.title = supervisor.state === "running" ? "roomd" : `roomd: ${supervisor.state}`;
}

function state(text, level) {
  say(by("state"), text);
  by("state").className = `chip ${level}`;
}

// Says that figures are not for everybody.
function refused(word, reason) {
  state(word, "");
  banner.show(reason);
  by("live").hidden = true;
}

// Says since when nothing is answered, and leaves a gap in the charts.
function silent(error) {
  const now = Date.now();
  state("no answer", "bad");
  document.title = "roomd: no answer";
  const why = error.name === "TimeoutError" ? "it takes too long" : error instanceof TypeError ? "it cannot be reached" : error.message;
  const since = answered === null ? "" : `, the last answer came ${duration((now - answered) / 1000)} ago, at ${new Date(answered).toLocaleTimeString()}`;
  banner.show(`The supervisor does not answer (${why})${since}.${answered === null ? "" : " What is shown is as old."} Asking again each second.`);
  if (answered === null) return;
  history.add(now, {});
  for (const chart of charts) chart.draw(history);
}

for (;;) {
  const begin = performance.now();
  await ask().catch(silent);
  await new Promise((done) => setTimeout(done, Math.max(0, EVERY - (performance.now() - begin))));
}
