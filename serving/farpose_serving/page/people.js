// The table of people, with a close-up of each.

import { colorOf, drawPeople, identityOf } from "./skeleton.js";

const CLOSE_UP = { width: 54, height: 72 };

/** Share of a box that is shown around it. */
const MARGIN = 0.12;

export class PeopleTable {
  #table;
  #body;
  #nobody;
  #rows = [];
  #pinned = null;
  #hovered = null;

  /** (person) => limbs as pairs of indices. */
  skeletonOf = () => [];

  /** Called with the identity of the person to highlight, or null. */
  onHighlight = () => {};

  constructor(table, nobody) {
    this.#table = table;
    this.#body = table.tBodies[0];
    this.#nobody = nobody;
  }

  /** Show people; close-ups come from the bitmap, if there is one. */
  show(people, bitmap) {
    while (this.#rows.length < people.length) this.#rows.push(this.#newRow());
    const rows = this.#rows.slice(0, people.length);
    if (this.#body.rows.length !== rows.length) {
      this.#body.replaceChildren(...rows.map(({ row }) => row));
    }
    rows.forEach((row, index) => this.#fill(row, people[index], index, bitmap));
    this.#table.hidden = !people.length;
    this.#nobody.hidden = people.length > 0;
    if (this.#pinned && !rows.some(({ identity }) => identity === this.#pinned)) this.#pinned = null;
    this.#mark();
  }

  /** Say why there is nobody. */
  empty(text) {
    this.#nobody.textContent = text;
    this.show([], null);
  }

  /** The picture's pointer is over somebody, or null. */
  point(identity) {
    this.#hovered = identity;
    this.#mark();
  }

  #newRow() {
    const row = document.createElement("tr");
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "person";
    const model = document.createElement("span");
    model.className = "model";
    const cells = [0, 1, 2, 3, 4].map(() => row.insertCell());
    cells[0].append(canvas);
    cells[1].append(button, model);
    cells.slice(2).forEach((cell) => cell.classList.add("number"));
    const unsure = document.createElement("span");
    const joints = document.createElement("span");
    joints.className = "unit"; // left out on a phone
    cells[4].append(unsure, joints);
    const parts = { row, canvas, button, model, cells, unsure, joints, identity: null };
    row.addEventListener("pointerenter", () => this.point(parts.identity));
    row.addEventListener("pointerleave", () => this.point(null));
    button.addEventListener("focus", () => this.point(parts.identity));
    button.addEventListener("blur", () => this.point(null));
    row.addEventListener("click", () => {
      this.#pinned = this.#pinned === parts.identity ? null : parts.identity;
      this.#mark();
    });
    return parts;
  }

  #fill(parts, person, index, bitmap) {
    const [x1, y1, x2, y2] = person.box;
    parts.identity = identityOf(person, index);
    parts.button.style.setProperty("--swatch", colorOf(person, index));
    const name = person.track_id == null ? `Person ${index + 1}` : `Track ${person.track_id}`;
    setText(parts.button, name);
    setText(parts.model, person.model);
    setText(parts.cells[2], person.score.toFixed(2));
    setText(parts.cells[3], String(Math.round(y2 - y1)));
    this.#tellUnsure(parts, person);
    if (bitmap) this.#closeUp(parts.canvas, person, index, bitmap);
    else parts.canvas.width = 1;
  }

  /** "2 of 17" where the answer says which joints are unsure. */
  #tellUnsure(parts, { unsure }) {
    setText(parts.unsure, unsure ? String(unsure.filter(Boolean).length) : "–");
    setText(parts.joints, unsure ? ` of ${unsure.length}` : "");
  }

  #closeUp(canvas, person, index, bitmap) {
    const [x1, y1, x2, y2] = person.box;
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(CLOSE_UP.width * density);
    canvas.height = Math.round(CLOSE_UP.height * density);
    const [wide, high] = [(x2 - x1) * (1 + 2 * MARGIN), (y2 - y1) * (1 + 2 * MARGIN)];
    const scale = Math.min(canvas.width / wide, canvas.height / high);
    const left = (x1 + x2) / 2 - canvas.width / scale / 2;
    const top = (y1 + y2) / 2 - canvas.height / scale / 2;
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, -left * scale, -top * scale, bitmap.width * scale, bitmap.height * scale);
    const look = { skeletonOf: this.skeletonOf, scale, density: density * 0.7, offset: [left, top], first: index };
    drawPeople(context, [person], look);
  }

  #mark() {
    const identity = this.#hovered ?? this.#pinned;
    for (const row of this.#rows) {
      row.row.dataset.highlighted = String(row.identity === identity);
      row.button.setAttribute("aria-pressed", String(row.identity === this.#pinned));
    }
    this.onHighlight(identity);
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
