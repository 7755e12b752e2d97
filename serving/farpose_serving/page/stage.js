// The picture and, on a canvas of its own, the people over it.

import { drawPeople, identityOf } from "./skeleton.js";

/** Longer side of the canvas that shows the picture, in pixels; screens are not larger. */
const SHOWN_SIDE = 2560;

export class Stage {
  #frame;
  #picture;
  #overlay;
  #people = [];
  #size = { width: 0, height: 0 };
  #highlighted = null;

  boxes = false;

  /** (person) => limbs as pairs of indices. */
  skeletonOf = () => [];

  /** Called with the identity under the pointer, or null. */
  onPoint = () => {};

  constructor(frame) {
    this.#frame = frame;
    this.#picture = frame.querySelector("#picture");
    this.#overlay = frame.querySelector("#overlay");
    new ResizeObserver(() => this.draw()).observe(frame);
    this.#overlay.addEventListener("pointermove", (event) => this.onPoint(this.#under(event)));
    this.#overlay.addEventListener("pointerleave", () => this.onPoint(null));
  }

  /** Width and height of the picture that is shown, in its own pixels. */
  get size() {
    return this.#size;
  }

  /** Show a picture; `size` in its own pixels. Without a bitmap the ground stays plain. */
  show(bitmap, size) {
    this.#frame.hidden = false;
    if (size.width !== this.#size.width || size.height !== this.#size.height) {
      this.#size = { width: size.width, height: size.height };
      this.#frame.style.setProperty("--ratio", size.width / size.height);
    }
    const shrink = Math.min(1, SHOWN_SIDE / Math.max(size.width, size.height));
    const width = Math.max(1, Math.round(size.width * shrink));
    const height = Math.max(1, Math.round(size.height * shrink));
    if (this.#picture.width !== width || this.#picture.height !== height) {
      this.#picture.width = width;
      this.#picture.height = height;
    }
    const context = this.#picture.getContext("2d");
    if (bitmap) context.drawImage(bitmap, 0, 0, width, height);
    else context.clearRect(0, 0, width, height);
  }

  /** Show people over the picture. */
  setPeople(people) {
    this.#people = people;
    this.#overlay.setAttribute("aria-label", described(people));
    this.draw();
  }

  /** Let one person stand out; null for nobody. */
  highlight(identity) {
    if (identity === this.#highlighted) return;
    this.#highlighted = identity;
    this.draw();
  }

  /** Show nothing. */
  clear() {
    this.#frame.hidden = true;
    this.#size = { width: 0, height: 0 };
    this.#picture.width = this.#picture.width; // frees nothing, but leaves nothing of it
    this.setPeople([]);
  }

  /** Draw the people again, as large as the picture is now on the screen. */
  draw() {
    const { width, height } = this.#frame.getBoundingClientRect();
    if (!width || !this.#size.width) return;
    const density = window.devicePixelRatio || 1;
    this.#overlay.width = Math.round(width * density);
    this.#overlay.height = Math.round(height * density);
    drawPeople(this.#overlay.getContext("2d"), this.#people, {
      skeletonOf: this.skeletonOf,
      scale: this.#overlay.width / this.#size.width,
      density,
      highlighted: this.#highlighted,
      boxes: this.boxes,
    });
  }

  /** Who is under the pointer: of all whose box holds it, the one with the smallest box. */
  #under(event) {
    const place = this.#overlay.getBoundingClientRect();
    const x = ((event.clientX - place.left) / place.width) * this.#size.width;
    const y = ((event.clientY - place.top) / place.height) * this.#size.height;
    let best = null;
    let least = Infinity;
    this.#people.forEach((person, index) => {
      const [x1, y1, x2, y2] = person.box;
      const area = (x2 - x1) * (y2 - y1);
      if (x >= x1 && x < x2 && y >= y1 && y < y2 && area < least) {
        best = identityOf(person, index);
        least = area;
      }
    });
    return best;
  }
}

function described(people) {
  if (!people.length) return "Nobody is drawn";
  return people.length === 1 ? "The skeleton of one person" : `Skeletons of ${people.length} people`;
}
