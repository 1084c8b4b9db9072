// What the page says in words: how sure an answer is, why a person takes over, and what went wrong.

export const STATUS = {
  answered: "Answered",
  clarify: "Asked back",
  out_of_scope: "Out of scope",
  not_in_knowledge_base: "No article found",
  handed_off: "With a person",
};

export const REASON = {
  asked: "You asked for a person.",
  safety: "It may be a matter of safety.",
  urgent: "It is urgent.",
  unsure: "I could not tell well enough what this is about.",
  "still unclear": "After several questions it was still unclear what this is about.",
};

export const MODALITY = { text: "Text", image: "Picture", audio: "Voice" };

/** How sure an answer is: a class for the bar, a word, and its share; null where confidence means nothing. */
export function sureness(answer) {
  if (answer.status === "out_of_scope" || answer.intent === null) return null;
  const share = answer.confidence;
  if (share >= 0.8) return { level: "sure", word: "Sure", share };
  if (share >= 0.5) return { level: "fair", word: "Fairly sure", share };
  return { level: "unsure", word: "Unsure", share };
}

/** An error of site.js or of the network, told to a person. `wait` is in seconds. */
export function trouble(error) {
  if (!navigator.onLine) {
    return { text: "You are offline. Your message is kept here: send it again when you are connected.", wait: 0 };
  }
  const detail = sentence(error.message);
  switch (error.status) {
    case 401:
      return { text: "This page needs a key to answer. Give one with the button above, then try again.", wait: 0 };
    case 403:
      return { text: `The server refused this message. ${detail}`, wait: 0 };
    case 413:
      return { text: `This is too large to send. ${detail}`, wait: 0 };
    case 415:
    case 422:
      return { text: `This could not be read. ${detail}`, wait: 0 };
    case 429:
    case 503:
      return { text: busyText(error), wait: error.retryAfter || 1 };
    case 500:
      return { text: "Something went wrong on the server. Your message is kept here: please try again.", wait: 0 };
    default:
      return { text: "The server cannot be reached. Your message is kept here: please try again.", wait: 0 };
  }
}

function busyText(error) {
  if (error.kind === "starting") return "The server is just starting. Your message is kept here.";
  if (error.kind === "unavailable") return "The server cannot answer at this moment. Your message is kept here.";
  if (error.kind === "timeout") return "The answer took too long. Your message is kept here.";
  return "Too many people are asking at this moment. Your message is kept here.";
}

function sentence(message) {
  const words = (message || "").replace(/^(image|audio|text): /, "").trim();
  return words ? words[0].toUpperCase() + words.slice(1).replace(/\.?$/, ".") : "";
}

export function capital(words) {
  return words ? words[0].toUpperCase() + words.slice(1) : "";
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
