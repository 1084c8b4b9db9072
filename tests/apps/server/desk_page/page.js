import { api, busy, el, media, plot, ready, stream, toast } from "/pages/_shared/site.js";

const said = document.getElementById("said");

async function ask() {
  try {
    const echo = await api("echo", { query: { words: "<b>bold</b>" } });
    said.replaceChildren(el("strong", { class: "good" }, echo.words), el("img", { src: await media("picture"), alt: "a dot" }));
    await api("drawers/nowhere", { json: { label: "x" } });
  } catch (error) {
    toast(error.message, "bad");
  }
}

const button = document.getElementById("ask");
button.addEventListener("click", () => busy(button, ask()));
const leaving = new AbortController();
stream("ticks", (tick) => {
  document.getElementById("ticks").append(el("li", {}, String(tick.number)));
  if (tick.number === 3) leaving.abort();
}, { query: { most: 9 }, signal: leaving.signal });
await plot(document.getElementById("plot"), [{ x: [1, 2, 3], y: [2, 1, 3], line: { color: "--accent" } }], { height: 160 });
ready();
