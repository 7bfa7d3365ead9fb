"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const figures = read("drawings"), csv = read("csv"), scene = read("atoms");
const live = [];
let viewer = null, frame = scene ? scene.first : 0, kind = null, chosen = null;

/* Tables: a click on a head sorts by what the cells hold, not by their rounded text. */
for (const head of document.querySelectorAll("th")) {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    head.parentNode.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const held = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = up ? [held(a), held(b)] : [held(b), held(a)];
      if (held(a) === "" || held(b) === "") return (held(a) === "") - (held(b) === "");
      return isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    });
    body.append(...rows);
  });
}

/* A page that was sent alone still holds its tables, but for long ones. */
for (const link of document.querySelectorAll("a[download]")) {
  const name = link.download.replace(/\.csv$/, "");
  if (name in csv) link.addEventListener("click", () => {
    link.href = URL.createObjectURL(new Blob([csv[name]], { type: "text/csv" }));
  });
}

/* Figures: one after the other, each taking the place of its picture. */
const look = {
  font: { family: "system-ui, sans-serif", size: 12, color: "#1a1a1a" },
  paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest", dragmode: "zoom",
  legend: { tracegroupgap: 0, font: { size: 11 }, itemsizing: "constant" },
};
const axis = { showline: true, mirror: true, linewidth: 1, linecolor: "#444", ticks: "inside", ticklen: 4,
  showgrid: false, zeroline: false, automargin: true };
const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

/* A map that repeats itself: each pixel has the value of the cell of the lattice it lies in. */
function fill(trace) {
  const { corner, inverse, values } = trace.lattice, sizes = [values.length, values[0].length];
  const cell = (u, v, axis) => {
    const share = u * inverse[0][axis] + v * inverse[1][axis];
    return Math.min(sizes[axis] - 1, Math.floor((share - Math.floor(share)) * sizes[axis]));
  };
  trace.z = trace.y.map((y) => trace.x.map((x) => {
    const [u, v] = [x - corner[0], y - corner[1]];
    return values[cell(u, v, 0)][cell(u, v, 1)];
  }));
  delete trace.lattice;
}

async function drawFigure(name) {
  const holder = document.getElementById("figure-" + name), place = holder.querySelector(".live");
  const { data, layout } = figures[name];
  for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) layout[key] = { ...axis, ...layout[key] };
  data.filter((trace) => trace.lattice).forEach(fill);
  place.style.height = layout.height + "px";
  holder.classList.add("drawn");
  await Plotly.newPlot(place, data, { ...look, ...layout }, options);
  place.on("plotly_click", (event) => choose(event.points[0].data.name));
  live.push(place);
}

/* The value of the atom that is chosen, in every panel that has its quantity along x. */
function markValue(value) {
  for (const place of live) {
    const shapes = (place.layout.shapes || []).filter((shape) => shape.name !== "atom");
    if (value !== null)
      for (const key of Object.keys(place.layout).filter((name) => /^xaxis/.test(name)))
        if (place.layout[key].title.text === scene.label) {
          const number = key.slice(5);
          shapes.push({ name: "atom", type: "line", x0: value, x1: value, y0: 0, y1: 1, xref: "x" + number,
            yref: "y" + number + " domain", line: { color: "#d55e00", width: 2 } });
        }
    if (shapes.length !== (place.layout.shapes || []).length || value !== null) Plotly.relayout(place, { shapes });
  }
}

/* Atoms. */
const short = (value) => Math.abs(value) >= 1e4 ? value.toExponential(2) : String(+value.toPrecision(4));
function colourOf(value) {
  const [low, high] = scene.ends, share = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
  return scene.colours[Math.round(share * (scene.colours.length - 1))];
}
const pale = (colour) => "#" + [1, 3, 5].map((at) =>
  Math.round(255 - (255 - parseInt(colour.slice(at, at + 2), 16)) * 0.25).toString(16).padStart(2, "0")).join("");
const kindOf = (atom) => (scene.kinds.length ? scene.kinds[frame][atom] : "");

function drawAtoms() {
  viewer.removeAllModels();
  viewer.removeAllShapes();
  const model = viewer.addModel(), place = scene.positions[frame], values = scene.values[frame];
  model.addAtoms(scene.symbols.map((elem, index) =>
    ({ elem, index, serial: index, x: place[3 * index], y: place[3 * index + 1], z: place[3 * index + 2], bonds: [], bondOrder: [] })));
  const told = values.some((value) => value !== null);
  for (let atom = 0; atom < scene.symbols.length; atom++) {
    const look = scene.looks[scene.symbols[atom]], value = values[atom], valued = value !== null;
    const faded = kind !== null && kindOf(atom) !== kind;
    model.setStyle({ index: atom }, { sphere: {
      color: faded ? pale(valued ? colourOf(value) : look.colour) : valued ? colourOf(value) : look.colour,
      radius: (valued || !told ? 1.9 : 1) * look.radius * (atom === chosen ? 1.5 : 1) * (faded ? 0.6 : 1),
    } });
  }
  const cell = scene.cells[Math.min(frame, scene.cells.length - 1)];
  const corner = (i, j, k) => ({ x: i * cell[0] + j * cell[3] + k * cell[6], y: i * cell[1] + j * cell[4] + k * cell[7],
    z: i * cell[2] + j * cell[5] + k * cell[8] });
  for (const [i, j] of [[0, 0], [0, 1], [1, 0], [1, 1]])
    for (const ends of [[corner(0, i, j), corner(1, i, j)], [corner(i, 0, j), corner(i, 1, j)], [corner(i, j, 0), corner(i, j, 1)]])
      viewer.addLine({ start: ends[0], end: ends[1], color: "#888888" });
  viewer.setClickable({}, true, (atom) => pick(atom.index));
  viewer.render();
  document.getElementById("time").textContent = scene.times[frame];
}

function pick(atom) {
  chosen = atom === chosen ? null : atom;
  const value = chosen === null ? null : scene.values[frame][chosen];
  const [quantity, unit] = scene.label.replace(/<[^>]*>/g, "").split(" / ");
  const parts = chosen === null ? [] : [`${scene.symbols[atom]}, atom ${atom}`, kindOf(atom),
    value === null ? "no value" : `${quantity} ${short(value)} ${unit || ""}`];
  document.getElementById("atom").textContent = parts.filter(Boolean).join(", ");
  drawAtoms();
  markValue(value);
}

function choose(name) {
  if (!viewer || !scene.kinds.some((row) => row.includes(name))) return;
  kind = name === kind ? null : name;
  for (const button of document.querySelectorAll("#kinds button")) button.classList.toggle("chosen", button.textContent === kind);
  drawAtoms();
}

function drawScene() {
  const holder = document.getElementById("scene");
  if (!window.WebGLRenderingContext || !document.createElement("canvas").getContext("webgl2")) {
    holder.textContent = "This browser shows no 3D graphics (WebGL), so the atoms are left out.";
    holder.style.height = "auto";
    return;
  }
  holder.classList.add("drawn");
  viewer = $3Dmol.createViewer(holder.querySelector(".live"), { backgroundColor: "white", antialias: true });
  viewer.setProjection("orthographic");
  drawAtoms();
  viewer.rotate(12, "z");
  viewer.rotate(-78, "x");
  viewer.zoomTo();
  viewer.zoom(0.9);
  viewer.render();
  holder.querySelector(".still").src = viewer.pngURI();
  const slider = document.getElementById("frame");
  slider.addEventListener("input", () => { frame = +slider.value; drawAtoms(); });
  const kinds = document.getElementById("kinds");
  for (const name of [...new Set(scene.kinds.flat())].filter(Boolean)) {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () => choose(name));
    kinds.append(button);
  }
  document.querySelector(".ramp").style.background = `linear-gradient(to right, ${scene.colours.join(", ")})`;
}

/* Atoms first, then each figure when it comes near the window; the pictures stand there at once. */
const MARGIN = 600, waiting = new Set(document.querySelectorAll("figure"));
let work = Promise.resolve();
function drawNear() {
  for (const figure of waiting) {
    const { top, bottom } = figure.getBoundingClientRect();
    if (top > innerHeight + MARGIN || bottom < -MARGIN) continue;
    waiting.delete(figure);
    work = work.then(() => drawFigure(figure.id.slice("figure-".length))).then(() => new Promise((after) => setTimeout(after)));
  }
  work.then(() => { document.body.dataset.drawn = Math.round(performance.now()); });
}
addEventListener("scroll", drawNear, { passive: true });
addEventListener("resize", drawNear);
setTimeout(() => {
  if (scene) drawScene();
  drawNear();
});
