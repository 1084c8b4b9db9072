// The page of the monitor: which view is open, and what the live stream brings to it.

import { api, el, ready, stream, toast } from "/pages/_shared/site.js";
import { absent, KINDS, later, when } from "./common.js";
import * as alerts from "./alerts.js";
import * as entity from "./entity.js";
import * as health from "./health.js";
import * as overview from "./overview.js";
import * as sentence from "./sentence.js";

const VIEWS = { overview, alerts, entity, try: sentence, health };
const TABS = { entity: "overview" };
const view = document.getElementById("view");
const pulse = document.getElementById("pulse");
let state = null; // of the store
let open = null; // {name, happened, leave}
let told = new Map(); // alerts that were told of, by id

function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return { name: name in VIEWS ? name : "overview", rest: rest.map(decodeURIComponent) };
  } catch {
    return { name: "overview", rest: [] }; // typed by hand, and wrong
  }
}

async function show({ focus = false } = {}) {
  const { name, rest } = place();
  for (const link of document.querySelectorAll(".tabs a")) {
    const current = link.getAttribute("href") === `#/${TABS[name] ?? name}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (open?.name === name && open.moved?.(rest)) return;
  open?.leave.abort();
  const leave = new AbortController();
  const mine = (open = { name, leave });
  state ??= await api("state").catch(() => null);
  if (open !== mine) return;
  const needs = name !== "try";
  try {
    if (needs && state && !state.there) view.replaceChildren(...absent(state));
    else Object.assign(mine, await VIEWS[name].open(view, rest, { signal: leave.signal, state }));
  } catch (error) {
    if (leave.signal.aborted) return;
    view.replaceChildren(el("div", { class: "panel stack tight", role: "alert" },
      el("h2", { id: "view-title" }, "This cannot be shown"), el("p", {}, error.message),
      el("div", {}, el("button", { type: "button", class: "button second", on: { click: () => show() } }, "Try again"))));
  }
  if (focus && open === mine) view.focus({ preventScroll: true });
}

const count = later(async () => {
  if (!state?.there) return;
  const { counts } = await api("alerts", { query: { state: "firing", limit: 1 } });
  const node = document.getElementById("firing");
  node.hidden = counts.firing === 0;
  node.replaceChildren(String(counts.firing), el("span", { class: "hidden-label" }, " firing"));
});

function beat(text, live) {
  pulse.className = `badge ${live ? "good" : "muted"}`;
  pulse.replaceChildren(el("span", { class: "dot", "aria-hidden": "true" }), text);
}

async function happened(event) {
  if (event.kind === "absent" || event.kind === "hello") {
    const before = state?.there;
    state = await api("state");
    beat(state.there ? "Live" : "No store yet", state.there);
    if (before !== state.there) {
      open = null;
      await show();
    } else open?.happened?.(event);
  } else {
    if (event.kind === "alerts") event.alerts.forEach(tell);
    open?.happened?.(event);
  }
  if (event.end) pulse.title = `The index is known until ${when(event.end)}`;
  count();
}

function tell(alert) {
  const known = told.get(alert.id);
  told.set(alert.id, alert.state);
  if (alert.state === "firing" && known !== "firing" && !alert.hushed) toast(`${KINDS[alert.kind]}: ${alert.name}`, "info");
}

addEventListener("hashchange", () => show({ focus: true }));
show().finally(() => {
  ready();
  stream("live", happened);
});
