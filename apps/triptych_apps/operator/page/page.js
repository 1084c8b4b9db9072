// The page of the operator: one vertical at a time, and what changes by itself.

import { live } from "/pages/_shared/live.js";
import { ApiError, day, el, number, ready, toast } from "/pages/_shared/site.js";
import { showDecisions } from "./decisions.js";
import { draw, load, showLedger } from "./ledger.js";
import { showLost, showNow, showServer } from "./now.js";
import { badge, fill, node, price, table } from "./parts.js";
import { reviewing, showReview } from "./review.js";
import { showVersions } from "./versions.js";

const EVERY_MS = 3_000;
const SLOWLY = 5; // times that what seldom changes is asked for less often
let overview = null;
let chosen = fromAddress();
let turn = 0;
let answered = "";

function fromAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // typed by hand, and wrong
  }
}

const state = () => overview.verticals.find((v) => v.vertical === chosen) ?? overview.verticals[0];

async function guarded(promise) {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status) toast(error.message, "bad");
    else showLost(error.message);
  }
}

function tabs() {
  const row = node("verticals");
  row.hidden = overview.verticals.length < 2;
  fill(row, overview.verticals.map((v) => {
    const selected = v.vertical === state().vertical;
    return el("button", {
      type: "button", role: "tab", class: "tab", "aria-selected": String(selected), tabindex: selected ? "0" : "-1",
      dataset: { vertical: v.vertical }, on: { click: () => choose(v.vertical), keydown: (event) => along(event, v.vertical) },
    }, v.title, v.state === "ready" ? null : badge(v.state, "warn"));
  }));
}

function along(event, from) {
  const names = overview.verticals.map((v) => v.vertical);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  choose(names[(names.indexOf(from) + step + names.length) % names.length]);
  node("verticals").querySelector("[aria-selected=true]").focus();
}

function choose(vertical) {
  chosen = vertical;
  history.replaceState(null, "", `#${encodeURIComponent(vertical)}`);
  tabs();
  showNow(state());
  guarded(everything());
}

async function everything() {
  if (!state().releases.length) return; // it is starting
  const parts = [showLedger(state()), showVersions(state(), refresh), showReview(state()), showDecisions(state()), showKeys()];
  await Promise.all(parts.map(guarded));
}

async function showKeys() {
  const found = await live("keys");
  const columns = [
    { name: "Key", cell: (k) => [k.name, el("div", { class: "muted small" }, el("code", {}, k.id))] },
    { name: "State", cell: (k) => (k.revoked ? badge("revoked", "bad") : badge("in use", "good")) },
    { name: "Allows", cell: (k) => (k.verticals.length ? k.verticals.join(", ") : "everything") },
    { name: "A minute", number: true, cell: (k) => (k.per_minute === null ? "any number" : number(k.per_minute)) },
    { name: "Spent", number: true, cell: (k) => price(k.spent, state().currency) },
    { name: "Budget", number: true, cell: (k) => (k.budget === null ? "none" : price(k.budget, state().currency)) },
    { name: "Made", cell: (k) => day(k.created) },
  ];
  const empty = found.asked ? "There is no key." : "This server asks for no key.";
  fill(node("keys"), table(columns, found.keys, { empty }));
}

/** What is measured, and after a decision also what it changed. */
async function refresh() {
  const releases = overview && JSON.stringify(state().releases.map((r) => [r.version, r.role, r.share]));
  overview = await live("overview");
  showServer(overview);
  tabs();
  showNow(state());
  if (releases !== null && releases !== JSON.stringify(state().releases.map((r) => [r.version, r.role, r.share]))) {
    await Promise.all([showLedger(state()), showVersions(state(), refresh)].map(guarded));
  }
}

/** The lists, where there is something new and nobody is in the middle of it. */
async function lists() {
  const now = state().releases.map((r) => r.figures.answers).join();
  if (now === answered) return;
  answered = now;
  await guarded(showDecisions(state()));
  if (!reviewing()) await guarded(showReview(state()));
}

async function tick() {
  if (document.visibilityState === "visible" && !document.querySelector("dialog[open]")) {
    if (overview === null) await begin(); // the server could not be reached before
    else await guarded(refresh());
    turn += 1;
    if (overview && turn % SLOWLY === 0 && state().releases.length) {
      await lists();
      await guarded(showVersions(state(), refresh));
      await guarded(showKeys());
    }
  }
  setTimeout(tick, EVERY_MS);
}

node("ledger-version").addEventListener("change", (event) => guarded(load(state().vertical, event.target.value)));
node("ledger-axis").addEventListener("change", () => guarded(draw()));
node("review").addEventListener("reviewed", () => guarded(showDecisions(state())));

async function begin() {
  await guarded(refresh());
  if (overview === null) return;
  answered = state().releases.map((r) => r.figures.answers).join();
  await everything();
}

await begin();
ready();
setTimeout(tick, EVERY_MS);
