// What a row of the table of videos opens to, made when the row is opened.
function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

const blank = name => document.getElementById("chart-parts").content.querySelector(name).cloneNode();

function line(className, path) {
  const element = blank("path");
  element.setAttribute("class", className);
  element.setAttribute("d", path);
  return element;
}

function picture(uri, alt) {
  const image = new Image();
  image.src = uri;
  image.alt = alt;
  return image;
}

// A dot for each face, joined by frame. The drawing is stretched, so its text is around it, not inside.
function chart(index) {
  const chances = videos.chances[index], frames = videos.frames[index] ?? chances.map((_, number) => number + 1);
  const word = videos.frames[index] ? "frame" : "face", first = Math.min(...frames), last = Math.max(...frames), raw = videos.raw_probability[index];
  const x = frame => (last > first ? 2 + (96 * (frame - first)) / (last - first) : 50).toFixed(2), y = chance => (96 - 92 * chance).toFixed(2);
  const drawing = blank("svg"), means = new Map();
  frames.forEach((frame, number) => means.set(frame, [...(means.get(frame) ?? []), chances[number]]));
  const path = [...means].map(([frame, found]) => `${x(frame)} ${y(found.reduce((a, b) => a + b) / found.length)}`);
  drawing.setAttribute("aria-label", `Probability of FAKE of ${chances.length} faces, ${Math.min(...chances).toFixed(2)} to ${Math.max(...chances).toFixed(2)}`);
  drawing.append(line("half", `M0 ${y(0.5)}H100`));
  if (raw !== null) drawing.append(line("level", `M0 ${y(raw)}H100`));
  drawing.append(line("path", `M${path.join("L")}`));
  frames.forEach((frame, number) => {
    const dot = line(chances[number] >= 0.5 ? "mark FAKE" : "mark REAL", `M${x(frame)} ${y(chances[number])}h0`), title = blank("title");
    title.textContent = `${word} ${frame}: ${chances[number].toFixed(3)}`;
    dot.append(title);
    drawing.append(dot);
  });
  const scale = make("div", "scale", make("span", "", "1"), make("span", "", "0.5"), make("span", "", "0"));
  const ends = make("div", "ends", make("span", "", `${word} ${first}`), last > first ? make("span", "", `${word} ${last}`) : "");
  const used = videos.faces_used[index], whole = raw === null ? "" : ` The level line is the video's probability, ${raw.toFixed(3)}, from ${used} face${used === 1 ? "" : "s"}.`;
  const caption = make("figcaption", "", `Each dot is the probability of FAKE of one face, before calibration.${whole}`);
  return make("figure", "chart", make("div", "plane", scale, drawing), ends, caption);
}

function portraits(index) {
  const found = videos.faces[index].map(([frame, chance, uri]) => {
    const words = chance === null ? `frame ${frame}` : `frame ${frame} · ${chance.toFixed(2)}`;
    return make("figure", "", picture(uri, `Face in frame ${frame}`), make("figcaption", "", words));
  });
  return make("div", "portraits", ...found);
}

function heat(index) {
  const found = videos.heat[index].map(([frame, plain, hot]) =>
    make("figure", "", picture(plain, `Face in frame ${frame}`), picture(hot, "The same face, red where it makes the classifiers answer FAKE"), make("figcaption", "", `frame ${frame}`)));
  const caption = make("p", "dim", "Where the classifiers look (Grad-CAM). Red marks the places that make them answer FAKE. A REAL face has a reddest place, too.");
  return [make("div", "portraits heat", ...found), caption];
}

// Says in a sentence why there is no face to see; empty where that is not known.
function remark(index) {
  if (videos.status[index] === "no_face") return "The video was read to the end. No face was found.";
  if (videos.reason[index]) return videos.reason[index];
  if (index >= videos.pictured && videos.faces.some(one => one)) return `Only the first ${videos.pictured} rows of the unsorted table have pictures of faces.`;
  return "";
}

function details(index) {
  const facts = [["fold", videos.fold[index]], ["status", videos.status[index]], ["faces used", videos.faces_used[index]], ["before calibration", videos.raw_probability[index]?.toFixed(3)]];
  const shown = facts.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => make("span", "", `${name} `, make("b", "", `${value}`)));
  const inside = make("div", "inside", make("p", "values dim", ...shown));
  if (videos.faces[index]) inside.append(portraits(index));
  else if (remark(index)) inside.append(make("p", "dim", remark(index)));
  if (videos.chances[index]) inside.append(chart(index));
  if (videos.heat[index]) inside.append(...heat(index));
  return inside;
}
