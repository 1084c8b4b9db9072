// A sentence or a headline of one's own: what the model makes of it, for each company and sentence.

import { api, busy, el, percent, toast } from "/pages/_shared/site.js";
import { entityLink, mark, score, signed, tone } from "./common.js";

const EXAMPLES = [
  "Torvenna raises its forecast, but Skelvoort warns of a loss",
  "Quellmar Energy recalls meters and cuts its dividend. Analysts had expected a profit.",
  "Pellworth names a new head of research",
];
let last = { text: "", answer: null };

export async function open(node, rest, { state }) {
  const text = el("textarea", { name: "text", rows: 3, maxlength: 20_000, required: true, placeholder: "A headline or an article", value: last.text, "aria-describedby": "try-help" });
  const button = el("button", { class: "button" }, "Read it");
  const out = el("div", { class: "stack", "aria-live": "polite" });
  const send = async () => {
    const json = { text: text.value };
    last = { text: text.value, answer: await api("answer", { method: "POST", json }) };
    out.replaceChildren(...shown(last.text, last.answer, state));
  };
  const submit = (event) => {
    event.preventDefault();
    if (text.value.trim()) busy(button, send()).catch((error) => toast(error.message, "bad"));
  };
  const example = (words) => el("button", { type: "button", class: "button second example", on: { click: () => ((text.value = words), text.focus()) } }, words);
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
  };
  text.addEventListener("keydown", keys);
  node.replaceChildren(
    el("form", { class: "panel stack", on: { submit } }, el("h2", { id: "view-title" }, "Try a sentence"),
      el("label", { class: "stack tight" }, "Text", text),
      el("p", { class: "muted small", id: "try-help" }, "Nothing of it enters the index. Ctrl+Enter reads it."),
      el("div", { class: "row" }, button),
      el("div", { class: "examples", role: "group", "aria-label": "Examples" }, EXAMPLES.map(example))), out);
  if (last.answer) out.replaceChildren(...shown(last.text, last.answer, state));
  return {};
}

function shown(text, mood, state) {
  return [
    el("section", { class: "panel stack verdict-of" },
      el("div", { class: "row between" }, el("h3", {}, "The whole"), el("span", { class: `badge ${tone(mood.score)}` }, mood.label)),
      gauge(mood.score),
      el("p", { class: "reading" }, sentences(text, mood.sentences)),
      el("dl", { class: "figures" }, ["positive", "neutral", "negative"].map((label) => el("div", {}, el("dt", {}, label), el("dd", {}, percent(mood.probabilities[label] ?? 0))))),
      mood.familiar ? null : el("p", { class: "warn small" }, "This is unlike what the model was trained on: do not rely on it.")),
    el("section", { class: "panel stack" }, el("h3", {}, "By company"),
      mood.entities.length ? el("ul", { class: "plain items" }, mood.entities.map(company)) : el("p", { class: "muted" }, "No company that the monitor knows is named.")),
    mood.risk.length ? risk(mood.risk) : state?.risk && mood.no_risk.length ? el("p", { class: "muted small" }, `No forecast of volatility: ${mood.no_risk.join("; ")}.`) : null,
  ].filter(Boolean);
}

function gauge(value) {
  const at = `${Math.min(95, Math.max(5, 50 + 50 * value)).toFixed(1)}%`; // the figure stays within
  return el("div", { class: "gauge", role: "img", "aria-label": `score ${signed(value)} between −1 and +1` },
    el("span", { class: `needle ${tone(value)}`, style: `left:${at}` }, signed(value)));
}

function sentences(text, found) {
  const parts = [];
  let at = 0;
  for (const one of [...found].sort((a, b) => a.start - b.start)) {
    if (one.start < at) continue;
    parts.push(text.slice(at, one.start), mark(text.slice(one.start, one.end), one.score));
    at = one.end;
  }
  return [...parts, text.slice(at)];
}

function company(one) {
  return el("li", { class: "item" }, el("div", { class: "value" }, score(one.score)),
    el("div", {}, el("p", {}, entityLink(one.symbol, one.name), el("span", { class: "muted small" }, ` ${[one.symbol, one.sector].filter(Boolean).join(" · ")}`)), one.sentence ? el("p", {}, mark(one.sentence, one.score)) : null));
}

function risk(rows) {
  const line = (one) => el("tr", {}, el("th", { scope: "row" }, one.symbol), el("td", { class: "number" }, String(one.days)), el("td", { class: "number" }, `${one.daily_percent.toFixed(2)} %`),
    el("td", { class: "number muted" }, `${(100 * Math.exp(one.low)).toFixed(2)} – ${(100 * Math.exp(one.high)).toFixed(2)} %`), el("td", { class: "muted" }, one.model));
  const heads = [["Company", ""], ["Trading days", "number"], ["Moves a day", "number"], [`Interval, ${percent(rows[0].level)}`, "number"], ["Answered by", ""]];
  return el("section", { class: "panel stack" }, el("div", { class: "row between" }, el("h3", {}, "How much the price may move"), el("span", { class: "muted small" }, `prices until ${rows[0].since}`)),
    el("div", { class: "table-wrap" }, el("table", { class: "table" }, el("thead", {}, el("tr", {}, heads.map(([text, kind]) => el("th", { scope: "col", class: kind }, text)))), el("tbody", {}, rows.map(line)))));
}
