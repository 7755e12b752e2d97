// A picture file: posted as it is, and again when the options change.

export class PictureSource {
  live = false;

  #file;
  #service;
  #view;
  #bitmap = null;
  #asking = null;

  /**
   * @param file     what was chosen
   * @param service  answers
   * @param view     shows: `opened`, `busy`, `answered`, `failed`
   */
  constructor(file, service, view) {
    this.#file = file;
    this.#service = service;
    this.#view = view;
  }

  /** Name and type for the command that does the same. */
  get example() {
    return { name: this.#file.name || "picture.png", type: this.#file.type || "image/jpeg" };
  }

  async start(options) {
    try {
      // Turned as its EXIF tag says, as the service turns it.
      this.#bitmap = await createImageBitmap(this.#file);
      this.#view.opened(this.#bitmap);
    } catch {
      // The browser cannot read it; the service says what is wrong with it.
    }
    await this.change(options);
  }

  /** Ask again with other options; an answer that is still to come is not waited for. */
  async change(options) {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    this.#view.busy(true);
    try {
      const found = await this.#service.findPeople(this.#file, options.query, asking.signal);
      if (!asking.signal.aborted) this.#view.answered(found.answer, this.#bitmap, found.milliseconds);
    } catch (problem) {
      if (asking.signal.aborted) return;
      this.#view.failed(problem, true);
    } finally {
      if (this.#asking === asking) this.#view.busy(false);
    }
  }

  /** Ask again, whatever came of it before. */
  again(options) {
    this.change(options);
  }

  stop() {
    this.#asking?.abort();
    this.#asking = null;
    this.#bitmap?.close();
  }
}
