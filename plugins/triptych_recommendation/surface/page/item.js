// One item: what it is, who had to do with it, and what is like it and why.
import { api, busy, el, toast } from "/pages/_shared/site.js";
import { cardOf, facts, forget, picture, remember, soundButton, titleOf, verb } from "./parts.js";

const dialog = document.getElementById("item-dialog");
const NAMES = { text: "words", image: "picture", audio: "sound" };
let shown = ""; // the id of the item in the dialog

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside it
});

/** `act(id, kind)` stores what is done, `changed()` is called when the item was removed. */
export async function openItem(id, { act, changed }) {
  shown = id;
  const body = el("div", { class: "stack" }, el("p", { class: "muted" }, "Loading"));
  dialog.replaceChildren(el("div", { class: "row end" }, el("button", { type: "button", class: "button quiet", on: { click: () => dialog.close() } }, "Close")), body);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  try {
    const view = await api("item", { query: { item: id } });
    if (shown !== id) return;
    remember([view.card]);
    const alike = el("section", { class: "stack alike", "aria-labelledby": "alike-title" }, el("h3", { id: "alike-title" }, "Like this"), el("p", { class: "muted small" }, "Looking"));
    body.replaceChildren(whole(view, act, changed), alike);
    const found = await api("similar", { query: { item: id, k: 6 } });
    const ids = found.items.map((one) => one.id);
    if (ids.length) remember((await api("cards", { json: { ids } })).cards);
    if (shown !== id) return;
    const open = (other) => {
      act(other, "click");
    };
    alike.replaceChildren(alike.firstChild, found.items.length
      ? el("ul", { class: "alike-list" }, found.items.filter((one) => cardOf(one.id)).map((one) => likeness(one, open)))
      : el("p", { class: "muted" }, found.why));
  } catch (error) {
    if (shown === id) {
      body.replaceChildren(el("p", { class: "bad" }, error.message));
    }
  }
}

function whole({ card, people, metadata }, act, changed) {
  const name = card.title || card.id;
  const then = (kind) => () => {
    dialog.close();
    act(card.id, kind);
  };
  return el("div", { class: "item" },
    el("div", { class: "item-shot" }, picture(card.id, 800)),
    el("div", { class: "stack item-words" },
      el("h2", { id: "item-title" }, name),
      facts(card),
      card.tags.length ? el("p", { class: "row tags" }, card.tags.map((tag) => el("span", { class: "badge muted" }, tag))) : null,
      card.description ? el("p", {}, card.description) : null,
      el("p", { class: "row counts" }, people.length
        ? people.map(({ kind, people: count }) => el("span", {}, el("strong", {}, count.toLocaleString("en")), ` ${verb(kind)}`))
        : el("span", { class: "muted" }, "Nobody has had to do with it yet.")),
      el("div", { class: "row" },
        soundButton(card, "Listen"),
        el("button", { type: "button", class: "button", on: { click: then("purchase") } }, "Buy"),
        el("button", { type: "button", class: "button second", on: { click: then("like") } }, "Like")),
      el("div", { class: "row unwanted" },
        el("button", { type: "button", class: "button quiet", on: { click: then("dislike") } }, "Not interested"),
        el("button", { type: "button", class: "button quiet", on: { click: then("block") } }, "Never show this")),
      details(card, metadata),
      removal(card, name, changed)));
}

function details(card, metadata) {
  const rows = [["id", card.id], ...Object.entries(metadata)];
  return el("dl", { class: "more-facts small" }, rows.map(([name, value]) => [el("dt", { class: "muted" }, name), el("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value))]));
}

/** Asks once more before it removes. */
function removal(card, name, changed) {
  const place = el("div", { class: "row removal" });
  const ask = el("button", { type: "button", class: "button quiet" }, "Remove from the shop");
  ask.addEventListener("click", () => {
    const yes = el("button", { type: "button", class: "button danger" }, "Remove it");
    yes.addEventListener("click", () => busy(yes, remove(card.id, name, changed)));
    const no = el("button", { type: "button", class: "button quiet", on: { click: () => { place.replaceChildren(ask); ask.focus(); } } }, "Keep it");
    place.replaceChildren(el("span", {}, "It will stand in no list any more."), yes, no);
    yes.focus();
  });
  place.append(ask);
  return place;
}

async function remove(id, name, changed) {
  try {
    await api("items", { method: "DELETE", query: { item: id } });
    forget(id);
    dialog.close();
    toast(`Removed: ${name}`, "good");
    await changed();
  } catch (error) {
    toast(error.message, "bad");
  }
}

function likeness(one, open) {
  const card = cardOf(one.id);
  const parts = Object.entries(one.parts).map(([part, cosine]) => bar(NAMES[part] ?? part, cosine));
  return el("li", { class: "alike-one" },
    el("button", { type: "button", class: "cited-shot large", tabindex: "-1", "aria-hidden": "true", on: { click: () => open(one.id) } }, picture(one.id, 96)),
    el("div", { class: "alike-words" },
      el("button", { type: "button", class: "title", on: { click: () => open(one.id) } }, titleOf(one.id)),
      facts(card),
      one.reason ? el("p", { class: "small" }, one.reason) : null,
      el("div", { class: "bars" }, parts, one.people && !one.reason.endsWith("chose both") ? el("span", { class: "small muted" }, `${one.people.toLocaleString("en")} ${one.people === 1 ? "person" : "people"} chose both`) : null)));
}

function bar(name, cosine) {
  const share = Math.max(0, Math.min(1, cosine));
  return el("span", { class: "bar small", role: "img", "aria-label": `likeness of ${name}: ${cosine.toFixed(2)} of 1` },
    el("span", { class: "muted" }, name), el("span", { class: "bar-line" }, el("span", { style: `width: ${(100 * share).toFixed(0)}%` })), el("span", {}, cosine.toFixed(2)));
}
