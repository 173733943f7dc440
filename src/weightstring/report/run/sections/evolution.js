const evolution = figures.drawn.evolution[0];
const step = document.getElementById("step"), turn = document.getElementById("turn"), play = document.getElementById("play");

// What fits into a wide figure is cut off in a narrow one, unless it is seen from farther away.
const eye = evolution.layout.scene.camera.eye, stage = document.getElementById("figure-evolution");
const farther = Math.max(1, 1.6 * stage.clientHeight / stage.clientWidth);
for (const axis of "xyz") eye[axis] *= farther;

// A browser without WebGL shows the first two components.
const spatial = document.createElement("canvas").getContext("webgl") !== null;
if (!spatial) turn.hidden = turn.labels[0].hidden = true;

function flat(data, { scene, ...layout }) {
  const traces = data.map(({ z, ...trace }) => ({ ...trace, type: "scatter", y: z }));
  return { data: traces, layout: { ...layout, margin: { l: 64, r: 12, t: 12, b: 48 }, xaxis: scene.xaxis, yaxis: scene.zaxis } };
}

function atStep() {
  const frame = evolution.frames[Number(step.value)];
  document.getElementById("step-label").value = frame.name;
  return spatial ? { data: frame.data, layout: evolution.layout } : flat(frame.data, evolution.layout);
}

let playing = null;
function stop() {
  clearInterval(playing);
  playing = null;
  play.textContent = "Play";
}

play.addEventListener("click", () => {
  if (playing !== null) return stop();
  if (step.value === step.max) step.value = 0; else step.value = Number(step.value) + 1;
  place("figure-evolution", atStep(), false);
  play.textContent = "Stop";
  playing = setInterval(() => {
    step.value = Number(step.value) + 1;
    place("figure-evolution", atStep(), false);
    if (step.value === step.max) stop();
  }, 900);
});
step.addEventListener("input", () => { stop(); place("figure-evolution", atStep(), false); });
turn.addEventListener("input", () => {
  const angle = Number(turn.value) * Math.PI / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  Plotly.relayout("figure-evolution", { "scene.camera.eye": { x: cos * eye.x - sin * eye.y, y: sin * eye.x + cos * eye.y, z: eye.z } });
});
current.evolution = atStep;
