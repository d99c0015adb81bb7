// What is written and not drawn: tiles, tables, deaths.

import { element, say } from "./dom.js";
import { bytes, bytesRate, count, duration, milliseconds, percent, rate } from "./format.js";
import { refusals } from "./rates.js";

export function tiles(list, { status, total }) {
  const all = (name) => status.workers.reduce((sum, worker) => sum + worker[name], 0);
  const ready = status.workers.filter((worker) => worker.state === "ready").length;
  const figures = [
    ["Workers ready", `${ready} of ${status.supervisor.wanted_workers}`],
    ["Connections", count(status.balancer.open)],
    ["Sockets", count(all("sockets"))],
    ["Rooms", count(all("rooms"))],
    ["Events in /s", rate(total.eventsIn)],
    ["Packets out /s", rate(total.packetsOut)],
    ["Bytes out", bytesRate(total.bytesOut)],
    ["Bus latency", milliseconds(status.bus.latency_ms)],
  ];
  // Made once, then only the figures change.
  if (list.children.length !== figures.length) {
    list.replaceChildren(...figures.map(([name]) => element("div", {}, element("dt", { textContent: name }), element("dd"))));
  }
  figures.forEach(([, value], at) => say(list.children[at].lastChild, value));
}

const COLUMNS = [
  ["Slot", ({ worker }) => worker.slot],
  ["Gen.", ({ worker }) => worker.generation],
  ["Process", ({ worker }) => worker.pid ?? "–"],
  ["State", state, "text"],
  ["Connections", ({ worker }) => count(worker.connections)],
  ["Sockets", ({ worker }) => count(worker.sockets)],
  ["Events in /s", ({ rates }) => rate(rates?.eventsIn)],
  ["Packets out /s", ({ rates }) => rate(rates?.packetsOut)],
  ["Bytes", ({ rates }) => bytesRate(rates && rates.bytesIn + rates.bytesOut)],
  ["Loop lag", ({ worker }) => milliseconds(worker.lag?.p99_ms)],
  ["CPU", ({ cpu }) => percent(cpu)],
  ["Memory", ({ worker }) => bytes(worker.pid === null ? null : worker.rss_bytes)],
  ["Up", ({ worker }) => duration(worker.pid === null ? null : worker.uptime_s)],
  ["Restarts", restarts, "text"],
];

const STATES = { ready: "good", backoff: "bad", failed: "bad" };

function state({ worker }) {
  const more = worker.busy_with ? `, blocked by ${worker.busy_with}` : worker.bus_up === false ? ", no bus" : "";
  const wait = worker.retry_in_s === null ? "" : `, ${duration(worker.retry_in_s)}`;
  const good = worker.state === "ready" && more ? "" : STATES[worker.state] ?? "";
  return element("span", { className: `chip ${good}`, textContent: worker.state + more + wait });
}

function restarts({ worker }) {
  const causes = Object.entries(worker.restarts_by_cause).map(([cause, times]) => `${times} ${cause}`).join(", ");
  const last = worker.last_death ? [`${duration(worker.last_death.ago_s)} ago`] : [];
  return [causes, ...last].filter(Boolean).join(", ") || "0";
}

function cells(values, classes = [], head = "th") {
  return values.map((value, at) => element(at === 0 ? head : "td", { className: classes[at] ?? "" }, at === 0 && head === "th" ? String(value) : value));
}

export function workers(table, figures) {
  if (!table.tHead) {
    const heads = COLUMNS.map(([title, , side]) => element("th", { scope: "col", className: side ?? "", textContent: title }));
    table.append(element("thead", {}, element("tr", {}, ...heads)), element("tbody"));
  }
  const newest = new Map(figures.workers.map(({ worker }) => [worker.slot, worker.generation]));
  const rows = figures.workers.map((figure) => {
    const texts = COLUMNS.map(([, text]) => text(figure)).map((text) => (text instanceof Node ? text : String(text)));
    const row = element("tr", {}, ...cells(texts, COLUMNS.map(([, , side]) => side)));
    row.firstChild.scope = "row";
    row.classList.toggle("old", newest.get(figure.worker.slot) !== figure.worker.generation);
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
}

// A table of names and values.
function pairs(table, rows, nothing) {
  const made = rows.map(([name, value]) => {
    const head = element("th", { scope: "row", className: "text", textContent: name });
    return element("tr", {}, head, element("td", { className: "wide", textContent: value }));
  });
  const empty = element("tr", {}, element("td", { className: "text muted", textContent: nothing }));
  table.replaceChildren(element("tbody", {}, ...(made.length ? made : [empty])));
}

export function refused(table, { status }) {
  const causes = [...refusals(status)].filter(([, times]) => times > 0).sort(([, a], [, b]) => b - a);
  pairs(table, causes.map(([cause, times]) => [cause.replaceAll("_", " "), count(times)]), "nobody");
}

export function bus(table, { status: { bus }, redis: rates }) {
  const rows = [
    ["kind", bus.kind], ["state", `${bus.state} for ${duration(bus.since_s)}`], ["a message takes", milliseconds(bus.latency_ms)],
    ["where", bus.url], ["why it is down", bus.reason],
  ];
  const redis = bus.redis;
  if (redis) {
    const limit = redis.max_memory_bytes ? ` of ${bytes(redis.max_memory_bytes)}` : "";
    rows.push(
      ["Redis", `${redis.version ?? "of unknown version"}, up ${duration(redis.uptime_s)}`],
      ["its memory", `${bytes(redis.used_memory_bytes)}${limit}, resident ${bytes(redis.resident_memory_bytes)}`],
      ["its CPU, of one core", percent(rates?.cpu)],
      ["its commands per second", rate(rates?.commands)],
      ["its clients", count(redis.connected_clients)],
      ["closed for reading too slowly", count(redis.output_buffer_disconnections)],
      ["its answer took", milliseconds(redis.answer_s === null ? null : redis.answer_s * 1000)],
    );
  }
  pairs(table, rows.filter(([, value]) => value && value !== "–"), "");
}

export function rooms(table, { status: { busiest_rooms: busiest } }) {
  if (!busiest?.length) return pairs(table, [], "none at the moment");
  const heads = [["Room", "text"], ["Namespace", "text"], ["Members", ""], ["Packets /s", ""]];
  const head = element("tr", {}, ...heads.map(([title, side]) => element("th", { scope: "col", className: side, textContent: title })));
  const rows = busiest.map((room) => {
    const name = room.room === "" ? "(everybody)" : room.room;
    const row = element("tr", {}, ...cells([name, room.namespace, count(room.members), rate(room.packets_per_s)], ["text", "text"]));
    row.firstChild.scope = "row";
    return row;
  });
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

// The newest first, with what the worker last wrote. Made again only when one is new: else what was opened would close.
export function deaths(list, history, now) {
  const newest = [...history.deaths].sort(([, a], [, b]) => b.at - a.at);
  const key = newest.map(([key]) => key).join();
  if (list.dataset.shown !== key) {
    list.dataset.shown = key;
    list.replaceChildren(...(newest.length ? newest.map(([, entry]) => death(entry)) : [element("li", { className: "muted", textContent: "none since the start" })]));
  }
  newest.forEach(([, { at }], index) => say(list.children[index].querySelector("time"), `${duration((now - at) / 1000)} ago`));
}

function death({ slot, death, at }) {
  const words = death.last_words.join("\n");
  const process = death.pid ? `, process ${death.pid}` : "";
  return element("li", {},
    element("span", { className: "chip bad", textContent: death.cause }),
    ` slot ${slot}, generation ${death.generation}${process}: ${death.detail} · `,
    element("time", { dateTime: new Date(at).toISOString(), className: "muted" }),
    ...(words ? [element("details", {}, element("summary", { textContent: "its last words" }), element("pre", { textContent: words }))] : []));
}
