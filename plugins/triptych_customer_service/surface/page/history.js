// The list of one's own conversations, and one of them as text.

import { live } from "/pages/_shared/live.js";
import { API, ago, el } from "/pages/_shared/site.js";
import * as mine from "./mine.js";
import { STATUS } from "./words.js";

const find = (id) => document.getElementById(id);

let asked = 0; // how often the list was

/** Draw the list, and give its lines; null where it was asked for again meanwhile. `open(id)` opens one that is chosen. */
export async function showList(current, open) {
  const own = (asked += 1);
  const ids = mine.ids();
  const lines = ids.length ? (await live(`${API}/conversations`, { query: { ids: ids.join(",") } })).conversations : [];
  if (own !== asked) return null;
  for (const id of ids) if (!lines.some((line) => line.id === id)) mine.forget(id); // erased elsewhere
  find("conversations").replaceChildren(...lines.map((line) => entry(line, line.id === current, open)));
  find("none").hidden = lines.length > 0;
  return lines;
}

function entry(line, isCurrent, open) {
  const button = el("button", { type: "button", class: "entry", on: { click: () => open(line.id) } });
  if (isCurrent) button.setAttribute("aria-current", "true");
  const state = el("span", { class: line.urgency === "high" ? "bad" : "muted" }, STATUS[line.status] ?? "");
  button.append(el("span", { class: "entry-title" }, line.title || "Without words"));
  button.append(el("span", { class: "entry-about" }, state, el("span", { class: "muted" }, ago(line.last))));
  return el("li", {}, button);
}

/** A conversation as a text file that is saved by the browser. */
export function download(thread) {
  const pieces = thread.turns.map(({ turn, answer }) => {
    const who = turn.role === "customer" ? "Customer" : "Service";
    const more = [
      turn.read_audio && `[heard] ${turn.read_audio}`,
      turn.read_image && `[read in the picture] ${turn.read_image}`,
      ...turn.attachments.map((one) => `[${one.split(" ")[0]} attached]`),
      answer?.handoff && `[handed to a person, reference ${answer.handoff.reference}]`,
    ];
    return [`${turn.at.slice(0, 16).replace("T", " ")} UTC  ${who}`, turn.text, ...more.filter(Boolean)].join("\n");
  });
  const text = `Conversation ${thread.id}\n\n${pieces.join("\n\n")}\n`;
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = el("a", { href: url, download: `conversation-${thread.id.slice(0, 8)}.txt` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Ask whether to erase; true when the person said so. */
export function reallyErase() {
  return new Promise((resolve) => {
    const box = el("dialog", { class: "article-dialog", "aria-labelledby": "erase-title" });
    const answer = (value, kind) =>
      el("button", { type: "button", class: `button ${kind}`, on: { click: () => box.close(value) } }, value);
    box.append(el("h2", { id: "erase-title" }, "Erase this conversation?"));
    box.append(el("p", {}, "Its messages, pictures, voice notes, hand-offs and feedback are erased. This cannot be undone. The record of decisions, where this server keeps one, stays as it is."));
    box.append(el("div", { class: "row" }, answer("Keep", "second"), answer("Erase", "danger")));
    box.addEventListener("close", () => {
      box.remove();
      resolve(box.returnValue === "Erase");
    });
    document.body.append(box);
    box.showModal();
  });
}
