// How figures are shown to people.

const NONE = "–";

function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function short(value, step, units) {
  let unit = 0;
  while (value >= step - 0.5 && unit < units.length - 1) {
    value /= step;
    unit += 1;
  }
  const digits = unit > 0 && value < 99.95 ? 1 : 0;
  return value.toFixed(digits) + units[unit];
}

// How many: 12,345; from a million on 1.2 M.
export function count(value) {
  if (!known(value)) return NONE;
  return value < 1e6 ? Math.round(value).toLocaleString("en") : short(value, 1000, ["", " k", " M", " G", " T"]);
}

// How many each second.
export function rate(value) {
  if (!known(value)) return NONE;
  if (value > 0 && value < 9.95) return value.toFixed(1);
  return value < 9999.5 ? String(Math.round(value)) : short(value, 1000, ["", " k", " M", " G", " T"]);
}

// How many bytes.
export function bytes(value) {
  return known(value) ? short(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]) : NONE;
}

export function bytesRate(value) {
  return known(value) ? `${bytes(value)}/s` : NONE;
}

export function milliseconds(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "0 ms";
  return value >= 999.5 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(value < 9.95 ? 1 : 0)} ms`;
}

export function percent(value) {
  return known(value) ? `${value.toFixed(value > 0 && value < 9.95 ? 1 : 0)} %` : NONE;
}

// The two largest units: 2d 3h, 1h 2m, 3s.
export function duration(seconds) {
  if (!known(seconds)) return NONE;
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${minutes}m ${whole % 60}s`;
  return whole < 86400 ? `${hours}h ${minutes}m` : `${days}d ${hours}h`;
}
