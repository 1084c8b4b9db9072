// Choosing who one is: a list of known people below a field, in the pattern of a combobox; or a new guest.
import { api, el, toast } from "/pages/_shared/site.js";

export class People {
  /** `choose(name)` is called with everybody who is chosen. */
  constructor(input, list, guestButton, choose) {
    Object.assign(this, { input, list, choose, active: -1, name: "", wanted: 0 });
    input.addEventListener("input", () => this.look());
    input.addEventListener("focus", () => input.select());
    input.addEventListener("click", () => this.look(""));
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => {
      this.close();
      input.value = this.name;
    });
    guestButton.addEventListener("click", () => this.set(this.guest()));
  }

  guest() {
    const letters = crypto.getRandomValues(new Uint32Array(1))[0].toString(36).slice(0, 5);
    return `guest-${letters}`;
  }

  async set(name) {
    this.name = name;
    this.input.value = name;
    this.close();
    await this.choose(name);
  }

  async look(part = this.input.value.trim()) {
    const own = (this.wanted += 1);
    try {
      const { people } = await api("people", { query: { q: part, k: 8 } });
      if (own !== this.wanted || document.activeElement !== this.input) return;
      this.active = -1;
      this.list.replaceChildren(...people.map((name, place) => {
        const option = el("li", { role: "option", id: `who-${place}`, "aria-selected": "false" }, name);
        option.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
        option.addEventListener("click", () => this.set(name));
        return option;
      }));
      if (!people.length) this.list.replaceChildren(el("li", { class: "muted none", role: "presentation" }, "Nobody of that name yet. Enter makes it yours."));
      this.list.hidden = false;
      this.input.setAttribute("aria-expanded", "true");
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  close() {
    this.wanted += 1;
    this.list.hidden = true;
    this.active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const options = [...this.list.querySelectorAll("[role=option]")];
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      event.preventDefault();
      if (this.list.hidden) return void this.look("");
      if (options.length) this.mark(options, (this.active + steps[event.key] + options.length) % options.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const name = options[this.active]?.textContent ?? this.input.value.trim();
      if (name) this.set(name);
    } else if (event.key === "Escape") {
      this.input.value = this.name;
      this.close();
    }
  }

  mark(options, place) {
    this.active = place;
    options.forEach((option, index) => option.setAttribute("aria-selected", String(index === place)));
    this.input.setAttribute("aria-activedescendant", options[place].id);
    options[place].scrollIntoView({ block: "nearest" });
  }
}
