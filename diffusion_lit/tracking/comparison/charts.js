// Curves: a line a group with a band over its seeds, drawn as SVG from the numbers of the page.
const margins = { left: 52, right: 12, top: 10, bottom: 38 };
const chartCount = 4;

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const style = g => `g${g % 8} d${Math.floor(g / 8) % 4}`;
const isOff = g => state.off.includes(data.groups[g].name);

function smoothed(values) {
  const keep = 1 - 1 / Math.max(1, values.length / 20);
  let total = 0, weight = 0;
  return values.map(value => {
    if (value === null) return null;
    total = keep * total + value;
    weight = keep * weight + 1;
    return total / weight;
  });
}

function ticks(low, high, log) {
  if (log) {
    const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high)), found = [];
    for (let power = from; power <= to; power++) for (const digit of to - from > 3 ? [1] : [1, 2, 5]) found.push(digit * 10 ** power);
    return found.filter(tick => tick >= low * 0.999 && tick <= high * 1.001);
  }
  const rough = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(digit => digit * power >= rough) * power, found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

function short(value) {
  const large = Math.abs(value), unit = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => large >= least);
  return unit ? Number((value / unit[0]).toPrecision(3)) + " " + unit[1] : Number(value.toPrecision(3)).toString();
}

function path(xs, ys, keepPoint = () => true) {
  let text = "", pen = false;
  xs.forEach((x, i) => {
    const there = ys[i] !== null && Number.isFinite(ys[i]) && keepPoint(i);
    if (there) text += `${pen ? "L" : "M"}${x.toFixed(1)} ${ys[i].toFixed(1)}`;
    pen = there;
  });
  return text;
}

// What is drawn of a group: its mean and band where there are several seeds, else its one line.
function prepared(entry) {
  const change = state.smooth ? smoothed : values => values;
  const one = { g: entry.g, n: entry.n, x: entry[state.axis], lines: entry.lines.map(change), count: entry.count, interval: entry.interval };
  one.mean = entry.n > 1 ? change(entry.mean) : one.lines[0];
  if (entry.n > 1) Object.assign(one, { low: change(entry.low), high: change(entry.high) });
  return one;
}

function drawChart(figure, curve) {
  const keep = kept(), groups = curve.groups.filter(entry => keep[entry.g] && !isOff(entry.g)).map(prepared);
  const values = groups.flatMap(one => [...one.mean, ...(one.low ?? []), ...(one.high ?? []), ...(state.lines ? one.lines.flat() : [])]).filter(v => v !== null);
  const log = (state.scale === "log" || (state.scale === "auto" && curve.log)) && values.some(v => v > 0);
  const usable = log ? values.filter(v => v > 0) : values, xs = groups.flatMap(one => one.x);
  let low = Math.min(...usable), high = Math.max(...usable);
  figure.querySelector("svg")?.remove();
  const width = Math.max(240, figure.querySelector("select").clientWidth);
  const size = { ...margins, width, height: Math.round(Math.max(210, Math.min(340, 0.58 * width))) };
  const picture = svg("svg", { viewBox: `0 0 ${size.width} ${size.height}`, width: size.width, height: size.height, class: "chart-area", role: "img", "aria-label": curve.name });
  figure.append(picture);
  if (!usable.length) {
    picture.append(svg("text", { x: size.width / 2, y: size.height / 2, "text-anchor": "middle" }, "nothing to draw"));
    return;
  }
  if (low === high) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
  const scaled = log ? Math.log10 : v => v, margin = 0.04 * (scaled(high) - scaled(low));
  const bottom = scaled(low) - margin, top = scaled(high) + margin, first = Math.min(...xs, 0), last = Math.max(...xs);
  const px = x => size.left + (size.width - size.left - size.right) * (x - first) / (last - first || 1);
  const py = v => v === null || (log && v <= 0) ? null : size.height - size.bottom - (size.height - size.top - size.bottom) * (scaled(v) - bottom) / (top - bottom);
  for (const tick of ticks(log ? 10 ** bottom : bottom, log ? 10 ** top : top, log)) picture.append(
    svg("line", { class: "rule", x1: size.left, x2: size.width - size.right, y1: py(tick), y2: py(tick) }),
    svg("text", { x: size.left - 6, y: py(tick) + 4, "text-anchor": "end" }, short(tick)));
  for (const tick of ticks(first, last, false)) picture.append(
    svg("text", { x: px(tick), y: size.height - size.bottom + 17, "text-anchor": tick > last - 0.02 * (last - first) ? "end" : "middle" }, short(tick)));
  picture.append(svg("text", { x: (size.left + size.width - size.right) / 2, y: size.height - 5, "text-anchor": "middle" }, state.axis === "x" ? "images seen" : "seconds of training"));
  for (const one of groups) {
    const at = one.x.map(px);
    if (one.low) picture.append(svg("path", { class: `band g${one.g % 8}`, "data-g": one.g, d: bandPath(at, one.low.map(py), one.high.map(py)) }));
    if (state.lines && one.n > 1) for (const line of one.lines) picture.append(svg("path", { class: `one ${style(one.g)}`, "data-g": one.g, d: path(at, line.map(py)) }));
  }
  for (const one of groups) {
    const at = one.x.map(px), ys = one.mean.map(py), whole = i => !one.count || one.count[i] === one.n;
    picture.append(svg("path", { class: `mean ${style(one.g)}`, "data-g": one.g, d: path(at, ys, whole) }));
    if (one.count) picture.append(svg("path", { class: `mean fewer g${one.g % 8}`, "data-g": one.g, d: path(at, ys, i => !whole(i) || (i > 0 && !whole(i - 1)) || (i < at.length - 1 && !whole(i + 1))) }));
    if (at.filter((_, i) => ys[i] !== null).length <= 24) at.forEach((x, i) => { if (ys[i] !== null) picture.append(svg("path", { class: `mean g${one.g % 8}`, "data-g": one.g, d: `M${x - 2} ${ys[i]}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0` })); });
  }
  picture.addEventListener("pointermove", event => pointAt(event, picture, groups, px, size));
  picture.addEventListener("pointerleave", () => { byId("tip").hidden = true; picture.querySelector(".cursor")?.remove(); });
}

function bandPath(at, low, high) {
  const there = at.map((_, i) => i).filter(i => low[i] !== null && high[i] !== null);
  if (there.length < 2) return "";
  return "M" + there.map(i => `${at[i].toFixed(1)} ${high[i].toFixed(1)}`).join("L") + "L" + there.reverse().map(i => `${at[i].toFixed(1)} ${low[i].toFixed(1)}`).join("L") + "Z";
}

// The values of all groups nearest to the pointer.
function pointAt(event, picture, groups, px, size) {
  const box = picture.getBoundingClientRect(), x = event.clientX - box.left, tip = byId("tip");
  const nearest = one => one.x.reduce((found, value, i) => one.mean[i] !== null && (found < 0 || Math.abs(px(value) - x) < Math.abs(px(one.x[found]) - x)) ? i : found, -1);
  const rows = groups.map(one => [one, nearest(one)]).filter(([, i]) => i >= 0);
  if (!rows.length) return;
  const [one, i] = rows.reduce((a, b) => Math.abs(px(a[0].x[a[1]]) - x) <= Math.abs(px(b[0].x[b[1]]) - x) ? a : b);
  picture.querySelector(".cursor")?.remove();
  picture.append(svg("line", { class: "cursor", x1: px(one.x[i]), x2: px(one.x[i]), y1: size.top, y2: size.height - size.bottom }));
  const shown = rows.filter(([other, j]) => Math.abs(px(other.x[j]) - px(one.x[i])) < 12).slice(0, 14);
  tip.replaceChildren(element("b", { textContent: `${Math.round(one.x[i]).toLocaleString("en")} ${state.axis === "x" ? "images" : "s"}` }), ...shown.map(([other, j]) => {
    const text = other.low ? `${round(other.mean[j])} (${round(other.low[j])} to ${round(other.high[j])})` : round(other.mean[j]);
    const row = element("div", {}, element("span", { textContent: data.groups[other.g].name }), element("b", { textContent: text }));
    row.prepend(all(`#legend label[data-g="${other.g}"] svg`)[0].cloneNode(true));
    return row;
  }));
  tip.hidden = false;
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)) + "px";
}

function drawCharts() {
  for (const figure of all("#charts figure")) {
    const curve = data.curves.find(one => one.name === figure.querySelector("select").value);
    if (curve) drawChart(figure, curve);
  }
}

function light(g) {
  for (const figure of all("#charts figure")) {
    figure.classList.toggle("dimmed", g !== null);
    for (const line of all("[data-g]", figure)) line.classList.toggle("lit", line.dataset.g === String(g));
  }
}

function saySomethingOfBands() {
  const several = data.curves.flatMap(curve => curve.groups).filter(entry => entry.n > 1);
  const interval = several.some(entry => entry.interval), range = several.some(entry => !entry.interval);
  const parts = [];
  if (interval) parts.push("five seeds or more: the 95 % interval of their mean (Student's t)");
  if (range) parts.push("fewer than five: from the smallest to the largest seed, since an interval of their mean would be several times as wide as what was seen");
  byId("band").textContent = (parts.length ? `A line is the mean over seeds. Bands: ${parts.join("; ")}. Dotted where some seeds have no value. ` : "One seed a line. ") +
    "Seconds are those of the training that counts, without waits between attempts; of a group, the mean at the same images seen.";
}

// One metric of each kind that was logged more than once, in the order of the list, then further ones.
function firstCharts() {
  const kinds = new Map(), isLine = curve => curve.groups.some(entry => entry.x.length > 1);
  for (const curve of [...data.curves.filter(isLine), ...data.curves.filter(curve => !isLine(curve))]) {
    const kind = curve.name.split("/")[0] + curve.title;
    if (!kinds.has(kind)) kinds.set(kind, curve.name);
  }
  const first = [...kinds.values()], names = data.curves.map(curve => curve.name);
  return [...first, ...names.filter(name => !first.includes(name))].slice(0, chartCount);
}

function startCharts() {
  if (!data.curves.length) return;
  const names = data.curves.map(curve => curve.name);
  const wanted = (state.charts ?? []).filter(name => names.includes(name));
  const first = wanted.length ? wanted : firstCharts();
  byId("charts").replaceChildren(...first.map(name => {
    const select = element("select", { "aria-label": "metric" }, ...data.curves.map(curve => new Option(`${curve.title} · ${curve.name}`, curve.name, false, curve.name === name)));
    select.addEventListener("input", () => {
      state.charts = all("#charts select").map(one => one.value);
      writeState();
      drawCharts();
    });
    return element("figure", { className: "card curve" }, select);
  }));
  for (const [id, key] of [["axis", "axis"], ["scale", "scale"], ["smooth", "smooth"], ["lines", "lines"]]) choose(id, key, drawCharts);
  const boxes = all("#legend input");
  const toggled = () => {
    state.off = boxes.filter(box => !box.checked).map(box => data.groups[box.dataset.g].name);
    writeState();
    drawCharts();
  };
  for (const box of boxes) {
    box.checked = !isOff(box.dataset.g);
    box.addEventListener("input", toggled);
    box.parentElement.addEventListener("pointerenter", () => light(box.dataset.g));
    box.parentElement.addEventListener("pointerleave", () => light(null));
  }
  for (const [id, on] of [["all", true], ["none", false]]) byId(id).addEventListener("click", () => { boxes.forEach(box => { box.checked = on; }); toggled(); });
  saySomethingOfBands();
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawCharts, 150); });
}
