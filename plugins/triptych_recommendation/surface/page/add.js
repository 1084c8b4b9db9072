// The form by which an item comes into the shop.
import { api, busy } from "/pages/_shared/site.js";

const dialog = document.getElementById("add-dialog");
const form = document.getElementById("add-form");
const problem = document.getElementById("add-problem");
const MOST_BYTES = 8_000_000;
let added = null;

dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());

/** `then(card)` is called with what was added. */
export function openAdd(then) {
  added = then;
  problem.textContent = "";
  dialog.showModal();
  form.elements.title.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const wrong = [...form.elements].find((field) => !field.validity.valid);
  problem.textContent = wrong ? `${wrong.closest("label").firstChild.textContent}: ${wrong.validationMessage}` : "";
  if (wrong) wrong.focus();
  else busy(document.getElementById("add-submit"), send());
});

async function send() {
  try {
    const { card } = await api("items", { json: await filled() });
    form.reset();
    dialog.close();
    added(card);
  } catch (error) {
    problem.textContent = error.message;
  }
}

/** What is filled in; a field that is empty is left out. */
async function filled() {
  const { title, description, category, tags, price, stock, picture, sound } = form.elements;
  const found = { title: title.value.trim(), description: description.value.trim(), category: category.value.trim() };
  found.tags = tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
  if (price.value !== "") found.price = Number(price.value);
  if (stock.value !== "") found.stock = Number(stock.value);
  if (picture.files[0]) found.picture = await base64(picture.files[0]);
  if (sound.files[0]) found.sound = await base64(sound.files[0]);
  return found;
}

function base64(file) {
  if (file.size > MOST_BYTES) throw new Error(`${file.name} is too large: at most 8 MB are taken`);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(new Error(`${file.name} cannot be read`)));
    reader.readAsDataURL(file);
  });
}
