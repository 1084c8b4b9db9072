// One company or sector: its index over time, what was said, its alerts, and silencing it.

import { live } from "/pages/_shared/live.js";
import { el, fact, plot } from "/pages/_shared/site.js";
import { headline, KINDS, later, marked, redraw, score, several, signed, STATES, stateBadge, time, under, when } from "./common.js";
import { silenceForm } from "./silences.js";

const RANGES = [["1M", 30], ["3M", 91], ["6M", 182], ["1Y", 365], ["All", null]];
const MARKS = { negative: ["triangle-down", "--bad"], positive: ["triangle-up", "--good"], volume: ["diamond", "--warn"] };
const PAGE = 20;
let days = 182;

export async function open(node, [entity], { signal }) {
  const title = el("h2", { id: "view-title" });
  const second = el("p", { class: "muted" });
  const now = el("dl", { class: "figures" });
  const chart = el("div", { class: "chart", role: "img" });
  const ranges = el("div", { class: "segments", role: "group", "aria-label": "Range of time" }, RANGES.map(([text, length]) =>
    el("button", { type: "button", class: "segment", "aria-pressed": String(length === days), on: { click: (e) => range(e.currentTarget, length) } }, text)));
  const alerts = el("ul", { class: "plain stack tight" });
  const list = el("ol", { class: "plain items" });
  const more = el("button", { type: "button", class: "button second", hidden: true, on: { click: () => older() } }, "Older items");
  let next = null;
  let known = new Set();

  function range(button, length) {
    days = length;
    for (const one of ranges.children) one.setAttribute("aria-pressed", String(one === button));
    return load();
  }

  async function load() {
    const query = days === null ? { entity } : { entity, days };
    const said = await live("series", { query, signal });
    title.textContent = said.name;
    second.textContent = under(said.entity, said.name, said.sector);
    redraw(now, figures(said));
    redraw(alerts, said.alerts.length ? said.alerts.map(alertLine) : el("li", { class: "muted" }, "None in this range."));
    chart.setAttribute("aria-label", spoken(said));
    await plot(chart, traces(said), layout(said));
  }

  async function read(before) {
    const said = await live("items", { query: { entity, before, limit: PAGE }, signal });
    next = said.next;
    more.hidden = next === null;
    return said.items;
  }

  async function latest() {
    const items = await read(null);
    known = new Set(items.map((one) => one.key));
    redraw(list, items.length ? items.map(itemLine) : el("li", { class: "muted" }, "Nothing was said that is still kept."));
  }

  async function older() {
    const items = (await read(next)).filter((one) => !known.has(one.key));
    for (const one of items) known.add(one.key);
    list.append(...items.map(itemLine));
  }

  node.replaceChildren(
    el("p", {}, el("a", { href: "#/overview" }, "← Overview")),
    el("div", { class: "panel stack" },
      el("div", { class: "row between top" }, el("div", {}, title, second), now),
      ranges, chart),
    el("div", { class: "columns" },
      el("section", { class: "panel stack", "aria-labelledby": "items-title" }, el("h3", { id: "items-title" }, "What was said"), list, el("div", {}, more)),
      el("div", { class: "stack" },
        el("section", { class: "panel stack", "aria-labelledby": "alerts-title" }, el("h3", { id: "alerts-title" }, "Alerts in this range"), alerts),
        el("section", { class: "panel stack", "aria-labelledby": "silence-title" }, el("h3", { id: "silence-title" }, "Silence"), silenceForm(escaped(entity), signal)))));
  await Promise.all([load(), latest()]);
  const reload = later(() => Promise.all([load(), list.children.length <= PAGE ? latest() : null]));
  return { happened: reload };
}

/** An entity as the pattern of a silence for it alone. */
function escaped(entity) {
  return entity.replace(/[[*?]/g, "[$&]");
}

function figures(said) {
  const needs = said.threshold === null ? "no alarm possible now" : `alarm at ${said.threshold.toFixed(1)} bits`;
  return [fact("Index", score(said.index.at(-1))), fact("Change", score(said.change.at(-1))),
    fact("Surprise", `${(said.statistic ?? 0).toFixed(1)} bits`, el("span", { class: "muted small" }, ` ${needs}`))];
}

function spoken(said) {
  return `Index of ${said.name} from ${when(said.ends[0])} to ${when(said.ends.at(-1))}: now ${signed(said.index.at(-1))}, ` +
    `lowest ${signed(Math.min(...said.index))}, highest ${signed(Math.max(...said.index))}, ${said.alerts.length} alerts.`;
}

function traces(said) {
  const x = said.ends;
  const line = { width: 0 };
  const found = [
    { x, y: said.low, name: "low", mode: "lines", line, hoverinfo: "skip", showlegend: false, connectgaps: false },
    { x, y: said.high, name: "usual range", mode: "lines", line, fill: "tonexty", fillcolor: "rgba(125,140,165,0.18)", hoverinfo: "skip" },
    { x, y: said.index, name: "index", mode: "lines", line: { color: "--accent", width: 2 }, hovertemplate: "%{y:+.3f}<extra>index</extra>" },
    { x, y: said.volume, name: "volume", type: "bar", yaxis: "y2", marker: { color: "--muted" }, opacity: 0.65, hovertemplate: "%{y:.1f}<extra>volume</extra>" },
  ];
  for (const [kind, [symbol, color]] of Object.entries(MARKS)) {
    const mine = said.alerts.filter((one) => one.kind === kind && one.level);
    if (!mine.length) continue;
    found.push({ x: mine.map((one) => one.level.end), y: mine.map((one) => one.level.index), name: KINDS[kind].toLowerCase(), mode: "markers",
      marker: { symbol, color, size: 12, line: { width: 1.5, color: "--panel" } },
      customdata: mine.map((one) => STATES[one.state]), hovertemplate: `%{customdata}<extra>${KINDS[kind]}</extra>` });
  }
  if (said.prices.length) {
    found.push({ x: said.price_days, y: said.prices, name: "price", mode: "lines", yaxis: "y3", line: { color: "--warn", width: 1.5 }, hovertemplate: "%{y:.2f}<extra>price</extra>" });
  }
  return found;
}

function layout(said) {
  const priced = said.prices.length > 0;
  const [index, volume, price] = priced ? [[0.52, 1], [0.32, 0.47], [0, 0.27]] : [[0.3, 1], [0, 0.22], null];
  const small = matchMedia("(max-width: 640px)").matches;
  const title = (text) => (small ? undefined : { text, standoff: 6 });
  return {
    height: priced ? 520 : 400, hovermode: "x unified", barmode: "overlay", bargap: 0.15,
    margin: { l: small ? 36 : 56, r: 8, t: 8, b: 28 }, legend: { orientation: "h", y: -0.08, yanchor: "top" },
    xaxis: { type: "date", range: [said.ends[0], said.ends.at(-1)], anchor: priced ? "y3" : "y2", showspikes: false },
    yaxis: { domain: index, title: title("index"), zeroline: true, fixedrange: true },
    yaxis2: { domain: volume, title: title("volume"), rangemode: "tozero", nticks: 3, fixedrange: true },
    ...(priced ? { yaxis3: { domain: price, title: title("price"), nticks: 4, fixedrange: true } } : {}),
  };
}

function alertLine(one) {
  const said = one.verdict ? el("span", { class: "badge muted" }, one.verdict.verdict) : null;
  return el("li", { class: "brief" },
    el("div", { class: "row between" },
      el("a", { href: `#/alerts/${one.id}`, dataset: { focus: one.id } }, KINDS[one.kind]),
      el("span", { class: "row tightly" }, said, stateBadge(one.hushed || one.state))),
    el("span", { class: "muted small" }, time(one.fired ?? one.started)));
}

function itemLine(one) {
  const said = one.title
    ? [el("p", { class: "headline" }, headline(one.title, one.url)), one.sentence && one.sentence !== one.title ? el("p", {}, marked(one.sentence, one.sentence, one.score)) : null]
    : [el("p", {}, marked(one.text, one.sentence, one.score))];
  const copies = one.copies ? `${several(one.copies, "copy", "copies")} collapsed` : null;
  const source = one.title ? one.source : headline(one.source, one.url);
  return el("li", { class: "item" }, el("div", { class: "value" }, score(one.score)),
    el("div", {}, said, el("p", { class: "muted small meta" }, el("span", {}, source), time(one.published), copies ? el("span", { title: one.sources.join(", ") }, copies) : null)));
}
