// Whether the service is there, said in a word at the top.

/** Milliseconds until it is asked again. */
const AGAIN = 3000;

export class ServiceState {
  #chip;
  #service;
  #onModels;
  #timer = 0;

  /** Called when the service wants an API key before it tells anything. */
  onKeyWanted = () => {};

  constructor(chip, service, onModels) {
    this.#chip = chip;
    this.#service = service;
    this.#onModels = onModels;
  }

  /** Ask for the models, again and again until they are told. */
  async ask() {
    clearTimeout(this.#timer);
    try {
      this.#onModels(await this.#service.models());
      this.#say("ready", "Ready");
    } catch (problem) {
      if (problem.wantsKey) {
        this.#say("waiting", "API key needed");
        this.onKeyWanted();
        return;
      }
      if (problem.status) this.#say("waiting", "Not ready yet");
      else this.#say("away", "No answer");
      this.#timer = setTimeout(() => this.ask(), AGAIN);
    }
  }

  /** A picture was answered (null), or not. */
  heard(problem) {
    const away = problem && (problem.status === 0 || problem.status === 503);
    if (away && this.#chip.dataset.state === "ready") this.ask();
  }

  #say(state, text) {
    this.#chip.dataset.state = state;
    this.#chip.textContent = text;
  }
}
