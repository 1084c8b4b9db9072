// Who judges: a name that is kept in this browser. Where there are keys, the server adds which one it was.

import { el } from "/pages/_shared/site.js";

const NAME = "triptych-analyst";

export function analyst() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

/** A field for the name. */
export function analystField(caller) {
  const keep = (event) => {
    try {
      localStorage.setItem(NAME, event.target.value.trim());
    } catch {
      // it is asked for again
    }
  };
  return el("input", { type: "text", name: "analyst", value: analyst(), maxlength: 100, autocomplete: "name", placeholder: caller, on: { input: keep } });
}
