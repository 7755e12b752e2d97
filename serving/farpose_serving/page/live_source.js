// A video element whose frames go over `WS /stream`: a clip or the webcam.
//
// A frame is sent when the one before it was answered. Frames that come meanwhile are skipped, and
// the newest of them goes next. An answer is drawn over the very frame that was sent.

import { PoseStream } from "./stream.js";

/** Longer side of the frames that are sent, in pixels. */
const SENT_SIDE = 1920;
const JPEG_QUALITY = 0.9;

/** Milliseconds before a connection that was lost is tried again. */
const RETRY = 2000;

/** Milliseconds to leave a service alone that has too much to do. */
const BREAK = 500;

export class LiveSource {
  live = true;
  example = { name: "frame.jpg", type: "image/jpeg" };

  #video;
  #service;
  #view;
  #options = null;
  #stream = null;
  #canvas = document.createElement("canvas");
  #callback = 0;
  #retry = 0;
  #newest = null; // seconds of the newest frame on the screen
  #sent = -Infinity; // seconds of the newest frame that was sent
  #skipped = false;
  #encoding = false;
  #stopped = false;
  #jumped = false;
  #onSeek = () => (this.#jumped = true);

  /**
   * @param video    plays the frames
   * @param service  for its key
   * @param view     shows: `opened`, `answered`, `failed`
   */
  constructor(video, service, view) {
    this.#video = video;
    this.#service = service;
    this.#view = view;
  }

  /** Begin to send the frames that the video shows. */
  begin(options) {
    this.#options = options;
    this.#newest = this.time(performance.now(), 0);
    this.#video.addEventListener("seeking", this.#onSeek);
    this.#watch();
    this.#connect();
  }

  /** Other options, from the next frame on; a frame that stands still is asked about again. */
  change(options) {
    this.#options = options;
    if (this.#video.paused) this.#connect();
    else this.#stream?.change(options.all);
  }

  /** Begin again after a final problem. */
  again(options) {
    this.#options = options;
    this.#video.play();
    this.#connect();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#video.removeEventListener("seeking", this.#onSeek);
    this.#video.cancelVideoFrameCallback(this.#callback);
    this.#stream?.close();
    this.#video.pause();
    this.#video.removeAttribute("src");
    this.#video.srcObject = null;
    this.#video.load();
  }

  /**
   * A new connection: to the service, these are the frames of another camera. It follows people
   * from frame to frame, which would lead it astray where the clip jumps.
   */
  #connect() {
    this.#jumped = false;
    clearTimeout(this.#retry);
    this.#stream?.close();
    this.#sent = -Infinity;
    this.#skipped = true;
    const stream = new PoseStream(this.#options.all, this.#service.key, {
      onOpen: () => this.#offer(),
      onAnswer: (answer, bitmap, milliseconds) => {
        this.#view.answered(answer, bitmap, milliseconds);
        this.#offer();
      },
      onProblem: (problem, final, ended) => this.#failed(problem, final, ended),
    });
    this.#stream = stream;
  }

  #failed(problem, final, ended) {
    if (this.#stopped) return;
    this.#view.failed(problem, final);
    if (final) this.#video.pause();
    if (ended && !final) this.#retry = setTimeout(() => this.#connect(), RETRY);
    if (ended) return;
    const busy = problem.status === 429 || problem.status === 503;
    setTimeout(() => this.#offer(), busy ? BREAK : 0);
  }

  #watch() {
    this.#callback = this.#video.requestVideoFrameCallback((now, { mediaTime }) => {
      this.#newest = this.time(now, mediaTime);
      if (this.#jumped || this.#newest < this.#sent) {
        this.#connect();
        this.#jumped = this.#video.seeking; // this may still be a frame from before the jump
      }
      this.#skipped = true;
      this.#offer();
      this.#watch();
    });
  }

  /** Seconds at which a frame was taken. */
  time(now, mediaTime) {
    return mediaTime;
  }

  /** Send the newest frame, if there is one that was not sent and it may be sent. */
  async #offer() {
    const stream = this.#stream;
    if (!this.#skipped || this.#encoding || this.#newest === null || !stream?.free) return;
    if (this.#newest <= this.#sent) return;
    const timestamp = this.#newest;
    this.#skipped = false;
    this.#encoding = true;
    try {
      const bitmap = await this.#grab();
      const picture = await this.#encode(bitmap);
      if (this.#stopped || stream !== this.#stream) {
        bitmap.close();
        this.#skipped = true;
        return;
      }
      this.#sent = timestamp;
      stream.send(picture, timestamp, bitmap);
    } finally {
      this.#encoding = false;
      if (stream !== this.#stream) this.#offer();
    }
  }

  #grab() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const shrink = Math.min(1, SENT_SIDE / Math.max(width, height));
    return createImageBitmap(this.#video, {
      resizeWidth: Math.max(1, Math.round(width * shrink)),
      resizeHeight: Math.max(1, Math.round(height * shrink)),
      resizeQuality: "high",
    });
  }

  #encode(bitmap) {
    this.#canvas.width = bitmap.width;
    this.#canvas.height = bitmap.height;
    this.#canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    return new Promise((done) => this.#canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
  }
}
