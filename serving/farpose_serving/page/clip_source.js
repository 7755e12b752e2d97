// A video file, with its playback.

import { LiveSource } from "./live_source.js";
import { Problem } from "./service.js";

export class ClipSource extends LiveSource {
  #file;
  #video;
  #player;
  #address = "";

  constructor(file, video, player, service, view) {
    super(video, service, view);
    this.#file = file;
    this.#video = video;
    this.#player = player;
  }

  /** Play the clip from its beginning; `Problem` if the browser cannot. */
  async start(options) {
    this.#address = URL.createObjectURL(this.#file);
    this.#video.src = this.#address;
    try {
      await this.#video.play();
    } catch (error) {
      if (error.name === "AbortError") return; // closed meanwhile
      throw new Problem({
        title: "The video cannot be played",
        detail: `This browser cannot read ${this.#file.name}: try an MP4 (H.264) or WebM file.`,
      });
    }
    this.#player.show();
    this.begin(options);
  }

  stop() {
    super.stop();
    this.#player.hide();
    URL.revokeObjectURL(this.#address);
  }
}
