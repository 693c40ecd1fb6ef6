// Pictures side by side: the same image in the same row, run against run, at one time of training.
const cellSize = 56;
const kindsAtFirst = ["sample 1", "mean"];

const atTime = entry => entry.at[state.time === "last" ? entry.last : state.time];
const seenAt = entry => state.time === "last" ? entry.last : +state.time;
const inImages = seen => seen.toLocaleString("en") + " images";

function image(name, scale, alt) {
  const picture = data.album.pictures[name];
  return element("img", { src: picture.uri, width: Math.round(picture.width * scale), height: Math.round(picture.height * scale), alt });
}

function caption(entry) {
  return `${data.groups[entry.g].name}, ${data.runs[entry.run]}`;
}

function drawSamples(keep) {
  byId("samples")?.replaceChildren(...data.album.samples.filter(entry => keep[entry.g]).map(entry => {
    const name = atTime(entry), how = [entry.about.sampler, entry.about.nfe && `${entry.about.nfe} NFE`, entry.about.weights].filter(Boolean).join(", ");
    const shown = name ? image(name, Math.max(1, Math.floor(240 / data.album.pictures[name].width)), `samples of ${caption(entry)}`) : element("div", { className: "missing", textContent: "none then" });
    if (name) { shown.removeAttribute("height"); shown.title = caption(entry); }
    return element("figure", { "data-g": entry.g }, shown, element("figcaption", { textContent: `${data.groups[entry.g].name}: ${inImages(seenAt(entry))}${how ? ", " + how : ""}` }));
  }));
}

function strip(column, name, scale, rows) {
  const picture = data.album.pictures[name], shown = image(name, scale, column);
  return element("div", {}, element("div", { className: "head", textContent: column.replace("standard deviation", "std. dev.").replace("measurement", "measured"), style: `width:${Math.round(picture.width * scale)}px` }), shown);
}

function drawPanel(panel, keep) {
  const entries = panel.runs.filter(entry => keep[entry.g]);
  const there = entries.filter(atTime);
  const box = element("div", { className: "strips" });
  const any = atTime(there[0] ?? {at: {}}) ?? [];
  // what is the same in all runs, such as the truth, is shown once
  const shared = panel.columns.map((_, c) => there.length > 1 && there.every(entry => atTime(entry)[c] === any[c]));
  const always = panel.columns.map((column, c) => shared[c] || ["truth", "measurement"].includes(column));
  const wanted = column => (state.kinds ?? kindsAtFirst).includes(column);
  const scale = any.length ? Math.max(1, Math.round(cellSize / data.album.pictures[any[0]].width)) : 1;
  if (any.length) {
    const height = data.album.pictures[any[0]].height * scale;
    const ids = element("div", { className: "ids" }, element("div", { className: "head" }), ...panel.ids.map(id => element("span", { textContent: id, style: `height:${height / panel.ids.length}px` })));
    const columns = element("div", { className: "columns" }, ids, ...panel.columns.flatMap((column, c) => shared[c] ? [strip(column, any[c], scale)] : []));
    box.append(element("figure", { className: "shared" }, element("figcaption", { textContent: shared.some(Boolean) ? "Same in all" : "Image" }), columns));
  }
  for (const entry of entries) {
    const names = atTime(entry), figure = element("figure", { "data-g": entry.g });
    const swatch = all(`#legend label[data-g="${entry.g}"] svg, tbody[data-g="${entry.g}"] .swatch`)[0].cloneNode(true);
    figure.append(element("figcaption", {}, swatch, ` ${data.groups[entry.g].name}`, element("br"), inImages(seenAt(entry))));
    if (names) figure.append(element("div", { className: "columns" }, ...panel.columns.flatMap((column, c) => !shared[c] && (always[c] || wanted(column)) ? [strip(column, names[c], scale)] : [])));
    else figure.append(element("div", { className: "missing", textContent: "none then", style: "width:112px;height:120px" }));
    box.append(figure);
  }
  const ids = panel.ids.length > 1 ? `images ${panel.ids[0]} to ${panel.ids.at(-1)}` : `image ${panel.ids[0]}`;
  const title = element("h3", {}, `${panel.task.replaceAll("_", " ")} · ${panel.method} `, element("span", { className: "soft", textContent: ids }));
  return element("div", { className: "panel-of-runs" }, title, box);
}

function drawPictures() {
  const keep = kept();
  drawSamples(keep);
  const panels = data.album.restorations.filter(panel => panel.runs.some(entry => keep[entry.g]));
  byId("restorations")?.replaceChildren(...panels.map(panel => drawPanel(panel, keep)));
}

function startPictures() {
  choose("time", "time", drawPictures);
  const columns = [...new Set(data.album.restorations.flatMap(panel => panel.columns))].filter(column => !["truth", "measurement"].includes(column));
  byId("kinds")?.append(...columns.map(column => {
    const box = element("input", { type: "checkbox", checked: (state.kinds ?? kindsAtFirst).includes(column) });
    box.addEventListener("input", () => {
      state.kinds = columns.filter(one => one === column ? box.checked : (state.kinds ?? kindsAtFirst).includes(one));
      writeState();
      drawPictures();
    });
    return element("label", {}, box, column);
  }));
}
