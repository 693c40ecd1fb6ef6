// What the reader has chosen, kept in the address so that it survives the page loading itself again.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const defaults = {
  filter: "", facets: {}, baseline: data.groups[data.baseline].name, at: "last", seeds: false, columns: null, sort: {},
  axis: "x", scale: "auto", smooth: false, lines: false, off: [], charts: null, time: "last", kinds: null, open: {},
};
const state = structuredClone(defaults);
let lastTouched = 0;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) name.includes("-") ? made.setAttribute(name, value) : (made[name] = value);
  made.append(...children);
  return made;
}

function readState() {
  try {
    const told = JSON.parse(decodeURIComponent(location.hash.replace(/^#view=/, "")));
    for (const key of Object.keys(defaults)) if (key in told) state[key] = told[key];
    if (!data.groups.some(group => group.name === state.baseline)) state.baseline = defaults.baseline;
    return told;
  } catch { return {}; }
}

function writeState(more = {}) {
  const told = { ...more };
  for (const key of Object.keys(defaults)) if (JSON.stringify(state[key]) !== JSON.stringify(defaults[key])) told[key] = state[key];
  const hash = Object.keys(told).length ? "#view=" + encodeURIComponent(JSON.stringify(told)) : "";
  try { history.replaceState(null, "", hash || location.pathname + location.search); } catch { location.replace(hash || "#"); }
}

// Which groups the filter leaves: every word, and the chosen value of every difference.
function kept() {
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  return data.groups.map(group => words.every(word => group.search.includes(word)) &&
    Object.entries(state.facets).every(([label, value]) => (group.values[label] ?? "none") === value));
}

function applyFilter() {
  const keep = kept(), count = keep.filter(Boolean).length;
  for (const row of all("tbody[data-g], #legend label")) row.hidden = !keep[row.dataset.g];
  byId("shown").textContent = count < data.groups.length ? `${count} of ${data.groups.length} groups` : "";
  byId("reset").hidden = count === data.groups.length;
  drawCharts();
  drawPictures();
}

function choose(id, key, then) {
  const input = byId(id);
  if (!input) return;
  const property = input.type === "checkbox" ? "checked" : "value";
  if (property === "value" && input.tagName === "SELECT" && ![...input.options].some(o => o.value === String(state[key]))) state[key] = defaults[key];
  input[property] = state[key];
  input.addEventListener("input", () => { state[key] = input[property]; writeState(); then(); });
}

function startFilter() {
  choose("filter", "filter", applyFilter);
  for (const select of all("select[data-label]")) {
    const label = select.dataset.label;
    if ([...select.options].some(option => option.value === state.facets[label])) select.value = state.facets[label];
    else delete state.facets[label];
    select.addEventListener("input", () => {
      if (select.value) state.facets[label] = select.value; else delete state.facets[label];
      writeState();
      applyFilter();
    });
  }
  byId("reset").addEventListener("click", () => {
    Object.assign(state, { filter: "", facets: {} });
    byId("filter").value = "";
    for (const select of all("select[data-label]")) select.value = "";
    writeState();
    applyFilter();
  });
  byId("controls").addEventListener("submit", event => event.preventDefault());
}

// A page that is written again loads itself again, but never under the reader's hands.
function startWatch(told) {
  for (const fold of all("details[id]")) {
    if (fold.id in state.open) fold.open = state.open[fold.id];
    fold.addEventListener("toggle", () => { state.open[fold.id] = fold.open; writeState(); });
  }
  if ("y" in told) {
    history.scrollRestoration = "manual";
    scrollTo(0, told.y);
    all(".scroll, .strips").forEach((box, i) => { box.scrollLeft = (told.left ?? [])[i] ?? 0; });
    if (told.focus && byId(told.focus)) byId(told.focus).focus({ preventScroll: true });
    writeState();
  }
  for (const kind of ["pointerdown", "keydown", "wheel", "touchmove"]) addEventListener(kind, () => { lastTouched = Date.now(); }, { passive: true });
  if (!data.every) return;
  const again = () => {
    if (document.hidden || Date.now() - lastTouched < 3000 || document.activeElement?.tagName === "SELECT" || !getSelection().isCollapsed) {
      setTimeout(again, 1000);
      return;
    }
    writeState({ y: scrollY, left: all(".scroll, .strips").map(box => box.scrollLeft), focus: document.activeElement?.id || "" });
    location.reload();
  };
  setTimeout(again, 1000 * data.every);
}

function start() {
  const told = readState();
  startTables();
  startCharts();
  startPictures();
  startFilter();
  applyFilter();
  startWatch(told);
}
