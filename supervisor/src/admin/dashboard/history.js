// What was seen in the last ten minutes, for the charts.

const SPAN = 600_000;

// How much of it the charts show: as little as holds all that there is, so that a page that was just opened is no sliver.
const SHOWN = [60_000, 120_000, 300_000, SPAN];

// More than one a second does not come.
const MOST = 700;

export class History {
  // The oldest first: a time in milliseconds since 1970, and values by name. Where nothing was answered there are no values.
  points = [];
  // Deaths that were seen, by what tells them apart.
  deaths = new Map();

  add(time, values) {
    this.points.push({ time, values });
    while (this.points.length > MOST || this.points[0].time < time - SPAN) this.points.shift();
  }

  // How far back the charts go, in milliseconds.
  get span() {
    const seen = this.last.time - this.points[0].time;
    return SHOWN.find((span) => span >= seen) ?? SPAN;
  }

  // A slot's newest death; it is told for as long as the slot has no newer one.
  noteDeaths(workers, time) {
    for (const { slot, last_death: death } of workers) {
      if (!death) continue;
      const key = `${slot}.${death.generation}.${death.pid}`;
      // When it was stays what was found first.
      const at = this.deaths.get(key)?.at ?? time - death.ago_s * 1000;
      this.deaths.set(key, { slot, death, at });
    }
    const newest = [...this.deaths].sort(([, a], [, b]) => b.at - a.at).slice(0, 20);
    this.deaths = new Map(newest);
  }

  get last() {
    return this.points.at(-1);
  }

  // Numbers that follow a name: of `cpu/0` and `cpu/3`, 0 and 3.
  numbered(name) {
    const numbers = new Set();
    for (const { values } of this.points) {
      for (const key of Object.keys(values)) if (key.startsWith(`${name}/`)) numbers.add(Number(key.slice(name.length + 1)));
    }
    return [...numbers].sort((a, b) => a - b);
  }
}

// What of a look at the cluster the charts need.
export function values({ status, workers, total, accepted, refused }) {
  const all = (name) => status.workers.reduce((sum, worker) => sum + worker[name], 0);
  const values = {
    connections: status.balancer.open, sessions: all("sessions"), sockets: all("sockets"), ...total, accepted, refused,
    bus: status.bus.state === "up" ? status.bus.latency_ms : null, supervisor: status.supervisor.rss_bytes,
    supervisorLag: status.supervisor.lag?.p99_ms ?? null, restarts: 0,
  };
  for (const { worker, cpu } of workers) {
    if (worker.pid === null) continue;
    // Two generations of a slot are one line while the old one drains.
    const add = (name, figure, merge) => {
      const key = `${name}/${worker.slot}`;
      if (figure !== null && figure !== undefined) values[key] = key in values ? merge(values[key], figure) : figure;
    };
    const plus = (a, b) => a + b;
    add("cpu", cpu, plus);
    add("memory", worker.rss_bytes, plus);
    add("lag", worker.lag?.p99_ms, Math.max);
  }
  return values;
}
