// Play, pause and the position of a clip.

export class Player {
  #group;
  #button;
  #seek;
  #clock;
  #video;

  constructor(group, video) {
    this.#group = group;
    this.#video = video;
    this.#button = group.querySelector("#play");
    this.#seek = group.querySelector("#seek");
    this.#clock = group.querySelector("#clock");
    this.#button.addEventListener("click", () => this.#toggle());
    this.#seek.addEventListener("input", () => {
      video.currentTime = Number(this.#seek.value);
    });
    for (const event of ["play", "pause", "ended", "timeupdate", "durationchange", "seeked"]) {
      video.addEventListener(event, () => this.#tell());
    }
  }

  show() {
    this.#group.hidden = false;
    this.#tell();
  }

  hide() {
    this.#group.hidden = true;
  }

  #toggle() {
    if (this.#video.paused) this.#video.play().catch(() => this.#tell());
    else this.#video.pause();
  }

  #tell() {
    const { paused, currentTime, duration } = this.#video;
    const length = Number.isFinite(duration) ? duration : currentTime;
    this.#button.dataset.playing = String(!paused);
    this.#button.setAttribute("aria-label", paused ? "Play" : "Pause");
    this.#seek.max = length || 1;
    this.#seek.value = currentTime;
    this.#seek.setAttribute("aria-valuetext", `${clock(currentTime)} of ${clock(length)}`);
    this.#clock.textContent = `${clock(currentTime)} / ${clock(length)}`;
  }
}

function clock(seconds) {
  const whole = Math.floor(seconds || 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
