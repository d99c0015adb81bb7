// What is wrong, said in one line: by the rules of /readyz.

import { duration } from "./format.js";

const banner = document.getElementById("banner");

// Why a load balancer should send nobody here; null where nothing is wrong.
export function notReady({ supervisor, workers, bus }) {
  const ready = workers.filter((worker) => worker.state === "ready");
  const reasons = [];
  if (supervisor.state === "stopping") reasons.push("the cluster is stopping");
  if (ready.length === 0) reasons.push(`no worker is ready (0 of ${supervisor.wanted_workers})`);
  const without = ready.filter((worker) => worker.bus_up === false);
  if (bus.state === "down") {
    reasons.push(`the ${bus.kind} bus has been down for ${duration(bus.since_s)}: ${bus.reason ?? "no reason known"}`);
  } else if (without.length) {
    reasons.push(`the ${bus.kind} bus is down in ${without.length} of ${ready.length} ready workers: ${without[0].bus_reason ?? "no reason known"}`);
  }
  return reasons.length ? `Not ready: ${reasons.join("; ")}` : null;
}

// What does not keep clients out, but should be known.
export function warning({ supervisor, workers }) {
  const ready = workers.filter((worker) => worker.state === "ready").length;
  const busy = workers.filter((worker) => worker.busy_with).map((worker) => `slot ${worker.slot} is blocked by the handler of ${worker.busy_with}`);
  const missing = ready < supervisor.wanted_workers ? [`${ready} of ${supervisor.wanted_workers} workers are ready`] : [];
  const words = [...missing, ...busy].join("; ");
  return words || null;
}

export function show(text, level = "bad") {
  banner.hidden = text === null;
  banner.className = level;
  if (text !== null && banner.textContent !== text) banner.textContent = text;
}
