// The camera of this device.

import { LiveSource } from "./live_source.js";
import { Problem } from "./service.js";

const WANTED = {
  audio: false,
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: { ideal: "environment" } },
};

const REASONS = {
  NotAllowedError: "The browser was not allowed to use it: permit the camera for this page.",
  NotFoundError: "No camera was found on this device.",
  NotReadableError: "Another program uses the camera.",
};

export class WebcamSource extends LiveSource {
  #video;
  #camera = null;
  #closed = false;

  constructor(video, service, view) {
    super(video, service, view);
    this.#video = video;
  }

  /** Ask for the camera and begin; `Problem` if there is none to be had. */
  async start(options) {
    this.#camera = await openCamera();
    if (this.#closed) {
      this.#release();
      return;
    }
    this.#video.srcObject = this.#camera;
    try {
      await this.#video.play();
    } catch (error) {
      if (error.name === "AbortError") return; // closed meanwhile
      throw error;
    }
    this.begin(options);
  }

  /** The clock of this page: a camera's own does not say when it was started. */
  time(now) {
    return now / 1000;
  }

  stop() {
    this.#closed = true;
    super.stop();
    this.#release();
  }

  #release() {
    this.#camera?.getTracks().forEach((track) => track.stop());
    this.#camera = null;
  }
}

async function openCamera() {
  const title = "The webcam cannot be used";
  if (!navigator.mediaDevices) {
    const detail = "Browsers give the camera to https:// and localhost pages alone.";
    throw new Problem({ title, detail });
  }
  try {
    return await navigator.mediaDevices.getUserMedia(WANTED);
  } catch (error) {
    throw new Problem({ title, detail: REASONS[error.name] ?? error.message });
  }
}
