// Articles that an answer rests on: cards under it, and the whole article in a dialog.

import { el } from "/pages/_shared/site.js";

/** One card for each piece of evidence; the cited one first and marked. */
export function articleCards(answer) {
  const list = el("ul", { class: "articles" });
  for (const one of answer.evidence) {
    const isCited = one.id === answer.citation?.id;
    const quote = isCited ? answer.citation.quote : "";
    const button = el("button", { type: "button", class: "article" });
    button.append(el("strong", {}, one.title || one.id), el("span", { class: "excerpt" }, quote || one.text));
    button.append(match(one.score, isCited));
    button.addEventListener("click", () => openArticle(one, quote));
    list.append(el("li", { class: isCited ? "cited" : "" }, button));
  }
  const title = answer.citation ? "Articles" : "Nearest articles";
  return el("div", { class: "evidence" }, el("h4", {}, title), list);
}

function match(score, isCited) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("i"));
  const share = Math.max(0, Math.min(1, score));
  bar.firstChild.style.width = `${Math.round(100 * share)}%`;
  return el("span", { class: "match" }, bar, `${Math.round(100 * share)} % match`, isCited ? " · cited" : "");
}

/** The article, whole, with the quoted sentence marked. */
export function openArticle(article, quote = "") {
  const close = el("button", { type: "button", class: "button second" }, "Close");
  const box = el("dialog", { class: "article-dialog", "aria-labelledby": "article-title" });
  const at = quote ? article.text.indexOf(quote) : -1;
  const words = at < 0 ? [article.text] : [article.text.slice(0, at), el("mark", {}, quote), article.text.slice(at + quote.length)];
  box.append(el("p", { class: "label" }, `Article ${article.id}`), el("h2", { id: "article-title" }, article.title));
  box.append(el("p", { class: "article-text" }, ...words), el("div", { class: "row" }, close));
  close.addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => event.target === box && box.close()); // beside it
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}
