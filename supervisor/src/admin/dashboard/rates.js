// From what workers have counted to how much it is each second.

// Who reports each second and has not for so long has no rates: it is paused, or has too much to do. In milliseconds.
const STALE = 3500;

// CPU time is told in hundredths of a second: over less than this it jumps. In milliseconds.
const CPU_OVER = 5000;

const COUNTERS = { eventsIn: "events_in", eventsOut: "events_out", packetsOut: "packets_out", bytesIn: "bytes_in", bytesOut: "bytes_out",
  busOut: "bus_published", busIn: "bus_received" };

function perSecond(before, after, elapsed) {
  // What goes back is no counter of the same process.
  return elapsed > 0 && after >= before ? ((after - before) * 1000) / elapsed : null;
}

function between(before, after, elapsed) {
  const rates = {};
  for (const [name, counter] of Object.entries(COUNTERS)) rates[name] = perSecond(before[counter], after[counter], elapsed);
  return rates.eventsIn === null ? null : rates;
}

function sum(figures) {
  const known = figures.filter((figure) => figure !== null && figure !== undefined);
  return known.length ? known.reduce((all, one) => all + one, 0) : null;
}

// All refusals since the supervisor's start, by cause.
export function refusals(status) {
  const causes = new Map();
  const add = (all) => Object.entries(all ?? {}).forEach(([cause, times]) => causes.set(cause, (causes.get(cause) ?? 0) + times));
  add(status.balancer.refused);
  for (const slot of status.slots ?? []) add(slot.counters.refused_by_cause);
  return causes;
}

// Makes figures of the statuses that it is given one after another.
export class Meter {
  #workers = new Map();
  #cluster = null;
  #redis = null;

  // `now` is when the status was answered, in milliseconds of a clock that only goes forward.
  take(status, now) {
    const known = new Map();
    const workers = status.workers.map((worker) => {
      // The process id tells apart what two supervisors, one after the other, call by the same generation.
      const key = `${worker.slot}.${worker.generation}.${worker.pid}`;
      if (worker.pid === null) return { worker, rates: null, cpu: null };
      const reading = this.#read(worker, this.#workers.get(key), now);
      known.set(key, reading);
      const fresh = reading.reported !== null && now - reading.reported < STALE;
      return { worker, rates: fresh ? reading.rates : null, cpu: reading.cpu };
    });
    // Those that are gone are forgotten here.
    this.#workers = known;
    const total = {};
    for (const name of Object.keys(COUNTERS)) total[name] = sum(workers.map(({ rates }) => rates?.[name]));
    return { status, workers, total, ...this.#shared(status, now), redis: this.#redisRates(status.bus?.redis, now) };
  }

  #read(worker, before, now) {
    const reported = worker.reported_ago_s === null ? null : now - worker.reported_ago_s * 1000;
    const reading = { reported, counters: worker.counters, rates: before?.rates ?? null, ...this.#cpu(worker, before, now) };
    if (!before || before.reported === null || reported === null) return { ...reading, rates: null };
    const elapsed = reported - before.reported;
    // The same report again.
    if (elapsed < 100) return { ...reading, reported: before.reported, counters: before.counters };
    return { ...reading, rates: between(before.counters, worker.counters, elapsed) };
  }

  // The part of one core that it used lately, in hundredths.
  #cpu({ cpu_s: time }, before, now) {
    if (time === null || time === undefined) return { cpuTimes: [], cpu: null };
    const cpuTimes = (before?.cpuTimes ?? []).filter((one) => now - one.at <= CPU_OVER);
    const busy = cpuTimes.length ? perSecond(cpuTimes[0].time, time, now - cpuTimes[0].at) : null;
    cpuTimes.push({ time, at: now });
    return { cpuTimes, cpu: busy === null ? null : busy * 100 };
  }

  // What Redis does each second. It is asked every ten seconds: in between, what it does is what it did.
  #redisRates(told, now) {
    const before = this.#redis;
    if (!told || before?.told.commands !== told.commands) this.#redis = told ? { told, at: now, rates: null } : null;
    if (!told || !before) return null;
    if (before.told.commands === told.commands) return before.rates;
    const elapsed = now - before.at;
    const cpu = ({ cpu_user_s: user, cpu_system_s: system }) => (user === null || system === null ? null : user + system);
    const busy = perSecond(cpu(before.told), cpu(told), elapsed);
    this.#redis.rates = { commands: perSecond(before.told.commands, told.commands, elapsed), cpu: busy === null ? null : busy * 100 };
    return this.#redis.rates;
  }

  // What balancer and slots count.
  #shared(status, now) {
    const refused = [...refusals(status).values()].reduce((all, one) => all + one, 0);
    const counts = { supervisor: status.supervisor.pid, accepted: status.balancer.accepted, refused, at: now };
    const before = this.#cluster;
    this.#cluster = counts;
    if (!before || before.supervisor !== counts.supervisor) return { accepted: null, refused: null };
    const rate = (name) => perSecond(before[name], counts[name], now - before.at);
    return { accepted: rate("accepted"), refused: rate("refused") };
  }
}
