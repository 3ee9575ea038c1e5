"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#882255", "#44aa99", "#aa4499"];
const colour = { cluster: c => c < 0 ? css("--dim") : palette[c % palette.length], label: l => l === "FAKE" ? css("--fake") : l === "REAL" ? css("--real") : css("--dim") };

function layout(extra) {
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line") };
  const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--ink"), size: 12 }, margin: { l: 50, r: 10, t: 10, b: 45 }, showlegend: false };
  const plain = { ...axis, showticklabels: false, showbackground: false };
  return { ...base, xaxis: { ...axis, ...(extra.x || {}) }, yaxis: { ...axis, ...(extra.y || {}) }, scene: { xaxis: { ...plain, title: { text: "" } }, yaxis: { ...plain, title: { text: "" } }, zaxis: { ...plain, title: { text: "" } } }, ...(extra.more || {}) };
}
const options = { displayModeBar: false, responsive: true };

function marker() {
  const p = data.points, by = document.getElementById("colour-by").value;
  if (by === "probability") return { size: 3, color: p.probability.map(v => v === null ? 0.5 : v), colorscale: [[0, css("--real")], [0.5, css("--dim")], [1, css("--fake")]], cmin: 0, cmax: 1 };
  return { size: 3, color: by === "label" ? p.label.map(colour.label) : p.cluster.map(colour.cluster) };
}
function cloud(id, x, y, z) {
  const element = document.getElementById(id);
  const trace = z ? { type: "scatter3d", x, y, z } : { type: "scattergl", x, y };
  Plotly.react(element, [{ ...trace, mode: "markers", marker: marker(), hoverinfo: "none" }], layout({ more: { margin: { l: 0, r: 0, t: 0, b: 0 } } }), options);
  if (!element.dataset.bound) {
    element.dataset.bound = "1";
    element.on("plotly_hover", event => showFace(event.points[0].pointNumber, event.event));
    element.on("plotly_unhover", () => { document.getElementById("hover").style.display = "none"; });
  }
}
function sprite(element, number, zoom) {
  const p = data.points, per = p.columns * p.columns, place = number % per;
  const row = Math.floor(place / p.columns), column = place % p.columns;
  element.style.cssText += `width:${p.cell * zoom}px;height:${p.cell * zoom}px;background-image:url(${p.sheets[Math.floor(number / per)]});background-position:-${column * p.cell * zoom}px -${row * p.cell * zoom}px;background-size:${"auto"};`;
  if (zoom !== 1) { element.style.cssText += `width:${p.cell}px;height:${p.cell}px;background-position:-${column * p.cell}px -${row * p.cell}px;transform:scale(${zoom});margin-bottom:${p.cell * (zoom - 1)}px;`; }
}
function showFace(number, event) {
  const p = data.points, panel = document.getElementById("hover");
  panel.replaceChildren();
  const face = document.createElement("div");
  sprite(face, number, 3);
  const text = document.createElement("span");
  const chance = p.probability && p.probability[number] !== null ? `, P(FAKE) ${p.probability[number].toFixed(2)}` : "";
  text.textContent = `${p.video_id[number]}, frame ${p.frame_index[number]}, ${p.label[number] || "unlabelled"}, ${p.cluster[number] < 0 ? "noise" : "cluster " + p.cluster[number]}${chance}`;
  panel.append(face, text);
  panel.style.display = "block";
  const x = event ? event.clientX : 20, y = event ? event.clientY : 20;
  panel.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - 240))}px`;
  panel.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - 240))}px`;
}
function drawMap() {
  if (!data.points) return;
  const p = data.points, score = i => p.pca.map(row => row[i] ?? 0), flat = p.z.every(value => value === null);
  cloud("pca", score(0), score(1), flat ? null : score(2));
  cloud("tsne", p.x, p.y, flat ? null : p.z);
}
function drawCurves() {
  const element = document.getElementById("curves");
  if (!element || !data.history) return;
  const traces = [];
  data.history.forEach((fold, i) => {
    const x = fold.epochs.map(e => e.epoch), line = { color: palette[i % palette.length] };
    traces.push({ x, y: fold.epochs.map(e => e.train_loss), mode: "lines+markers", name: `fold ${fold.fold}, training`, line });
    traces.push({ x, y: fold.epochs.map(e => e.validation_loss ?? null), mode: "lines+markers", name: `fold ${fold.fold}, held out`, line: { ...line, dash: "dot" } });
  });
  Plotly.react(element, traces, layout({ x: { title: { text: "epoch" }, dtick: 1 }, y: { title: { text: "loss of a face" } }, more: { hovermode: "closest" } }), options);
}
function drawScores() {
  const diagonal = { x: [0, 1], y: [0, 1], mode: "lines", line: { color: css("--dim"), dash: "dot" }, hoverinfo: "skip" };
  const roc = document.getElementById("roc"), reliability = document.getElementById("reliability");
  if (roc && data.roc) Plotly.react(roc, [diagonal, { x: data.roc.fpr, y: data.roc.tpr, mode: "lines", line: { color: css("--fake"), shape: "hv" } }], layout({ x: { title: { text: "REAL called FAKE" }, range: [-0.02, 1.02] }, y: { title: { text: "FAKE found" }, range: [-0.02, 1.02] } }), options);
  if (reliability && data.reliability) Plotly.react(reliability, [diagonal, { x: data.reliability.map(b => b.mean), y: data.reliability.map(b => b.share), text: data.reliability.map(b => `${b.n} videos`), mode: "lines+markers", marker: { color: css("--fake"), size: data.reliability.map(b => 6 + 2 * Math.sqrt(b.n)) }, line: { color: css("--fake") } }], layout({ x: { title: { text: "probability given" }, range: [-0.02, 1.02] }, y: { title: { text: "share that is FAKE" }, range: [-0.02, 1.05] } }), options);
}
function drawAll() { if (window.Plotly) { drawMap(); drawCurves(); drawScores(); } }

document.querySelectorAll(".sprite").forEach(element => sprite(element, Number(element.dataset.number), 1));
const chooser = document.getElementById("colour-by");
if (chooser) chooser.addEventListener("change", drawMap);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

const filter = document.getElementById("filter"), status = document.getElementById("status");
function applyFilter() {
  document.querySelectorAll("#predictions tbody tr").forEach(row => {
    row.hidden = !(row.dataset.name.includes(filter.value.toLowerCase()) && (!status.value || row.dataset.status === status.value));
  });
}
if (filter) { filter.addEventListener("input", applyFilter); status.addEventListener("change", applyFilter); }
document.querySelectorAll("#predictions th button").forEach((button, column) => {
  let ascending = false;
  button.addEventListener("click", () => {
    ascending = !ascending;
    const body = document.querySelector("#predictions tbody"), value = row => row.children[column].dataset.value;
    const rows = [...body.children].sort((a, b) => {
      const x = value(a), y = value(b), order = x !== "" && y !== "" && !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y);
      return ascending ? order : -order;
    });
    body.append(...rows);
  });
});
drawAll();
