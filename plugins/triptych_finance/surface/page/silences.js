// Silencing: the form, and the list of silences that hold.

import { api, busy, el, toast } from "/pages/_shared/site.js";
import { analyst } from "./analyst.js";
import { when } from "./common.js";

const LENGTHS = [["4h", "4 hours"], ["1d", "1 day"], ["3d", "3 days"], ["1w", "1 week"], ["4w", "4 weeks"]];

/** A form that silences what matches a pattern, from now on. `done` is called with the silence. */
export function silenceForm(pattern, signal, done = () => {}) {
  const length = el("select", { name: "length" }, LENGTHS.map(([value, text]) => el("option", { value }, text)));
  length.value = "1d";
  const note = el("input", { type: "text", name: "note", maxlength: 2000, placeholder: "Why, for the others" });
  const button = el("button", { class: "button second" }, "Silence");
  const list = el("ul", { class: "plain stack tight small" });
  const show = ({ silences }) => list.replaceChildren(...silences.filter((one) => one.pattern === pattern).map((one) => line(one, show)));
  const send = async () => {
    const json = { pattern, length: length.value, note: note.value, analyst: analyst() };
    const made = await api("silences", { method: "POST", json });
    note.value = "";
    toast(`No notices on ${made.pattern} until ${when(made.ends)}.`, "good");
    show(await api("silences"));
    done(made);
  };
  api("silences", { signal }).then(show).catch(() => {});
  const submit = (event) => {
    event.preventDefault();
    busy(button, send()).catch((error) => toast(error.message, "bad"));
  };
  return el("form", { class: "stack tight silence", on: { submit } },
    el("p", { class: "muted small" }, "Alerts go on as ever; nobody is told of them."),
    el("div", { class: "row" }, el("label", { class: "stack tight grow" }, "For", length), el("label", { class: "stack tight grow2" }, "Note", note)),
    el("div", {}, button), list);
}

function line(one, show) {
  const button = el("button", { type: "button", class: "button quiet" }, "End it");
  button.addEventListener("click", () => busy(button, api(`silences/${one.id}`, { method: "DELETE" })).then(show).catch((error) => toast(error.message, "bad")));
  return el("li", { class: "row between" }, el("span", {}, `until ${when(one.ends)} by ${one.analyst}${one.note ? `: ${one.note}` : ""}`), button);
}
