// The gallery: who asks, what for, under which filters; the list with its reasons; what is done with it counts at once.
import { API, api, el, percent, ready, toast } from "/pages/_shared/site.js";
import { openAdd } from "./add.js";
import { showExperiments } from "./experiments.js";
import { openItem } from "./item.js";
import { People } from "./people.js";
import { cardOf, facts, picture, reason, remember, soundButton, titleOf, verb, when } from "./parts.js";

const K = 24;
const at = (id) => document.getElementById(id);
const state = { user: "", shop: null, categories: new Set(), file: null, history: null };
let call = 0; // the newest one is drawn

// ---- what is asked

/** The filters that are set, as parts of one. */
function filters() {
  const parts = [];
  if (state.categories.size) parts.push({ category: { in: [...state.categories] } });
  const bounds = {};
  for (const [name, input] of [["min", at("least")], ["max", at("most")]]) {
    if (input.value !== "" && input.checkValidity()) bounds[name] = Number(input.value);
  }
  if (Object.keys(bounds).length) parts.push({ price: bounds });
  if (at("in-stock").checked && !state.shop.in_stock) parts.push({ $not: { stock: { max: 0 } } });
  return parts;
}

function where() {
  const parts = filters();
  const blocked = (state.history?.kept_out ?? []).filter((act) => act.kind === "block").map((act) => act.item);
  if (blocked.length) parts.push({ $not: { id: { in: blocked } } });
  return parts.length > 1 ? { $and: parts } : parts[0] ?? null;
}

const searches = () => at("ask-text").value.trim() !== "" || state.file !== null;
const variety = () => Number(at("variety").value);

function ask() {
  const text = at("ask-text").value.trim();
  const filter = where();
  if (searches()) {
    const form = new FormData();
    if (text) form.set("text", text);
    if (state.file) form.set(state.file.type.startsWith("audio/") ? "audio" : "image", state.file);
    if (state.user) form.set("user", state.user);
    if (filter) form.set("where", JSON.stringify(filter));
    form.set("k", K);
    return api(`${API}/answer`, { form });
  }
  const json = { k: K, user: state.user, where: filter };
  if (variety() !== state.shop.diversity) return api("varied", { json: { ...json, diversity: variety() } });
  return api(`${API}/answer`, { json });
}

/** Ask for everything anew and draw it. `focus` is the place in the list that gets the focus, null for none. */
async function refresh({ focus = null } = {}) {
  const own = (call += 1);
  at("list").setAttribute("aria-busy", "true");
  try {
    state.history = await api("history", { query: { user: state.user } });
    const list = await ask();
    const { recent, kept_out } = state.history;
    const ids = [...list.items.flatMap((item) => [item.id, ...item.cited]), ...[...recent, ...kept_out].map((act) => act.item)];
    const wanted = [...new Set(ids)];
    if (wanted.length) remember((await api("cards", { json: { ids: wanted } })).cards);
    if (own === call) draw(list, focus);
  } catch (error) {
    if (own === call) toast(error.message, "bad");
  } finally {
    if (own === call) at("list").setAttribute("aria-busy", "false");
  }
}

// ---- what is drawn

function draw(list, focus) {
  drawPerson();
  strip("recent", state.history.recent, "Take it back");
  strip("kept", state.history.kept_out, "Bring it back");
  at("list-title").textContent = heading();
  at("list-about").replaceChildren(...about(list));
  const picks = list.items.filter((item) => cardOf(item.id));
  const inside = at("list").contains(document.activeElement);
  at("list").replaceChildren(...picks.map(pick));
  at("list").hidden = picks.length === 0;
  at("empty").hidden = picks.length > 0;
  at("empty").replaceChildren(el("p", {}, `Nothing to show: ${list.answer.replace(/^[^:]*: /, "")}`));
  at("clear-button").hidden = !filters().length && variety() === state.shop.diversity;
  if (focus !== null) (at("list").children[Math.min(focus, picks.length - 1)]?.querySelector(".title") ?? at("list-title")).focus();
  else if (inside) at("list-title").focus({ preventScroll: true });
}

function heading() {
  if (!searches()) return `For ${state.user}`;
  const text = at("ask-text").value.trim();
  const given = state.file?.type.startsWith("audio/") ? "this sound" : "this picture";
  return [text ? `“${text}”` : null, state.file ? given : null].filter(Boolean).join(" and ");
}

const POLICIES = {
  popularity: "What most people choose, for nothing is known yet.",
  content: "By what the items say, show and sound like.",
  query: "Nearest to what you asked for, and to what you like.",
};

function about(list) {
  const words = POLICIES[list.policy] ?? `By what people with a taste like yours choose (${list.policy}).`;
  const parts = list.items.length ? [words] : [];
  if (list.confidence > 0) parts.push(` In the test, ${percent(list.confidence)} of lists of ten held what somebody chose next.`);
  if (list.experiment) parts.push(" ", el("span", { class: "badge accent" }, `Experiment ${list.experiment}${list.arm ? `: ${list.arm}` : ""}`));
  for (const note of list.notes) parts.push(el("span", { class: "warn" }, ` ${note}.`));
  return parts;
}

function pick(item, place) {
  const card = cardOf(item.id);
  const name = card.title || card.id;
  const open = () => act(item.id, "click", place);
  const cited = item.cited.filter((id) => cardOf(id));
  const badge = { exploration: "To explore", pinned: "Picked by the shop" }[item.origin];
  return el(
    "li", { class: "pick panel", dataset: { id: item.id, origin: item.origin } },
    el("div", { class: "shot" },
      el("button", { type: "button", class: "shot-button", tabindex: "-1", "aria-hidden": "true", on: { click: open } }, picture(item.id)),
      badge ? el("span", { class: "badge on-shot", title: item.origin === "exploration" ? "Little is known of it: shown to learn who likes it" : null }, badge) : null,
      soundButton(card)),
    el("div", { class: "pick-body" },
      el("h3", {}, el("button", { type: "button", class: "title", on: { click: open } }, name)),
      facts(card),
      el("div", { class: "why" },
        cited.length ? el("div", { class: "cited" }, cited.map((id) => el("button", { type: "button", class: "cited-shot", title: titleOf(id), "aria-label": `Open ${titleOf(id)}`, on: { click: () => show(id) } }, picture(id, 96)))) : null,
        el("p", {}, reason(item.reason || item.source, cited, show))),
      el("div", { class: "acts" },
        button("Like", "like", name, () => act(item.id, "like", place)),
        button("Buy", "purchase", name, () => act(item.id, "purchase", place)),
        more(item.id, name, place))),
  );
}

function button(words, kind, name, click) {
  return el("button", { type: "button", class: `act ${kind}`, "aria-label": `${words}: ${name}`, on: { click } }, el("span", { class: "icon", "aria-hidden": "true" }), words);
}

function more(id, name, place) {
  const menu = el("details", { class: "more" },
    el("summary", { "aria-label": `More for ${name}` }, el("span", { "aria-hidden": "true" }, "⋯")),
    el("div", { class: "menu" },
      el("button", { type: "button", on: { click: () => act(id, "dislike", place) } }, "Not interested"),
      el("button", { type: "button", on: { click: () => act(id, "block", place) } }, "Never show this")));
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  return menu;
}

function strip(id, acts, back) {
  const shown = acts.filter((one) => cardOf(one.item));
  at(`${id}-block`).hidden = shown.length === 0;
  at(id).replaceChildren(...shown.map((one) => {
    const name = titleOf(one.item);
    const time = when(one.at);
    return el("li", {},
      el("button", { type: "button", class: "seen", on: { click: () => show(one.item) } }, picture(one.item, 96),
        el("span", { class: "seen-words" }, el("span", { class: "seen-title" }, name), el("span", { class: "muted small" }, [verb(one.kind), time].filter(Boolean).join(", ")))),
      one.key ? el("button", { type: "button", class: "back", "aria-label": `${back}: ${name}, ${verb(one.kind)}`, title: back, on: { click: () => undo(one) } }, "×") : null);
  }));
}

function drawPerson() {
  const { known, events } = state.history;
  const words = known ? `${events.toLocaleString("en")} ${events === 1 ? "event" : "events"} known` : "New here: what you open, like or buy counts at once.";
  at("who-about").textContent = words;
}

// ---- what is done

const DID = { click: "Opened", purchase: "Bought", like: "Liked", dislike: "Will not show", block: "Blocked" };

/** Store what was done with an item, and show what changes by it. */
async function act(id, kind, place = null) {
  const focus = kind === "click" ? null : place;
  if (kind === "click") show(id);
  try {
    const done = await api("events", { json: { user: state.user, item: id, kind } });
    told(done);
    await refresh({ focus });
  } catch (error) {
    toast(error.message, "bad");
  }
}

async function undo(done) {
  try {
    await api("events", { method: "DELETE", query: { user: state.user, key: done.key } });
    at("did").replaceChildren();
    toast(`Taken back: ${titleOf(done.item)}`, "good");
    await refresh();
    at("list-title").focus({ preventScroll: true });
  } catch (error) {
    toast(error.message, "bad");
  }
}

function told(done) {
  at("did").replaceChildren(el("div", { class: "did" },
    el("span", {}, `${DID[done.kind] ?? done.kind}: ${titleOf(done.item)}`),
    el("button", { type: "button", class: "link", on: { click: () => undo(done) } }, "Undo"),
    el("button", { type: "button", class: "close", "aria-label": "Close", on: { click: () => at("did").replaceChildren() } }, "×")));
}

function show(id) {
  openItem(id, { act, changed });
}

async function changed() {
  await readShop();
  await refresh();
}

async function choose(user) {
  state.user = user;
  at("did").replaceChildren();
  try {
    sessionStorage.setItem("triptych-shopper", user);
  } catch {
    // it holds for this page alone
  }
  await refresh();
}

// ---- filters, search, tabs

async function readShop() {
  const shop = (state.shop = await api("shop"));
  at("categories").replaceChildren(...shop.categories.map(({ name, items }) => {
    const chip = el("button", { type: "button", class: "chip", "aria-pressed": String(state.categories.has(name)) }, name, el("span", { class: "muted" }, items.toLocaleString("en")));
    chip.addEventListener("click", () => {
      if (!state.categories.delete(name)) state.categories.add(name);
      chip.setAttribute("aria-pressed", String(state.categories.has(name)));
      refresh();
    });
    return chip;
  }));
  at("known-categories").replaceChildren(...shop.categories.map(({ name }) => el("option", { value: name })));
  if (shop.least_price !== null) {
    at("least").placeholder = Math.floor(shop.least_price);
    at("most").placeholder = Math.ceil(shop.most_price);
  }
  if (shop.in_stock) {
    at("in-stock").checked = at("in-stock").disabled = true;
    at("in-stock-words").textContent = "In stock (a rule of the shop)";
  }
  at("ask-file").accept = shop.reads.filter((part) => part !== "text").map((part) => `${part}/*`).join(",");
  at("ask-file-button").hidden = at("drop-hint").hidden = !at("ask-file").accept;
}

function drawVariety() {
  const words = variety() === state.shop.diversity ? "as the shop" : variety() < 0.2 ? "the closest" : variety() > 0.6 ? "very mixed" : "mixed";
  at("variety-words").textContent = words;
  at("variety").disabled = searches();
}

function clear() {
  state.categories.clear();
  for (const chip of at("categories").children) chip.setAttribute("aria-pressed", "false");
  at("least").value = at("most").value = "";
  if (!at("in-stock").disabled) at("in-stock").checked = false;
  at("variety").value = state.shop.diversity;
  drawVariety();
  refresh();
}

function take(file) {
  const part = file?.type.split("/")[0];
  if (file && !state.shop.reads.includes(part)) return toast("This shop looks for what is like a picture or a sound that it can read; this file is neither.", "bad");
  state.file = file ?? null;
  at("asked").replaceChildren(...(file ? [el("span", { class: "badge accent" }, file.name), el("button", { type: "button", class: "link", on: { click: () => take(null) } }, "Remove")] : []));
  at("ask-file").value = "";
  drawVariety();
  return refresh();
}

function listen() {
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    drawVariety();
    refresh();
  });
  at("ask-text").addEventListener("search", () => {
    if (at("ask-text").value === "") at("ask").requestSubmit();
  });
  at("ask-file-button").addEventListener("click", () => at("ask-file").click());
  at("ask-file").addEventListener("change", () => at("ask-file").files[0] && take(at("ask-file").files[0]));
  for (const id of ["least", "most", "in-stock"]) at(id).addEventListener("change", () => refresh());
  at("variety").addEventListener("input", drawVariety);
  at("variety").addEventListener("change", () => refresh());
  at("clear-button").addEventListener("click", clear);
  at("add-button").addEventListener("click", () => openAdd(async (card) => {
    remember([card]);
    show(card.id);
    await changed();
  }));
  const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  at("item-dialog").addEventListener("close", () => setTimeout(() => {
    if (document.activeElement === document.body) at("list-title").focus({ preventScroll: true }); // its card is gone
  }));
  addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    at("drop-here").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) at("drop-here").hidden = true;
  });
  addEventListener("drop", (event) => {
    at("drop-here").hidden = true;
    if (!holds(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  const tabs = ["gallery", "experiments"].map((id) => [at(`tab-${id}`), at(id)]);
  for (const [tab, panel] of tabs) {
    tab.addEventListener("click", () => {
      for (const [other, its] of tabs) {
        other.setAttribute("aria-selected", String(other === tab));
        other.tabIndex = other === tab ? 0 : -1;
        its.hidden = its !== panel;
      }
      if (panel.id === "experiments") showExperiments(panel);
    });
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = tabs.find(([one]) => one !== tab)[0];
      other.click();
      other.focus();
    });
  }
}

async function start() {
  const people = new People(at("who"), at("who-list"), at("guest-button"), choose);
  try {
    await readShop();
    at("variety").value = state.shop.diversity;
    drawVariety();
    listen();
    let last = null;
    try {
      last = sessionStorage.getItem("triptych-shopper");
    } catch {
      // nobody was chosen before
    }
    await people.set(last || people.guest());
  } catch (error) {
    toast(error.message, "bad");
  }
  ready();
}

start();
