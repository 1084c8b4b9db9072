// The queue for reviewers: one decision after another, judged with a key or a click.

import { api, busy, el, media, number, percent, toast } from "/pages/_shared/site.js";
import { badge, bar, fill, node, version } from "./parts.js";

const MOST = 30;
const BY_KEY = 5; // labels that have a digit
let state = null;
let labels = [];
let items = [];
let skipped = new Set();
let done = 0;
let accuracy = null;
let busyNow = false;

/** Ask for the queue of a vertical and show its first decision. */
export async function showReview(of) {
  if (state?.vertical !== of.vertical) [skipped, done] = [new Set(), 0];
  state = of;
  await load();
}

/** Whether somebody is looking at a decision, which must not be taken away then. */
export function reviewing() {
  return items.length > 0;
}

async function load() {
  const found = await api("queue", { query: { vertical: state.vertical, limit: MOST } });
  labels = found.labels;
  accuracy = found.accuracy;
  items = found.items.filter((item) => !skipped.has(item.id));
  if (!found.kept) {
    fill(node("review"), el("p", { class: "muted" }, "This server writes no decisions down, so that there is nothing to review."));
    node("review-count").textContent = "";
    return;
  }
  await show();
}

function count() {
  const known = accuracy?.share ?? null;
  const estimate = known === null
    ? null
    : `${percent(known)} of the answers are correct${accuracy.standard_error === null ? "" : `, give or take ${percent(2 * accuracy.standard_error)}`} (estimated)`;
  const parts = [items.length ? `${items.length}${items.length >= MOST ? " or more" : ""} in the queue` : "the queue is empty",
    done ? `${done} reviewed now` : null, estimate];
  node("review-count").textContent = parts.filter(Boolean).join(" · ");
}

async function show() {
  count();
  const item = items[0];
  if (!item) {
    fill(node("review"), el("p", { class: "muted" }, skipped.size ? "Nothing more but what you skipped." : "Nothing waits for a review."));
    return;
  }
  let whole = item;
  try {
    whole = await api(`decisions/${item.id}`);
  } catch (error) {
    toast(error.message, "bad");
  }
  if (items[0] !== item) return; // another vertical was chosen meanwhile
  const held = node("review").contains(document.activeElement);
  const card = el("div", { class: "review", tabindex: "0", id: "review-card", role: "group", "aria-label": `Decision to be reviewed: ${item.text || item.media.join(", ")}`, on: { keydown: (event) => pressed(event, item) } },
    el("div", { class: "two" }, await input(item), answer(whole)), worth(item), judgement(item));
  fill(node("review"), card);
  if (held) card.focus();
}

/** What was asked: the words, and files as pictures and sounds. */
export async function input(item) {
  const files = await Promise.all(item.media.map((field) => file(item.id, field)));
  return el("div", { class: "stack tight" },
    el("h3", {}, "Asked"),
    item.text ? el("blockquote", {}, item.text) : el("p", { class: "muted" }, "no words"),
    files,
    el("p", { class: "muted small" }, version(item.version), " · ", el("code", {}, item.variant)));
}

async function file(id, field) {
  try {
    const url = await media(`decisions/${id}/media/${encodeURIComponent(field)}`);
    if (field === "audio") return el("audio", { src: url, controls: true, "aria-label": "Sound of the request" });
    const picture = el("img", { src: url, alt: `Picture of the request (${field})`, class: "asked" });
    const shown = await picture.decode().then(() => true, () => false); // only the browser knows what it can draw
    if (!shown) return el("a", { href: url, download: field }, `${field} (a file)`);
    URL.revokeObjectURL(url); // what is drawn stays
    return picture;
  } catch (error) {
    return el("p", { class: "bad small" }, `${field}: ${error.message}`);
  }
}

/** What was answered, how sure that was, and what it rests on. */
export function answer(whole) {
  const evidence = whole.response?.evidence ?? [];
  const scores = Object.entries(whole.scores);
  return el("div", { class: "stack tight" },
    el("h3", {}, "Answered"),
    whole.answer ? el("blockquote", {}, whole.answer) : el("p", { class: "bad" }, whole.error ?? "no answer"),
    el("div", { class: "row tight" }, whole.label ? badge(whole.label, "accent") : null, whole.error ? null : badge(`${percent(whole.confidence)} sure`)),
    scores.length
      ? el("dl", { class: "scores" }, scores.map(([label, share]) => el("div", {}, el("dt", {}, label), el("dd", {}, bar(share), percent(share)))))
      : null,
    evidence.length
      ? el("details", {}, el("summary", {}, `Evidence (${evidence.length})`),
          el("ul", { class: "evidence" }, evidence.map((e) => el("li", {}, e.title || e.id, " ", badge(`${e.kind} ${number(Math.round(100 * e.score) / 100)}`), e.text ? el("p", { class: "muted small" }, e.text) : null))))
      : null);
}

function worth(item) {
  const why = item.why.length ? ` (${item.why.join(", ")})` : "";
  const text = item.drawn
    ? "Drawn by lot: your verdict counts for the estimate of how many answers are correct."
    : `Worth of a label: ${percent(item.value)}${why}. What you say goes into the next training run.`;
  return el("p", { class: "muted small" }, text);
}

function judgement(item) {
  const say = (text, key, act, kind = "second") =>
    el("button", { type: "button", class: `button ${kind}`, "aria-keyshortcuts": key, on: { click: act } }, text, el("kbd", {}, key.toUpperCase()));
  const near = choices(item).map((label, place) => say(label, String(place + 1), (event) => judge(item, "label", label, event.currentTarget)));
  const other = el("input", { type: "text", id: "other-label", list: "labels", placeholder: "Another label", autocomplete: "off", maxlength: "200", "aria-label": "Another label" });
  const form = el("form", { class: "row tight", on: { submit: (event) => { event.preventDefault(); if (other.value.trim()) judge(item, "label", other.value.trim(), event.submitter); } } },
    other, el("datalist", { id: "labels" }, labels.map((label) => el("option", { value: label }))),
    el("button", { class: "button second" }, "Set label"));
  return el("div", { class: "stack" },
    el("div", { class: "row" },
      say("Correct", "c", (event) => judge(item, "correct", null, event.currentTarget), ""),
      say("Wrong", "w", (event) => judge(item, "wrong", null, event.currentTarget), "danger"),
      say("Skip", "s", () => skip(item), "quiet")),
    near.length || labels.length ? el("div", { class: "row tight" }, el("span", { class: "muted small" }, "It should be"), near, form) : null,
    el("p", { class: "muted small keys-help" }, "The letters and digits work while the focus is in this part of the page."));
}

/** Labels that have a button: the most probable ones but the one that was answered. */
function choices(item) {
  return Object.keys(item.scores).filter((label) => label !== item.label).slice(0, BY_KEY);
}

function pressed(event, item) {
  if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const label = choices(item)[Number(event.key) - 1];
  const acts = { c: () => judge(item, "correct"), w: () => judge(item, "wrong"), s: () => skip(item), l: () => node("other-label")?.focus() };
  const act = label === undefined ? acts[event.key.toLowerCase()] : () => judge(item, "label", label);
  if (!act) return;
  event.preventDefault();
  act();
}

async function judge(item, verdict, label = null, button = null) {
  if (busyNow) return;
  busyNow = true;
  try {
    const saying = api(`decisions/${item.id}/verdict`, { json: { verdict, label } });
    await (button ? busy(button, saying) : saying);
    done += 1;
    toast(verdict === "label" ? `Labelled ${label}` : `Marked ${verdict}`, "good");
    await next(item);
  } catch (error) {
    toast(error.message, "bad");
  } finally {
    busyNow = false;
  }
}

async function skip(item) {
  skipped.add(item.id);
  await next(item);
}

async function next(item) {
  items = items.filter((other) => other !== item);
  if (items.length) await show();
  else await load();
  document.getElementById("review-card")?.focus();
  node("review").dispatchEvent(new CustomEvent("reviewed", { bubbles: true }));
}
