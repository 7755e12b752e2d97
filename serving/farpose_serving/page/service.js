// The service as this page calls it. Addresses are relative: it may live under a prefix.

/** An error that can be shown: what the service answered, or that it did not answer. */
export class Problem extends Error {
  constructor({ title, detail, status = 0, id = "" }) {
    super(detail);
    this.title = title;
    this.detail = detail;
    this.status = status;
    this.id = id;
  }

  /** Whether the service wants another API key. */
  get wantsKey() {
    return this.status === 401 || this.status === 403;
  }
}

export class Service {
  /** API key, kept in memory alone; empty where none was given. */
  key = "";

  /** The models that the service has. */
  async models() {
    const response = await this.#fetch("models", { headers: this.#headers() });
    return (await response.json()).models;
  }

  /** The people of a picture, and the milliseconds until they were here. */
  async findPeople(picture, query, signal) {
    const started = performance.now();
    const response = await this.#fetch(address("pose", query), {
      method: "POST",
      headers: this.#headers({ "Content-Type": picture.type || "application/octet-stream" }),
      body: picture,
      signal,
    });
    const answer = await response.json();
    return { answer, milliseconds: performance.now() - started };
  }

  #headers(more = {}) {
    return this.key ? { ...more, "X-API-Key": this.key } : more;
  }

  async #fetch(target, init) {
    let response;
    try {
      response = await fetch(target, { ...init, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({
        title: "The service does not answer",
        detail: "The connection failed: check that the service runs, then try again.",
      });
    }
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

/** The address of one of the service's routes, with a query. */
export function address(route, query = {}) {
  const target = new URL(route, document.baseURI);
  target.search = new URLSearchParams(query);
  return target;
}

/** The problem of a message that is one, else null. */
export function problemIn(message) {
  return "detail" in message && "title" in message ? new Problem(message) : null;
}

async function problemOf(response) {
  try {
    const problem = problemIn(await response.json());
    if (problem) return problem;
  } catch {
    // Not JSON: it comes from something between here and the service.
  }
  return new Problem({
    title: response.statusText || "The request failed",
    detail: `The answer has status ${response.status} and does not say more.`,
    status: response.status,
  });
}
