// The table of videos. Rows are made when they are shown, so that a table of twenty thousand opens at once.
const ROWS_AT_ONCE = 100;
const videos = island("table-data");

function cell(row, text, className) {
  const element = document.createElement("td");
  element.textContent = text ?? "";
  if (className) element.className = className;
  row.append(element);
  return element;
}

function chance(row, value) {
  const element = cell(row, "");
  if (value === null) return;
  const share = document.createElement("div"), text = document.createElement("span"), bar = document.createElement("span"), fill = document.createElement("i");
  share.className = "share";
  bar.className = "bar";
  text.textContent = value.toFixed(3);
  fill.style.width = `${100 * value}%`;
  if (value >= 0.5) fill.className = "FAKE";
  bar.append(fill);
  share.append(text, bar);
  element.append(share);
}

function opener(row, index) {
  const button = make("button", "opener", videos.video_id[index]);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  cell(row, "", "name").append(button);
  function toggle() {
    const open = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", `${open}`);
    if (!open) return row.nextElementSibling.remove();
    const place = make("td", "", details(index));
    place.colSpan = [...row.cells].filter(one => one.offsetParent).length;
    row.after(make("tr", "detail", place));
  }
  row.addEventListener("click", event => {
    if (event.target === button || !getSelection().toString()) toggle();
  });
}

function tableRow(index) {
  const row = document.createElement("tr"), label = videos.label[index], raw = videos.raw_probability[index];
  row.className = "opens";
  opener(row, index);
  const chip = document.createElement("span");
  chip.className = `chip ${label === "REAL" || label === "FAKE" ? label : "none"}`;
  chip.textContent = label ?? "unlabelled";
  cell(row, "").append(chip);
  cell(row, videos.fold[index], "num more");
  chance(row, videos.probability[index]);
  cell(row, raw === null ? "" : raw.toFixed(3), "num more");
  cell(row, videos.faces_used[index], "num more");
  cell(row, videos.status[index], "more");
  return row;
}

function setUpTable() {
  const table = document.getElementById("table"), body = table.tBodies[0], more = document.getElementById("more");
  const text = document.getElementById("filter"), status = document.getElementById("status"), found = document.getElementById("found");
  const everything = videos.video_id.map((_, index) => index);
  let order = everything, shown = [], drawn = 0;

  function showMore() {
    body.append(...shown.slice(drawn, drawn + ROWS_AT_ONCE).map(tableRow));
    drawn = Math.min(drawn + ROWS_AT_ONCE, shown.length);
    more.hidden = drawn === shown.length;
    found.textContent = drawn < shown.length ? `${drawn} of ${shown.length} shown` : `${shown.length} videos`;
  }

  function refresh() {
    const part = text.value.toLowerCase();
    shown = order.filter(index => {
      const words = `${videos.video_id[index]} ${videos.label[index] ?? "unlabelled"}`.toLowerCase();
      return words.includes(part) && (!status.value || videos.status[index] === status.value);
    });
    body.replaceChildren();
    drawn = 0;
    showMore();
  }

  function sortBy(header) {
    const key = header.dataset.key, sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1, values = videos[key];
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    order = [...everything].sort((a, b) => {
      const x = values[a], y = values[b];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
    });
    refresh();
  }

  for (const header of table.tHead.rows[0].cells) header.querySelector("button").addEventListener("click", () => sortBy(header));
  text.addEventListener("input", refresh);
  status.addEventListener("change", refresh);
  more.addEventListener("click", showMore);
  matchMedia("(max-width: 520px)").addEventListener("change", refresh);  // the columns change, so open rows would not fit
  refresh();
}

if (videos) setUpTable();
