// Tables that can be sorted by a click or a key, and keep their order when their rows change.

import { h } from "/assets/dom.js";

const orders = new Map();

// `columns` are {name, value, show, number}; `name` of the table keeps its order apart.
export function table(name, columns, rows, { empty = "nothing here", caption } = {}) {
  const order = orders.get(name) ?? { column: null, down: false };
  let sorted = rows;
  if (order.column !== null && columns[order.column]) {
    const { value } = columns[order.column];
    const compare = (a, b) => {
      const [left, right] = [value(a) ?? "", value(b) ?? ""];
      return typeof left === "number" && typeof right === "number" ? left - right : String(left).localeCompare(String(right), "en", { numeric: true });
    };
    sorted = [...rows].sort((a, b) => (order.down ? compare(b, a) : compare(a, b)));
  }
  const box = h("div", { class: "scroll" });
  const rebuild = (index) => {
    orders.set(name, { column: index, down: order.column === index ? !order.down : columns[index].number === true });
    const fresh = table(name, columns, rows, { empty, caption });
    box.replaceWith(fresh);
    fresh.querySelectorAll("th button")[index]?.focus();
  };
  const head = h("tr", {}, columns.map((column, index) => {
    const active = order.column === index;
    const sort = active ? (order.down ? "descending" : "ascending") : "none";
    const mark = active ? (order.down ? " ↓" : " ↑") : "";
    return h("th", { scope: "col", "aria-sort": sort, class: column.number ? "number" : null },
      column.value ? h("button", { type: "button", onclick: () => rebuild(index) }, column.name + mark) : column.name);
  }));
  const body = sorted.map((row) => h("tr", {}, columns.map((column) =>
    h("td", { class: column.number ? "number" : column.tight ? "tight" : "text" }, column.show ? column.show(row) : column.value(row)))));
  box.append(rows.length
    ? h("table", {}, caption && h("caption", { class: "faint" }, caption), h("thead", {}, head), h("tbody", {}, body))
    : h("p", { class: "empty" }, empty));
  return box;
}
