// What the views of this page share: words, figures, small drawings.

import { el } from "/pages/_shared/site.js";

export const KINDS = { negative: "Negative turn", positive: "Positive turn", volume: "Unusual volume" };
export const STATES = {
  firing: "firing", pending: "pending", keep_firing: "keep-firing", resolved: "resolved", silenced: "silenced",
  inhibited: "inhibited",
};
const TONES = { firing: "bad", pending: "warn", keep_firing: "warn" };

/** A number with its sign, as "+0.12". */
export function signed(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value < 0 ? "−" : "+"}${text}`;
}

/** The class of a polarity: what is nearly nothing has none. */
export function tone(value, least = 0.05) {
  return value > least ? "good" : value < -least ? "bad" : "muted";
}

export function score(value, digits = 2) {
  return el("span", { class: `score ${tone(value)}` }, signed(value, digits));
}

/** A time as "31 Oct 2025, 08:26 UTC". */
export function when(iso) {
  if (!iso) return "–";
  const time = new Date(iso);
  const format = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" };
  return `${new Intl.DateTimeFormat("en-GB", format).format(time)} UTC`;
}

export function time(iso) {
  return el("time", { datetime: iso, title: when(iso) }, when(iso));
}

/** "1 item", "3 items". */
export function several(count, one, more = `${one}s`) {
  return `${count} ${count === 1 ? one : more}`;
}

/** What stands under the name of an entity. */
export function under(entity, name, sector) {
  const kind = entity.startsWith("sector:") ? "Sector" : entity;
  return [kind, sector === name ? "" : sector].filter(Boolean).join(" · ");
}

/** A length of time in seconds, in its largest unit. */
export function length(seconds) {
  const [size, unit] = [[86_400, "d"], [3_600, "h"], [60, "min"]].find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.round((10 * seconds) / size) / 10} ${unit}`;
}

export function stateBadge(state, text = STATES[state] ?? state) {
  return el("span", { class: `badge ${TONES[state] ?? "muted"}` }, text);
}

/** A line through values around its zero line; the figures stand beside it, so that readers need not hear it. */
export function spark(values) {
  const [width, height] = [132, 34];
  if (values.length < 2) return el("span", { class: "muted small" }, "new");
  const reach = Math.max(0.1, ...values.map(Math.abs));
  const x = (place) => ((width - 6) * place) / (values.length - 1) + 3;
  const y = (value) => height / 2 - (value / reach) * (height / 2 - 4);
  const last = values.at(-1);
  return el("svg", { class: `spark ${tone(last, 0.02)}`, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    el("line", { x1: 0, x2: width, y1: height / 2, y2: height / 2, class: "zero" }),
    el("polyline", { points: values.map((value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }),
    el("circle", { cx: x(values.length - 1), cy: y(last), r: 3 }));
}

export function entityLink(entity, name) {
  return el("a", { href: `#/entity/${encodeURIComponent(entity)}` }, name);
}

/** A text with one sentence in it marked by its polarity. */
export function marked(text, sentence, value) {
  const at = sentence ? text.indexOf(sentence) : -1;
  if (at < 0) return [text];
  return [text.slice(0, at), mark(sentence, value), text.slice(at + sentence.length)];
}

/** Words that speak for or against; what they do is also said, not only coloured. */
export function mark(text, value) {
  const kind = tone(value);
  if (kind === "muted") return text;
  const said = kind === "good" ? "good news" : "bad news";
  return el("mark", { class: kind, title: `${said}, ${signed(value)}` }, el("span", { class: "hidden-label" }, `${said}: `), text);
}

/** What is told, and how the address of a source is linked. */
export function headline(text, url) {
  return url ? el("a", { href: url, rel: "noopener noreferrer", target: "_blank" }, text) : text;
}

export function tile(name, value, note = "", kind = "") {
  return el("div", { class: "panel tile" }, el("dt", {}, name), el("dd", { class: kind }, value),
    note ? el("dd", { class: "muted small" }, note) : null);
}

/** What the page says where no monitor has run. */
export function absent(state) {
  const mine = "There is no store yet";
  return [el("div", { class: "panel empty stack", role: "status" },
    el("h2", { id: "view-title" }, state.message.startsWith(mine) ? "No news has been read yet" : "The store cannot be read"),
    el("p", {}, state.message.startsWith(mine)
      ? "This page shows what the monitor has stored. Start one, and everything appears here as it comes:" : state.message),
    el("pre", {}, el("code", {}, state.command)),
    el("p", { class: "muted small" }, "A file of old items is read with ", el("code", {}, "--source replay:news.csv"),
      ". The page looks for the store where the commands do."))];
}

/** Calls that come close together become one; of a call that is under way, the next waits. */
export function later(work, pause = 250) {
  let timer = null;
  let running = Promise.resolve();
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      running = running.then(work).catch(() => {});
    }, pause);
  };
}

/** Replace the children of a node; what had the focus in it has it again, told by its `data-focus`. */
export function redraw(node, ...children) {
  const focus = node.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  node.replaceChildren(...children.flat());
  if (focus) node.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
}
