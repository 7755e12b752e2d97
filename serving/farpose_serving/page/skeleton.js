// People drawn onto a canvas: limbs, joints and boxes.

/** Colours that colour-blind people tell apart (Okabe and Ito, 2008); people take turns. */
export const PALETTE = [
  "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#d55e00", "#0072b2",
];

const HALO = "rgb(0 0 0 / 55%)";
const FADED = 0.22;

/** The colour of a person, which stays with the track where there is one. */
export function colorOf(person, index) {
  return PALETTE[(person.track_id ?? index) % PALETTE.length];
}

/** What tells a person from others while the picture changes: the track, else the place. */
export function identityOf(person, index) {
  return person.track_id == null ? `place ${index}` : `track ${person.track_id}`;
}

/**
 * Draw people.
 *
 * @param context      of a canvas
 * @param people       of an answer
 * @param skeletonOf   (person) => pairs of indices into its keypoints
 * @param scale        canvas pixels per picture pixel
 * @param density      canvas pixels per CSS pixel: lines keep their width on every screen
 * @param offset       [x, y] of the canvas corner in picture pixels
 * @param highlighted  identity of the one who stands out, or null
 * @param boxes        whether everybody's box is drawn
 * @param first        place of the first of these people in the answer
 */
export function drawPeople(
  context,
  people,
  { skeletonOf, scale, density = 1, offset = [0, 0], highlighted = null, boxes = false, first = 0 },
) {
  const found = people.some((person, index) => identityOf(person, index) === highlighted);
  context.lineCap = "round";
  context.lineJoin = "round";
  people.forEach((person, place) => {
    const chosen = identityOf(person, place) === highlighted;
    const color = colorOf(person, first + place);
    context.globalAlpha = found && !chosen ? FADED : 1;
    const pen = penFor(person, scale, density, chosen);
    if (boxes || chosen) drawBox(context, person, color, scale, offset, density);
    drawSkeleton(context, person, skeletonOf(person), color, scale, offset, pen);
  });
  context.globalAlpha = 1;
}

/** Width of a limb in canvas pixels, by how tall the person is on the screen. */
function penFor(person, scale, density, chosen) {
  const height = (person.box[3] - person.box[1]) * scale;
  const width = Math.min(Math.max(height / 110, 1.5 * density), 4 * density);
  return chosen ? width * 1.35 : width;
}

function drawBox(context, { box: [x1, y1, x2, y2] }, color, scale, [left, top], density) {
  // Edges are continuous: no half pixel to add.
  const place = [(x1 - left) * scale, (y1 - top) * scale, (x2 - x1) * scale, (y2 - y1) * scale];
  for (const [style, width] of [[HALO, 3 * density], [color, 1.25 * density]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.strokeRect(...place);
  }
}

function drawSkeleton(context, person, edges, color, scale, [left, top], pen) {
  // Positions are pixel centres: the first pixel's is half a pixel from the corner.
  const joints = person.keypoints.map(([x, y, score], index) => ({
    x: (x + 0.5 - left) * scale,
    y: (y + 0.5 - top) * scale,
    there: score > 0,
    unsure: person.unsure?.[index] ?? false,
  }));
  const limbs = edges.filter(([a, b]) => joints[a]?.there && joints[b]?.there);
  for (const [style, more] of [[HALO, pen * 0.9], [color, 0]]) {
    context.strokeStyle = style;
    context.lineWidth = pen + more;
    for (const [a, b] of limbs) {
      const unsure = joints[a].unsure || joints[b].unsure;
      context.setLineDash(unsure && !more ? [pen * 1.2, pen * 2] : []);
      context.beginPath();
      context.moveTo(joints[a].x, joints[a].y);
      context.lineTo(joints[b].x, joints[b].y);
      context.stroke();
    }
  }
  context.setLineDash([]);
  for (const joint of joints.filter(({ there }) => there)) drawJoint(context, joint, color, pen);
}

/** A white dot; a ring where the joint is unsure. */
function drawJoint(context, { x, y, unsure }, color, pen) {
  context.beginPath();
  context.arc(x, y, pen * 0.85, 0, 2 * Math.PI);
  context.lineWidth = Math.max(pen * 0.45, 1);
  context.fillStyle = unsure ? HALO : "#fff";
  context.strokeStyle = unsure ? "#fff" : color;
  context.fill();
  context.stroke();
}
