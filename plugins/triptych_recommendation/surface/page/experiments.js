// The experiments that run: the decision first, then what it rests on.
import { api, day, el, number, percent, table } from "/pages/_shared/site.js";

const START = "triptych recommendation experiment start calm --variant old=0.5 --variant new=0.5 --change new.diversity=0.3";

export async function showExperiments(panel) {
  panel.setAttribute("aria-busy", "true");
  try {
    const { experiments } = await api("experiments");
    panel.replaceChildren(...(experiments.length ? experiments.map(experiment) : [none()]));
  } catch (error) {
    panel.replaceChildren(el("p", { class: "bad" }, error.message));
  } finally {
    panel.setAttribute("aria-busy", "false");
  }
}

function none() {
  return el("div", { class: "panel stack empty" }, el("h2", {}, "No experiment runs"),
    el("p", { class: "muted" }, "An experiment gives users different lists, and tells which ones they choose from. Start one with"), el("code", { class: "command" }, START));
}

function experiment(one) {
  const { decision } = one;
  const tone = one.mismatched ? "bad" : decision.best ? "good" : decision.stop ? "warn" : "accent";
  return el("article", { class: "panel stack", dataset: { experiment: one.name } },
    el("div", { class: "row between" },
      el("h2", {}, one.name),
      el("span", { class: "muted small" }, `${one.kind === "ab" ? "each user one variant" : "lists drafted from both"}, since ${day(one.since)}`)),
    el("p", { class: "decision row" }, el("span", { class: `badge ${tone}` }, decision.stop ? "Stop" : "Go on"), el("span", {}, `${decision.reason}.`)),
    one.preference ? preference(one) : [arms(one), lifts(one)],
    el("p", { class: "muted small" }, "Intervals hold at every look, however often this is read."),
    one.notes.map((note) => el("p", { class: "warn small" }, `${note}.`)));
}

function arms(one) {
  const metrics = Object.keys(one.arms[0].rates);
  const head = ["Variant", "Share", "Users", "Counted", "Lists", ...metrics];
  return table(`Variants of ${one.name}`, head, one.arms.map((arm) => [
    arm.name, percent(arm.share), number(arm.users), number(arm.complete), number(arm.lists),
    ...metrics.map((metric) => words(arm.rates[metric], (value) => value.toFixed(3))),
  ]));
}

function lifts(one) {
  const rows = Object.entries(one.lifts).flatMap(([name, found]) => {
    const reach = Math.max(...found.flatMap(({ difference }) => [Math.abs(difference.low ?? 0), Math.abs(difference.high ?? 0)]), 1e-9);
    return found.map(({ metric, difference, ratio }) => [
      name, metric, words(difference, signed), interval(difference, reach), ratio ? words(ratio, (value) => `${value > 0 ? "+" : ""}${percent(value)}`) : "–", verdict(difference),
    ]);
  });
  return table(`Against ${one.arms[0].name}`, [`Against ${one.arms[0].name}`, "Metric", "Difference", "", "Relative", ""], rows);
}

function preference(one) {
  const [first, second] = one.arms[0].name.split("|");
  return el("div", { class: "stack tight" },
    el("p", {}, `${number(one.arms[0].users)} users, of whom ${number(one.arms[0].complete)} count, with ${number(one.arms[0].lists)} lists`),
    el("p", { class: "row" }, el("span", {}, `from −1, all for ${first}`), interval(one.preference, 1), el("span", {}, `to 1, all for ${second}:`), el("strong", {}, words(one.preference, signed))));
}

const signed = (value) => `${value > 0 ? "+" : ""}${value.toFixed(4)}`;

function words(figure, form) {
  const part = (value) => (value === null ? "?" : form(value));
  return `${figure.value === null ? "–" : form(figure.value)} [${part(figure.low)}, ${part(figure.high)}]`;
}

function verdict({ low, high }) {
  if (low > 0) return el("span", { class: "badge good" }, "higher");
  if (high < 0) return el("span", { class: "badge bad" }, "lower");
  return el("span", { class: "badge muted" }, "not shown");
}

/** An interval as a line beside zero; its words stand in the cell before it. */
function interval({ value, low, high }, reach) {
  const x = (number) => 70 + (66 * (number ?? 0)) / reach;
  return el("svg", { class: "interval", viewBox: "0 0 140 20", width: "140", height: "20", "aria-hidden": "true" },
    el("line", { class: "zero", x1: 70, x2: 70, y1: 1, y2: 19 }),
    el("line", { class: "reach", x1: x(low), x2: x(high), y1: 10, y2: 10 }),
    value === null ? null : el("circle", { class: "value", cx: x(value), cy: 10, r: 4 }));
}
