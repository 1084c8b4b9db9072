// What every page uses: calls of the API with the key, elements without innerHTML, plots, toasts, the theme.

export const API = document.body.dataset.api;
const KEY = "triptych-key";
const locale = document.documentElement.lang;

/** What the server says in place of an answer; `retryAfter` is in seconds, null where it says nothing. */
export class ApiError extends Error {
  constructor(status, kind, message, retryAfter = null) {
    super(message);
    Object.assign(this, { name: "ApiError", status, kind, retryAfter });
  }
}

/** Say that the page has drawn what it opens with. */
export function ready() {
  document.body.dataset.ready = "true";
}

// ---- calls

function storedKey() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** Whether calls can be made without asking for a key first. */
export function hasKey() {
  return document.body.dataset.keys === "none" || storedKey() !== "";
}

let asking = null;

/** Ask for the key, once for all calls that wait for it. Gives "" where the dialog was closed. */
function askKey(reason) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key-dialog");
    const input = dialog.querySelector("input");
    if (reason) document.getElementById("key-reason").textContent = reason;
    input.value = "";
    dialog.returnValue = "";
    dialog.addEventListener(
      "close",
      () => {
        const key = dialog.returnValue === "use" ? input.value.trim() : "";
        input.value = "";
        if (key) sessionStorage.setItem(KEY, key);
        asking = null;
        showKeyButton();
        resolve(key);
      },
      { once: true },
    );
    dialog.showModal();
    input.focus();
  });
  return asking;
}

function address(path, query) {
  const url = new URL(path.startsWith("/") ? path : `${API}/${path}`, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") url.searchParams.append(name, String(one));
    }
  }
  if (url.origin !== location.origin) throw new Error("a page calls its own server alone");
  return url;
}

async function problem(response) {
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  let told = {};
  try {
    told = (await response.json()).error ?? {};
  } catch {
    // something between here and the server answered in its place
  }
  const message = told.message ?? `the server answered with status ${response.status}`;
  return new ApiError(response.status, told.kind ?? "error", message, Number.isNaN(wait) ? null : wait);
}

async function call(path, { method, json, form, query, signal, accept } = {}) {
  const body = json === undefined ? form : JSON.stringify(json);
  for (;;) {
    const headers = new Headers();
    const key = storedKey();
    if (key) headers.set("Authorization", `Bearer ${key}`);
    if (json !== undefined) headers.set("Content-Type", "application/json");
    if (accept) headers.set("Accept", accept);
    let response;
    try {
      response = await fetch(address(path, query), {
        method: method ?? (body === undefined ? "GET" : "POST"), headers, body, signal,
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "unreachable", "the server cannot be reached");
    }
    if (response.ok) return response;
    const told = await problem(response);
    if (told.status !== 401) throw told;
    if (key && key === storedKey()) sessionStorage.removeItem(KEY);
    const other = storedKey(); // another call may have asked meanwhile
    if (!other && !(await askKey(key ? "That key is wrong or revoked. Give another one." : ""))) throw told;
  }
}

/**
 * The answer of a route as JSON. `path` is "alerts", below the page's own API, or begins with a slash.
 * With `json` or `form` (a FormData) the method is POST where none is named.
 */
export async function api(path, options = {}) {
  const response = await call(path, options);
  return response.json();
}

/** An object URL of a picture or a sound that a route returns; whoever asks for it revokes it. */
export async function media(path, options = {}) {
  const response = await call(path, options);
  return URL.createObjectURL(await response.blob());
}

/** The server-sent events of one call, each `{name, id, data}` with parsed data and an id or null, until they end. */
export async function* events(path, options = {}) {
  const response = await call(path, { ...options, accept: "text/event-stream" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const pieces = text.split("\n\n");
      text = pieces.pop();
      for (const piece of pieces) {
        const event = parsed(piece);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(piece) {
  let name = "message";
  let id = null;
  const data = [];
  for (const line of piece.split("\n")) {
    if (line.startsWith("id:")) id = line.slice(3).trim();
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { name, id, data: JSON.parse(data.join("\n")) } : null;
}

/**
 * Call `onEvent(data, name)` for every event of a route that streams, and connect again when it ends, until `signal`
 * is aborted. What trying again cannot mend is told in a toast and ends it.
 */
export async function stream(path, onEvent, { query, signal } = {}) {
  let pause = 1;
  while (!signal?.aborted) {
    try {
      for await (const { name, data } of events(path, { query, signal })) {
        if (signal?.aborted) return;
        pause = 1;
        onEvent(data, name);
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) {
        toast(error.message, "bad");
        return;
      }
      if (!(error instanceof ApiError) && !(error instanceof TypeError)) throw error; // of `onEvent`
      pause = Math.max(pause, error.retryAfter ?? 0);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * pause * (0.75 + Math.random() / 2)));
    pause = Math.min(30, 2 * pause);
  }
}

// ---- elements

const SVG = new Set(["svg", "g", "path", "rect", "circle", "line", "polyline", "polygon", "ellipse", "defs", "use"]);
const PROPERTIES = new Set(["value", "checked", "selected", "disabled", "indeterminate", "open"]);
const SAFE = new Set(["http:", "https:", "mailto:", "blob:"]);

function safe(value) {
  if (!URL.canParse(value, location.href)) return false;
  const url = new URL(value, location.href);
  return SAFE.has(url.protocol) || (url.protocol === "data:" && /^data:(image\/(png|jpeg|gif|webp)|audio\/)/.test(value));
}

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
  else if (name === "dataset") Object.assign(node.dataset, value);
  else if (name === "style") node.style.cssText = value;
  else if (name.startsWith("on") || name === "innerHTML" || name === "srcdoc") throw new Error(`no ${name} here`);
  else if ((name === "href" || name === "src") && !safe(String(value))) node.setAttribute(name, "#");
  else if (PROPERTIES.has(name) && name in node) node[name] = value;
  else node.setAttribute(name, value === true ? "" : String(value));
}

/** An element. Children are nodes, lists of them, or text, which never is anything but text; null is left out. */
export function el(tag, attributes = {}, ...children) {
  const node = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  const { value, ...others } = attributes ?? {};
  for (const [name, given] of Object.entries(others)) set(node, name, given);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  set(node, "value", value); // of a select, which needs its options first
  return node;
}

/** A name and its value, for a `dl`. */
export function fact(name, ...value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, ...value));
}

/** A table that scrolls by itself where it is too wide; `numbers` are the columns that stand to the right. */
export function table(label, heads, rows, numbers = []) {
  const kind = (place) => ({ class: numbers.includes(place) ? "number" : null });
  const head = heads.map((text, place) => el("th", { scope: "col", ...kind(place) }, text));
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, place) => el("td", kind(place), cell))));
  return el("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": label },
    el("table", { class: "table" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

/** Tell something for a few seconds; what is bad stays until it is closed. */
export function toast(message, kind = "info") {
  const close = el("button", { type: "button", class: "close", "aria-label": "Close", on: { click: () => note.remove() } }, "×");
  const note = el("div", { class: `toast ${kind}` }, el("span", {}, String(message)), close);
  document.getElementById("toasts").append(note);
  if (kind !== "bad") setTimeout(() => note.remove(), 5000);
}

/** Keep a button from being pressed again until a promise is settled. Gives the promise back. */
export function busy(button, promise) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  return Promise.resolve(promise).finally(() => {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  });
}

// ---- numbers and times

/** An amount in a currency (its code of three letters). */
export function money(amount, currency) {
  try {
    return new Intl.NumberFormat(locale, { style: "currency", currency }).format(amount);
  } catch {
    return `${number(amount)} ${currency ?? ""}`.trim();
  }
}

/** A share of one, as "12.3%". */
export function percent(share) {
  return new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 }).format(share);
}

/** A number with at most three digits behind the point. */
export function number(value) {
  return new Intl.NumberFormat(locale, { maximumFractionDigits: 3 }).format(value);
}

const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["week", 604_800], ["day", 86_400], ["hour", 3_600], ["minute", 60]];

/** How long ago an ISO time is, as "3 hours ago". */
export function ago(iso) {
  const seconds = (new Date(iso).getTime() - Date.now()) / 1000;
  const format = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return format.format(Math.trunc(seconds / size), unit);
}

/** The day of an ISO time or date, as "5 Mar 2025". */
export function day(iso) {
  const zone = /^\d{4}-\d\d-\d\d$/.test(iso) ? { timeZone: "UTC" } : {};
  return new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", ...zone }).format(new Date(iso));
}

// ---- plots

let plotly = null;
const plots = new Map(); // node to what it shows

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/pages/_shared/plotly.min.js";
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      plotly = null;
      reject(new ApiError(0, "unreachable", "the part that draws plots cannot be loaded"));
    });
    document.head.append(script);
  });
  return plotly;
}

function merged(under, over) {
  const result = { ...under };
  for (const [name, value] of Object.entries(over ?? {})) {
    const both = value?.constructor === Object && under[name]?.constructor === Object;
    result[name] = both ? merged(under[name], value) : value;
  }
  return result;
}

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true };
  const axes = Object.keys(layout ?? {}).filter((name) => /^[xy]axis\d+$/.test(name));
  const base = {
    autosize: true,
    colorway: ["accent", "warn", "good", "bad", "muted"].map(colour),
    font: { family: style.fontFamily, size: 12, color: colour("ink") },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
    legend: { orientation: "h", y: -0.2 },
    margin: { l: 48, r: 20, t: 12, b: 36 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    ...Object.fromEntries(["xaxis", "yaxis", ...axes].map((name) => [name, axis])),
  };
  return merged(base, layout);
}

function coloured(value) {
  if (typeof value === "string" && value.startsWith("--")) {
    return getComputedStyle(document.documentElement).getPropertyValue(value).trim();
  }
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(coloured);
  if (value?.constructor === Object) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
  return value;
}

/** Draw with Plotly in the colours of the theme; a colour may be the name of one, as "--bad". */
export async function plot(node, traces, layout = {}) {
  plots.set(node, [traces, layout]);
  const Plotly = await loadPlotly();
  const config = { displaylogo: false, responsive: true, displayModeBar: false };
  await Plotly.react(node, coloured(traces), coloured(themed(layout)), config);
}

function redrawPlots() {
  for (const [node, [traces, layout]] of plots) {
    if (node.isConnected) plot(node, traces, layout);
    else plots.delete(node);
  }
}

// ---- the header

const THEMES = ["system", "light", "dark"];

function theme() {
  return document.documentElement.dataset.theme ?? "system";
}

function showTheme() {
  const button = document.getElementById("theme-button");
  button.textContent = `Theme: ${theme()}`;
}

function changeTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("triptych-theme", next);
  } catch {
    // it holds for this page alone
  }
  showTheme();
  redrawPlots();
}

function showKeyButton() {
  const button = document.getElementById("key-button");
  button.hidden = document.body.dataset.keys === "none";
  button.textContent = storedKey() ? "Forget key" : "Give key";
}

async function changeKey() {
  if (storedKey()) {
    sessionStorage.removeItem(KEY);
    location.reload();
  } else if (await askKey("")) location.reload();
}

document.getElementById("theme-button").addEventListener("click", changeTheme);
document.getElementById("key-button").addEventListener("click", changeKey);
document.getElementById("key-cancel").addEventListener("click", () => document.getElementById("key-dialog").close());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawPlots);
showTheme();
showKeyButton();
