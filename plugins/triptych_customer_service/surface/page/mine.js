// What this browser remembers: the ids of its conversations and, for each answer, the id of the decision behind it.
// No words of anybody are kept here: they are fetched from the server, and are gone when they are erased there.

const KEY = "triptych.customer-service";
const MOST = 100; // conversations
const DRAFT = `${KEY}.draft`;

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    if (Array.isArray(found?.ids) && typeof found.notes === "object") return found;
  } catch {
    // damaged, or storage is switched off: as if nothing were there
  }
  return { ids: [], current: null, notes: {} };
}

function write(change) {
  const all = read();
  change(all);
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    // a browser that keeps nothing still chats
  }
}

export const ids = () => read().ids;
export const current = () => read().current;
export const note = (id, number) => read().notes[id]?.[number] ?? {};

/** An id that nobody guesses: whoever knows it may read the conversation. */
export function fresh() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function enter(id) {
  write((all) => {
    all.current = id;
  });
}

export function remember(id, number, about) {
  write((all) => {
    all.current = id;
    all.ids = [id, ...all.ids.filter((other) => other !== id)].slice(0, MOST);
    all.notes[id] = { ...all.notes[id], [number]: about };
    for (const known of Object.keys(all.notes)) if (!all.ids.includes(known)) delete all.notes[known];
  });
}

export function forget(id) {
  write((all) => {
    all.ids = all.ids.filter((other) => other !== id);
    if (all.current === id) all.current = null;
    delete all.notes[id];
  });
}

/** The words that were typed and not yet answered, for as long as the tab is open. */
export function draft(words) {
  try {
    if (words === undefined) return sessionStorage.getItem(DRAFT) ?? "";
    if (words) sessionStorage.setItem(DRAFT, words);
    else sessionStorage.removeItem(DRAFT);
  } catch {
    // see `write`
  }
  return words ?? "";
}
