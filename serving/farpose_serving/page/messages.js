// What is said in words: the state of things, and problems.

/** Milliseconds between two sentences about something that keeps changing. */
const CALM = 2500;

export class Messages {
  #status;
  #said;
  #problem;
  #last = -Infinity;
  #timer = 0;

  /**
   * @param status   what screen readers hear
   * @param said     the same for the eye
   * @param problem  holds the problem
   */
  constructor(status, said, problem) {
    this.#status = status;
    this.#said = said;
    this.#problem = problem;
  }

  /** Say something now. */
  say(text) {
    clearTimeout(this.#timer);
    this.#last = performance.now();
    for (const place of [this.#status, this.#said]) {
      if (place.textContent !== text) place.textContent = text;
    }
  }

  /** Say something that changes often: screen readers hear the newest every few seconds. */
  sayCalmly(text) {
    clearTimeout(this.#timer);
    this.#said.textContent = text;
    const wait = this.#last + CALM - performance.now();
    this.#timer = setTimeout(() => this.say(text), Math.max(wait, 0));
  }

  /** Show a problem until it is solved. */
  complain(problem) {
    const title = document.createElement("strong");
    title.textContent = problem.title;
    const detail = document.createElement("div");
    detail.textContent = problem.detail;
    this.#problem.replaceChildren(title, detail);
    if (problem.id) {
      const id = document.createElement("small");
      id.textContent = `Request ${problem.id}`;
      this.#problem.append(id);
    }
    this.#problem.hidden = false;
  }

  /** The problem is solved. */
  solved() {
    this.#problem.hidden = true;
    this.#problem.replaceChildren();
  }
}

/** "Nobody", "one person" or "7 people". */
export function peopleText(count) {
  if (!count) return "nobody";
  return count === 1 ? "one person" : `${count} people`;
}
