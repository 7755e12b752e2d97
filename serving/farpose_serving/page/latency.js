// Milliseconds of each stage as bars.

/** Answers whose times are averaged while frames come one after another. */
const AVERAGED = 20;

const ORDER = ["decode", "letterbox", "detector", "crop", "pose", "tracking"];

export class Latency {
  #list;
  #note;
  #empty;
  #recent = [];

  constructor(list, note, empty) {
    this.#list = list;
    this.#note = note;
    this.#empty = empty;
  }

  /** Show the times of one picture and how long its answer took to come. */
  show(timing, milliseconds) {
    this.#recent = [];
    this.#render(timing, `${number(milliseconds)} ms with the way there and back.`);
  }

  /** Show the mean over the last frames. */
  add(timing, milliseconds) {
    this.#recent = [...this.#recent, { timing, milliseconds }].slice(-AVERAGED);
    const trip = mean(this.#recent.map((one) => one.milliseconds));
    const means = {};
    // Not every stage runs on every frame: between its turns the detector takes no time.
    for (const stage of new Set(this.#recent.flatMap((one) => Object.keys(one.timing)))) {
      means[stage] = mean(this.#recent.map((one) => one.timing[stage] ?? 0));
    }
    const frames = this.#recent.length === 1 ? "one frame" : `the last ${this.#recent.length} frames`;
    this.#render(means, `Mean of ${frames}; ${number(trip)} ms with the way there and back.`);
  }

  /** Show nothing. */
  clear() {
    this.#recent = [];
    this.#list.replaceChildren();
    this.#note.textContent = "";
    this.#empty.hidden = false;
  }

  #render(timing, note) {
    const stages = Object.entries(timing).sort(([a], [b]) => place(a) - place(b));
    const total = timing.total || Math.max(...stages.map(([, value]) => value), 1e-9);
    this.#list.replaceChildren(...stages.map(([stage, value]) => row(stage, value, value / total)));
    this.#note.textContent = note;
    this.#empty.hidden = true;
  }
}

/** Stages in the order in which they run, those that are not known here after them. */
function place(stage) {
  if (stage === "total") return Infinity;
  const known = ORDER.indexOf(stage);
  return known < 0 ? ORDER.length : known;
}

function row(stage, milliseconds, share) {
  const group = document.createElement("div");
  group.dataset.stage = stage;
  const term = document.createElement("dt");
  term.textContent = stage.replaceAll("_", " ");
  const value = document.createElement("dd");
  value.textContent = `${number(milliseconds)} ms`;
  const bar = document.createElement("dd");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  bar.style.setProperty("--share", Math.min(share, 1).toFixed(4));
  group.append(term, bar, value);
  return group;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function number(milliseconds) {
  return milliseconds.toFixed(milliseconds < 100 ? 1 : 0);
}
