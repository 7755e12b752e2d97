// The form of options, and what they are as a query.

/** Milliseconds without a change before the picture is asked about again. */
const PAUSE = 150;

export class Options {
  #form;
  #timer = 0;

  /** Called a moment after the last change. */
  onChange = () => {};

  constructor(form) {
    this.#form = form;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      this.#tell();
      this.#later();
    });
    this.#tell();
  }

  /** All options, as `WS /stream` takes them. */
  get all() {
    const values = {};
    for (const field of this.#fields()) {
      const number = field.type === "range" || field.type === "number" || field.id === "detector_size";
      values[field.name] = number ? Number(field.value) : field.value;
    }
    return values;
  }

  /** The options that differ from what the service does by itself. */
  get query() {
    const changed = {};
    for (const field of this.#fields()) {
      if (field.value !== field.dataset.default) changed[field.name] = field.value;
    }
    return changed;
  }

  /** Offer the pose models of the service. */
  offerModels(names) {
    const select = this.#form.elements.pose_model;
    const chosen = select.value;
    const [automatic] = select.options;
    select.replaceChildren(automatic, ...names.map((name) => new Option(name, name)));
    select.value = names.includes(chosen) ? chosen : "auto";
  }

  /** Back to the values of a fresh page. */
  reset() {
    this.#form.reset();
    this.#tell();
    this.#later();
  }

  /** Fields with a name that hold a value the service would take. */
  #fields() {
    return [...this.#form.elements].filter((field) => field.name && field.validity.valid);
  }

  #tell() {
    for (const output of this.#form.querySelectorAll("output")) {
      output.value = Number(this.#form.elements[output.htmlFor.value].value).toFixed(2);
    }
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.onChange(), PAUSE);
  }
}
