// Alerts by state, and the one that is open beside them.

import { live } from "/pages/_shared/live.js";
import { el } from "/pages/_shared/site.js";
import { KINDS, later, redraw, signed, stateBadge, STATES, time } from "./common.js";
import { detail } from "./alert.js";

const FILTERS = [["open", "Open"], ["firing", "Firing"], ["pending", "Pending"], ["keep_firing", "Keep-firing"], ["silenced", "Silenced"], ["inhibited", "Inhibited"], ["resolved", "Resolved"]];
const PAGE = 50;
let filter = "open";

export async function open(node, [id], context) {
  const { signal } = context;
  let chosen = null;
  let shown = PAGE;
  const tabs = el("div", { class: "segments wrap", role: "group", "aria-label": "State" });
  const list = el("ul", { class: "plain alerts" });
  const more = el("button", { type: "button", class: "button second", hidden: true, on: { click: () => ((shown += PAGE), load()) } }, "Show more");
  const beside = el("div", { class: "beside" });
  const view = el("div", { class: "columns master" },
    el("section", { class: "panel stack list", "aria-label": "Alerts" }, tabs, list, el("div", {}, more)), beside);

  async function load() {
    const said = await live("alerts", { query: { state: filter, limit: Math.min(shown, 200) }, signal });
    redraw(tabs, FILTERS.map(([state, text]) => tab(state, text, said.counts[state])));
    redraw(list, said.alerts.length ? said.alerts.map((one) => line(one, chosen?.id)) : el("li", { class: "muted none" }, filter === "open" ? "No alert is open." : `No alert is ${STATES[filter]}.`));
    more.hidden = !said.more || shown >= 200;
  }

  function tab(state, text, count) {
    const press = () => {
      filter = state;
      shown = PAGE;
      return load();
    };
    return el("button", { type: "button", class: "segment", dataset: { focus: state }, "aria-pressed": String(filter === state), on: { click: press } }, text, el("span", { class: "count" }, String(count)));
  }

  async function choose(name) {
    view.classList.toggle("chosen", Boolean(name));
    chosen = name ? { id: name } : null;
    for (const link of list.querySelectorAll("a")) {
      if (link.dataset.focus === name) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!name) {
      beside.replaceChildren(el("div", { class: "panel muted placeholder" }, "Choose an alert to see what it rests on."));
      return;
    }
    const mine = chosen;
    const made = await detail(name, context, reload);
    if (chosen !== mine) return;
    Object.assign(chosen, made);
    beside.replaceChildren(made.node);
  }

  const reload = later(load);
  await load();
  node.replaceChildren(el("h2", { id: "view-title", class: "hidden-label" }, "Alerts"), view);
  await choose(id);
  return {
    happened: (event) => {
      reload();
      if (event.kind !== "alerts" || event.alerts.some((one) => one.id === chosen?.id)) chosen?.refresh?.();
    },
    moved: ([name]) => {
      choose(name).then(() => name && beside.querySelector("h2")?.focus()).catch((error) => beside.replaceChildren(el("div", { class: "panel", role: "alert" }, error.message)));
      return true;
    },
  };
}

function line(one, chosen) {
  const hint = one.verdict ? el("span", { class: "badge muted" }, one.verdict.verdict) : null;
  return el("li", { dataset: { alert: one.id } },
    el("a", { class: `alert ${one.kind}`, href: `#/alerts/${one.id}`, dataset: { focus: one.id }, "aria-current": one.id === chosen ? "true" : null },
      el("span", { class: "row between" }, el("strong", {}, one.name), el("span", { class: "row tightly" }, hint, one.hushed ? stateBadge(one.hushed) : null, stateBadge(one.state))),
      el("span", { class: "what" }, KINDS[one.kind], one.level ? ` · index ${signed(one.level.index)} (${signed(one.level.change)})` : ""),
      one.sentence ? el("span", { class: "muted small clipped" }, one.sentence) : null,
      el("span", { class: "muted small" }, time(one.fired ?? one.started))));
}
