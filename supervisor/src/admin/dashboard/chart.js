// A chart of lines over the last minutes, in SVG.

import { element, svg } from "./dom.js";

const HEIGHT = 150;
const LEFT = 58;
const BOTTOM = 18;
const TOP = 8;

// With more lines than there are colours, three say more.
const MOST_LINES = 8;

// The least of 1, 2 and 5 times a power of ten, or of 1, 2, 4, … for bytes, that is not below.
function nice(value, binary) {
  if (!(value > 0)) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

// The lines of a name with numbers: one each, or three over all of them.
export function perWorker(name) {
  return (history) => {
    const slots = history.numbered(name);
    if (slots.length <= MOST_LINES) {
      return slots.map((slot) => ({ label: `slot ${slot}`, colour: slot % MOST_LINES, of: (values) => values[`${name}/${slot}`] }));
    }
    const over = (pick) => (values) => {
      const figures = slots.map((slot) => values[`${name}/${slot}`]).filter((figure) => figure !== undefined);
      return figures.length ? pick(figures) : null;
    };
    return [
      { label: "highest", colour: 1, of: over((figures) => Math.max(...figures)) },
      { label: "median", colour: 0, of: over(median) },
      { label: "lowest", colour: 2, of: over((figures) => Math.min(...figures)) },
    ];
  };
}

// Lines by name and label.
export function named(labels) {
  const lines = Object.entries(labels).map(([name, label], colour) => ({ label, colour, of: (values) => values[name] }));
  return () => lines;
}

export class Chart {
  #history;
  #focus = null;

  // `lines` gives the lines to draw, `format` shows a value. `least` is what the scale reaches at least.
  constructor({ title, lines, format, least = 0, binary = false }) {
    Object.assign(this, { title, lines, format, least, binary });
    this.legend = element("ul", { className: "legend" });
    this.plot = svg("svg", { role: "img", tabindex: "0" });
    this.tip = element("ul", { className: "tip", hidden: true });
    this.figure = element("figure", {}, element("figcaption", { textContent: title }), this.legend, this.plot, this.tip);
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    for (const leave of ["pointerleave", "blur"]) this.plot.addEventListener(leave, () => this.#look(null));
    this.plot.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#history && this.draw(this.#history)).observe(this.figure);
  }

  draw(history) {
    this.#history = history;
    const now = history.last.time;
    const { span } = history;
    const lines = this.lines(history);
    this.width = Math.max(120, this.plot.clientWidth);
    const largest = Math.max(this.least, ...history.points.flatMap(({ values }) => lines.map((line) => line.of(values) ?? 0)));
    this.top = nice(largest, this.binary);
    this.x = (time) => LEFT + (1 - (now - time) / span) * (this.width - LEFT);
    this.y = (value) => TOP + (1 - value / this.top) * (HEIGHT - TOP - BOTTOM);
    this.plot.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.cross = svg("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    this.plot.replaceChildren(
      ...this.#scale(span),
      ...this.#deaths(history),
      ...lines.map((line) => svg("path", { class: `curve s${line.colour}`, d: this.#path(history, line) })),
      this.cross,
    );
    this.#tell(lines, history.last.values);
    if (this.#focus !== null) this.#look(this.#focus);
  }

  #scale(span) {
    const parts = [];
    for (const part of [0, 0.5, 1]) {
      const y = this.y(part * this.top);
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: this.width, y1: y, y2: y }));
      parts.push(svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, this.format(part * this.top)));
    }
    for (const [part, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
      const x = LEFT + part * (this.width - LEFT);
      const ago = (span * (1 - part)) / 1000;
      const words = ago === 0 ? "now" : ago < 120 ? `−${ago} s` : `−${ago / 60} min`;
      parts.push(svg("text", { x, y: HEIGHT - 4, "text-anchor": anchor }, words));
    }
    return parts;
  }

  // Where workers died.
  #deaths(history) {
    const seen = [...history.deaths.values()].map(({ at }) => this.x(at)).filter((x) => x >= LEFT);
    return seen.map((x) => svg("line", { class: "death", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
  }

  // Broken where nothing is known.
  #path(history, line) {
    let path = "";
    let drawing = false;
    for (const { time, values } of history.points) {
      const value = line.of(values);
      if (value === null || value === undefined) {
        drawing = false;
        continue;
      }
      // A point alone is a dot: a line from itself to itself, with round ends.
      const place = `${this.x(time).toFixed(1)} ${this.y(value).toFixed(1)}`;
      path += drawing ? `L${place}` : `M${place}L${place}`;
      drawing = true;
    }
    return path;
  }

  // Says the newest values, in the legend and for those who do not see the lines.
  #tell(lines, values) {
    const many = lines.length > 1;
    const entries = lines.map((line) => [line, this.format(line.of(values))]);
    const items = entries.map(([line, value]) => {
      const mark = many ? [element("span", { className: `mark s${line.colour}` })] : [];
      return element("li", {}, ...mark, line.label ? `${line.label} ` : "", element("b", { textContent: value }));
    });
    this.legend.replaceChildren(...items);
    const words = entries.map(([line, value]) => `${line.label} ${value}`.trim()).join(", ");
    this.plot.setAttribute("aria-label", `${this.title}, now: ${words || "nothing known"}. Arrow keys show earlier values.`);
  }

  #point(event) {
    const place = event.clientX - this.plot.getBoundingClientRect().left;
    if (!this.#history) return;
    const distances = this.#history.points.map(({ time }) => Math.abs(this.x(time) - place));
    const nearest = distances.indexOf(Math.min(...distances));
    this.#look(place < LEFT || nearest < 0 ? null : this.#history.points[nearest].time);
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.#history) return;
    event.preventDefault();
    const { points } = this.#history;
    const at = this.#focus === null ? points.length - 1 : points.findIndex(({ time }) => time >= this.#focus);
    this.#look(points[Math.min(points.length - 1, Math.max(0, at + step))].time);
  }

  // Shows the values of a moment.
  #look(time) {
    this.#focus = time;
    const point = time === null ? null : this.#history.points.find((point) => point.time >= time);
    this.tip.hidden = !point;
    this.cross.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) return;
    const x = this.x(point.time);
    this.cross.setAttribute("x1", x);
    this.cross.setAttribute("x2", x);
    const lines = this.lines(this.#history).map((line) => [line, this.format(line.of(point.values))]);
    const items = lines.map(([line, value]) => element("li", {}, element("span", { className: `mark s${line.colour}` }), `${line.label} ${value}`));
    this.tip.replaceChildren(element("li", { textContent: new Date(point.time).toLocaleTimeString() }), ...items);
    // On the side on which there is more room.
    const right = x < this.width / 2;
    this.tip.style.left = right ? `${x + 24}px` : "auto";
    this.tip.style.right = right ? "auto" : `${this.width - x + 24}px`;
  }
}
