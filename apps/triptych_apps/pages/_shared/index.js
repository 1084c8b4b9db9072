import { api, el, fact, hasKey, money, ready } from "./site.js";

const health = document.getElementById("health");

async function tellHealth() {
  try {
    const response = await fetch("/health/ready");
    const body = await response.json();
    health.textContent = response.ok ? "ready" : body.error.message;
    health.className = `badge ${response.ok ? "good" : "warn"}`;
  } catch {
    health.textContent = "the server cannot be reached";
    health.className = "badge bad";
  }
}

async function tellAbout(card) {
  const about = await api(`/v1/${card.dataset.vertical}`);
  const facts = card.querySelector(".facts");
  facts.append(fact("Answers with", el("code", {}, about.variant)), fact("Understands", about.modalities.join(", ")));
  if (about.price_per_million !== null) {
    facts.append(fact("A million answers", money(about.price_per_million, about.currency)));
  }
}

await tellHealth();
if (hasKey()) {
  const cards = [...document.querySelectorAll(".card[data-vertical]")];
  await Promise.allSettled(cards.map(tellAbout)); // a key need not allow all of them
}
ready();
setInterval(tellHealth, 10_000);
