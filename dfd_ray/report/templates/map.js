// The map: two clouds of the same faces in the same colours, and a panel with the face under the pointer.
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b3a125", "#8f5fbf", "#44aa99", "#a8604a"];
const faces = island("map-data");
const pointer = { x: 0, y: 0 };

function hasWebgl() {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl"));
  } catch {
    return false;
  }
}

function colours(by) {
  const dim = css("--dim"), real = css("--real"), fake = css("--fake");
  if (by === "cluster") return { color: faces.cluster.map(one => (one < 0 ? dim : PALETTE[one % PALETTE.length])) };
  if (by === "label") return { color: faces.label.map(one => (one === "REAL" ? real : one === "FAKE" ? fake : dim)) };
  const known = faces.video.map(video => faces.probability[video] ?? 0.5);
  return { color: known, cmin: 0, cmax: 1, colorscale: [[0, real], [0.5, dim], [1, fake]], showscale: false };
}

function entry(colour, text) {
  const item = document.createElement("span"), dot = document.createElement("i");
  dot.className = "dot";
  dot.style.background = colour;
  item.append(dot, text);
  return item;
}

function drawLegend(by) {
  const legend = document.getElementById("legend");
  legend.replaceChildren();
  if (by === "probability") {
    const ramp = document.createElement("i");
    ramp.className = "ramp";
    const item = document.createElement("span");
    item.append("0 REAL", ramp, "FAKE 1");
    legend.append(item);
  } else if (by === "label") {
    legend.append(entry(css("--real"), "REAL"), entry(css("--fake"), "FAKE"));
    if (faces.label.includes(null)) legend.append(entry(css("--dim"), "unlabelled"));
  } else {
    const clusters = [...new Set(faces.cluster)].filter(one => one >= 0).sort((a, b) => a - b);
    if (clusters.length <= PALETTE.length) legend.append(...clusters.map(one => entry(PALETTE[one % PALETTE.length], `${one}`)));
    else legend.append(`${clusters.length} clusters; colours repeat after ${PALETTE.length}`);
    if (faces.cluster.includes(-1)) legend.append(entry(css("--dim"), "in no cluster"));
  }
}

function cloud(id, axes, names, marker, webgl) {
  const place = document.getElementById(id);
  const solid = axes.length > 2 && webgl;
  const [x, y, z] = axes;
  const trace = { mode: "markers", hoverinfo: "none", x, y, marker: { size: solid ? 3 : 5, opacity: 0.85, line: { width: 0 }, ...marker } };
  const line = css("--line"), quiet = { showticklabels: false, zeroline: false, gridcolor: line, linecolor: line, showspikes: false };
  const axis = name => ({ ...quiet, title: { text: name, font: { size: 11 } }, showbackground: false });
  const layout = solid
    ? { scene: { xaxis: axis(names[0]), yaxis: axis(names[1]), zaxis: axis(names[2]), aspectmode: "data", dragmode: "turntable", camera: { eye: { x: 1.6, y: 1.6, z: 1.1 } } }, margin: { l: 0, r: 0, t: 0, b: 0 }, uirevision: "keep" }
    : { xaxis: { ...quiet, title: { text: names[0] } }, yaxis: { ...quiet, title: { text: names[1] }, scaleanchor: "x" }, margin: { l: 24, r: 12, t: 12, b: 30 }, uirevision: "keep", hovermode: "closest" };
  Plotly.react(place, [solid ? { ...trace, type: "scatter3d", z } : { ...trace, type: "scatter" }], layoutOf(layout), CONFIG);
  if (place.dataset.bound) return;
  place.dataset.bound = "yes";
  place.on("plotly_hover", event => showFace(event.points[0].pointNumber));
  place.on("plotly_click", event => showFace(event.points[0].pointNumber));
  place.on("plotly_unhover", hideFace);
}

function showFace(number) {
  const panel = document.getElementById("hover"), picture = document.getElementById("hover-face"), sprite = faces.sprite[number];
  picture.hidden = sprite < 0;
  if (sprite >= 0) {
    const perSheet = faces.columns * faces.columns, zoom = 158 / faces.cell, inSheet = sprite % perSheet;
    const count = Math.min(perSheet, Math.max(...faces.sprite) + 1 - (sprite - inSheet));
    picture.style.backgroundImage = `url(${faces.sheets[Math.floor(sprite / perSheet)]})`;
    picture.style.backgroundSize = `${Math.min(faces.columns, count) * faces.cell * zoom}px auto`;
    picture.style.backgroundPosition = `-${(inSheet % faces.columns) * faces.cell * zoom}px -${Math.floor(inSheet / faces.columns) * faces.cell * zoom}px`;
  }
  const video = faces.video[number], chance = faces.probability[video], cluster = faces.cluster[number];
  const lines = [faces.videos[video], `frame ${faces.frame[number]}`, faces.label[number] ?? "unlabelled", cluster < 0 ? "in no cluster" : `cluster ${cluster}`];
  if (chance !== null && chance !== undefined) lines.push(`probability of FAKE ${chance.toFixed(2)}`);
  document.getElementById("hover-text").replaceChildren(...lines.flatMap(line => [line, document.createElement("br")]));
  panel.hidden = false;
  const box = panel.getBoundingClientRect();
  const left = pointer.x + 18 + box.width > innerWidth ? pointer.x - box.width - 18 : pointer.x + 18;
  panel.style.left = `${Math.max(6, left)}px`;
  panel.style.top = `${Math.max(6, Math.min(pointer.y - 40, innerHeight - box.height - 6))}px`;
}

function hideFace() {
  document.getElementById("hover").hidden = true;
}

function drawMap() {
  const by = document.getElementById("colour-by").value, marker = colours(by), webgl = hasWebgl();
  drawLegend(by);
  const flat = faces.tsne.length < 3;
  document.getElementById("no-webgl").hidden = webgl || flat;
  const components = faces.pca.slice(0, flat ? 2 : 3);
  if (components.length > 1) cloud("map-pca", components, ["PC 1", "PC 2", "PC 3"], marker, webgl);
  else document.getElementById("map-pca").closest("figure").hidden = true;
  cloud("map-tsne", faces.tsne, ["", "", ""], marker, webgl);
}

if (faces && window.Plotly) {
  addEventListener("pointermove", event => Object.assign(pointer, { x: event.clientX, y: event.clientY }));
  addEventListener("pointerdown", event => Object.assign(pointer, { x: event.clientX, y: event.clientY }));
  addEventListener("scroll", hideFace, { passive: true });
  document.getElementById("colour-by").addEventListener("change", drawMap);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
  drawMap();
}
