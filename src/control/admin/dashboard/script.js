// The dashboard: state comes over one WebSocket, each second; what is shown is text, never markup.
"use strict";

const SPAN_SECONDS = 300;
const FRESH_MS = 5000;
const RETRY_MS = [500, 1000, 2000, 5000];
const TOKEN = "tidegate-token";

const byId = (id) => document.getElementById(id);
let samples = [];
let latest = null;
let retries = 0;
let lost = null;

// ---- Figures for people

function short(value) {
  const units = ["", "k", "M", "G", "T"];
  let power = 0;
  while (Math.abs(value) >= 9999.5 && power < units.length - 1) { value /= 1000; power += 1; }
  return (value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toPrecision(2)) + units[power];
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (bytes >= 1024 && power < units.length - 1) { bytes /= 1024; power += 1; }
  return `${bytes >= 10 || power === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[power]}`;
}

const perSecond = (value) => `${short(value)}/s`;
const sizePerSecond = (bytes) => `${size(bytes)}/s`;
const millis = (value) => value === null || value === undefined ? "–"
  : value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value >= 10 ? Math.round(value) : value.toPrecision(2)} ms`;
const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
const sum = (values) => values.reduce((total, value) => total + value, 0);

// ---- Elements

function element(name, attributes = {}, ...children) {
  const made = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Keeps one child for each item, so that focus and screen readers stay where they are.
function keep(parent, items, key, make, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, place) => {
    const name = String(key(item));
    const child = before.get(name) ?? make(item);
    before.delete(name);
    child.dataset.key = name;
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
    update(child, item);
  });
  before.forEach((child) => child.remove());
}

// ---- Plots: lines or stacked areas over the last five minutes. The legend is the read-out.

class Plot {
  constructor(title, series, { format, stacked = false, binary = false, empty = "nothing yet" }) {
    Object.assign(this, { title, series, format, stacked, binary, empty, pointed: null });
    this.values = series.map(() => element("b"));
    const legend = element("div", { class: "legend" });
    series.forEach((one, index) => legend.append(element("span", { class: one.colour }, `${one.name} `, this.values[index])));
    this.when = element("small");
    const heading = element("h3", {}, title, " ", this.when);
    this.svg = element("svg:svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img" });
    for (const y of [0, 50, 100]) this.svg.append(element("svg:line", { x1: 0, x2: 300, y1: y, y2: y }));
    const area = stacked ? "area stacked" : "area";
    this.areas = series.map((one) => this.svg.appendChild(element("svg:path", { class: `${area} ${one.colour}` })));
    this.lines = series.map((one) => this.svg.appendChild(element("svg:path", { class: one.colour })));
    this.cursor = this.svg.appendChild(element("svg:line", { class: "at", y1: 0, y2: 100, visibility: "hidden" }));
    this.top = element("small", { class: "top" });
    this.middle = element("small", { class: "middle" });
    this.nothing = element("p", { class: "empty" });
    const frame = element("div", { class: "frame" }, this.svg, this.top, this.middle, this.nothing);
    const times = element("div", { class: "times", "aria-hidden": "true" }, element("span", {}, "5 min ago"), element("span", {}, "now"));
    this.figure = element("figure", { tabindex: 0 }, element("figcaption", {}, heading, legend), frame, times);
    frame.addEventListener("pointermove", (event) => this.pointAt(event.offsetX / frame.clientWidth));
    frame.addEventListener("pointerleave", () => this.point(null));
    this.figure.addEventListener("blur", () => this.point(null));
    this.figure.addEventListener("keydown", (event) => this.key(event));
    byId("plots").append(this.figure);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.point(null);
    if (!step || samples.length === 0) return;
    event.preventDefault();
    const place = samples.findIndex((sample) => sample.at === this.pointed);
    const next = place < 0 ? samples.length - 1 : place + step;
    this.point(samples[Math.max(0, Math.min(samples.length - 1, next))].at);
  }

  pointAt(part) {
    const at = end() - (1 - part) * SPAN_SECONDS * 1000;
    const nearest = samples.reduce((best, sample) =>
      best && Math.abs(best.at - at) <= Math.abs(sample.at - at) ? best : sample, null);
    this.point(nearest && nearest.at);
  }

  point(at) {
    this.pointed = at;
    this.draw();
  }

  draw() {
    const points = this.series.map((one) => samples.map((sample) => one.of(sample)));
    if (this.stacked) points.forEach((values, index) => index > 0 && values.forEach((value, place) => {
      values[place] = value + points[index - 1][place];
    }));
    const known = points.flat().filter((value) => value !== null && value !== undefined);
    const most = Math.max(0, ...known);
    const unit = this.binary ? 1024 ** Math.max(0, Math.floor(Math.log2(most || 1) / 10)) : 1;
    const top = roundUp(most / unit) * unit;
    const x = samples.map((sample) => 300 - (end() - sample.at) / SPAN_SECONDS * 0.3);
    const y = (value) => (100 - value / top * 100).toFixed(1);
    points.forEach((values, index) => {
      const runs = unbroken(values, x);
      const line = (run) => run.map((place) => `${x[place].toFixed(1)} ${y(values[place])}`).join("L");
      const alone = (run) => run.length === 1 ? "h1.5" : "";
      this.lines[index].setAttribute("d", this.stacked ? "" : runs.map((run) => `M${line(run)}${alone(run)}`).join(""));
      const floor = this.stacked && index > 0 ? points[index - 1] : null;
      const below = (run) => floor
        ? [...run].reverse().map((place) => `${x[place].toFixed(1)} ${y(floor[place])}`).join("L")
        : `${x[run[run.length - 1]].toFixed(1)} 100L${x[run[0]].toFixed(1)} 100`;
      const filled = this.stacked || this.series.length === 1;
      this.areas[index].setAttribute("d", filled ? runs.map((run) => `M${line(run)}L${below(run)}Z`).join("") : "");
    });
    say(this.top, most > 0 ? this.format(top) : "");
    say(this.middle, most > 0 ? this.format(top / 2) : "");
    say(this.nothing, known.length > 0 ? "" : this.empty);
    this.readOut(known);
  }

  readOut(known) {
    const at = samples.find((sample) => sample.at === this.pointed);
    const shown = at ?? samples[samples.length - 1];
    this.series.forEach((one, index) => say(this.values[index], shown ? this.format(one.of(shown) ?? null) : ""));
    say(this.when, at ? clock(at.at) : "");
    this.cursor.setAttribute("visibility", at ? "visible" : "hidden");
    if (at) for (const edge of ["x1", "x2"]) this.cursor.setAttribute(edge, 300 - (end() - at.at) / SPAN_SECONDS * 0.3);
    const now = this.series.map((one, index) => `${one.name} ${this.values[index].textContent}`).join(", ");
    const range = known.length ? `; between ${this.format(Math.min(...known))} and ${this.format(Math.max(...known))} in the last five minutes` : "";
    this.svg.setAttribute("aria-label", `${this.title}: ${now}${range}`);
  }
}

const end = () => samples.length ? samples[samples.length - 1].at : 0;

function roundUp(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= most * 1.02) ?? 20 * power;
}

// Runs of known values; a pause of the page or of the process breaks a line, a second without a ping does not.
function unbroken(values, x) {
  const runs = [];
  let run = null;
  values.forEach((value, place) => {
    if (value === null || value === undefined) return;
    if (!run || x[place] - x[place - 1] > 5) runs.push(run = []);
    run.push(place);
  });
  return runs;
}

const plots = [
  new Plot("WebSockets", [{ name: "live", colour: "one", of: (s) => s.websockets }], { format: short }),
  new Plot("Handshakes", [
    { name: "opened", colour: "good", of: (s) => s.opened },
    { name: "refused", colour: "warn", of: (s) => s.refused },
    { name: "failed", colour: "bad", of: (s) => s.failed },
  ], { format: perSecond, stacked: true }),
  new Plot("Messages", [
    { name: "to backends", colour: "one", of: (s) => s.messages[0] },
    { name: "to clients", colour: "two", of: (s) => s.messages[1] },
  ], { format: perSecond }),
  new Plot("Payload", [
    { name: "to backends", colour: "one", of: (s) => s.bytes[0] },
    { name: "to clients", colour: "two", of: (s) => s.bytes[1] },
  ], { format: sizePerSecond, binary: true }),
  new Plot("Handshake time", [
    { name: "median", colour: "one", of: (s) => s.handshake_ms?.[0] },
    { name: "99 %", colour: "two", of: (s) => s.handshake_ms?.[1] },
  ], { format: millis, empty: "no handshake yet" }),
  new Plot("Ping round trip", [
    { name: "median", colour: "one", of: (s) => s.ping_ms?.[0] },
    { name: "99 %", colour: "two", of: (s) => s.ping_ms?.[1] },
  ], { format: millis, empty: "no client was silent long enough to be pinged" }),
];

// ---- What needs a look, worst first

const takes = (server) => server.up && !server.ejected && server.state === "ready";
const GRADES = { bad: "✖", warn: "▲", calm: "●", good: "✔" };

function findings(state) {
  const found = [];
  const add = (grade, text) => found.push({ grade, text });
  for (const { name, servers } of state.upstreams) {
    if (servers.length && !servers.some(takes)) add("bad", `${name}: no server takes connections.`);
    for (const server of servers) {
      if (!server.up) add("bad", `${name}: ${server.address} fails its health checks.`);
      else if (server.ejected) add("warn", `${name}: ${server.address} is ejected after failures in a row.`);
    }
  }
  const recent = samples.slice(-10);
  const all = sum(recent.map((s) => s.opened + s.refused + s.failed));
  const failed = sum(recent.map((s) => s.failed));
  if (failed > 0) add(failed > all / 20 ? "bad" : "warn", `${Math.max(1, Math.round(failed / all * 100))} % of the handshakes of the last ten seconds failed (5xx).`);
  const faults = ["backend_gone", "backend_ping_timeout", "backend_protocol_error", "internal_error"]
    .filter((reason) => state.ends[reason]).map((reason) => `${state.ends[reason].toLocaleString("en")} × ${reason}`);
  if (faults.length) add("warn", `WebSockets ended for their backend's fault: ${faults.join(", ")}.`);
  if (!state.last_reload.successful) add("warn", "The last reload was refused: the configuration in force is an older one. The log says why, and so does tidegate check.");
  if (state.state === "stopping") add("calm", "The process is stopping.");
  for (const drain of state.draining) {
    const whom = drain.server ?? drain.upstream ?? "the process";
    add("calm", `${whom}: ${drain.reason} under way, ${drain.left.toLocaleString("en")} of ${count(drain.sessions, "WebSocket")} left.`);
  }
  const drained = state.changed.filter((change) => change.state === "drain").length;
  if (drained) add("calm", `${count(drained, "server")} drained by the operator.`);
  if (!found.length) add("good", "Nothing.");
  const order = Object.keys(GRADES);
  return found.sort((a, b) => order.indexOf(a.grade) - order.indexOf(b.grade));
}

// ---- Parts of the page

function tiles(state) {
  const now = state.sample;
  if (!now) return;
  const pinged = samples.findLast((sample) => sample.ping_ms);
  const shown = [
    ["WebSockets", short(now.websockets)],
    ["opened", perSecond(state.per_second.opened)],
    ["messages", perSecond(state.per_second.messages)],
    ["payload", sizePerSecond(state.per_second.bytes)],
    ["ping, 99 %", millis(pinged?.ping_ms[1])],
    ["cores busy", now.cpu.toFixed(2)],
    ["memory", size(now.memory_bytes)],
    ["held for slow readers", size(now.parked_bytes)],
  ];
  const make = ([name]) => element("div", {}, element("dt", {}, name), element("dd"));
  keep(byId("tiles"), shown, ([name]) => name, make, (tile, [, value]) => say(tile.lastChild, value));
}

function upstreams(state) {
  const make = () => element("div", { class: "upstream" }, element("header", {}, element("h3"), element("span")), element("div"));
  keep(byId("upstreams"), state.upstreams, ({ name }) => name, make, (card, upstream) => {
    const { name, servers } = upstream;
    const total = sum(servers.map((server) => server.websockets));
    const able = servers.filter(takes).length;
    say(card.querySelector("h3"), name);
    say(card.querySelector("header span"), `${count(total, "WebSocket")}, ${able} of ${count(servers.length, "server")} in service`);
    const weights = sum(servers.filter(takes).map((server) => server.weight));
    const fair = (server) => takes(server) && !server.backup ? total * server.weight / weights : 0;
    const most = Math.max(1, ...servers.map((server) => Math.max(server.websockets, fair(server))));
    keep(card.lastChild, servers, (server) => server.address, makeServer,
      (row, server) => showServer(row, name, server, most, fair(server)));
  });
}

function makeServer() {
  const bar = element("div", { class: "bar", "aria-hidden": "true" }, element("i"), element("u"));
  const button = element("button", { type: "button" });
  return element("div", { class: "server", role: "group" },
    element("div", { class: "name" }, element("span"), element("small")), bar, element("div", { class: "count" }), button);
}

function showServer(row, upstream, server, most, fair) {
  const [grade, word] = !server.up ? ["bad", "down"] : server.ejected ? ["warn", "ejected"]
    : server.state === "drain" ? ["calm", "drained"] : server.checked ? ["good", server.backup ? "up, backup" : "up"]
    : ["calm", server.backup ? "unchecked, backup" : "unchecked"];
  const [name, bar, live, button] = row.children;
  say(name.firstChild, server.address);
  const failures = server.failures ? `, ${count(server.failures, "failed attempt")}` : "";
  say(name.lastChild, `${GRADES[grade]} ${word}, weight ${server.weight}${failures}`);
  name.lastChild.className = grade;
  bar.firstChild.style.width = `${server.websockets / most * 100}%`;
  bar.lastChild.style.left = `${fair / most * 100}%`;
  bar.lastChild.hidden = fair === 0;
  say(live, server.websockets.toLocaleString("en"));
  live.setAttribute("aria-label", count(server.websockets, "WebSocket"));
  row.setAttribute("aria-label", `${upstream}, ${server.address}, ${word}`);
  const ready = server.state === "ready";
  say(button, ready ? "Drain" : "Ready");
  button.setAttribute("aria-label", `${ready ? "Drain" : "Take back"} ${server.address} of ${upstream}`);
  button.onclick = () => ready ? drain(upstream, server) : order(upstream, server, { state: "ready" });
}

// Rows of { name, detail, figure, length of its bar, colour }.
function bars(id, rows, nothing) {
  const most = Math.max(1e-9, ...rows.map((row) => row.length));
  const shown = rows.length ? rows : [{ name: nothing, figure: "", length: 0, colour: "none" }];
  const make = () => element("li", {}, element("i"), element("span", {}, element("span"), element("small")), element("b"));
  keep(byId(id), shown, ({ key, name }) => key ?? name, make, (line, { name, detail, figure, length, colour }) => {
    const [bar, words, number] = line.children;
    line.className = colour;
    bar.style.width = `${length / most * 100}%`;
    say(words.firstChild, name);
    say(words.lastChild, detail ?? "");
    say(number, figure);
  });
}

const PEERS_OWN = ["client_close", "backend_close"];
const FAULTS = /^(backend_(gone|ping|protocol)|internal|overloaded|server_down)/;

function lists(state) {
  const byCount = (counts, colour) => Object.entries(counts).sort((a, b) => b[1] - a[1])
    .map(([name, number]) => ({ name, figure: number.toLocaleString("en"), length: number, colour: colour(name) }));
  bars("ends", byCount(state.ends, (reason) => PEERS_OWN.includes(reason) ? "good" : FAULTS.test(reason) ? "bad" : "warn"),
    "None has in the last five minutes.");
  bars("statuses", byCount(state.statuses, (status) => status === "101" ? "good" : status >= 500 ? "bad" : "warn"),
    "None in the last five minutes.");
  bars("talkers", state.talkers.map(({ id, client, route, server, bytes, messages }) => ({
    key: id, name: client, detail: `${route} to ${server}, connection ${id}`,
    figure: `${sizePerSecond(sum(bytes))} in ${perSecond(sum(messages))}`, length: sum(bytes), colour: "one",
  })), "Nobody says anything.");
  bars("reloads", state.reloads.map(({ at, changes, errors }) => changes === null
    ? { key: at, name: `${clock(at * 1000)} refused`, figure: count(errors, "error"), length: 1, colour: "bad" }
    : { key: at, name: `${clock(at * 1000)} done`, figure: count(changes, "change"), length: 1, colour: "good" }), "None since the start.");
}

function render() {
  if (!latest || document.hidden) return;
  const running = lost === null;
  document.body.classList.toggle("stale", !running);
  const pill = byId("state");
  say(pill, running ? latest.state : `no answer since ${clock(lost)}`);
  pill.className = `pill ${running ? latest.state === "ready" ? "good" : "calm" : "bad"}`;
  say(byId("instance"), `${location.host}, version ${latest.version}, process ${latest.pid}`);
  document.title = `${running ? short(latest.websockets) : "✖"} · Tidegate`;
  const make = ({ grade }) => element("li", { class: grade }, element("b", { "aria-hidden": "true" }, GRADES[grade]), element("span"));
  keep(byId("verdict"), findings(latest), ({ grade, text }) => grade + text.replace(/\d+/g, "#"), make,
    (line, { text }) => say(line.lastChild, text));
  tiles(latest);
  plots.forEach((plot) => plot.draw());
  upstreams(latest);
  lists(latest);
}

// ---- Orders

function token() {
  try { return sessionStorage.getItem(TOKEN); } catch { return null; }
}

// Shows a dialog; resolves to whether it was confirmed.
function ask(dialog) {
  return new Promise((resolve) => {
    // Not the close event: it comes later, when the dialog may be open again.
    dialog.querySelector("form").onsubmit = ({ submitter }) => resolve(submitter?.value === "yes");
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
  });
}

async function askToken() {
  byId("token-value").value = "";
  if (!await ask(byId("token"))) return false;
  sessionStorage.setItem(TOKEN, byId("token-value").value.trim());
  return true;
}

async function drain(upstream, server) {
  say(byId("drain-what"), `${upstream}: ${server.address} gets no new connections, and its ${count(server.websockets, "WebSocket")} are closed at an even pace.`);
  byId("drain-within").value = "";
  if (!await ask(byId("drain"))) return;
  const within = byId("drain-within").value.trim();
  await order(upstream, server, within ? { state: "drain", within } : { state: "drain" });
}

async function order(upstream, server, body) {
  const path = `/api/v1/upstreams/${encodeURIComponent(upstream)}/servers/${encodeURIComponent(server.address)}`;
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  try {
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    if (answer.status === 401 && await askToken()) return order(upstream, server, body);
    const text = await answer.text();
    toast(answer.ok ? `${server.address}: ${body.state === "drain" ? "draining" : "ready"}` : `${server.address}: ${text.trim()}`);
  } catch {
    toast("No answer: nothing was changed.");
  }
}

let toasting;
function toast(text) {
  say(byId("toast"), text);
  clearTimeout(toasting);
  toasting = setTimeout(() => say(byId("toast"), ""), 6000);
}

// ---- The WebSocket

function connect() {
  const url = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/api/v1/live`;
  let socket;
  try {
    socket = token() ? new WebSocket(url, ["bearer", token()]) : new WebSocket(url);
  } catch {
    // A token that may not stand in a subprotocol: without it this machine's own names still work.
    socket = new WebSocket(url);
  }
  let opened = false;
  let watchdog;
  const expect = () => { clearTimeout(watchdog); watchdog = setTimeout(() => socket.close(), FRESH_MS); };
  socket.onopen = () => { opened = true; expect(); };
  socket.onmessage = ({ data }) => {
    expect();
    retries = 0;
    lost = null;
    latest = JSON.parse(data);
    if (latest.history) samples = latest.history;
    else if (latest.sample) samples.push(latest.sample);
    samples = samples.slice(-SPAN_SECONDS);
    render();
  };
  socket.onclose = async () => {
    clearTimeout(watchdog);
    lost ??= Date.now();
    if (!latest) say(byId("state"), "no answer");
    render();
    if (!opened && await isForeign() && !await askToken()) return;
    setTimeout(connect, RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)]);
  };
}

// Whether this address is only for those who show the token: a browser does not tell why a handshake failed.
async function isForeign() {
  try { return (await fetch("/api/v1/upstreams")).status === 403; } catch { return false; }
}

document.addEventListener("visibilitychange", render);
connect();
