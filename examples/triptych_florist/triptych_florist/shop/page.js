import { api, busy, el, money, ready, toast } from "/pages/_shared/site.js";

const form = document.getElementById("limit");

async function show() {
  try {
    const { flowers } = await api("flowers", { query: { up_to: form.querySelector("input").value } });
    document.getElementById("flowers").replaceChildren(
      ...flowers.map(({ name, text, price }) =>
        el("li", { class: "panel stack tight" }, el("h2", {}, name), el("p", {}, text), el("p", {}, money(price, "EUR"))),
      ),
    );
  } catch (error) {
    toast(error.message, "bad");
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(form.querySelector("button"), show());
});
await show();
ready();
