// How values and times are written. Pure.

/** `12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`; "" when there is no time. */
export function ago(time: string | undefined, now: number): string {
  if (!time) return "";
  const s = Math.round((now - Date.parse(time)) / 1000);
  if (Number.isNaN(s)) return time;
  if (s < 2) return "now";
  if (s < 90) return `${s} s ago`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min ago`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86400)} d ago`;
}

/** How long it has been so: `12 s`, `3 min`; "" when there is no time. */
export function lasting(time: string | undefined, now: number): string {
  const text = ago(time, now).replace(/ ago$/, "");
  return text === "now" ? "a moment" : text;
}

/** A value as a person reads it: numbers short, texts as they are, anything else as JSON. */
export function shown(value: unknown): string {
  if (value === undefined || value === null) return "–";
  if (typeof value === "number") {
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  }
  if (typeof value === "boolean") return value ? "on" : "off";
  return typeof value === "string" ? value : JSON.stringify(value);
}

const UNITS: Record<string, string> = { Cel: "°C", "[degF]": "°F", "m3/h": "m³/h", m3: "m³", m2: "m²" };

/** A unit as people write it; profiles use the codes of UCUM. */
export const unitShown = (unit: string | undefined): string => (unit === undefined ? "" : (UNITS[unit] ?? unit));

/** The last part of a dotted event type: what people tell them apart by. */
export const shortType = (type: string): string => type.replace(/^dev\.skerry\.(device\.)?/, "");

export function clock(time: string | undefined): string {
  if (!time) return "";
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? time : at.toLocaleTimeString([], { hour12: false });
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** The points of a line through *values*, scaled into a box; "" for fewer than two. */
export function sparkline(values: number[], width: number, height: number): string {
  if (values.length < 2) return "";
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const step = width / (values.length - 1);
  return values.map((v, i) => `${(i * step).toFixed(1)},${(height - 2 - ((v - low) / span) * (height - 4)).toFixed(1)}`).join(" ");
}
