// Elements, and numbers as people read them. Text is always set as text: nothing that somebody
// else chose is ever parsed as markup.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, props, children);
  return element;
}

export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, props, children);
  return element;
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "width%") element.style.width = `${Math.max(0, Math.min(100, value))}%`;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export const number = (value, digits = 0) =>
  Number(value).toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });

export function rate(value) {
  return value === 0 || value >= 100 ? number(value) : number(value, 1);
}

export function time(seconds) {
  if (!seconds) return "0 ms";
  if (seconds < 0.001) return `${number(seconds * 1e6)} µs`;
  if (seconds < 0.01) return `${number(seconds * 1000, 1)} ms`;
  if (seconds < 1) return `${number(seconds * 1000)} ms`;
  if (seconds < 120) return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${number(seconds / 60)} min`;
  if (seconds < 172800) return `${number(seconds / 3600, 1)} h`;
  return `${number(seconds / 86400, 1)} d`;
}

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let scaled = value, unit = -1;
  while (scaled >= 1024 && unit < units.length - 1) { scaled /= 1024; unit += 1; }
  return `${number(scaled, scaled < 10 ? 1 : 0)} ${units[unit]}`;
}

export const clock = (text) => new Date(text).toLocaleTimeString("en-GB");

export const pill = (word, text = word) => h("span", { class: `pill ${word}` }, text.replaceAll("_", " "));

export function meter(value, max, words) {
  const share = max > 0 ? value / max : 0;
  const level = share > 0.9 ? "bad" : share > 0.8 ? "warn" : "";
  return h("div", { class: `meter ${level}` },
    h("div", { class: "track" }, h("div", { class: "fill", "width%": share * 100 })),
    h("span", { class: "words" }, words));
}
