// What stands in a conversation: the customer's messages, and answers with all that they rest on.

import { el, percent } from "/pages/_shared/site.js";
import { articleCards, openArticle } from "./articles.js";
import { feedbackBar } from "./feedback.js";
import { MODALITY, REASON, STATUS, capital, clock, sureness } from "./words.js";

const LONG = 110; // characters of a reading that are shown at once
const icon = (name) => el("span", { class: `icon icon-${name}`, "aria-hidden": "true" });

/** A message of the customer. `message` has text, image (URL), audio (URL), seconds, read_image, read_audio. */
export function messageCard(message) {
  const card = el("li", { class: "message from-customer" }, el("h3", { class: "hidden-label" }, "You wrote"));
  const bubble = el("div", { class: "bubble" });
  if (message.image) bubble.append(picture(message.image));
  if (message.audio) bubble.append(sound(message.audio, message.seconds));
  for (const name of message.gone ?? []) {
    bubble.append(el("p", { class: "gone" }, `${MODALITY[name]} (not kept)`));
  }
  if (message.text) bubble.append(el("p", { class: "words" }, message.text));
  card.append(bubble, el("div", { class: "readings" }));
  showReadings(card, message);
  return card;
}

/** What was read out of the picture and heard in the voice note, under the message. */
export function showReadings(card, { read_image: seen, read_audio: heard }) {
  const rows = [];
  if (heard) rows.push(reading("Heard", heard));
  if (seen) rows.push(reading("Read in the picture", seen));
  card.querySelector(".readings").replaceChildren(...rows);
}

function reading(label, words) {
  const flat = words.split(/\s+/).join(" ");
  const name = el("span", { class: "label" }, `${label}: `);
  if (flat.length <= LONG) return el("p", {}, name, `“${flat}”`);
  return el("details", {}, el("summary", {}, name, `“${flat.slice(0, LONG)}…”`), el("p", {}, flat));
}

function picture(url) {
  const image = el("img", { src: url, alt: "The picture you sent", class: "sent-picture" });
  const button = el("button", { type: "button", class: "picture-button", "aria-label": "Show the picture large" }, image);
  image.addEventListener("error", () => button.replaceWith(el("p", { class: "gone" }, "Picture")));
  button.addEventListener("click", () => {
    const large = el("dialog", { class: "lightbox", "aria-label": "The picture" });
    const close = el("button", { type: "button", class: "button second", on: { click: () => large.close() } }, "Close");
    large.append(el("img", { src: url, alt: "The picture you sent" }), close);
    large.addEventListener("close", () => large.remove());
    document.body.append(large);
    large.showModal();
  });
  return button;
}

function sound(url, seconds) {
  const player = el("audio", { src: url, controls: "", preload: "metadata", "aria-label": "Your voice note" });
  const length = seconds ? el("span", { class: "label" }, clock(seconds)) : "";
  return el("div", { class: "sent-sound" }, player, length);
}

/** Three dots while the model works. */
export function waitingCard() {
  const dots = el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
  return el("li", { class: "message waiting" }, dots, el("span", { class: "muted" }, "Sending"));
}

/** The server has the message; `before` others are answered first. */
export function waitFor(card, before) {
  const others = before === 1 ? "1 message is" : `${before} messages are`;
  card.lastChild.textContent = before ? `Waiting: ${others} before yours` : "Looking for an answer";
}

/** What went wrong, at the message that it belongs to, with a way on. */
export function troubleCard({ text, wait }, retry, edit) {
  const again = el("button", { type: "button", class: "button", on: { click: retry } }, "Try again");
  const change = el("button", { type: "button", class: "button second", on: { click: edit } }, "Change the message");
  const card = el("li", { class: "message trouble", role: "alert" }, el("p", {}, text));
  card.append(el("div", { class: "row" }, again, change));
  if (wait > 0) countDown(again, wait);
  return card;
}

function countDown(button, seconds) {
  let left = Math.min(60, Math.ceil(seconds));
  const tick = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(tick, 1000);
    left -= 1;
  };
  tick();
}

/**
 * An answer. `about` has decision, variant, cost and currency; `say(text)` sends the customer's next message;
 * `chosen` says that the customer chose what it is about.
 */
export function answerCard(answer, { about, feedback, rate, intents, say, chosen }) {
  const card = el("li", { class: `message from-service is-${answer.status}` }, el("h3", { class: "hidden-label" }, "Answer"));
  if (answer.handoff) card.append(handOffPanel(answer, intents));
  else card.append(spoken(answer));
  const offers = suggestions(answer, say);
  if (offers) card.append(offers);
  card.append(confidence(answer, { chosen, intents }));
  if (answer.evidence.length) card.append(articleCards(answer));
  card.append(origin(answer, about), feedbackBar(answer, { feedback, rate, intents }));
  return card;
}

function spoken(answer) {
  const block = el("div", { class: "spoken" });
  for (const paragraph of body(answer).split(/\n{2,}/)) {
    block.append(el("p", {}, ...marked(paragraph, answer.citation?.quote)));
  }
  if (answer.citation) {
    const source = el("button", { type: "button", class: "cite" }, icon("article"), answer.citation.title);
    source.addEventListener("click", () => openArticle(cited(answer), answer.citation.quote));
    block.append(el("p", { class: "source" }, el("span", { class: "label" }, "From "), source));
  }
  return block;
}

const cited = (answer) => answer.evidence.find((one) => one.id === answer.citation.id) ?? answer.evidence[0];

/** The words of an answer without the line that names its source: the page shows it as a link. */
function body(answer) {
  if (!answer.citation) return answer.answer;
  const line = `Source: ${answer.citation.title} (${answer.citation.id})`;
  return answer.answer.endsWith(line) ? answer.answer.slice(0, -line.length).trim() : answer.answer;
}

function marked(words, quote) {
  const at = quote ? words.indexOf(quote) : -1;
  if (at < 0) return [words];
  return [words.slice(0, at), el("mark", {}, quote), words.slice(at + quote.length)];
}

function suggestions(answer, say) {
  const offers = answer.handoff ? [] : answer.alternatives.map((one) => [capital(one.title), one.title]);
  if (answer.status === "not_in_knowledge_base") offers.push(["Yes, pass me on to a person", "yes please"]);
  else if (["clarify", "out_of_scope"].includes(answer.status)) offers.push(["Talk to a person", "I want a person"]);
  if (!offers.length) return null;
  const buttons = offers.map(([label, text]) =>
    el("button", { type: "button", class: "offer", on: { click: () => say(text) } }, label),
  );
  return el("div", { class: "offers", role: "group", "aria-label": "Suggested answers" }, ...buttons);
}

function confidence(answer, { chosen, intents }) {
  const found = sureness(answer);
  if (!found) return el("p", { class: "sureness none" }, STATUS[answer.status]);
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("i"));
  bar.firstChild.style.width = percent(found.share).replace(/\s/g, "");
  const words = el("span", { class: "word" }, chosen ? "You chose this" : found.word);
  const share = el("span", { class: "muted" }, `${Math.round(100 * found.share)} %`);
  const line = el("p", { class: `sureness ${found.level}` }, words, bar, share);
  if (answer.intent) line.append(el("span", { class: "about" }, `that it is about ${titleOf(answer.intent, intents)}`));
  if (answer.urgency === "high" && !answer.handoff) line.append(el("span", { class: "badge urgent" }, "Urgent"));
  return line;
}

function titleOf(intent, intents) {
  return intents.find((one) => one.intent === intent)?.title ?? intent.replace(/[_-]/g, " ");
}

function handOffPanel(answer, intents) {
  const { handoff } = answer;
  const safety = handoff.reason === "safety";
  const panel = el("section", { class: `hand-off${safety ? " at-once" : ""}`, "aria-label": "Handed to a person" });
  const head = el("div", { class: "hand-off-head" }, icon("person"));
  head.append(el("div", {}, el("h4", {}, safety ? "A person takes over at once" : "A person takes over")));
  head.lastChild.append(el("p", { class: "muted" }, REASON[handoff.reason] ?? handoff.reason));
  const rows = [
    ["Reference", reference(handoff.reference)],
    ["Urgency", urgency(handoff)],
    ["About", handoff.intent ? titleOf(handoff.intent, intents) : "not clear yet"],
    ["Passed on", passedOn(handoff)],
  ];
  const list = el("dl", {});
  for (const [name, value] of rows) list.append(el("dt", {}, name), el("dd", {}, value));
  panel.append(head, ...body(answer).split(/\n{2,}/).map((words) => el("p", {}, ...marked(words, answer.citation?.quote))));
  panel.append(list);
  return panel;
}

function reference(code) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy the reference ${code}` }, code);
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(code);
    button.classList.add("done");
  });
  return button;
}

function urgency(handoff) {
  const badge = el("span", { class: `badge ${handoff.urgency === "high" ? "urgent" : ""}` }, capital(handoff.urgency));
  return el("span", {}, badge, ` ${handoff.urgency_reason}`);
}

function passedOn(handoff) {
  const turns = handoff.transcript.length;
  const what = turns ? `The whole conversation (${turns} ${turns === 1 ? "message" : "messages"})` : "The whole conversation";
  const articles = handoff.evidence.length ? `, and ${handoff.evidence.length} articles that are near` : "";
  return `${what}, with pictures and voice notes where they are kept${articles}`;
}

/** How the answer came about: what each part of the message weighed, which model answered, how fast, and its price. */
function origin(answer, about) {
  const facts = [
    about.variant || answer.variant ? `Model ${about.variant || answer.variant}` : "",
    answer.milliseconds ? duration(answer.milliseconds) : "",
    price(about),
  ].filter(Boolean);
  const parts = Object.entries(answer.attribution).filter(([, share]) => share > 0);
  const chart = el("div", { class: "shares", role: "img", "aria-label": sharesInWords(parts) });
  const legend = el("div", { class: "legend", "aria-hidden": "true" });
  for (const [name, share] of parts) {
    const piece = el("i", { class: `share-${name}` });
    piece.style.flexGrow = share;
    chart.append(piece);
    legend.append(el("span", { class: `share-${name}` }, `${MODALITY[name] ?? name} ${Math.round(100 * share)} %`));
  }
  const block = el("div", { class: "origin" });
  if (parts.length) block.append(el("div", { class: "weights" }, chart, legend));
  if (facts.length) block.append(el("p", { class: "made-by" }, facts.join("  ·  ")));
  return block;
}

function sharesInWords(parts) {
  const shares = parts.map(([name, share]) => `${MODALITY[name] ?? name} ${Math.round(100 * share)} %`);
  return `What the answer rests on: ${shares.join(", ")}`;
}

function duration(milliseconds) {
  return milliseconds < 1000 ? `${Math.ceil(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function price({ cost, currency }) {
  if (cost === null || cost === undefined) return "";
  if (cost === 0) return "no cost";
  const thousand = 1000 * cost;
  return `${thousand.toPrecision(2)} ${currency} per 1,000 answers`;
}
