// What a page redraws by itself must not be replaced in the middle of a click: the pointer goes down on one element and
// up on another one, and the browser makes no click of that.

import { api } from "/pages/_shared/site.js";

let pressed = null; // while a button or the space bar is held down: `ended` resolves when it is let go

function press() {
  if (pressed) return;
  pressed = {};
  pressed.ended = new Promise((resolve) => (pressed.end = resolve));
}

/** The click comes with what lets go, before any timer. */
function release() {
  const last = pressed;
  pressed = null;
  if (last) setTimeout(last.end);
}

const listen = (name, act) => addEventListener(name, act, { capture: true });
listen("pointerdown", (event) => event.button === 0 && press());
listen("keydown", (event) => event.key === " " && press());
listen("keyup", release); // of any key: that of the space bar goes to the list that it has opened
listen("pointerup", release);
listen("pointercancel", release);
listen("pointermove", (event) => event.buttons === 0 && release()); // it was let go where the page does not hear of it
addEventListener("blur", release); // of the window: without capture, none of an element comes here

/** As `api`, for what is drawn without being asked for: given when nobody is in the middle of a click. */
export async function live(path, options = {}) {
  const found = await api(path, options);
  while (pressed) await pressed.ended;
  options.signal?.throwIfAborted();
  return found;
}
