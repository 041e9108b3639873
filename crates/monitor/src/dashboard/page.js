// The live page: listens to the stream, shows one view at a time, and asks for what a view needs.

import { bytes, clock, h, meter, number, pill, rate, time } from "/assets/dom.js";
import { chart, spark } from "/assets/chart.js";
import { table } from "/assets/table.js";

const $ = (id) => document.getElementById(id);
const KEEP = 300;

let live = null;
let token = "";
let scope = "";
const recent = new Map();
const search = { clients: "", servers: "", config: "", pools: "" };
const chosen = { pool: "", range: 900 };

// What the charts show of one look at a pool.
const FIELDS = ["used", "size", "waiting", "queries", "query_p50", "query_p99", "wait_p99"];

async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// ---- the stream -------------------------------------------------------------------------------

let heard = 0;

function listen() {
  const stream = new EventSource("/api/v1/stream");
  stream.onmessage = (event) => {
    heard = performance.now();
    live = JSON.parse(event.data);
    remember(live);
    showTop();
    if (VIEWS[view()].live) render();
  };
}

function remember(look) {
  const at = Date.parse(look.at) / 1000;
  const sum = Object.fromEntries(FIELDS.map((field) => [field, 0]));
  for (const pool of look.pools) {
    const now = {
      used: pool.connections.used, size: pool.size_max, waiting: pool.waiting,
      queries: pool.figures.queries_rate, query_p50: pool.figures.query_p50_seconds,
      query_p99: pool.figures.query_p99_seconds, wait_p99: pool.figures.wait_p99_seconds,
    };
    push(pool.name, at, now);
    for (const field of ["used", "size", "waiting", "queries"]) sum[field] += now[field];
    for (const field of ["query_p50", "query_p99", "wait_p99"]) sum[field] = Math.max(sum[field], now[field]);
  }
  push("", at, sum);
  for (const name of recent.keys()) {
    if (name && !look.pools.some((pool) => pool.name === name)) recent.delete(name);
  }
}

function push(name, at, values) {
  const points = recent.get(name) ?? [];
  if (points.at(-1)?.at === at) return;
  points.push({ at, ...values });
  while (points.length > KEEP) points.shift();
  recent.set(name, points);
}

// What happened before the page was opened.
async function recall() {
  const old = await get("/api/v1/history?range=300");
  const names = ["", ...old.pools.slice(0, 20)];
  for (const name of names) {
    const told = name ? await get(`/api/v1/history?range=300&pool=${encodeURIComponent(name)}`) : old;
    const at = (field) => told.fields.indexOf(field) + 1;
    const now = Date.parse(told.at) / 1000;
    recent.set(name, told.points.map((point) => ({
      at: now - point[0], used: point[at("used")], size: point[at("size")], waiting: point[at("waiting")],
      queries: point[at("queries_rate")], query_p50: point[at("query_p50_seconds")],
      query_p99: point[at("query_p99_seconds")], wait_p99: point[at("wait_p99_seconds")],
    })));
  }
}

// ---- the top ----------------------------------------------------------------------------------

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function showTop() {
  const badge = $("status");
  if (badge.className !== `pill ${live.status}`) badge.className = `pill ${live.status}`;
  setText(badge, live.status);
  const worst = live.components.filter((c) => c.status === live.status && c.text);
  setText($("reason"), live.status === "healthy" ? "" : worst.slice(0, 2).map((c) => `${c.name}: ${c.text}`).join(" · "));
  const count = $("alerts-count");
  count.hidden = live.alerts_firing === 0;
  setText(count, String(live.alerts_firing));
  document.title = live.status === "healthy" ? "Headpond" : `${live.status}: Headpond`;
}

setInterval(() => {
  const link = $("link");
  const lost = heard && performance.now() - heard > 5000;
  link.classList.toggle("lost", Boolean(lost));
  setText(link, !heard ? "no data yet" : lost ? `no data for ${time((performance.now() - heard) / 1000)}` : `live · ${clock(live.at)}`);
}, 500);

// ---- views ------------------------------------------------------------------------------------

const card = (title, ...rest) => h("section", { class: "card" }, title && h("h2", {}, title), ...rest);

function tile(name, value, sub = "", level = "") {
  return h("div", { class: `tile ${level}` }, h("dt", {}, name), h("dd", {}, value, h("span", { class: "sub" }, sub)));
}

// Right after the start a chart shows what there is, not mostly nothing.
const span = (rows) => Math.min(KEEP, Math.max(60, Math.ceil((rows[0]?.[0] ?? 0) / 30) * 30));

function liveChart(title, name, lines, format, floor) {
  const points = recent.get(name) ?? [];
  const now = points.at(-1)?.at ?? 0;
  const rows = points.map((point) => [now - point.at, ...lines.map((line) => point[line.field])]);
  return card(title, chart({
    title, points: rows, range: span(rows), format, floor,
    lines: lines.map((line, index) => ({ at: index + 1, name: line.name, class: line.class })),
  }));
}

function charts(name) {
  return h("div", { class: "grid two" },
    liveChart("Connections in use", name, [{ field: "used", name: "in use" }, { field: "size", name: "size", class: "c" }], (v) => number(v, v % 1 ? 1 : 0), 1),
    liveChart("Waiting for a connection", name, [{ field: "waiting", name: "waiting" }], (v) => number(v, v % 1 ? 1 : 0), 1),
    liveChart("Queries per second", name, [{ field: "queries", name: "queries/s" }], rate, 1),
    liveChart("Query time", name, [{ field: "query_p99", name: "99 %" }, { field: "query_p50", name: "50 %", class: "b" }], time, 0.0001));
}

function scopeChoice() {
  const options = [h("option", { value: "" }, "all pools together")];
  for (const pool of [...live.pools].sort((a, b) => a.name.localeCompare(b.name))) {
    options.push(h("option", { value: pool.name, selected: pool.name === scope }, pool.name));
  }
  return h("select", { id: "scope", onchange: (event) => { scope = event.target.value; render(true); } }, options);
}

function overview() {
  const sum = (of) => live.pools.reduce((total, pool) => total + of(pool), 0);
  const worst = (of) => Math.max(0, ...live.pools.map(of));
  const process = live.process;
  const waiting = sum((pool) => pool.waiting);
  const used = sum((pool) => pool.connections.used);
  const firing = live.alerts_firing;
  const busiest = worst((pool) => pool.utilization);
  return [
    h("dl", { class: "tiles" },
      tile("Clients", number(process.clients), process.clients_max ? `of at most ${number(process.clients_max)}` : ""),
      tile("Servers in use", number(used), `${number(sum((p) => p.connections.idle))} idle, ${number(sum((p) => p.connections.opening))} opening`),
      tile("Busiest pool", `${number(busiest * 100)} %`, "of its size in use", busiest > 0.9 ? "bad" : busiest > 0.8 ? "warn" : ""),
      tile("Waiting", number(waiting), waiting ? `the first for ${time(worst((p) => p.oldest_wait_seconds))}` : "nobody", waiting > 5 ? "bad" : waiting ? "warn" : ""),
      tile("Queries per second", rate(sum((p) => p.figures.queries_rate)), `${rate(sum((p) => p.figures.transactions_rate))} transactions/s`),
      tile("99 % of queries", time(worst((p) => p.figures.query_p99_seconds)), `half within ${time(worst((p) => p.figures.query_p50_seconds))}`),
      tile("Alerts", number(firing), firing ? "firing" : "none", firing ? "bad" : ""),
      tile("Up for", time(process.uptime_seconds), `${bytes(process.memory_bytes)} of memory`)),
    h("div", { class: "bar" }, h("h2", {}, "The last minutes"), h("label", { for: "scope" }, "Show "), scopeChoice()),
    charts(scope),
    h("div", { class: "grid two" }, databasesCard(), bouncersCard(), reasonsCard(), eventsCard()),
  ];
}

function databasesCard() {
  const columns = [
    { name: "Database", value: (d) => d.name, show: (d) => [h("strong", {}, d.name), h("div", { class: "faint" }, d.place)] },
    { name: "Health", value: (d) => d.health.status, show: (d) => [pill(d.health.status), d.health.text && h("div", { class: "faint" }, d.health.text)] },
    { name: "Answered in", number: true, value: (d) => d.check?.took_seconds ?? -1, show: (d) => (d.check ? time(d.check.took_seconds) : "not asked") },
    { name: "Sessions there", number: true, value: (d) => d.check?.truth?.total ?? -1, show: (d) => sessions(d) },
  ];
  return h("section", { class: "card wide" }, h("h2", {}, "Databases"), table("databases", columns, live.databases, { empty: "no database has been used yet" }));
}

// Only where there is one: most have none.
function bouncersCard() {
  const list = live.bouncers ?? [];
  if (!list.length) return null;
  const told = (b) => b.check?.figures;
  const columns = [
    { name: "PgBouncer", value: (b) => b.name, show: (b) => [h("strong", {}, b.name), h("div", { class: "faint" }, told(b)?.version)] },
    { name: "Health", value: (b) => b.health.status, show: (b) => [pill(b.health.status), h("div", { class: "faint" }, b.health.text || b.check?.failed?.text || "")] },
    { name: "For", value: (b) => b.through.map((t) => t.pool).join(", "), show: (b) => b.through.map((t) => t.pool).join(", ") || h("span", { class: "faint" }, "others, beside us") },
    { name: "Clients", number: true, value: (b) => told(b)?.clients ?? -1, show: (b) => (told(b) ? (told(b).clients_max ? `${number(told(b).clients)} of ${number(told(b).clients_max)}` : number(told(b).clients)) : "unknown") },
    { name: "Waiting", number: true, value: (b) => told(b)?.sum.cl_waiting ?? -1, show: (b) => (told(b)?.sum.cl_waiting ? [h("strong", {}, number(told(b).sum.cl_waiting)), h("div", { class: "faint" }, time(told(b).sum.maxwait_seconds))] : "0") },
    { name: "Servers active / idle", number: true, value: (b) => told(b)?.sum.sv_active ?? -1, show: (b) => (told(b) ? `${number(told(b).sum.sv_active)} / ${number(told(b).sum.sv_idle)}` : "unknown") },
    { name: "Answered in", number: true, value: (b) => b.check?.took_seconds ?? -1, show: (b) => (b.check ? time(b.check.took_seconds) : "not asked") },
  ];
  const pools = list.flatMap((b) => (told(b)?.pools ?? []).map((pool) => ({ ...pool, bouncer: b.name })));
  const ofPool = [
    { name: "Its pool", value: (p) => `${p.database}/${p.user}`, show: (p) => [h("strong", {}, `${p.database}/${p.user}`), h("div", { class: "faint" }, p.bouncer)] },
    { name: "Mode", value: (p) => p.pool_mode },
    { name: "Clients", number: true, value: (p) => p.cl_active },
    { name: "Waiting", number: true, value: (p) => p.cl_waiting, show: (p) => (p.cl_waiting ? `${number(p.cl_waiting)}, the first for ${time(p.maxwait_seconds)}` : "0") },
    { name: "Servers in use", value: (p) => p.sv_active, show: (p) => meter(p.sv_active, p.pool_size ?? 0, p.pool_size ? `${p.sv_active} / ${p.pool_size}` : p.sv_active) },
    { name: "Idle / used", number: true, value: (p) => p.sv_idle, show: (p) => `${number(p.sv_idle)} / ${number(p.sv_used)}` },
  ];
  return h("section", { class: "card wide", id: "bouncers" }, h("h2", {}, "PgBouncer"), table("bouncers", columns, list),
    pools.length ? table("bouncer-pools", ofPool, pools) : null);
}

function sessions(database) {
  const truth = database.check?.truth;
  // One that gave a sign of life may have said nothing more.
  if (!truth?.version && !truth?.connections_max) return h("span", { class: "faint" }, "unknown");
  const room = truth.connections_max - truth.connections_reserved;
  const states = [`${truth.active} active`, `${truth.idle} idle`];
  // Others do not say.
  if (database.backend === "postgresql") states.push(`${truth.idle_in_transaction} idle in transaction`);
  const behind = (lag) => (lag == null ? "" : `, ${time(lag)} behind`);
  return [
    room > 0 ? `${truth.total} of ${room}` : `${truth.total}`,
    h("div", { class: "faint" }, states.join(", ")),
    truth.in_recovery && h("div", { class: "faint" }, `a standby${behind(truth.replication_lag_seconds)}`),
    truth.standbys > 0 && h("div", { class: "faint" }, `standbys: ${truth.standbys}${behind(truth.standby_lag_seconds)}`),
  ];
}

function reasonsCard() {
  const all = new Map();
  for (const pool of live.pools) for (const wait of pool.waits) {
    const sum = all.get(wait.reason) ?? { count: 0, p99: 0, sum: 0 };
    all.set(wait.reason, { count: sum.count + wait.count, sum: sum.sum + wait.sum, p99: Math.max(sum.p99, wait.p99) });
  }
  const rows = [...all].sort((a, b) => b[1].sum - a[1].sum);
  const most = rows[0]?.[1].sum ?? 1;
  return card("Why clients have waited, since the start",
    rows.length
      ? h("div", { class: "reasons" }, rows.map(([reason, wait]) => [
        h("span", {}, reason.replaceAll("_", " ")),
        h("div", { class: "track" }, h("div", { class: "fill", "width%": wait.sum / most * 100 })),
        h("span", { class: "faint words" }, `${number(wait.count)} times, ${time(wait.sum)} in all, 99 % within ${time(wait.p99)}`)]))
      : h("p", { class: "empty" }, "nobody has waited yet"));
}

let events = [];

function eventsCard() {
  return card("What changed",
    events.length
      ? h("ul", { class: "events", tabindex: "0", "aria-label": "What changed, the newest first" }, events.slice(0, 60).map((event) =>
        h("li", {}, h("span", { class: "faint" }, clock(event.at)),
          h("span", { class: "what" }, event.subject && h("strong", {}, `${event.subject} `), h("span", { class: event.status }, event.text)))))
      : h("p", { class: "empty" }, "nothing since the start"));
}

function poolsView() {
  const columns = [
    { name: "Pool", value: (p) => p.name, show: (p) => [h("strong", {}, p.name), h("div", { class: "faint" }, `${p.backend}, ${p.mode}`)] },
    { name: "Health", value: (p) => p.health.status, show: (p) => [pill(p.health.status), p.health.text && h("div", { class: "faint" }, p.health.text)] },
    { name: "In use", value: (p) => p.utilization, show: (p) => meter(p.connections.used, p.size_max, p.size_max ? `${p.connections.used} / ${p.size_max}` : `${p.connections.used}, no limit`) },
    { name: "", show: (p) => spark((recent.get(p.name) ?? []).map((point) => point.used)) },
    { name: "Idle", number: true, value: (p) => p.connections.idle },
    { name: "Waiting", number: true, value: (p) => p.waiting, show: (p) => (p.waiting ? [h("strong", {}, p.waiting), h("div", { class: "faint" }, time(p.oldest_wait_seconds))] : "0") },
    { name: "Queries/s", number: true, value: (p) => p.figures.queries_rate, show: (p) => rate(p.figures.queries_rate) },
    { name: "Query 50 / 99 %", number: true, value: (p) => p.figures.query_p99_seconds, show: (p) => `${time(p.figures.query_p50_seconds)} / ${time(p.figures.query_p99_seconds)}` },
    { name: "Wait 99 %", number: true, value: (p) => p.figures.wait_p99_seconds, show: (p) => time(p.figures.wait_p99_seconds) },
    { name: "Opened / closed / failed", number: true, value: (p) => p.totals.created, show: (p) => `${number(p.totals.created)} / ${number(p.totals.destroyed)} / ${number(p.totals.connect_failures)}` },
    { name: "Last error", value: (p) => p.last_error?.text ?? "", show: (p) => (p.last_error ? [p.last_error.text, h("div", { class: "faint" }, clock(p.last_error.at))] : h("span", { class: "faint" }, "none")) },
  ];
  const more = live.pools_total > live.pools.length ? h("p", { class: "faint" }, `the ${live.pools.length} busiest of ${live.pools_total} pools`) : null;
  return [
    card("Pools", table("pools", columns, live.pools, { empty: "no pool yet: the first client of a database makes one" }), more),
    h("div", { class: "bar" }, h("h2", {}, "The last minutes"), h("label", { for: "scope" }, "Show "), scopeChoice()),
    charts(scope),
  ];
}

// Rows that are asked for while their view is shown.
let rows = {};

async function fetchRows(names) {
  for (const name of names) {
    const words = search[name] ? `?q=${encodeURIComponent(search[name])}` : "";
    rows[name] = await get(`/api/v1/${name}${words}`);
  }
}

const age = { number: true, show: undefined };

function waitsView() {
  const waits = [
    { name: "Pool", value: (w) => w.pool },
    { name: "Who", value: (w) => w.place, show: (w) => who(w) },
    { name: "Waits because", value: (w) => w.reason, show: (w) => WHY[w.reason] ?? w.reason.replaceAll("_", " ") },
    { ...age, name: "For", value: (w) => w.seconds, show: (w) => time(w.seconds) },
    { name: "", show: (w) => killButton(w.client) },
  ];
  const holders = [
    { name: "Pool", value: (w) => w.pool },
    { name: "Who", value: (w) => w.place, show: (w) => who(w) },
    { name: "Server process", number: true, value: (w) => w.process ?? 0 },
    { name: "State", value: (w) => w.state },
    { ...age, name: "Last asked for something", value: (w) => w.seconds, show: (w) => `${time(w.seconds)} ago` },
    { name: "", show: (w) => killButton(w.client) },
  ];
  return [
    card(`Who waits for a connection (${rows.waits?.found ?? 0})`, table("waits", waits, rows.waits?.waits ?? [], { empty: "nobody waits" })),
    card(`Who holds one (${rows.holders?.found ?? 0})`, table("holders", holders, rows.holders?.holders ?? [], { empty: "every connection is free" })),
  ];
}

const WHY = {
  pool_full: "every connection of the pool is in use",
  connecting: "a connection is being opened",
  preparing: "a connection is being checked or cleaned",
  paused: "somebody paused it",
  server_down: "the server cannot be reached",
  budget: "max_db_connections or max_user_connections is reached",
};

const who = (row) => [row.place, h("div", { class: "faint" }, row.client ? `client ${row.client}${row.server ? `, server ${row.server}` : ""}` : "")];

function searchBox(name, label) {
  return h("input", {
    type: "search", id: `search-${name}`, "aria-label": label, placeholder: label, value: search[name],
    oninput: (event) => { search[name] = event.target.value; later(name); },
  });
}

let timer;
function later(name) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (VIEWS[view()].rows) await load();
    render(true);
    const box = $(`search-${name}`);
    box?.focus();
    box?.setSelectionRange(box.value.length, box.value.length);
  }, 200);
}

function clientsView() {
  const columns = [
    { name: "Number", number: true, value: (c) => c.id },
    { name: "Database", value: (c) => c.database },
    { name: "User", value: (c) => c.user },
    { name: "Application", value: (c) => c.application ?? "" },
    { name: "From", value: (c) => c.place },
    { name: "State", value: (c) => c.state, show: (c) => c.state.replaceAll("_", " ") },
    { ...age, name: "Connected", value: (c) => c.connected_seconds, show: (c) => `${time(c.connected_seconds)} ago` },
    { ...age, name: "Last request", value: (c) => c.request_seconds, show: (c) => `${time(c.request_seconds)} ago` },
    { name: "TLS", value: (c) => c.tls ?? "", show: (c) => c.tls ?? h("span", { class: "faint" }, "none") },
    { name: "", show: (c) => killButton(c.id) },
  ];
  return rowsCard("clients", "Clients", "Search in all columns", columns);
}

function serversView() {
  const columns = [
    { name: "Number", number: true, value: (s) => s.id },
    { name: "Database", value: (s) => s.database },
    { name: "User", value: (s) => s.user },
    { name: "Leads to", value: (s) => s.place },
    { name: "State", value: (s) => s.state, show: (s) => [s.state, s.leaving && h("div", { class: "faint" }, "closed when idle")] },
    { name: "Client", number: true, value: (s) => s.client ?? 0, show: (s) => s.client ?? "" },
    { name: "Process there", number: true, value: (s) => s.process },
    { ...age, name: "Opened", value: (s) => s.connected_seconds, show: (s) => `${time(s.connected_seconds)} ago` },
    { ...age, name: "Last used", value: (s) => s.request_seconds, show: (s) => `${time(s.request_seconds)} ago` },
    { name: "TLS", value: (s) => s.tls ?? "", show: (s) => s.tls ?? h("span", { class: "faint" }, "none") },
  ];
  return rowsCard("servers", "Servers", "Search in all columns", columns);
}

function rowsCard(name, title, label, columns) {
  const told = rows[name] ?? { found: 0, [name]: [] };
  const cut = told.found > told[name].length ? ` (the first ${told[name].length} are shown)` : "";
  return [h("section", { class: "card" },
    h("div", { class: "bar" }, h("h2", {}, `${title}: ${number(told.found)}${cut}`), searchBox(name, label)),
    table(name, columns, told[name], { empty: search[name] ? "nothing fits the search" : "none" }))];
}

function alertsView() {
  const told = rows.alerts ?? { active: [], silences: [], rules: [], deliveries: [] };
  const active = [
    { name: "Alert", value: (a) => a.rule.name, show: (a) => [h("strong", {}, a.rule.name), h("div", { class: "faint" }, a.rule.summary)] },
    { name: "About", value: (a) => a.subject || "the process" },
    { name: "Severity", value: (a) => a.rule.severity, show: (a) => pill(a.rule.severity) },
    { name: "State", value: (a) => a.phase, show: (a) => `${a.phase}${a.silenced ? ", silenced" : ""}` },
    { name: "Value", number: true, value: (a) => a.value, show: (a) => `${number(a.value, 2)} (${a.rule.comparison} ${a.rule.threshold})` },
    { name: "Since", value: (a) => a.since, show: (a) => clock(a.since) },
    { name: "", show: (a) => h("button", { type: "button", class: "small", onclick: () => act("silence", { rule: a.rule.name, subject: a.subject, seconds: 3600, comment: "from the page" }) }, "Silence for an hour") },
  ];
  const silences = [
    { name: "Rule", value: (s) => s.rule || "every rule" },
    { name: "About", value: (s) => s.subject || "everything" },
    { name: "Until", value: (s) => s.until, show: (s) => clock(s.until) },
    { name: "Why", value: (s) => s.comment },
    { name: "", show: (s) => h("button", { type: "button", class: "small", onclick: () => act("unsilence", { id: s.id }) }, "End it") },
  ];
  const rules = [
    { name: "Rule", value: (r) => r.name, show: (r) => [r.name, h("div", { class: "faint" }, r.summary)] },
    { name: "Fires when", value: (r) => r.metric, show: (r) => `${r.metric} ${r.comparison} ${r.threshold}${r.for_seconds ? ` for ${time(r.for_seconds)}` : ""}` },
    { name: "Severity", value: (r) => r.severity, show: (r) => pill(r.severity) },
  ];
  const routes = [
    { name: "Route", value: (d) => d.route },
    { name: "Delivered", number: true, value: (d) => d.delivered },
    { name: "Failed", number: true, value: (d) => d.failed },
    { name: "Last error", value: (d) => d.error ?? "" },
  ];
  return [
    card("Pending and firing", table("active", active, told.active, { empty: "all is quiet" })),
    told.silences.length ? card("Silences", table("silences", silences, told.silences)) : null,
    h("div", { class: "grid" },
      card("Routes", table("routes", routes, told.deliveries),
        h("p", {}, h("button", { type: "button", onclick: () => act("test-alert", {}) }, "Send a test alert"))),
      card("Rules in force", table("rules", rules, told.rules))),
  ];
}

function adviceView() {
  const list = rows.advice?.advice ?? [];
  if (!list.length) {
    return [card("Advice", h("p", { class: "empty" }, "Nothing to say: no figure so far suggests a change. Advice needs some minutes of load as evidence."))];
  }
  return list.map((advice) => h("section", { class: `card advice ${advice.weight}` },
    h("h2", {}, advice.title),
    h("ul", {}, advice.evidence.map((line) => h("li", {}, line))),
    h("p", {}, h("strong", {}, "Expect: "), advice.effect),
    advice.setting && h("pre", { tabindex: "0" }, advice.setting)));
}

const RANGES = [[300, "5 minutes"], [900, "15 minutes"], [3600, "1 hour"], [7200, "2 hours"], [21600, "6 hours"], [86400, "1 day"]];
// What only a history on disk has.
const LONG_RANGES = [[604800, "1 week"], [2592000, "30 days"], [31536000, "1 year"]];

function historyView() {
  const told = rows.history;
  if (!told) return [card("History", h("p", { class: "empty" }, "loading"))];
  const at = (field) => told.fields.indexOf(field) + 1;
  const draw = (title, lines, format, floor) => card(title, chart({
    title, points: told.points, range: chosen.range, format, floor,
    lines: lines.map(([field, name, kind]) => ({ at: at(field), name, class: kind })),
  }));
  const reload = async () => { await load(); render(true); };
  const trend = told.trend && told.trend.fit > 0.2
    ? `In use: ${told.trend.per_hour >= 0 ? "+" : ""}${number(told.trend.per_hour, 1)} an hour (the line explains ${number(told.trend.fit * 100)} %). ${told.full_in_seconds === null ? "" : `Full in about ${time(told.full_in_seconds)} if it goes on like this.`}`
    : "No trend: what moves here does not follow a line.";
  const whole = (v) => number(v, v % 1 ? 1 : 0);
  return [
    h("div", { class: "bar" }, h("h2", {}, "History"),
      h("label", { for: "history-pool" }, "Pool "),
      h("select", { id: "history-pool", onchange: (e) => { chosen.pool = e.target.value; reload(); } },
        h("option", { value: "" }, "all together"), told.pools.map((name) => h("option", { value: name, selected: name === chosen.pool }, name))),
      h("label", { for: "history-range" }, "Range "),
      h("select", { id: "history-range", onchange: (e) => { chosen.range = Number(e.target.value); reload(); } },
        [...RANGES, ...(told.on_disk ? LONG_RANGES : [])].map(([seconds, name]) => h("option", { value: seconds, selected: seconds === chosen.range }, name)))),
    told.trouble && h("p", { class: "message bad" }, `Not all of it: ${told.trouble}.`),
    h("p", { class: "message" }, trend),
    h("div", { class: "grid" },
      draw("Connections", [["used", "in use"], ["total", "open", "b"], ["size", "size", "c"]], whole, 1),
      draw("Waiting", [["waiting", "waiting"]], whole, 1),
      draw("Queries per second", [["queries_rate", "queries/s"]], rate, 1),
      draw("Query time", [["query_p99_seconds", "99 %"], ["query_p50_seconds", "50 %", "b"]], time, 0.0001),
      draw("Wait time", [["wait_p99_seconds", "99 %"], ["oldest_wait_seconds", "longest now", "b"]], time, 0.0001),
      draw("Errors per second", [["errors_rate", "errors/s"]], rate, 1)),
  ];
}

function configView() {
  const all = rows.config?.settings ?? [];
  const words = search.config.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (setting) => words.every((word) => `${setting.section} ${setting.key} ${setting.value} ${setting.origin}`.toLowerCase().includes(word));
  const found = all.filter(fits);
  const columns = [
    { name: "Section", tight: true, value: (s) => s.section },
    { name: "Key", tight: true, value: (s) => s.key, show: (s) => h("span", { class: "mono" }, s.key) },
    { name: "Value", value: (s) => s.value ?? "", show: (s) => h("span", { class: s.origin === "default" ? "faint" : "changed" }, s.value === null ? "not set" : s.value === "" ? "empty" : s.value) },
    { name: "Default", value: (s) => s.default ?? "", show: (s) => h("span", { class: "faint" }, s.default ?? "") },
    { name: "Written in", value: (s) => s.origin, show: (s) => h("span", { class: s.origin === "default" ? "faint" : "mono" }, s.origin) },
    { name: "Changes", tight: true, value: (s) => (s.live ? "at once" : "at restart") },
  ];
  return [h("section", { class: "card" },
    h("div", { class: "bar" }, h("h2", {}, `Configuration: ${found.length} settings`), searchBox("config", "Search keys, values, places")),
    table("config", columns, found, { empty: "nothing fits the search" }))];
}

function actionsView() {
  const can = live.actions;
  const databases = live.databases.map((database) => database.name);
  const choice = (id, all = true) => h("select", { id, "aria-label": "Database" }, all && h("option", { value: "" }, "everything"), databases.map((name) => h("option", { value: name }, name)));
  const database = (id) => ($(id).value ? { database: $(id).value } : {});
  const group = (title, text, ...rest) => h("div", { class: "group" }, h("h3", {}, title), h("p", {}, text), ...rest);
  const button = (text, kind, onclick) => h("button", { type: "button", class: kind, disabled: !can, onclick }, text);
  return [
    can ? null : h("p", { class: "message" }, "Nobody can act: no token is configured. Set http.token in the configuration and reload, or start with HEADPOND_HTTP__TOKEN."),
    card("Actions", h("div", { class: "fields" },
      group("Pause and resume", "Clients are held back as their transactions end; servers are closed.", choice("pause-database"),
        button("Pause", "", () => ask(`Pause ${$("pause-database").value || "everything"}?`, "pause", database("pause-database"))),
        button("Resume", "", () => act("resume", database("pause-database")))),
      group("Reconnect", "Servers are replaced as they become idle: after a failover, a change of password, a leak.", choice("reconnect-database"),
        button("Reconnect", "", () => act("reconnect", database("reconnect-database")))),
      group("Pool size", "Until the next reload; write it to the configuration to keep it.", choice("resize-database", false),
        h("input", { type: "number", id: "resize-size", min: "0", max: "100000", value: "20", "aria-label": "Servers per pool" }),
        button("Resize", "", () => act("resize", { database: $("resize-database").value, size: Number($("resize-size").value) }))),
      group("Reload", "Reads the configuration again; if it is wrong, the old one stays.", button("Reload", "", () => act("reload", {}))),
      group("Drain", "No new clients; the process ends when the last one has left.",
        button("Drain", "danger", () => ask("Take no new clients, and end when the last one has left?", "drain", {}))))),
    card("Token", h("p", { class: "faint" }, "Asked for once, kept in this page's memory, forgotten when it is closed."),
      h("p", {}, button(token ? "Forget the token" : "Enter the token", "", async () => { if (token) token = ""; else await enterToken(); render(); }))),
  ];
}

// ---- actions ----------------------------------------------------------------------------------

const killButton = (client) => client && live.actions
  ? h("button", { type: "button", class: "small danger", "aria-label": `Close client ${client}`, onclick: () => ask(`Close client ${client}? Its transaction is rolled back.`, "kill", { client }) }, "Close")
  : null;

function dialog(title, body, confirm, kind) {
  return new Promise((resolve) => {
    const box = h("dialog", { "aria-label": title });
    const end = (value) => { box.close(); box.remove(); resolve(value); };
    const form = h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); end(true); } }, h("h3", {}, title), body,
      h("div", { class: "bar" }, h("button", { type: "button", onclick: () => end(false) }, "Cancel"), h("button", { type: "submit", class: kind }, confirm)));
    box.append(form);
    box.addEventListener("cancel", (event) => { event.preventDefault(); end(false); });
    document.body.append(box);
    box.showModal();
  });
}

async function ask(question, word, body) {
  if (await dialog(question, null, "Do it", "danger")) await act(word, body);
}

async function enterToken() {
  const input = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const body = h("p", {}, h("label", { for: "token" }, "Token (http.token) "), input);
  if (await dialog("Actions need a token", body, "Use it", "main")) token = input.value;
  return Boolean(token);
}

async function act(word, body) {
  if (!token && !(await enterToken())) return;
  const answer = await fetch(`/api/v1/actions/${word}`, {
    method: "POST", body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-headpond-action": "1", authorization: `Bearer ${token}` },
  });
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401) token = "";
  say(answer.ok ? `Done: ${told.result ?? word}` : `Refused: ${told.error ?? answer.status}`, !answer.ok);
  await load();
  render();
}

function say(text, bad) {
  const message = $("message");
  message.hidden = false;
  message.className = `message${bad ? " bad" : ""}`;
  message.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { message.hidden = true; }, 8000);
}

// ---- which view -------------------------------------------------------------------------------

const VIEWS = {
  overview: { title: "Overview", show: overview, live: true, events: true },
  pools: { title: "Pools", show: poolsView, live: true },
  waits: { title: "Waits and holders", show: waitsView, rows: ["waits", "holders"], every: 1000 },
  clients: { title: "Clients", show: clientsView, rows: ["clients"], every: 3000 },
  servers: { title: "Servers", show: serversView, rows: ["servers"], every: 3000 },
  alerts: { title: "Alerts", show: alertsView, rows: ["alerts"], every: 2000 },
  advice: { title: "Advice", show: adviceView, rows: ["advice"], every: 10000 },
  history: { title: "History", show: historyView, history: true, every: 5000 },
  config: { title: "Configuration", show: configView, rows: ["config"] },
  actions: { title: "Actions", show: actionsView },
};

const view = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "overview");

async function load() {
  const { rows: names, history } = VIEWS[view()];
  if (names) await fetchRows(names);
  if (history) rows.history = await get(`/api/v1/history?range=${chosen.range}&pool=${encodeURIComponent(chosen.pool)}`);
  if (VIEWS[view()].events) events = (await get("/api/v1/events")).events;
}

let shown = "";

// `forced` by whoever works with a field: their own change must show.
function render(forced = false) {
  if (!live) return;
  const name = view();
  const holder = $("view");
  // Whoever works with a field must not lose it to the next look.
  const active = document.activeElement;
  if (!forced && shown === name && holder.contains(active) && (active.matches("select, input") || document.querySelector("dialog"))) return;
  const focus = active?.closest?.("#view") ? path(active) : null;
  const scroll = [...holder.querySelectorAll(".scroll, .events")].map((box) => [box.scrollLeft, box.scrollTop]);
  holder.replaceChildren(...VIEWS[name].show().flat().filter(Boolean));
  if (shown === name) {
    [...holder.querySelectorAll(".scroll, .events")].forEach((box, i) => { if (scroll[i]) [box.scrollLeft, box.scrollTop] = scroll[i]; });
    if (focus) follow(focus)?.focus({ preventScroll: true });
  }
  shown = name;
}

// Where an element is among its siblings, so that focus survives a new drawing.
function path(element) {
  const steps = [];
  for (let at = element; at && at.id !== "view"; at = at.parentElement) steps.unshift([...at.parentElement.children].indexOf(at));
  return steps;
}

const follow = (steps) => steps.reduce((at, step) => at?.children[step], $("view"));

let refresh;
async function open() {
  const name = view();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  clearInterval(refresh);
  const again = async () => {
    try { await load(); render(); } catch (error) { say(String(error.message ?? error), true); }
  };
  shown = "";
  render();
  await again();
  const every = VIEWS[name].every ?? (VIEWS[name].events ? 3000 : 0);
  if (every) refresh = setInterval(again, every);
}

addEventListener("hashchange", () => { scrollTo(0, 0); open(); });

// ---- dark and light ---------------------------------------------------------------------------

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
}

$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  theme(dark ? "light" : "dark");
  try { localStorage.setItem("theme", dark ? "light" : "dark"); } catch { /* a browser that keeps nothing */ }
});

try { theme(localStorage.getItem("theme")); } catch { /* a browser that keeps nothing */ }

recall().catch(() => {}).finally(listen);
get("/api/v1/status").catch(() => {});
const first = setInterval(() => { if (live) { clearInterval(first); open(); } }, 50);
