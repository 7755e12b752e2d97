// The page, put together from its parts.

import { ClipSource } from "./clip_source.js";
import { copyText, curlCommand } from "./curl.js";
import { takeFiles } from "./files.js";
import { Latency } from "./latency.js";
import { Messages } from "./messages.js";
import { Options } from "./options.js";
import { PeopleTable } from "./people.js";
import { PictureSource } from "./picture_source.js";
import { Player } from "./player.js";
import { Service } from "./service.js";
import { ServiceState } from "./service_state.js";
import { Skeletons } from "./skeletons.js";
import { Stage } from "./stage.js";
import { View } from "./view.js";
import { WebcamSource } from "./webcam_source.js";

const element = (id) => document.getElementById(id);
const video = element("video");

const service = new Service();
const skeletons = new Skeletons();
const stage = new Stage(element("frame"));
const people = new PeopleTable(element("people"), element("nobody"));
const options = new Options(element("options"));
const player = new Player(element("player"), video);
const view = new View({
  stage,
  people,
  latency: new Latency(element("latency"), element("latency-note"), element("no-latency")),
  messages: new Messages(element("status"), element("said"), element("problem")),
  stageBox: element("stage"),
  rate: element("rate"),
  json: element("json"),
});
const state = new ServiceState(element("service"), service, (models) => {
  skeletons.load(models);
  options.offerModels(skeletons.models);
  stage.draw();
});

let source = null;

async function open(name, next) {
  source?.stop();
  source = next;
  const drop = element("drop");
  if (document.activeElement === drop) element("view").focus({ preventScroll: true });
  drop.hidden = true;
  element("close").hidden = false;
  view.begin(name, next.live);
  showCommand();
  try {
    await next.start(options);
  } catch (problem) {
    if (source === next) view.failed(problem, true);
  }
}

function close() {
  const hadFocus = document.activeElement === element("close");
  source?.stop();
  source = null;
  view.clear();
  element("drop").hidden = false;
  element("close").hidden = true;
  if (hadFocus) element("drop").focus();
  showCommand();
}

function openFile(file) {
  const clip = file.type.startsWith("video/");
  const next = clip
    ? new ClipSource(file, video, player, service, view)
    : new PictureSource(file, service, view);
  open(file.name || "The picture", next);
}

function showCommand() {
  const example = source?.example ?? { name: "street.jpg", type: "image/jpeg" };
  const asked = { ...example, query: options.query, key: service.key };
  element("curl").textContent = curlCommand(asked);
  element("curl-note").hidden = !source?.live;
}

function askForKey(wanted) {
  const form = element("key-form");
  if (wanted === !form.hidden) return;
  form.hidden = !wanted;
  if (wanted) element("key").focus();
}

stage.skeletonOf = people.skeletonOf = (person) => skeletons.of(person);
stage.onPoint = (identity) => people.point(identity);
people.onHighlight = (identity) => stage.highlight(identity);

view.onProblem = (problem) => {
  state.heard(problem);
  element("drop").hidden = problem === null || !element("frame").hidden;
  if (!problem || problem.wantsKey) askForKey(problem !== null);
};
state.onKeyWanted = () => askForKey(true);

options.onChange = () => {
  showCommand();
  source?.change(options);
};

takeFiles(
  { stage: element("stage"), input: element("file"), buttons: [element("drop"), element("choose")] },
  openFile,
);
element("webcam").addEventListener("click", () => {
  open("Webcam", new WebcamSource(video, service, view));
});
element("close").addEventListener("click", close);
element("reset").addEventListener("click", () => options.reset());
element("boxes").addEventListener("change", (event) => {
  stage.boxes = event.target.checked;
  stage.draw();
});
element("copy").addEventListener("click", async (event) => {
  const copied = await copyText(element("curl"));
  event.target.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
  setTimeout(() => (event.target.textContent = "Copy"), 2000);
});
element("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  service.key = element("key").value.trim();
  askForKey(false);
  showCommand();
  await state.ask();
  source?.again(options);
});

showCommand();
state.ask();
