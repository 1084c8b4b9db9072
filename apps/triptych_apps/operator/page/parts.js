// What the parts of the page share: tables, versions' names, small drawings, and the dialog that asks before it acts.

import { ApiError, busy, el, number } from "/pages/_shared/site.js";

/** The element of this id. */
export const node = (id) => document.getElementById(id);

/** Children in place of what a node had. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

/** A table; each column is `{name, cell(row), number}`. On a phone, its rows become cards. */
export function table(columns, rows, { row = () => ({}), empty = "Nothing yet." } = {}) {
  if (!rows.length) return el("p", { class: "muted" }, empty);
  const head = columns.map((c) => el("th", { scope: "col", class: c.number ? "number" : null }, c.name));
  const body = rows.map((item) =>
    el("tr", row(item), columns.map((c, place) => {
      const attributes = { class: c.number ? "number" : null, dataset: { label: c.name } };
      const cell = place === 0 ? el("th", { scope: "row", ...attributes }, c.cell(item)) : el("td", attributes, c.cell(item));
      if (cell.textContent === "–") cell.dataset.empty = "true"; // left out on a phone
      return cell;
    })),
  );
  return el("table", { class: "table cards-on-phone" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
}

export function badge(text, kind = "") {
  return el("span", { class: `badge ${kind}` }, text);
}

/** The id of a version for people: when it was made, and the part that tells it from others of that minute. */
export function versionName(id) {
  const found = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)\d*-(\w+)$/.exec(id);
  if (!found) return id;
  const [, year, month, day, hour, minute, hash] = found;
  const at = new Date(Date.UTC(year, month - 1, day, hour, minute));
  const told = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  return `${told.format(at)} · ${hash.slice(0, 6)}`;
}

export function version(id) {
  return el("span", { title: id, class: "version" }, versionName(id));
}

export function milliseconds(value) {
  if (value === null) return "–";
  return `${new Intl.NumberFormat("en", { maximumSignificantDigits: value < 100 ? 3 : 4 }).format(value)} ms`;
}

const LEAST = 0.0001;

/** Money, small amounts too, which two decimals would make nothing. */
export function price(amount, currency) {
  if (amount === null) return "–";
  if (amount > 0 && amount < LEAST) return `below ${price(LEAST, currency)}`;
  const digits = amount !== 0 && Math.abs(amount) < 0.1 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 2 };
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency, ...digits }).format(amount);
  } catch {
    return `${number(amount)} ${currency}`.trim();
  }
}

export function megabytes(value) {
  if (value === null) return "–";
  return `${new Intl.NumberFormat("en", value < 10 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 0 }).format(value)} MB`;
}

export function seconds(value) {
  const units = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => value >= size);
  if (first < 0) return "0 s";
  const [[unit, size], next] = [units[first], units[first + 1]];
  const whole = Math.floor(value / size);
  const rest = next ? Math.floor((value % size) / next[1]) : 0;
  return `${whole} ${unit}${rest ? ` ${rest} ${next[0]}` : ""}`;
}

/** A line of values over time, the newest at the right. */
export function spark(values, label) {
  const most = Math.max(...values, 0.001);
  const points = values.map((v, x) => `${(100 * x) / (values.length - 1)},${30 - (28 * v) / most}`).join(" ");
  const shape = { viewBox: "0 0 100 30", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": label };
  return el("svg", shape,
    el("polygon", { points: `0,30 ${points} 100,30` }),
    el("polyline", { points, "vector-effect": "non-scaling-stroke" }));
}

/** How many values lie in each tenth from 0 to 1. */
export function histogram(counts, label) {
  const most = Math.max(...counts, 1);
  const bars = counts.map((count, place) => {
    const height = count ? Math.max(1, (30 * count) / most) : 0;
    return el("rect", { x: place * 10 + 0.6, y: 30 - height, width: 8.8, height },
      el("title", {}, `${place / 10} to ${(place + 1) / 10}: ${count}`));
  });
  const shape = { viewBox: "0 0 100 30", preserveAspectRatio: "none", class: "histogram", role: "img", "aria-label": label };
  return el("svg", shape, bars);
}

/** A bar for a share of one. */
export function bar(share) {
  const width = `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;
  return el("span", { class: "bar", "aria-hidden": "true" }, el("span", { style: `width:${width}` }));
}

const dialog = document.getElementById("confirm");
const part = (name) => document.getElementById(`confirm-${name}`);
let act = null;

/**
 * Say what will happen, and do it when that is confirmed. `fields` are elements above the buttons; `run` returns a
 * promise: the dialog closes when it is kept, and shows its error otherwise.
 */
export function confirm({ title, text, fields = [], yes, danger = false, run }) {
  part("title").textContent = title;
  fill(part("text"), text);
  fill(part("fields"), ...fields);
  part("error").hidden = true;
  part("yes").textContent = yes;
  part("yes").className = danger ? "button danger" : "button";
  act = run;
  dialog.showModal();
  (part("fields").querySelector("input, select") ?? part("no")).focus();
}

async function confirmed() {
  if (part("yes").disabled) return;
  part("error").hidden = true;
  try {
    await busy(part("yes"), act());
    dialog.close();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    part("error").textContent = error.message;
    part("error").hidden = false;
  }
}

part("yes").addEventListener("click", confirmed);
part("no").addEventListener("click", () => dialog.close());
dialog.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault(); // Enter in a field
  confirmed();
});
