// The chat: what is sent, what comes back, and going on with a conversation after a reload.

import { API, api, busy, el, media, ready, toast } from "/pages/_shared/site.js";
import { ask } from "./answering.js";
import { answerCard, messageCard, showReadings, troubleCard, waitFor, waitingCard } from "./cards.js";
import { Composer } from "./composer.js";
import { download, reallyErase, showList } from "./history.js";
import * as mine from "./mine.js";
import { trouble } from "./words.js";

const find = (id) => document.getElementById(id);
const STARTERS = 4;

class Chat {
  constructor() {
    this.id = null; // of the conversation, known from its first message on
    this.turns = 0; // that the server has of it, as far as this page knows
    this.asked = false; // whether the last answer was a question
    this.shown = 0; // how often another conversation was shown: what comes later than that is not drawn any more
    this.pending = new Set(); // conversations that wait for an answer
    this.intents = [];
    this.composer = new Composer((message) => this.deliver(message));
    find("new").addEventListener("click", () => this.begin());
    find("erase").addEventListener("click", () => this.erase());
    find("download").addEventListener("click", () => this.download());
    find("show-mine").addEventListener("click", () => this.showMine(!find("mine").classList.contains("is-open")));
    for (const name of ["online", "offline"]) window.addEventListener(name, () => this.showOffline());
    this.showOffline();
  }

  async start() {
    await Promise.allSettled([this.loadIntents()]); // without them, names of intents are shown
    await Promise.allSettled([this.resume()]);
    this.composer.show();
    ready();
  }

  async resume() {
    const id = mine.current();
    if (id) await this.open(id);
    else await this.refreshList();
  }

  async loadIntents() {
    this.intents = (await api(`${API}/intents`)).intents;
    const all = this.intents.filter((one) => one.example);
    const step = Math.max(1, Math.floor(all.length / STARTERS)); // of different kinds: the intents stand in order
    const examples = all.filter((_, row) => row % step === step >> 1).slice(0, STARTERS);
    const starter = (one) =>
      el("button", { type: "button", class: "offer", on: { click: () => this.say(one.example) } }, one.example);
    find("starters").replaceChildren(...examples.map(starter));
  }

  begin() {
    mine.enter(null);
    this.turnTo(null, 0);
    this.showHead("New conversation");
    this.hideMine();
    this.composer.words.focus();
    return this.refreshList();
  }

  /** Leave what is shown, for an empty thread of this conversation. */
  turnTo(id, turns) {
    this.shown += 1;
    this.id = id;
    this.turns = turns;
    this.asked = false;
    this.composer.setBusy(this.pending.has(id));
    const thread = find("thread");
    for (const node of thread.querySelectorAll("[src^='blob:']")) URL.revokeObjectURL(node.src);
    thread.replaceChildren();
  }

  /** Show a stored conversation from its beginning. */
  async open(id) {
    this.hideMine();
    const own = (this.shown += 1);
    let thread;
    let files;
    try {
      thread = await api(`${API}/conversations/${id}`);
      files = await Promise.all(thread.turns.map((line) => keptMedia(id, line)));
    } catch (error) {
      if (own !== this.shown) return;
      if (error.status !== 404) return toast(trouble(error).text, "bad");
      mine.forget(id);
      return this.begin();
    }
    if (own !== this.shown) return; // another one was chosen meanwhile
    mine.enter(id);
    this.turnTo(id, thread.turns.length);
    thread.turns.forEach((line, row) => this.showTurn(line, files[row]));
    this.forgetAnsweredDraft(thread);
    await this.refreshList();
    this.scrollDown();
  }

  showTurn({ turn, answer, feedback }, files) {
    if (turn.role === "assistant") {
      const shown = answer ?? { ...BARE, answer: turn.text, status: turn.status, intent: turn.intent };
      this.showAnswer({ ...shown, number: turn.number }, mine.note(this.id, turn.number), feedback);
      return;
    }
    const gone = turn.attachments.map((one) => one.split(" ")[0]).filter((name) => !files[name]);
    find("thread").append(messageCard({ ...turn, ...files, gone }));
  }

  /** Words that were on their way when the page was left: the server has them, or they are still in the composer. */
  forgetAnsweredDraft(thread) {
    const last = thread.turns.findLast(({ turn }) => turn.role === "customer");
    if (last?.turn.text && last.turn.text === mine.draft().trim()) {
      mine.draft("");
      this.composer.clear();
    }
  }

  say(text) {
    if (!this.composer.busy) this.deliver({ text, image: null, audio: null });
  }

  /** Send a message and show what comes of it, at its place. */
  async deliver(message) {
    this.id ??= mine.fresh();
    this.shown += 1; // a conversation that is still being read does not take the place of this one
    const card = messageCard({
      text: message.text,
      image: message.image && URL.createObjectURL(message.image),
      audio: message.audio && URL.createObjectURL(message.audio.blob),
      seconds: message.audio?.seconds,
    });
    find("thread").append(card);
    find("welcome").hidden = true;
    mine.draft(message.text);
    await this.attempt(message, card);
  }

  async attempt(message, card) {
    const id = this.id;
    const waiting = waitingCard();
    card.after(waiting);
    this.scrollDown();
    this.pending.add(id);
    this.composer.setBusy(true);
    try {
      const { answer, about } = await ask({ ...message, conversation: id }, (before) => waitFor(waiting, before));
      mine.remember(id, answer.number, about);
      if (mine.draft().trim() === message.text) mine.draft("");
      if (this.id !== id) return;
      if (!waiting.isConnected) return await this.open(id); // it was left and entered again
      this.turns = answer.number;
      showReadings(card, answer);
      const shown = this.showAnswer(answer, about, null, waiting);
      find("said").textContent = `Answer: ${answer.answer}`;
      shown.scrollIntoView({ block: "nearest" });
      this.refreshList(); // the next message need not wait for it
    } catch (error) {
      if (this.id === id && card.isConnected) this.tell(error, message, card);
      else toast(`A message in another conversation was not answered. ${trouble(error).text}`, "bad");
    } finally {
      waiting.remove();
      this.pending.delete(id);
      if (this.id === id) this.composer.setBusy(false);
    }
  }

  tell(error, message, card) {
    if (!("status" in error) && !(error instanceof TypeError)) throw error; // a bug of this page
    const told = trouble(error);
    const lines = troubleCard(
      told,
      () => {
        lines.remove();
        this.again(error, message, card);
      },
      () => {
        lines.remove();
        card.remove();
        this.composer.restore(message);
        find("welcome").hidden = find("thread").children.length > 0;
      },
    );
    card.after(lines);
    this.scrollDown();
  }

  /** Once more. Where the connection broke or took too long, the answer may have been stored all the same: then it is shown. */
  async again(error, message, card) {
    const unknown = !error.status || error.kind === "timeout";
    if (unknown && (await this.storedTurns()) > this.turns) {
      mine.remember(this.id, this.turns + 2, {});
      await this.open(this.id);
      return;
    }
    await this.attempt(message, card);
  }

  async storedTurns() {
    try {
      const [line] = (await api(`${API}/conversations`, { query: { ids: this.id } })).conversations;
      return line?.turns ?? 0;
    } catch {
      return 0; // it cannot be asked now
    }
  }

  showAnswer(answer, about, feedback, before = null) {
    const { id } = this;
    const rate = (said) =>
      api(`${API}/conversations/${id}/feedback`, {
        method: "POST",
        json: { ...said, number: answer.number, decision: about.decision ?? null },
      });
    const say = (text) => this.say(text);
    const chosen = this.asked && answer.confidence === 1; // the answer to our own question is certain
    this.asked = answer.status === "clarify";
    const card = answerCard(answer, { about, feedback, rate, intents: this.intents, say, chosen });
    for (const old of find("thread").querySelectorAll(".offers")) old.remove(); // only the last question is open
    if (before) before.replaceWith(card);
    else find("thread").append(card);
    return card;
  }

  async refreshList() {
    try {
      const lines = await showList(this.id, (id) => this.open(id));
      if (!lines) return;
      const line = lines.find((one) => one.id === this.id);
      this.showHead(line ? line.title || "Conversation" : "New conversation");
    } catch {
      // the list is shown again with the next answer
    }
  }

  showHead(title) {
    const isNew = !find("thread").children.length;
    find("title").textContent = title;
    find("download").hidden = find("erase").hidden = isNew;
    find("welcome").hidden = !isNew;
  }

  async download() {
    try {
      download(await busy(find("download"), api(`${API}/conversations/${this.id}`)));
    } catch (error) {
      toast(trouble(error).text, "bad");
    }
  }

  async erase() {
    const { id } = this;
    if (!(await reallyErase())) return;
    if (this.pending.has(id)) return toast("An answer is on its way, which would be kept. Erase it afterwards.", "bad");
    try {
      const erased = await busy(find("erase"), api(`${API}/conversations/${id}`, { method: "DELETE" }));
      toast(erased.message, erased.complete ? "good" : "info");
    } catch (error) {
      if (error.status !== 404) return toast(trouble(error).text, "bad");
    }
    mine.forget(id);
    if (this.id === id) await this.begin();
    else await this.refreshList();
  }

  /** On a narrow screen, the list of conversations covers the one that is open. */
  showMine(open) {
    find("mine").classList.toggle("is-open", open);
    find("show-mine").setAttribute("aria-expanded", String(open));
    find("show-mine").textContent = open ? "Back" : "Conversations";
    if (open) find("new").focus();
  }

  hideMine() {
    this.showMine(false);
  }

  showOffline() {
    find("offline").hidden = navigator.onLine;
  }

  scrollDown() {
    find("scroll").scrollTop = find("scroll").scrollHeight;
  }
}

/** The kept files of a turn as object URLs by their names; null in the place of one that cannot be had. */
async function keptMedia(id, { turn, media: kept }) {
  const fetched = kept.map((name) => media(`${API}/conversations/${id}/media/${turn.number}/${name}`).catch(() => null));
  const urls = await Promise.all(fetched);
  return Object.fromEntries(kept.map((name, row) => [name, urls[row]]));
}

const BARE = { confidence: 0, evidence: [], alternatives: [], attribution: {}, citation: null, handoff: null };

new Chat().start();
