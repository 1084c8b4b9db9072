// How the monitor does: sources, lag, drift, and what its alarms cost.

import { live } from "/pages/_shared/live.js";
import { ago, el, number, table } from "/pages/_shared/site.js";
import { entityLink, later, length, redraw, signed, tile, time, when } from "./common.js";

export async function open(node, rest, { signal }) {
  const body = el("div", { class: "stack" });
  async function load() {
    redraw(body, shown(await live("health", { signal })));
  }
  await load();
  node.replaceChildren(el("h2", { id: "view-title", class: "hidden-label" }, "Health"), body);
  return { happened: later(load, 1000) };
}

function shown(said) {
  const behind = said.clock ? (new Date(said.now) - new Date(said.clock)) / 1000 : null;
  return [
    el("dl", { class: "tiles" },
      tile("News until", said.clock ? ago(said.clock) : "–", when(said.clock), behind !== null && behind > 7200 ? "warn" : ""),
      tile("Last closed bucket", said.closed ? ago(said.closed) : "–", when(said.closed)),
      tile("Came late", number(said.late), "after their bucket was closed"),
      tile("Waiting", number(said.inbox), "received, not processed", said.inbox > 1000 ? "warn" : ""),
      tile("Notices waiting", number(said.waiting), said.errors[0] ?? "to be sent", said.errors.length ? "bad" : "")),
    panel("Sources", said.sources.length ? table("Sources", ["Source", "Items", "Copies", "Given again", "Unreadable", "Last event", "Lag"], said.sources.map(source), [1, 2, 3, 4, 6]) : el("p", { class: "muted" }, "Nothing has come yet.")),
    panel("False-alarm budget", [
      el("p", { class: "muted small" }, `${number(said.budget_per_week)} alarms that nobody confirms, per company and week, by the bundle's settings. Spent in the last ${said.weeks} weeks; a confirmed alarm is paid back.`),
      said.accounts.length ? table("Budget", ["Company or sector", "Spent", "Alarms", "Confirmed", "Balance"], said.accounts.map(account), [2, 3, 4]) : el("p", { class: "muted" }, "No bucket is closed yet.")]),
    panel("Drift of the inputs", said.drifts.length ? table("Drift", ["Source", "Feature", "Window", "Evidence"], said.drifts.map(drift), [3]) : el("p", { class: "muted" }, "None was reported.")),
    Object.keys(said.unknown).length ? panel("Symbols that the file of companies lacks", el("p", {}, Object.entries(said.unknown).map(([symbol, count]) => el("span", { class: "badge muted spaced" }, `${symbol} ${count}`)))) : null,
  ].filter(Boolean);
}

function panel(title, ...children) {
  return el("section", { class: "panel stack" }, el("h3", {}, title), ...children);
}

function source(one) {
  return [one.source, number(one.items), number(one.duplicates), number(one.known), number(one.problems), one.published ? time(one.published) : "–", one.lag_seconds === null ? "–" : length(one.lag_seconds)];
}

function account(one) {
  const spent = one.alarms - one.confirmed;
  const share = one.allowed > 0 ? spent / one.allowed : spent ? 1 : 0;
  const label = `${spent} of ${number(one.allowed)}`;
  return [entityLink(one.entity, one.name), el("span", { class: "spent" }, el("span", { class: `bar ${share > 1 ? "over" : ""}` }, el("span", { style: `width:${Math.min(100, 100 * share).toFixed(0)}%` })), el("span", {}, label)), String(one.alarms), String(one.confirmed), signed(one.balance, 1)];
}

function drift(one) {
  return [one.source || "all", one.feature, `${when(one.start)} to ${when(one.end)}`, `${one.evidence.toFixed(1)} of ${one.threshold.toFixed(1)}`];
}
