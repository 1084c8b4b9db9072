// Thumbs under an answer. A thumb down asks why, and what the message was about: that is a label for training.

import { busy, el, toast } from "/pages/_shared/site.js";

const WHY = [
  ["wrong", "It is wrong"],
  ["unclear", "I do not understand it"],
  ["incomplete", "Something is missing"],
  ["other", "Something else"],
];
const OUT_OF_SCOPE = "out_of_scope";
let forms = 0;

/** `rate(feedback)` sends it and gives a promise; `feedback` is what was said before, or null. */
export function feedbackBar(answer, { feedback, rate, intents }) {
  const bar = el("div", { class: "feedback" });
  const up = thumb("up", "This helped");
  const down = thumb("down", "This did not help");
  const thanks = el("span", { class: "muted", role: "status" });
  const room = el("div", {});
  const show = (said) => {
    up.setAttribute("aria-pressed", String(said?.rating === "up"));
    down.setAttribute("aria-pressed", String(said?.rating === "down"));
    thanks.textContent = said ? "Thank you, noted." : "";
  };
  const send = async (said, button) => {
    try {
      await busy(button, rate(said));
      show(said);
      room.replaceChildren();
      return true;
    } catch (error) {
      toast(`Your opinion could not be kept: ${error.message}`, "bad");
      return false;
    }
  };
  up.addEventListener("click", () => send({ rating: "up" }, up));
  down.addEventListener("click", () => {
    if (room.firstChild) return room.replaceChildren();
    const form = whyForm(answer, intents, async (said, button) => {
      if (await send(said, button)) down.focus();
    });
    room.replaceChildren(form);
    form.querySelector("input").focus();
  });
  show(feedback);
  bar.append(el("div", { class: "row" }, up, down, thanks), room);
  return bar;
}

function thumb(name, label) {
  const mark = el("span", { class: `icon icon-${name}`, "aria-hidden": "true" });
  return el("button", { type: "button", class: "thumb", title: label, "aria-label": label, "aria-pressed": "false" }, mark);
}

function whyForm(answer, intents, done) {
  forms += 1;
  const name = `why-${forms}`;
  const choices = WHY.map(([value, label]) =>
    el("label", { class: "choice" }, el("input", { type: "radio", name, value }), label),
  );
  const about = el("select", {}, el("option", { value: "" }, "I cannot say"));
  for (const one of intents) about.append(el("option", { value: one.intent }, one.title));
  about.append(el("option", { value: OUT_OF_SCOPE }, "none of these"));
  const note = el("textarea", { rows: "2", maxlength: "1000", placeholder: "What should it have said? (if you like)" });
  note.setAttribute("aria-label", "What should it have said?");
  const send = el("button", { type: "submit", class: "button" }, "Send");
  const form = el("form", { class: "why", "aria-label": "Why did it not help?" });
  form.append(el("fieldset", {}, el("legend", {}, "Why did it not help?"), ...choices));
  form.append(el("label", { class: "field" }, el("span", {}, "What was the message about?"), about), note);
  form.append(el("div", { class: "row" }, send));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const reason = form.querySelector("input:checked")?.value ?? null;
    done({ rating: "down", reason, note: note.value.trim(), intent: about.value || null }, send);
  });
  return form;
}
