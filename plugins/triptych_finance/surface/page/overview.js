// Where all companies and sectors stand.

import { live } from "/pages/_shared/live.js";
import { el, number } from "/pages/_shared/site.js";
import { entityLink, later, length, redraw, score, spark, STATES, stateBadge, under, when } from "./common.js";

const PAGE = 100;
const COLUMNS = [["name", "Name"], ["index", "Index"], ["change", "Change"], [null, "Last 45 buckets"], ["volume", "Volume"], ["alerts", "Open alerts"]];
const kept = { what: "companies", find: "", sector: "", state: "", order: "alerts", down: true };

export async function open(node, rest, { signal }) {
  let shown = PAGE;
  const found = el("p", { class: "muted small", role: "status" });
  const body = el("tbody");
  const heads = el("tr");
  const more = el("button", { type: "button", class: "button second", on: { click: () => ((shown += PAGE), load()) } }, "Show more");
  const sectors = el("select", { "aria-label": "Sector", on: { change: (e) => change({ sector: e.target.value }) } });
  const order = el("select", { class: "phone-only", "aria-label": "Order", on: { change: (e) => change({ order: e.target.value, down: e.target.value !== "name" }) } },
    COLUMNS.filter(([key]) => key).map(([key, text]) => el("option", { value: key }, `by ${text.toLowerCase()}`)));

  function change(what) {
    Object.assign(kept, what);
    shown = PAGE;
    return load();
  }

  function kind(what, text) {
    const press = () => change({ what }).then(showKinds);
    return el("button", { type: "button", class: "segment", dataset: { what }, "aria-pressed": String(kept.what === what), on: { click: press } }, text);
  }
  const kinds = el("div", { class: "segments", role: "group", "aria-label": "What is listed" }, kind("companies", "Companies"), kind("sectors", "Sectors"));
  function showKinds() {
    for (const one of kinds.children) one.setAttribute("aria-pressed", String(one.dataset.what === kept.what));
  }

  async function load() {
    const said = await live("overview", { query: { ...kept, limit: Math.min(shown, 500) }, signal });
    const span = length(said.hours * 3600);
    redraw(heads, COLUMNS.map(([key, text]) => head(key, text, span)));
    redraw(sectors, el("option", { value: "" }, "All sectors"), said.sectors.map((one) => el("option", { value: one }, one)));
    sectors.value = kept.sector;
    order.value = kept.order;
    const rows = said.rows.map(row);
    redraw(body, rows.length ? rows : el("tr", {}, el("td", { colspan: COLUMNS.length, class: "muted" }, said.end ? "Nothing matches." : "No bucket is closed yet; the index begins with the first one.")));
    found.textContent = said.end ? `${number(said.found)} ${kept.what}, as of ${when(said.end)}` : "";
    more.hidden = said.rows.length >= said.found || shown >= 500;
  }

  function head(key, text, span) {
    const label = text === "Change" || text === "Volume" ? `${text}, ${span}` : text;
    const numeric = ["index", "change", "volume"].includes(key) ? "number" : "";
    if (!key) return el("th", { scope: "col" }, label);
    const sorted = kept.order === key ? (kept.down ? "descending" : "ascending") : "none";
    const press = () => change({ order: key, down: kept.order === key ? !kept.down : key !== "name" });
    const arrow = { none: "", descending: " ↓", ascending: " ↑" }[sorted];
    return el("th", { scope: "col", "aria-sort": sorted, class: numeric },
      el("button", { type: "button", class: "sort", dataset: { focus: `sort-${key}` }, on: { click: press } }, label, el("span", { "aria-hidden": "true" }, arrow)));
  }

  const reload = later(load);
  let timer = null;
  const typed = (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ find: event.target.value }), 200);
  };
  const states = el("select", { "aria-label": "State of alerts", on: { change: (e) => change({ state: e.target.value }) } },
    el("option", { value: "" }, "Any state"), el("option", { value: "any" }, "with open alerts"),
    ["firing", "pending", "keep_firing", "silenced", "inhibited"].map((one) => el("option", { value: one }, STATES[one])),
    el("option", { value: "none" }, "without alerts"));
  states.value = kept.state;
  await load();
  node.replaceChildren(
    el("h2", { id: "view-title", class: "hidden-label" }, "Overview"),
    el("div", { class: "panel stack" },
      el("div", { class: "row filters" }, kinds,
        el("input", { type: "search", "aria-label": "Find a name or symbol", placeholder: "Find a name or symbol", value: kept.find, on: { input: typed } }), sectors, states, order),
      el("table", { class: "table board" }, el("caption", { class: "hidden-label" }, "Index of each company or sector"), el("thead", {}, heads), body),
      el("div", { class: "row between" }, found, more)));
  return { happened: reload };
}

function row(one) {
  const alerts = Object.entries(one.alerts).map(([state, count]) => stateBadge(state, `${count} ${STATES[state]}`));
  const link = entityLink(one.entity, one.name);
  link.dataset.focus = one.entity;
  return el("tr", { dataset: { entity: one.entity } },
    el("th", { scope: "row", class: "who" }, link, el("span", { class: "muted small" }, under(one.entity, one.name, one.sector))),
    el("td", { class: "number index", "data-label": "Index" }, score(one.index)),
    el("td", { class: "number change", "data-label": "Change" }, score(one.change)),
    el("td", { class: "line" }, spark(one.spark)),
    el("td", { class: "number volume", "data-label": "Volume" }, number(Math.round(10 * one.volume) / 10)),
    el("td", { class: "open" }, alerts.length ? el("div", { class: "row tightly" }, alerts) : el("span", { class: "muted" }, "none")));
}
