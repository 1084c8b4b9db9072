// Parts that several places of the page draw: pictures, prices, stock, reasons.
import { ago, el, media, toast } from "/pages/_shared/site.js";

const pictures = new Map(); // what is shown to a promise of its object URL
const known = new Map(); // id to card

/** Remember cards by their ids. */
export function remember(cards) {
  for (const card of cards) known.set(card.id, card);
}

export function forget(id) {
  known.delete(id);
}

export function cardOf(id) {
  return known.get(id);
}

export function titleOf(id) {
  return known.get(id)?.title || id;
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      load(entry.target);
    }
  },
  { rootMargin: "300px" },
);

async function load(image) {
  const { item, mark, edge } = image.dataset;
  const key = `${edge} ${mark} ${item}`;
  if (!pictures.has(key)) pictures.set(key, media("picture", { query: { item, edge, v: mark } }));
  try {
    image.src = await pictures.get(key);
  } catch {
    pictures.delete(key);
    image.replaceWith(drawn(item));
  }
}

/** The picture of an item, fetched when it comes into sight; what has none gets one drawn from its title. */
export function picture(id, edge = 320) {
  const card = cardOf(id);
  if (!card?.picture) return drawn(id);
  const image = el("img", { class: "shot-picture", alt: "", dataset: { item: id, mark: card.picture, edge: String(edge) } });
  seen.observe(image);
  return image;
}

function drawn(id) {
  const title = titleOf(id);
  let hash = 7;
  for (const letter of title) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  const words = title.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  const letters = words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
  return el("span", { class: "shot-picture drawn", style: `--hue: ${hash}`, "aria-hidden": "true" }, el("span", {}, letters));
}

export function price(value) {
  return value === null || value === undefined ? null : value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

export function stock(card) {
  if (card.stock === null) return null;
  if (card.stock === 0) return el("span", { class: "bad" }, "sold out");
  if (card.stock <= 3) return el("span", { class: "warn" }, `only ${card.stock} left`);
  return el("span", {}, `${card.stock.toLocaleString("en")} in stock`);
}

/** Category, price and stock in one line. */
export function facts(card) {
  const parts = [card.category || null, card.price === null ? null : el("strong", {}, price(card.price)), stock(card)];
  return el("p", { class: "facts-line" }, parts.filter(Boolean).map((part, place) => [place ? el("span", { "aria-hidden": "true" }, " · ") : null, part]));
}

/** A reason in which the titles of cited items open them. */
export function reason(text, cited, open) {
  const found = [];
  let rest = text;
  for (const id of cited) {
    const title = titleOf(id);
    const place = rest.indexOf(title);
    if (place < 0) continue;
    const click = (event) => {
      event.preventDefault();
      open(id);
    };
    found.push(rest.slice(0, place), el("a", { class: "link", href: "#", on: { click } }, title)); // a button would not wrap
    rest = rest.slice(place + title.length);
  }
  return [...found, rest];
}

const VERBS = {
  view: "looked at", click: "clicked on", purchase: "bought", rating: "rated", comment: "commented on", like: "liked",
  dislike: "not interested", block: "blocked", play: "played",
};

export function verb(kind) {
  return VERBS[kind] ?? kind;
}

/** When something was done; nothing for events that were never given a time. */
export function when(iso) {
  return iso && new Date(iso).getFullYear() > 1971 ? ago(iso) : "";
}

// ---- sound: one at a time

const player = new Audio();
let playing = null;

function stopped() {
  if (!playing) return;
  playing.setAttribute("aria-pressed", "false");
  playing = null;
}

player.addEventListener("ended", stopped);

/** A button that plays the beginning of an item's sound; null where it has none. */
export function soundButton(card, words = "") {
  if (!card.sound) return null;
  const button = el("button", {
    type: "button", class: words ? "button second" : "play", "aria-pressed": "false", "aria-label": `Play the sound of ${card.title || card.id}`,
  }, el("span", { class: "icon", "aria-hidden": "true" }), words);
  button.addEventListener("click", async () => {
    const again = playing === button;
    player.pause();
    stopped();
    if (again) return;
    playing = button;
    button.setAttribute("aria-pressed", "true");
    try {
      const url = await media("sound", { query: { item: card.id, v: card.sound } });
      if (playing !== button) return URL.revokeObjectURL(url);
      if (player.src) URL.revokeObjectURL(player.src);
      player.src = url;
      await player.play();
    } catch (error) {
      if (playing === button) stopped();
      if (error.name !== "AbortError") toast(error.message, "bad");
    }
  });
  return button;
}
