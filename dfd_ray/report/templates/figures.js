"use strict";
// Returns the data in the element of this id; null where the run has none.
const island = id => {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : null;
};
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Replaces strings such as "--real", which are CSS variables, by their values, so that figures follow light and dark.
function resolve(value) {
  if (typeof value === "string") return /^--[a-z]+$/.test(value) ? css(value) : value;
  if (Array.isArray(value)) return value.map(resolve);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
  return value;
}

const CONFIG = { displaylogo: false, displayModeBar: false, responsive: true, scrollZoom: false };

function layoutOf(own) {
  const line = css("--line"), axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, fixedrange: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--ink"), family: css("--sans"), size: 12 },
    hoverlabel: { bgcolor: css("--paper"), bordercolor: line, font: { color: css("--ink") } },
    margin: { l: 48, r: 12, t: 12, b: 44 },
    showlegend: false,
    ...own,
    xaxis: { ...axis, ...own.xaxis },
    yaxis: { ...axis, ...own.yaxis },
  };
}

const figures = island("figures-data");

function drawFigures() {
  for (const [id, figure] of Object.entries(figures)) {
    const place = document.getElementById(id);
    if (place) Plotly.react(place, resolve(figure.data), layoutOf(resolve(figure.layout)), CONFIG);
  }
}

if (window.Plotly) {
  drawFigures();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawFigures);
}
