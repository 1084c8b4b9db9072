// The newest decisions, and one of them whole.

import { live } from "/pages/_shared/live.js";
import { ago, api, el, fact, percent, toast } from "/pages/_shared/site.js";
import { badge, fill, node, price, table } from "./parts.js";
import { answer, input } from "./review.js";

const MOST = 12;
let currency = "";

export async function showDecisions(state) {
  currency = state.currency;
  const found = await live("decisions", { query: { vertical: state.vertical, limit: MOST } });
  node("find").hidden = !found.kept;
  const empty = found.kept ? "Nothing was asked yet." : "This server writes no decisions down.";
  fill(node("decisions"), table(COLUMNS, found.decisions, { empty }));
}

const COLUMNS = [
  { name: "When", cell: (d) => el("button", { type: "button", class: "link", "aria-label": `Open the decision of ${ago(d.at)}: ${d.text}`, on: { click: () => open(d.id) } }, ago(d.at)) },
  { name: "Asked", cell: (d) => el("span", { class: "clip" }, d.text || "no words") },
  { name: "Decided", cell: (d) => (d.error ? badge("failed", "bad") : d.label ?? "–") },
  { name: "Confidence", number: true, cell: (d) => (d.confidence === null ? "–" : percent(d.confidence)) },
  { name: "Variant", cell: (d) => [el("code", { class: "one-line" }, d.variant), d.fallback ? badge("fallback", "warn") : null] },
  { name: "Review", cell: (d) => said(d.verdict, d.verdict_label) },
];

function said(verdict, label) {
  if (verdict === null) return el("span", { class: "muted" }, "–");
  if (verdict === "label") return badge(label, "accent");
  return badge(verdict, verdict === "correct" ? "good" : "bad");
}

/** Show one decision. Raises what the server answers in its place. */
export async function open(id) {
  const found = await api(`decisions/${encodeURIComponent(id)}`);
  const others = Object.entries(found.request).filter(([name, value]) => name !== "text" && value !== null && !found.media.includes(name));
  fill(node("decision-body"),
    el("div", { class: "two" }, await input(found), answer(found)),
    el("dl", { class: "facts" },
      fact("Id", el("code", {}, found.id)), fact("When", new Date(found.at).toLocaleString("en-GB")),
      fact("Variant", [el("code", {}, found.variant), found.fallback ? " (fallback)" : ""]),
      fact("Cost", found.cost === null ? "not known" : price(found.cost, currency)),
      others.map(([name, value]) => fact(name, typeof value === "string" ? value : JSON.stringify(value))),
      found.error ? fact("Error", found.error) : null,
      fact("Version", el("code", {}, found.version)), fact("Bundle", el("code", {}, found.digest.slice(0, 16))),
      fact("Index", el("code", {}, found.index_digest.slice(0, 16))), fact("Data", el("code", {}, found.data_digest.slice(0, 16) || "–")),
      fact("Review", found.verdict === null ? "none" : [said(found.verdict, found.verdict_label), ` by ${found.reviewer}, ${ago(found.reviewed)}`])),
    el("p", { class: "muted small" }, "Make it again with ", el("code", {}, `triptych replay ${found.id}`)));
  node("decision").showModal();
}

node("decision-close").addEventListener("click", () => node("decision").close());
node("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  const id = node("find-id").value.trim();
  if (!id) return;
  try {
    await open(id);
  } catch (error) {
    toast(error.message, "bad");
  }
});
