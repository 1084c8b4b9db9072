// The ledger as a table and as a picture of quality against what it costs.

import { api, el, number, plot } from "/pages/_shared/site.js";
import { badge, fill, megabytes, milliseconds, node, price, table, versionName } from "./parts.js";

const AXES = { cost_per_million: "Cost of a million", p95_ms: "p95 latency, ms", size_mb: "Size, MB" };
let shown = null;

/** Offer the opened releases of a vertical, and show the ledger of the one that was looked at. */
export async function showLedger(state) {
  const select = node("ledger-version");
  const versions = state.releases.map((release) => release.version);
  const wanted = versions.includes(select.value) ? select.value : versions[0];
  fill(select, state.releases.map((r) => el("option", { value: r.version }, `${versionName(r.version)} (${r.role})`)));
  select.value = wanted;
  await load(state.vertical, wanted);
}

export async function load(vertical, version) {
  shown = await api("ledger", { query: { vertical, version } });
  node("ledger-why").textContent = [shown.why, shown.verdict].filter(Boolean).join(" ");
  fill(node("ledger"), table(columns(shown), shown.rows, { row: rowClass, empty: "This bundle has no ledger." }));
  const remarks = node("ledger-remarks");
  remarks.hidden = !shown.remarks.length;
  fill(remarks.querySelector("ul"), shown.remarks.map((remark) => el("li", {}, remark)));
  await draw();
}

const rowClass = (row) => ({ class: row.chosen ? "chosen" : row.refused ? "refused" : null });

function marks(row) {
  return [
    row.chosen ? badge("in service", "good") : null,
    row.fallback ? badge("fallback", "warn") : null,
    row.rival ? badge("classical rival") : null,
    row.parent ? badge("parent") : null,
    row.front && !row.chosen ? badge("front", "accent") : null,
    row.refused ? badge("refused", "bad") : null,
  ];
}

function columns(ledger) {
  const interval = (row) => (row.low === null || row.quality === null ? null : `${number(row.low)} to ${number(row.high)}`);
  const amount = (value) => (value === null ? "–" : number(value));
  return [
    { name: "Variant", cell: (row) => [
      el("div", { class: "row tight" }, el("code", { class: "chain" }, row.name), marks(row)),
      row.refused ? el("p", { class: "muted small reason" }, row.refused) : null,
    ] },
    { name: ledger.metric ?? "Quality", number: true, cell: (row) => [
      amount(row.quality), interval(row) ? el("div", { class: "muted small" }, interval(row)) : null] },
    { name: "A million", number: true, cell: (row) => price(row.cost_per_million, ledger.currency) },
    { name: "p50", number: true, cell: (row) => milliseconds(row.p50_ms) },
    { name: "p95", number: true, cell: (row) => milliseconds(row.p95_ms) },
    { name: "Requests/s", number: true, cell: (row) => amount(row.throughput_per_s === null ? null : Math.round(row.throughput_per_s)) },
    { name: "Size", number: true, cell: (row) => megabytes(row.size_mb) },
    { name: "Memory", number: true, cell: (row) => megabytes(row.resident_mb) },
  ];
}

const SERIES = [
  { name: "In service", take: (row) => row.chosen, symbol: "star", size: 18, colour: "--accent" },
  { name: "Fallback", take: (row) => row.fallback, symbol: "diamond", size: 14, colour: "--warn" },
  { name: "Classical rival", take: (row) => row.rival, symbol: "x", size: 12, colour: "--muted" },
  { name: "Refused", take: (row) => row.refused, symbol: "circle-open", size: 11, colour: "--bad" },
  { name: "Offered", take: () => true, symbol: "circle", size: 11, colour: "--good" },
];

/** Draw what is shown against the axis that is selected. */
export async function draw() {
  const axis = node("ledger-axis").value;
  const rows = (shown?.rows ?? []).filter((row) => row.quality !== null && row[axis] !== null);
  node("pareto").closest("figure").hidden = rows.length === 0;
  if (!rows.length) return;
  const left = [...rows];
  const traces = SERIES.map((series) => {
    const mine = left.filter(series.take);
    mine.forEach((row) => left.splice(left.indexOf(row), 1));
    return trace(series, mine, axis);
  }).filter((t) => t.x.length);
  const front = frontier(rows.filter((row) => !row.rival), axis);
  if (front.length > 1) {
    traces.unshift({ x: front.map((r) => r[axis]), y: front.map((r) => r.quality), mode: "lines", name: "Best for its price",
      line: { color: "--muted", width: 1.5, dash: "dot", shape: "hv" }, hoverinfo: "skip" });
  }
  const values = rows.map((row) => row[axis]).filter((value) => value > 0);
  const wide = values.length === rows.length && Math.max(...values) / Math.min(...values) > 20;
  const unit = axis === "cost_per_million" ? `, ${shown.currency}` : "";
  await plot(node("pareto"), traces, {
    xaxis: { title: { text: AXES[axis] + unit }, type: wide ? "log" : "linear", ...(wide ? { dtick: "D2" } : { rangemode: "tozero" }) },
    yaxis: { title: { text: shown.metric ?? "quality" } },
    margin: { l: 60, r: 12, t: 8, b: 48 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hovermode: "closest",
  });
  const chosen = rows.find((row) => row.chosen);
  node("pareto-caption").textContent =
    `${rows.length} ways to answer, ${shown.metric} against ${AXES[axis].toLowerCase()}; bars are 95 % intervals.` +
    (chosen ? ` In service: ${chosen.name}.` : "");
}

function trace(series, rows, axis) {
  const given = rows.every((row) => row.low !== null && row.high !== null);
  return {
    x: rows.map((row) => row[axis]), y: rows.map((row) => row.quality), name: series.name, mode: "markers", type: "scatter",
    marker: { color: series.colour, size: series.size, symbol: series.symbol, line: { width: series.symbol.endsWith("open") ? 2 : 0, color: series.colour } },
    error_y: given
      ? { type: "data", symmetric: false, array: rows.map((r) => r.high - r.quality), arrayminus: rows.map((r) => r.quality - r.low), color: series.colour, thickness: 1, width: 3 }
      : { visible: false },
    customdata: rows.map((row) => [row.name, price(row.cost_per_million, shown.currency), milliseconds(row.p95_ms), row.refused ? `<br>refused: ${row.refused}` : ""]),
    hovertemplate: "<b>%{customdata[0]}</b><br>%{y:.4f}<br>%{customdata[1]} a million, p95 %{customdata[2]}%{customdata[3]}<extra></extra>",
  };
}

/** The rows that are better than everything cheaper, from cheap to dear. */
function frontier(rows, axis) {
  const better = (one, other) => (shown.higher_is_better ? one > other : one < other);
  const found = [];
  for (const row of [...rows].sort((a, b) => a[axis] - b[axis])) {
    if (!found.length || better(row.quality, found.at(-1).quality)) found.push(row);
  }
  return found;
}
