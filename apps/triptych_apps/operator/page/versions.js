// Which versions there are, which of them answer, and what an operator decides.

import { live } from "/pages/_shared/live.js";
import { ago, api, el, number, percent, toast } from "/pages/_shared/site.js";
import { badge, confirm, fill, megabytes, node, price, table, version, versionName } from "./parts.js";

const ROLES = { service: ["in service", "good"], canary: ["canary", "accent"], shadow: ["shadow", ""], previous: ["ready for a roll-back", ""], open: ["open", ""] };
let vertical = "";
let changed = () => {};

/** Show the versions of a vertical; `onChange` is called after a decision. */
export async function showVersions(state, onChange) {
  vertical = state.vertical;
  changed = onChange;
  show(await live("versions", { query: { vertical } }), state.currency);
}

function show(found, currency) {
  const { releases } = found;
  if (releases === null) {
    fill(node("versions"), el("p", { class: "muted" }, "This bundle is a single version, so that there is nothing to choose from."));
    fill(node("versions-actions"));
    return;
  }
  const back = releases.canary ?? (releases.previous ? releases.service : null);
  fill(node("versions-actions"),
    found.followed ? null : badge("servers are following …", "warn"),
    el("button", { type: "button", class: "button second", id: "roll-back", disabled: back === null, on: { click: () => rollBack(releases, currency) } }, "Roll back"));
  fill(node("versions"), table(columns(releases, currency), releases.versions, { row: (v) => ({ dataset: { version: v.version } }) }));
}

function columns(releases, currency) {
  return [
    { name: "Version", cell: (v) => [version(v.version), el("div", { class: "muted small" }, `made ${ago(v.created)}`)] },
    { name: "Role", cell: (v) => roles(v, releases) },
    { name: "Variant", cell: (v) => el("code", { class: "one-line" }, v.variant) },
    { name: "A million", number: true, cell: (v) => price(v.cost_per_million, currency) },
    { name: "On disk", number: true, cell: (v) => megabytes(v.size_mb) },
    { name: "Gate", cell: (v) => gate(v) },
    { name: "Shadow", cell: (v) => shadow(v, releases) },
    { name: "Decide", cell: (v) => el("div", { class: "row tight actions" }, actions(v, releases, currency)) },
  ];
}

function roles(v, releases) {
  if (!v.roles.length) return el("span", { class: "muted" }, "on disk alone");
  return el("div", { class: "row tight" }, v.roles.map((role) => {
    const [name, kind] = ROLES[role] ?? [role, ""];
    return badge(role === "canary" ? `${name} ${percent(releases.share)}` : name, kind);
  }));
}

function gate(v) {
  if (v.verdict === null) return el("span", { class: "muted" }, "not asked");
  const told = v.verdict.passed ? badge("passed", "good") : badge("refused", "bad");
  return [told, v.verdict.reasons.map((reason) => el("div", { class: "muted small reason" }, reason))];
}

function shadow(v, releases) {
  const found = v.shadowed;
  if (found === null || !found.answers) return releases.shadow === v.version ? "nothing compared yet" : el("span", { class: "muted" }, "–");
  const agreement = found.agreement === null ? "no answer" : `${percent(found.agreement)} agree`;
  return [agreement, el("div", { class: "muted small" }, `of ${number(found.answers)}${found.failed ? `, ${found.failed} failed` : ""}`)];
}

function actions(v, releases, currency) {
  const is = (role) => v.roles.includes(role);
  const button = (text, act, kind = "second") =>
    el("button", { type: "button", class: `button ${kind} slim`, "aria-label": `${text} ${versionName(v.version)}`, on: { click: act } }, text);
  if (is("service")) return el("span", { class: "muted small" }, "answers now");
  const name = versionName(v.version);
  const served = versionName(releases.service);
  return [
    button("Promote", () => promote(v, releases, currency)),
    is("canary") ? button("Share", () => canary(v, releases, currency)) : button("Canary", () => canary(v, releases, currency)),
    is("shadow")
      ? button("End shadow", () => ask("End the shadow", `${name} is no longer asked for comparison. What was compared stays known.`, "End shadow", { action: "shadow" }, currency), "quiet")
      : is("canary") ? null : button("Shadow", () => ask("Compare as a shadow", `${name} is asked what clients ask, after they have their answer from ${served}, and nobody gets to see its answers. It uses memory and idle time.`, "Begin", { action: "shadow", version: v.version }, currency), "quiet"),
    v.roles.length
      ? is("canary") ? null : button("Close", () => ask("Close a version", `${name} is closed in all running servers when its last request is answered. It stays on disk.${is("previous") ? " A roll-back then has to open it again." : ""}`, "Close", { action: "close", version: v.version }, currency), "quiet")
      : button("Open", () => ask("Open a version", `${name} is tried, and then opened beside the others in all running servers. It answers nobody until it is a canary or promoted, and takes memory (${megabytes(v.size_mb)} on disk).`, "Open", { action: "open", version: v.version }, currency), "quiet"),
  ];
}

function ask(title, text, yes, decision, currency) {
  confirm({ title, text, yes, run: () => decide(decision, currency) });
}

async function decide(decision, currency) {
  const found = await api("versions", { json: { vertical, ...decision } });
  show(found, currency);
  toast(found.followed ? "Done; all servers follow." : "Written down; servers follow as soon as it is open.", "good");
  changed();
}

function canary(v, releases, currency) {
  const share = el("input", { type: "number", id: "share", min: 0, max: 100, step: "any", required: true, value: String(100 * (releases.share || 0.05)), inputmode: "decimal" });
  const text = `${versionName(v.version)} answers this share of the requests, and ${versionName(releases.service)} the rest. Who was given to it stays with it while its share grows; a share of 0 ends it.`;
  confirm({
    title: "Canary",
    text: v.version === releases.canary || !releases.canary ? text : `${text} It takes the place of ${versionName(releases.canary)}.`,
    fields: [el("label", { class: "stack tight" }, "Share of the requests, in percent", share)],
    yes: "Set the share",
    run: () => decide({ action: "canary", version: v.version, share: Number(share.value) / 100 }, currency),
  });
}

function promote(v, releases, currency) {
  const passed = v.verdict?.passed && v.verdict.against === releases.service;
  const force = el("input", { type: "checkbox", id: "force" });
  const gateSays = v.verdict === null ? "The gate was not asked about it." : passed ? "The gate has passed it." : `The gate refuses it: ${v.verdict.reasons.join("; ")}.`;
  confirm({
    title: "Promote",
    text: `From the next request on, ${versionName(v.version)} answers everybody. ${versionName(releases.service)} stays open, so that a roll-back takes effect at once. No request is lost: what is being answered ends as it began. ${gateSays}`,
    fields: passed ? [] : [el("label", { class: "row tight" }, force, "Promote it although the gate has not passed it")],
    yes: "Promote",
    run: () => decide({ action: "promote", version: v.version, force: force.checked }, currency),
  });
}

function rollBack(releases, currency) {
  const text = releases.canary
    ? `The canary ${versionName(releases.canary)} ends at once; ${versionName(releases.service)} answers everybody.`
    : `${versionName(releases.previous)} answers everybody again, at once: it is still open. ${versionName(releases.service)} is closed when its last request is answered, and stays on disk.`;
  confirm({ title: "Roll back", text, yes: "Roll back", danger: true, run: () => decide({ action: "rollback" }, currency) });
}
