// Which joints a limb connects, as the service says it for each of its pose models.

export class Skeletons {
  #edges = new Map();

  /** Take over what `/models` says. */
  load(models) {
    this.#edges.clear();
    for (const { name, skeleton } of models) {
      if (!skeleton) continue;
      const place = new Map(skeleton.joints.map((joint, index) => [joint, index]));
      this.#edges.set(name, skeleton.edges.map(([a, b]) => [place.get(a), place.get(b)]));
    }
  }

  /** Names of the models that answer joints. */
  get models() {
    return [...this.#edges.keys()];
  }

  /** Limbs of a person as pairs of indices; none while the service has not told. */
  of(person) {
    return this.#edges.get(person.model) ?? [];
  }
}
