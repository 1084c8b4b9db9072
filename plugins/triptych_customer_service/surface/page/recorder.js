// A voice note: recorded, with a level to see that the microphone hears something.

const KINDS = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];
const MOST_SECONDS = 115; // the server takes two minutes

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

/** Start to record; `onLevel(level in 0..1, seconds)` is called as it goes on, `onEnd` when the longest time is over. */
export async function record(onLevel, onEnd) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one)) ?? "";
  const recorder = new MediaRecorder(stream, kind ? { mimeType: kind } : {});
  const pieces = [];
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
  const meter = startMeter(stream);
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  recorder.start(250);
  const timer = setInterval(() => {
    onLevel(meter.level(), seconds());
    if (seconds() >= MOST_SECONDS) onEnd();
  }, 60);
  let length = 0;

  async function end() {
    clearInterval(timer);
    if (recorder.state !== "inactive") {
      length = seconds();
      recorder.stop();
    }
    await stopped;
    meter.close();
    for (const track of stream.getTracks()) track.stop();
  }

  return {
    async stop() {
      await end();
      return { blob: new Blob(pieces, { type: recorder.mimeType.split(";")[0] }), seconds: length };
    },
    discard: end,
  };
}

/** Why recording did not start, in words. */
export function whyNot(error) {
  if (error.name === "NotAllowedError") {
    return "The microphone is not allowed for this page. Allow it in the browser's address bar, then try again.";
  }
  if (error.name === "NotFoundError") return "No microphone was found.";
  return "The microphone could not be used.";
}

function startMeter(stream) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(stream).connect(analyser);
  const wave = new Float32Array(analyser.fftSize);
  return {
    level() {
      analyser.getFloatTimeDomainData(wave);
      const power = wave.reduce((sum, value) => sum + value * value, 0) / wave.length;
      const decibels = 10 * Math.log10(power + 1e-10);
      return Math.min(1, Math.max(0, (decibels + 60) / 55)); // from barely audible to loud
    },
    close: () => context.close(),
  };
}
