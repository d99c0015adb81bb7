// What a soak's clients sent, got and missed, and which fault explains each miss. No I/O: times come in, figures go out.

// A message is judged so long after it was sent: until then it may still come.
const JUDGED_AFTER = 8_000;
// A message that takes longer than this on its way may be lost by what happens meanwhile.
const ON_ITS_WAY = 1_500;
// What a fault does can be seen a little before it is over, or after.
const MARGIN = 1_000;

function add(counts, key) {
  counts[key] = (counts[key] || 0) + 1;
}

export class Ledger {
  // Per client: the times during which it was in its room, the newest last: {slot, from, to, cause}.
  #spells = [];
  #faults = [];
  #messages = new Map();
  #lastFrom = new Map();
  #latencies = [];
  #next = 1;
  figures = { sent: 0, expected: 0, delivered: 0, lost: {}, duplicates: 0, reordered: 0, left: {}, errors: {}, longestAwayMs: 0 };
  // Misses and leavings that nothing explains, for whoever has to find out: the first few.
  unexplained = [];

  constructor(clients) {
    this.#spells = Array.from({ length: clients }, () => []);
  }

  faultBegins(kind, slot, now) {
    this.#faults.push({ kind, slot, from: now, to: Infinity });
  }

  faultEnds(now) {
    this.#faults.at(-1).to = now;
  }

  // The client is in its room.
  joined(client, slot, now) {
    const spells = this.#spells[client];
    const before = spells.at(-1);
    if (before) this.figures.longestAwayMs = Math.max(this.figures.longestAwayMs, now - before.to);
    spells.push({ slot, from: now, to: Infinity });
    // What is older than any message that is not judged yet is of no use.
    if (spells.length > 50) spells.shift();
  }

  // The client's connection has ended.
  left(client, reason, now) {
    const spell = this.#spells[client].at(-1);
    if (!spell || spell.to !== Infinity) return;
    spell.to = now;
    spell.cause = this.#faultAt(now, spell.slot) || "unexplained";
    add(this.figures.left, spell.cause);
    if (spell.cause === "unexplained") this.#note({ left: client, reason, slot: spell.slot, now });
  }

  error(message) {
    add(this.figures.errors, message);
  }

  isIn(client) {
    return this.#spells[client].at(-1)?.to === Infinity;
  }

  // A client sends to all of its room; gives the message's number.
  sends(sender, members, now) {
    const number = this.#next++;
    this.figures.sent += 1;
    this.#messages.set(number, { sender, members, at: now, got: new Set() });
    return number;
  }

  gets(client, number, now) {
    const message = this.#messages.get(number);
    if (!message) return;
    if (message.got.has(client)) {
      this.figures.duplicates += 1;
      return;
    }
    message.got.add(client);
    if (this.#latencies.length < 2_000_000) this.#latencies.push(now - message.at);
    const pair = message.sender * this.#spells.length + client;
    if ((this.#lastFrom.get(pair) || 0) > number) this.figures.reordered += 1;
    this.#lastFrom.set(pair, number);
  }

  // Judges what is old enough.
  settle(now) {
    for (const [number, message] of this.#messages) {
      if (message.at > now - JUDGED_AFTER) break;
      this.#messages.delete(number);
      for (const client of message.members) {
        this.figures.expected += 1;
        if (message.got.has(client)) this.figures.delivered += 1;
        else this.#miss(number, message, client);
      }
    }
  }

  latency(share) {
    const sorted = Float64Array.from(this.#latencies).sort();
    return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
  }

  #miss(number, { sender, at }, client) {
    const from = this.#spellAt(sender, at);
    const to = this.#spellAt(client, at);
    const cause = this.#whyMissed(from, to, client, at);
    add(this.figures.lost, cause);
    if (cause === "unexplained") this.#note({ missed: number, at, sender, from, client, to });
  }

  #whyMissed(from, to, client, at) {
    // The recipient was not there, or left before it came.
    if (!to || to.to < at + ON_ITS_WAY) return `recipient away: ${to ? to.cause : this.#leftBefore(client, at)}`;
    // It spoke in the very millisecond in which its connection ended.
    if (!from) return `sender's connection: ${this.#leftBefore(sender, at)}`;
    if (from.to < at + ON_ITS_WAY) return `sender's connection: ${from.cause}`;
    for (const { kind, slot, from: begin, to: end } of this.#faults) {
      if (at < begin - MARGIN - ON_ITS_WAY || at > end + MARGIN) continue;
      // Without Redis each worker serves its own.
      if (kind === "redis" && from.slot !== to.slot) return "between workers: redis";
      if (kind === "stop" && (from.slot === slot || to.slot === slot)) return "in a stopped worker: stop";
    }
    return "unexplained";
  }

  #leftBefore(client, at) {
    return this.#spells[client].findLast((spell) => spell.to <= at)?.cause || "unexplained";
  }

  #spellAt(client, at) {
    return this.#spells[client].find((spell) => spell.from <= at && at < spell.to);
  }

  #faultAt(now, slot) {
    const fits = (fault) => fault.from <= now && now <= fault.to + MARGIN && (fault.slot === undefined || fault.slot === null || fault.slot === slot);
    return this.#faults.findLast(fits)?.kind;
  }

  #note(what) {
    if (this.unexplained.length < 20) this.unexplained.push(what);
  }
}
