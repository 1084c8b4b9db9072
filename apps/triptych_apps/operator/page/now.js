// How the server does at this moment.

import { ago, el, number, percent } from "/pages/_shared/site.js";
import { badge, fill, histogram, milliseconds, node, price, seconds, spark, version } from "./parts.js";

const STATES = { ready: "good", starting: "warn", full: "warn", busy: "warn", broken: "bad", stopping: "warn" };

export function showServer(overview) {
  const state = node("server-state");
  if (state.textContent !== overview.state) state.textContent = overview.state; // told once by a screen reader
  state.className = `badge ${STATES[overview.state] ?? ""}`;
  const facts = [
    `up ${seconds(overview.uptime_seconds)}`,
    `version ${overview.version}`,
    `${overview.open_calls} open ${overview.open_calls === 1 ? "call" : "calls"}`,
    overview.decisions_kept ? "decisions are kept" : "decisions are not kept",
    overview.keys_asked ? null : "no key is asked for",
  ];
  node("server-facts").textContent = facts.filter(Boolean).join(" · ");
  node("server-fresh").textContent = `as of ${new Date().toLocaleTimeString("en-GB")}`;
}

export function showLost(message) {
  const state = node("server-state");
  state.textContent = message;
  state.className = "badge bad";
}

function tile(name, value, note, kind = "") {
  return el("div", { class: "tile" }, el("dt", {}, name), el("dd", { class: kind }, value), note ? el("dd", { class: "muted small" }, note) : null);
}

export function showNow(state) {
  const served = state.releases[0]?.figures;
  const { load } = state;
  const total = state.releases.reduce((sum, r) => sum + r.figures.rate, 0);
  const cost = state.releases.reduce((sum, r) => sum + r.figures.cost, 0);
  const errors = load.refused + load.failed;
  fill(node("tiles"),
    tile("State", state.state, state.cached ? "answers are remembered" : null, STATES[state.state]),
    tile("Waiting", `${state.waiting} of ${state.max_queue}`, state.releases[0]?.fallback ? `a cheaper variant answers from ${state.fallback_at} on` : null),
    tile("Requests a second", number(Math.round(100 * total) / 100), null),
    tile("p95 latency", milliseconds(served?.p95_ms ?? null), served?.timed ? `of ${number(served.timed)} calls` : "no calls yet"),
    tile("Batch", load.batch_mean === null ? "–" : number(Math.round(10 * load.batch_mean) / 10),
      load.batch_most === null ? null : `mean; the largest had ${load.batch_most}`),
    tile("Failed", number(load.failed), errors ? `${load.turned_away} turned away, ${load.refused} refused` : "none refused",
      load.failed ? "bad" : ""),
    tile("Cost so far", price(cost, state.currency), null));
  fill(node("now"), state.releases.map((release) => card(release, state.currency)));
}

const ROLES = { "in service": "good", canary: "accent", open: "" };

function figure(name, ...children) {
  return el("div", { class: "figure" }, el("span", { class: "muted small" }, name), children);
}

function card(release, currency) {
  const { figures } = release;
  const shares = Object.entries(figures.by_mode).map(([mode, count]) => `${number(count)} by ${mode}`).join(", ");
  const share = release.share === null ? "" : ` ${percent(release.share)}`;
  const latency = [["p50", figures.p50_ms], ["p95", figures.p95_ms], ["p99", figures.p99_ms]];
  return el("article", { class: "panel stack release", "aria-label": `Release ${release.version}` },
    el("div", { class: "row between" },
      el("h3", {}, version(release.version)), badge(release.role + share, ROLES[release.role])),
    el("p", { class: "muted small" }, "answers with ", el("code", {}, release.variant),
      release.fallback ? [", in bad times with ", el("code", {}, release.fallback)] : "",
      release.price_per_million === null ? "" : ` · ${price(release.price_per_million, currency)} a million`,
      ` · made ${ago(release.created)}`),
    el("div", { class: "figures" },
      figure(`${number(Math.round(100 * figures.rate) / 100)} answers a second`,
        spark(figures.rates, `Answers a second in the last five minutes; now ${figures.rates.at(-1)}`)),
      figure("confidence, 0 to 1", histogram(figures.confidence, `Confidence of ${figures.answers} answers, in tenths`))),
    el("dl", { class: "latency" }, latency.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, milliseconds(value))))),
    el("p", { class: "muted small" }, figures.answers
      ? `${number(figures.answers)} answers (${shares}) for ${price(figures.cost, currency)}`
      : "No answer yet."));
}
