// One alert: its numbers, its evidence, and what an analyst says of it.

import { live } from "/pages/_shared/live.js";
import { api, busy, el, fact, number, percent, toast } from "/pages/_shared/site.js";
import { analyst, analystField } from "./analyst.js";
import { entityLink, headline, KINDS, later, mark, redraw, score, several, signed, stateBadge, time, under, when } from "./common.js";
import { silenceForm } from "./silences.js";

/** The panel of an alert. `refresh` reads it anew and leaves what is being typed alone. */
export async function detail(id, { signal, state }, changed) {
  const head = el("div", { class: "stack" });
  const said = el("div", { class: "stack tight", "aria-live": "polite" });
  const rest = el("div", { class: "stack" });
  const note = el("textarea", { name: "note", rows: 2, maxlength: 2000, placeholder: "What was it? Kept with the verdict." });
  const confirm = el("button", { type: "button", class: "button", on: { click: () => judge(confirm, "confirmed") } }, "Confirm");
  const dismiss = el("button", { type: "button", class: "button danger", on: { click: () => judge(dismiss, "dismissed") } }, "Dismiss");
  const form = el("form", { class: "stack tight verdict", on: { submit: (event) => event.preventDefault() } },
    el("h3", {}, "Your verdict"),
    el("p", { class: "muted small" }, "A confirmed alarm is taken off the budget of false alarms; a dismissed one counts, and raises what the next one needs."),
    el("label", { class: "stack tight" }, "Note", note),
    el("div", { class: "row signed" }, el("label", { class: "stack tight grow" }, "Signed by", analystField(state.caller)), el("div", { class: "row" }, confirm, dismiss)),
    said);
  const silenced = el("div");

  function judge(button, verdict) {
    const json = { verdict, note: note.value, analyst: analyst() };
    const sent = api(`alerts/${id}/verdict`, { method: "POST", json }).then((judged) => {
      toast(judged.message, judged.new ? "good" : "info");
      if (judged.new) note.value = "";
      show(judged.alert);
      changed();
    });
    return busy(button, sent).catch((error) => toast(error.message, "bad"));
  }

  function show(alert) {
    redraw(head, top(alert));
    redraw(said, verdicts(alert));
    redraw(rest, evidence(alert), told(alert));
    form.hidden = alert.fired === null;
    if (!silenced.childNodes.length) silenced.append(silenceForm(alert.pattern, signal, () => later(refresh, 1)()));
  }

  async function refresh() {
    show(await live(`alerts/${id}`, { signal }));
  }

  await refresh();
  const back = el("p", { class: "phone-only" }, el("a", { href: "#/alerts" }, "← All alerts"));
  const hush = el("details", { class: "panel" }, el("summary", {}, "Silence this company or sector"), silenced);
  const node = el("article", { class: "stack", "aria-label": "Alert" }, back, el("div", { class: "panel stack" }, head, form), rest, hush);
  return { node, refresh: later(refresh) };
}

function top(alert) {
  const { level } = alert;
  return [
    el("div", { class: "row between top" },
      el("div", {}, el("h2", { tabindex: -1 }, `${KINDS[alert.kind]}: `, entityLink(alert.entity, alert.name)),
        el("p", { class: "muted small" }, under(alert.entity, alert.name, alert.sector))),
      el("div", { class: "row tightly" }, alert.hushed ? stateBadge(alert.hushed) : null, stateBadge(alert.state))),
    alert.reason ? el("p", { class: "small notice" }, `Not told: ${alert.reason}.`) : null,
    level ? el("dl", { class: "figures" },
      fact("Index", score(level.index)), fact("Change", score(level.change)), fact("Volume", number(level.volume ?? 0)),
      fact("Surprise", `${(level.statistic ?? 0).toFixed(1)} bits`, el("span", { class: "muted small" }, level.threshold === null ? "" : ` of ${level.threshold.toFixed(1)} needed`))) : null,
    el("p", { class: "muted small meta" }, el("span", {}, "since ", time(alert.started)), alert.fired ? el("span", {}, "fired ", time(alert.fired)) : null, alert.ended ? el("span", {}, "ended ", time(alert.ended)) : null),
  ].filter(Boolean);
}

function verdicts(alert) {
  return alert.verdicts.map((one, place) => {
    const last = place === alert.verdicts.length - 1;
    const settled = !last ? "replaced" : one.settled ? "in the calibration" : "the calibration takes it up when the monitor next looks";
    return el("p", { class: `small said ${last ? "" : "muted"}` }, el("strong", {}, one.verdict), ` by ${one.analyst}, ${when(one.given)}${one.note ? `: ${one.note}` : ""} `, el("span", { class: "muted" }, `(${settled})`));
  });
}

function evidence(alert) {
  const copies = alert.copies ? `, ${several(alert.copies, "copy", "copies")} left out` : "";
  return [
    el("section", { class: "panel stack" }, el("div", { class: "row between" }, el("h3", {}, "What moved it"), el("span", { class: "muted small" }, `${several(alert.items, "item")} in the bucket${copies}`)),
      alert.moved.length ? el("ol", { class: "plain items" }, alert.moved.map(mover)) : el("p", { class: "muted" }, "No evidence was kept.")),
    alert.past.length ? el("section", { class: "panel stack" }, el("div", { class: "row between" }, el("h3", {}, "Like it in the past"), el("span", { class: "muted small" }, "and what followed, as far as it was known")),
      el("ol", { class: "plain items" }, alert.past.map(past))) : null,
  ].filter(Boolean);
}

function mover(one) {
  return el("li", { class: "item" }, el("div", { class: "value" }, score(one.score)),
    el("div", {}, el("p", {}, mark(one.sentence, one.score)), el("div", { class: "bar", title: `${percent(one.share)} of the movement` }, el("span", { style: `width:${(100 * one.share).toFixed(1)}%` })),
      el("p", { class: "muted small meta" }, el("span", {}, `${percent(one.share)} of the movement`), source(one), time(one.published))));
}

function past(one) {
  const followed = [];
  if (one.index_after !== null) followed.push(`index ${signed(one.index_before)} → ${signed(one.index_after)} in ${one.index_days} days`);
  if (one.price_change !== null) followed.push(`price ${signed(100 * one.price_change, 1)} % in ${one.price_days} trading days`);
  return el("li", { class: "item" }, el("div", { class: "value" }, score(one.score)),
    el("div", {}, el("p", {}, mark(one.sentence, one.score)), el("p", { class: "small" }, followed.join("; ") || "What followed was not known yet."),
      el("p", { class: "muted small meta" }, el("span", {}, `${percent(Math.max(0, one.similarity))} alike`), source(one), time(one.published))));
}

function source(one) {
  const text = one.title || (URL.canParse(one.url) ? new URL(one.url).hostname : one.entity);
  return el("span", {}, headline(text, one.url));
}

function told(alert) {
  const held = Object.entries(alert.withheld);
  if (!alert.notices.length && !held.length) return [];
  const sent = (one) => (one.sent ? `sent ${when(one.sent)}` : one.error ? `waits: ${one.error}` : "waits");
  return [el("section", { class: "panel stack tight" }, el("h3", {}, "Who was told"),
    el("ul", { class: "plain small stack tight" }, alert.notices.map((one) => el("li", {}, `${one.channel} (${one.kind}): ${sent(one)}`)),
      held.map(([event, why]) => el("li", { class: "muted" }, `nobody (${event}): ${why}`))))];
}
