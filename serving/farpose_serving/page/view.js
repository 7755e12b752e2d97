// What a source shows: its picture, the people, the times, the answer and the problems.

import { readable } from "./json.js";
import { peopleText } from "./messages.js";

/** Milliseconds between two updates of the table while frames come. */
const TABLE_PACE = 200;

/** Milliseconds over which answers are counted. */
const RATE_SPAN = 2000;

export class View {
  #stage;
  #people;
  #latency;
  #messages;
  #stageBox;
  #rate;
  #json;
  #answer = null;
  #bitmap = null;
  #live = false;
  #name = "";
  #times = [];
  #dropped = 0;
  #tableTimer = 0;

  /** Called with every problem, and with null when an answer has come. */
  onProblem = () => {};

  constructor({ stage, people, latency, messages, stageBox, rate, json }) {
    this.#stage = stage;
    this.#people = people;
    this.#latency = latency;
    this.#messages = messages;
    this.#stageBox = stageBox;
    this.#rate = rate;
    this.#json = json;
    json.addEventListener("toggle", () => this.#showJson());
  }

  /** Something new is to be shown; `live` if frames will follow one another. */
  begin(name, live) {
    this.clear();
    this.#name = name;
    this.#live = live;
    this.#people.empty("Looking for people…");
    this.#messages.say(`${name}: looking for people…`);
  }

  /** A picture can be shown before anybody was found in it. */
  opened(bitmap) {
    this.#stage.show(bitmap, bitmap);
  }

  /** Whether an answer is waited for. */
  busy(waiting) {
    this.#stageBox.setAttribute("aria-busy", String(waiting));
  }

  /** People were found, in a bitmap that is this view's from now on if frames follow. */
  answered(answer, bitmap, milliseconds) {
    if (this.#live && this.#bitmap !== bitmap) this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.#answer = answer;
    this.#messages.solved();
    this.onProblem(null);
    this.#stage.show(bitmap, answer.image);
    this.#stage.setPeople(answer.people);
    if (this.#live) this.#answeredFrame(milliseconds);
    else this.#answeredPicture(milliseconds);
  }

  /** Something went wrong; `final` if no answer will come by itself. */
  failed(problem, final) {
    this.#messages.complain(problem);
    if (final) {
      clearTimeout(this.#tableTimer);
      this.#tableTimer = 0;
      this.#messages.say(`${this.#name}: ${problem.title}.`);
      this.#stage.setPeople([]);
      this.#people.empty("There is no answer.");
      this.#latency.clear();
      this.#answer = null;
      this.#showJson();
    }
    this.onProblem(problem);
  }

  /** Show nothing. */
  clear() {
    clearTimeout(this.#tableTimer);
    this.#tableTimer = 0;
    if (this.#live) this.#bitmap?.close();
    this.#bitmap = null;
    this.#answer = null;
    this.#times = [];
    this.#dropped = 0;
    this.#rate.hidden = true;
    this.busy(false);
    this.#stage.clear();
    this.#people.empty("Everybody who is found is listed here.");
    this.#latency.clear();
    this.#messages.solved();
    this.#messages.say("");
    this.#showJson();
  }

  #answeredPicture(milliseconds) {
    const count = this.#answer.people.length;
    this.#showPeople();
    this.#latency.show(this.#answer.timing_ms, milliseconds);
    this.#messages.say(`${this.#name}: ${peopleText(count)} found.`);
    this.#showJson();
  }

  #answeredFrame(milliseconds) {
    const now = performance.now();
    this.#times = [...this.#times, now].filter((time) => now - time < RATE_SPAN);
    this.#dropped += this.#answer.dropped;
    this.#latency.add(this.#answer.timing_ms, milliseconds);
    const span = now - this.#times[0];
    const rate = span > 0 ? ((this.#times.length - 1) / span) * 1000 : 0;
    const age = Math.round(this.#answer.frame_age_ms);
    const dropped = this.#dropped ? ` · ${this.#dropped} dropped` : "";
    this.#rate.textContent = `${rate.toFixed(1)} frames/s · answered in ${age} ms${dropped}`;
    this.#rate.hidden = false;
    this.#messages.sayCalmly(`${this.#name}: ${peopleText(this.#answer.people.length)} in view.`);
    this.#tableTimer ||= setTimeout(() => {
      this.#tableTimer = 0;
      this.#showPeople();
      this.#showJson();
    }, TABLE_PACE);
  }

  #showPeople() {
    const { people } = this.#answer ?? { people: [] };
    if (people.length) this.#people.show(people, this.#bitmap);
    else this.#people.empty("Nobody was found. A lower detection threshold or a larger detector size may help.");
  }

  #showJson() {
    this.#json.hidden = !this.#answer;
    if (!this.#json.open || !this.#answer) return;
    this.#json.querySelector("code").textContent = readable(this.#answer);
  }
}
