// One message to the server. It tells by events that the message waits, and then the answer.

import { API, ApiError, api, events } from "/pages/_shared/site.js";

const STATUS = { invalid: 422, unsupported_media: 415, too_large: 413, refused: 403, internal: 500 };
const MOST_BYTES = 5_000_000; // of a picture that is sent as it is
const MOST_SIDE = 2560; // pixels
let described = null; // what answers, with its price

/**
 * {answer, about} of a message; `about` has decision, variant, cost and currency, where they are known.
 * `onWaiting(before)` is told how many are answered first. Throws `ApiError`.
 */
export async function ask(message, onWaiting) {
  const form = formOf({ ...message, image: message.image && (await smaller(message.image)) });
  for await (const { name, id, data } of events("answer", { form })) {
    if (name === "waiting") onWaiting(data.before);
    if (name === "error") throw problem(data.error);
    if (name === "answer") {
      return { answer: data, about: { decision: id, variant: data.variant, ...(await priceOf(data.variant)) } };
    }
  }
  throw new ApiError(0, "unreachable", "the connection ended before the answer came");
}

/** A picture of many megabytes, as cameras make them, as one that is quickly sent; what cannot be drawn stays. */
async function smaller(picture) {
  if (picture.size <= MOST_BYTES) return picture;
  try {
    const drawn = await createImageBitmap(picture);
    const scale = Math.min(1, MOST_SIDE / Math.max(drawn.width, drawn.height));
    const canvas = new OffscreenCanvas(Math.round(scale * drawn.width), Math.round(scale * drawn.height));
    canvas.getContext("2d").drawImage(drawn, 0, 0, canvas.width, canvas.height);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    return blob.size < picture.size ? blob : picture;
  } catch {
    return picture;
  }
}

function formOf({ text, image, audio, conversation }) {
  const form = new FormData();
  form.append("conversation", conversation);
  form.append("language", navigator.language);
  if (text) form.append("text", text);
  if (image) form.append("image", image, "picture");
  if (audio) form.append("audio", audio.blob, "voice");
  return form;
}

/** What failed once the stream had begun has no status of its own any more; the kind says which it would have been. */
function problem({ kind, message }) {
  return new ApiError(STATUS[kind] ?? 503, kind, message, 1);
}

async function priceOf(variant) {
  try {
    described ??= await api(API);
  } catch {
    return {}; // an answer is worth showing without its price
  }
  if (described.variant !== variant || described.price_per_million === null) return {};
  return { cost: described.price_per_million / 1e6, currency: described.currency };
}
