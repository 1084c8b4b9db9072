// Where a message is written: words, one picture, one voice note.

import { el, toast } from "/pages/_shared/site.js";
import * as mine from "./mine.js";
import { canRecord, record, whyNot } from "./recorder.js";
import { clock } from "./words.js";

const find = (id) => document.getElementById(id);
const BARS = 28;

/** `send(message)` is called with {text, image: File or null, audio: {blob, seconds} or null}. */
export class Composer {
  constructor(send) {
    this.send = send;
    this.words = find("words");
    this.image = null;
    this.audio = null;
    this.recording = null;
    this.starting = false;
    this.kept = null; // resolves when the last recording that was stopped lies in `audio`
    this.busy = false;
    this.words.value = mine.draft();
    this.listen();
    this.listenForPictures();
    this.show();
  }

  listen() {
    find("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.words.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.words.addEventListener("input", () => {
      mine.draft(this.words.value);
      this.show();
    });
    find("record").addEventListener("click", () => this.startRecording());
    find("stop").addEventListener("click", () => this.stopRecording());
    find("drop-recording").addEventListener("click", () => this.discardRecording());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.recording && !document.querySelector("dialog[open]")) this.stopRecording();
    });
  }

  listenForPictures() {
    const file = find("file");
    find("attach").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.take([...file.files]);
      file.value = "";
    });
    document.addEventListener("paste", (event) => {
      if (this.take([...(event.clipboardData?.files ?? [])])) event.preventDefault();
    });
    const area = document.querySelector(".talk");
    let depth = 0; // of elements that the pointer is in: leaving a child is no leaving
    const over = (by) => {
      depth = Math.max(0, depth + by);
      find("drop").hidden = depth === 0;
    };
    const files = (event) => event.dataTransfer?.types.includes("Files");
    area.addEventListener("dragenter", (event) => files(event) && over(1));
    area.addEventListener("dragleave", (event) => files(event) && over(-1));
    area.addEventListener("dragover", (event) => files(event) && event.preventDefault());
    area.addEventListener("drop", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      over(-depth);
      this.take([...event.dataTransfer.files]);
    });
  }

  /** Take the first of these files that can be sent; tells where there is none. */
  take(files) {
    if (!files.length) return false;
    const picture = files.find((one) => one.type.startsWith("image/"));
    const sound = files.find((one) => one.type.startsWith("audio/") || one.type === "video/webm");
    if (picture) this.image = picture;
    else if (sound) this.audio = { blob: sound, seconds: 0 };
    else toast(`${files[0].name} is neither a picture nor a sound.`, "bad");
    this.show();
    this.words.focus();
    return Boolean(picture || sound);
  }

  get empty() {
    return !this.words.value.trim() && !this.image && !this.audio;
  }

  async submit() {
    if (this.busy) return;
    await this.stopRecording();
    if (this.busy || this.empty) return;
    const message = { text: this.words.value.trim(), image: this.image, audio: this.audio };
    this.clear();
    this.send(message);
  }

  clear() {
    this.words.value = "";
    this.image = this.audio = null;
    this.show();
  }

  /** Put a message back, in front of what was typed since. */
  restore(message) {
    const rest = this.words.value.trim();
    this.words.value = [message.text, rest].filter(Boolean).join("\n");
    this.image = message.image ?? this.image;
    this.audio = message.audio ?? this.audio;
    mine.draft(this.words.value);
    this.show();
    this.words.focus();
  }

  setBusy(busy) {
    this.busy = busy;
    this.show();
  }

  show() {
    find("send").disabled = this.busy || (this.empty && !this.recording);
    find("record").hidden = !canRecord();
    find("record").disabled = Boolean(this.recording);
    find("recording").hidden = !this.recording;
    this.words.style.height = "auto";
    this.words.style.height = `${Math.min(this.words.scrollHeight, 180)}px`;
    this.showAttached();
  }

  showAttached() {
    for (const url of this.urls ?? []) setTimeout(() => URL.revokeObjectURL(url), 10_000); // it may still be loading
    this.urls = [];
    const chips = [];
    if (this.image) {
      const image = el("img", { src: this.url(this.image), alt: "" });
      image.addEventListener("error", () => image.remove()); // a format that this browser does not show
      chips.push(this.chip("picture", [image, el("span", { class: "name" }, this.image.name || "Picture")], "image"));
    }
    if (this.audio) {
      const player = el("audio", { src: this.url(this.audio.blob), controls: "", "aria-label": "Your voice note" });
      const length = this.audio.seconds ? clock(this.audio.seconds) : "";
      chips.push(this.chip("voice note", [player, el("span", { class: "muted" }, length)], "audio"));
    }
    find("attached").replaceChildren(...chips);
  }

  url(blob) {
    this.urls.push(URL.createObjectURL(blob));
    return this.urls.at(-1);
  }

  chip(name, content, key) {
    const remove = el("button", { type: "button", class: "remove", "aria-label": `Remove the ${name}` }, "×");
    remove.addEventListener("click", () => {
      this[key] = null;
      this.show();
      this.words.focus();
    });
    return el("div", { class: `chip chip-${key}` }, ...content, remove);
  }

  async startRecording() {
    if (this.recording || this.starting) return;
    this.starting = true; // the browser may ask first
    const level = find("level");
    level.replaceChildren(...Array.from({ length: BARS }, () => el("i")));
    try {
      this.recording = await record(
        (value, seconds) => this.showLevel(level, value, seconds),
        () => this.stopRecording(),
      );
    } catch (error) {
      toast(whyNot(error), "bad");
      return;
    } finally {
      this.starting = false;
    }
    this.show();
    find("stop").focus();
  }

  showLevel(level, value, seconds) {
    find("recording-time").textContent = clock(seconds);
    level.setAttribute("aria-valuenow", String(Math.round(100 * value)));
    level.append(level.firstChild); // the oldest bar becomes the newest
    level.lastChild.style.transform = `scaleY(${Math.max(0.06, value)})`;
  }

  /** End the recording, if there is one; the promise is kept for whoever sends meanwhile. */
  stopRecording() {
    const recording = this.takeRecording();
    if (recording) this.kept = this.keep(recording);
    return this.kept;
  }

  async keep(recording) {
    try {
      this.audio = await recording.stop();
    } catch {
      toast("The voice note could not be kept. Record it again.", "bad");
    }
    this.show();
  }

  async discardRecording() {
    await this.takeRecording()?.discard();
  }

  /** What was being recorded; the composer is back at once, the microphone may take a moment. */
  takeRecording() {
    const recording = this.recording;
    this.recording = null;
    if (recording) {
      this.show();
      this.words.focus();
    }
    return recording;
  }
}
