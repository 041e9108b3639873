// Line charts as SVG: lines over time, an axis with round numbers, and the values under the
// pointer. What a chart shows is said in words too, for those who do not see it.

import { h, svg } from "/assets/dom.js";

const WIDTH = 600, HEIGHT = 170, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 20;

function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= value * 0.999);
}

function ago(seconds) {
  if (seconds < 1) return "now";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 8640) / 10} days`;
}

// `points` are [seconds ago, …]; `lines` say which value, its name, its class.
export function chart({ title, points, lines, format, range, floor = 0 }) {
  const values = points.flatMap((point) => lines.map((line) => point[line.at]));
  const max = roundUp(Math.max(floor, ...values.filter(Number.isFinite), 0));
  const x = (seconds) => LEFT + (1 - seconds / range) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / max) * (HEIGHT - TOP - BOTTOM);
  const path = (at) => points.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[at]).toFixed(1)}`).join("");
  const last = points.at(-1);
  const words = last
    ? lines.map((line) => `${line.name} ${format(last[line.at])}, at most ${format(Math.max(...points.map((p) => p[line.at])))}`).join("; ")
    : "no data yet";
  const image = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${title} over the last ${ago(range)}: ${words}`,
  });
  const box = h("div", { class: "chart" });
  for (const step of [0, 0.5, 1]) {
    image.append(svg("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(max * step), y2: y(max * step) }));
  }
  if (points.length > 1) {
    const first = lines[0].at;
    image.append(svg("path", { class: "area", d: `${path(first)}L${x(last[0]).toFixed(1)} ${y(0)}L${x(points[0][0]).toFixed(1)} ${y(0)}Z` }));
    for (const line of [...lines].reverse()) image.append(svg("path", { class: `line ${line.class ?? ""}`, d: path(line.at) }));
  }
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  image.append(cursor);
  const tip = h("div", { class: "tip", hidden: true });
  const move = (event) => {
    const place = image.getBoundingClientRect();
    const at = (event.clientX - place.left) / place.width * WIDTH;
    const near = points.reduce((a, b) => (Math.abs(x(b[0]) - at) < Math.abs(x(a[0]) - at) ? b : a), points[0]);
    if (!near) return;
    cursor.setAttribute("x1", x(near[0])); cursor.setAttribute("x2", x(near[0]));
    cursor.setAttribute("visibility", "visible");
    tip.hidden = false;
    tip.textContent = `${ago(near[0])} ago · ${lines.map((l) => `${l.name} ${format(near[l.at])}`).join(" · ")}`;
    const left = x(near[0]) / WIDTH * place.width;
    tip.style.left = `${Math.max(0, Math.min(left + 8, place.width - tip.offsetWidth))}px`;
  };
  const leave = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  image.addEventListener("pointermove", move);
  image.addEventListener("pointerleave", leave);
  box.append(labels(max, format, range), image, tip,
    h("p", { class: "legend", "aria-hidden": "true" }, lines.map((line) =>
      h("span", { class: `key ${line.class ?? ""}` }, `${line.name} ${last ? format(last[line.at]) : ""}`))));
  return box;
}

// The words of the axes: an image of its own, so that they are not stretched with the lines.
function labels(max, format, range) {
  const layer = h("div", { class: "labels", "aria-hidden": "true" });
  for (const [name, text] of [["max", format(max)], ["mid", format(max / 2)], ["min", format(0)], ["then", `${ago(range)} ago`], ["now", "now"]]) {
    layer.append(h("span", { class: name }, text));
  }
  return layer;
}

// A small line without axes.
export function spark(values) {
  const max = Math.max(...values, 1);
  const step = 110 / Math.max(values.length - 1, 1);
  const d = values.map((value, i) => `${i ? "L" : "M"}${(i * step).toFixed(1)} ${(24 - value / max * 22).toFixed(1)}`).join("");
  return svg("svg", { class: "spark", viewBox: "0 0 110 26", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "line", d: d || "M0 24" }));
}
