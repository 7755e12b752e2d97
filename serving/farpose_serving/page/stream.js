// One connection to `WS /stream`: frames out, answers in, never more than one frame on its way
// unless the service lets it wait.

import { Problem, address, problemIn } from "./service.js";

/** Milliseconds after which the next frame goes out although the last was not answered. */
const PATIENCE = 1000;

const REFUSED = 1008;
const TOO_LARGE = 1009;

export class PoseStream {
  #socket;
  #sent = 0;
  #lastSent = -Infinity;
  #waiting = new Map();
  #closed = false;
  #problem = null;

  /**
   * @param options    for all frames until they are changed
   * @param key        API key or ""
   * @param onAnswer   (answer, frame, milliseconds): an answer and the frame it belongs to
   * @param onProblem  (problem, final, ended): what went wrong; final where another try is of no
   *                   use, ended where the connection is
   * @param onOpen     frames can be sent
   */
  constructor(options, key, { onAnswer, onProblem, onOpen }) {
    const target = address("stream", options);
    target.protocol = target.protocol === "https:" ? "wss:" : "ws:";
    this.onAnswer = onAnswer;
    this.onProblem = onProblem;
    this.#socket = new WebSocket(target);
    this.#socket.addEventListener("open", () => {
      if (this.#closed) {
        this.#socket.close();
        return;
      }
      if (key) this.#say({ api_key: key });
      onOpen();
    });
    this.#socket.addEventListener("message", (event) => this.#heard(JSON.parse(event.data)));
    this.#socket.addEventListener("close", (event) => this.#ended(event));
  }

  /** Whether a frame may be sent now. */
  get free() {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    return !this.#waiting.size || performance.now() - this.#lastSent > PATIENCE;
  }

  /** Send one frame: an encoded picture, its time in seconds, and the bitmap to keep for later. */
  send(picture, timestamp, bitmap) {
    if (this.#socket.readyState !== WebSocket.OPEN) {
      bitmap.close();
      return;
    }
    this.#say({ timestamp });
    this.#socket.send(picture);
    this.#lastSent = performance.now();
    this.#waiting.set(this.#sent++, { bitmap, sent: this.#lastSent });
  }

  /** Change options for all later frames. */
  change(options) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#say(options);
  }

  /** Hang up; nothing more is reported. */
  close() {
    this.#closed = true;
    // One that is still being opened is closed then: browsers complain about it before.
    if (this.#socket.readyState !== WebSocket.CONNECTING) this.#socket.close();
    this.#forget(Infinity);
  }

  #say(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #heard(message) {
    if (this.#closed) return;
    const problem = problemIn(message);
    if (problem) {
      if ("frame" in message) this.#forget(message.frame);
      this.#problem = problem;
      this.onProblem(problem, false);
      return;
    }
    this.#problem = null;
    const frame = this.#waiting.get(message.frame);
    this.#waiting.delete(message.frame);
    this.#forget(message.frame);
    if (frame) this.onAnswer(message, frame.bitmap, performance.now() - frame.sent);
  }

  /** Answers come in order: what is older than an answered frame was dropped. */
  #forget(upTo) {
    for (const [number, { bitmap }] of this.#waiting) {
      if (number > upTo) break;
      bitmap.close();
      this.#waiting.delete(number);
    }
  }

  #ended(event) {
    if (this.#closed) return;
    this.close();
    const lost = new Problem({
      title: "The connection has ended",
      detail: event.reason || "The service ended the connection, or it was lost.",
    });
    const final = event.code === REFUSED || event.code === TOO_LARGE;
    this.onProblem(this.#problem ?? lost, final, true);
  }
}
