// The tables: sorting, columns, the group compared with, and what stands behind a number.
const columnsOf = () => data.tables[state.at];
const baselineIndex = () => data.groups.findIndex(group => group.name === state.baseline);
const markClasses = { "+": "mp", "-": "mm", "*": "md", ".": "mnone" };

function sortTable(table, column, direction) {
  const heads = all("thead th", table);
  heads.forEach((th, i) => th.setAttribute("aria-sort", i === column && direction ? (direction > 0 ? "ascending" : "descending") : "none"));
  const value = body => {
    const cell = body.rows[0].cells[column];
    const text = cell.dataset.value ?? (cell.classList.contains("none") ? "" : cell.textContent.trim());
    return text === "\u2013" ? "" : text;
  };
  const bodies = [...table.tBodies];
  const order = (a, b) => {
    const one = value(a), two = value(b);
    if ((one === "") !== (two === "")) return one === "" ? 1 : -1; // what has no number comes last, whichever way
    const numbers = one !== "" && !isNaN(one) && !isNaN(two);
    return direction * (numbers ? one - two : one.localeCompare(two, "en", { numeric: true }));
  };
  const place = new Map(bodies.map(body => [body, +(body.dataset.place ??= bodies.indexOf(body))]));
  bodies.sort((a, b) => (direction ? order(a, b) : 0) || place.get(a) - place.get(b));
  table.append(...bodies);
}

function startSorting() {
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((th, column) => th.querySelector("button").addEventListener("click", () => {
      const now = th.getAttribute("aria-sort");
      const direction = now === "none" ? 1 : now === "ascending" ? -1 : 0;
      const name = th.textContent.replaceAll("\u200b", "").trim();
      if (direction) state.sort[table.id] = [name, direction]; else delete state.sort[table.id];
      writeState();
      sortTable(table, column, direction);
    }));
    const [name, direction] = state.sort[table.id] ?? [];
    const column = all("thead th", table).findIndex(th => th.textContent.replaceAll("\u200b", "").trim() === name);
    if (column >= 0) sortTable(table, column, direction);
  }
}

const isShown = column => state.columns ? state.columns.includes(column.key) : column.main;

function showColumns() {
  const rules = [];
  for (const [at, columns] of Object.entries(data.tables))
    columns.forEach((column, i) => { if (!isShown(column)) rules.push(`#numbers-${at} .c${i} { display: none }`); });
  byId("columns").textContent = rules.join("\n");
  byId("count").textContent = `${columnsOf().filter(isShown).length} of ${columnsOf().length}`;
}

function fillMenu() {
  byId("menu").replaceChildren(...columnsOf().map(column => {
    const box = element("input", { type: "checkbox", checked: isShown(column) });
    box.addEventListener("input", () => {
      const shown = new Set(columnsOf().filter(isShown).map(one => one.key));
      box.checked ? shown.add(column.key) : shown.delete(column.key);
      state.columns = [...shown];
      writeState();
      showColumns();
    });
    return element("label", { title: column.title }, box, column.key);
  }));
}

function markCells() {
  const base = baselineIndex();
  for (const [at, columns] of Object.entries(data.tables))
    for (const cell of all(`#numbers-${at} td[data-c]`)) {
      const column = columns[cell.dataset.c], g = +cell.closest("tbody").dataset.g, mark = column.marks[base][g];
      cell.className = `c${cell.dataset.c} ${markClasses[mark] ?? "m" + mark}${column.best[base].includes(g) ? " best" : ""}`;
    }
  byId("detail").hidden = true;
}

function round(number) { return Number(number.toPrecision(3)).toString(); }

function showDetail(cell) {
  const c = +cell.dataset.c, g = +cell.closest("tbody").dataset.g, base = baselineIndex();
  const column = data.tables[cell.closest("table").dataset.at][c], found = column.cells[g], group = data.groups[g];
  const lines = [`${column.title} (${column.key}) of ${group.name}: ${cell.textContent}`];
  if (column.names.length) lines.push(`Full name: ${column.names.join("; ")}.`);
  lines.push(`After ${found.seen.toLocaleString("en")} images. ` + found.seeds.map(([seed, value]) => `Seed ${seed}: ${value}`).join(", ") + ".");
  if (found.error) lines.push("The interval is that of the measurement's own standard error; it says nothing of other seeds.");
  for (const note of found.notes) lines.push(note[0].toUpperCase() + note.slice(1) + ".");
  const test = column.tests[base][g], mark = column.marks[base][g];
  if (test) {
    const [difference, low, high, p, paired] = test;
    lines.push(`Difference from ${state.baseline}: ${round(difference)}, 95 % interval ${round(low)} to ${round(high)}; p = ${round(p)} ` +
      `(${paired ? "paired t-test, the same seeds on both sides" : "Welch's t-test"}; Holm-corrected, groups tested: ${Object.keys(column.tests[base]).length}).`);
  } else if (mark === "x") lines.push(`Not compared with ${state.baseline}: ${column.why[found.kind][column.reference[base]]}.`);
  else if (mark === "s") lines.push(`Not tested against ${state.baseline}: that needs two seeds that differ on either side.`);
  const depends = column.depends[found.kind];
  if (depends) lines.push(`It depends on: ${depends}.`);
  for (const other of all("td.chosen")) other.classList.remove("chosen");
  cell.classList.add("chosen");
  byId("detail").replaceChildren(...lines.map(line => element("p", { textContent: line })));
  byId("detail").hidden = false;
}

function showTable() {
  for (const at of Object.keys(data.tables)) byId(`at-${at}`).hidden = at !== state.at;
  fillMenu();
  showColumns();
  byId("detail").hidden = true;
}

function startTables() {
  choose("at", "at", showTable);
  if (!(state.at in data.tables)) state.at = "last";
  choose("baseline", "baseline", markCells);
  const seeds = () => { for (const table of all("table.numbers")) table.classList.toggle("every", state.seeds); };
  choose("seeds", "seeds", seeds);
  seeds();
  startSorting();
  showTable();
  markCells();
  for (const table of all("table.numbers")) {
    const open = event => { const cell = event.target.closest("td[data-c]"); if (cell) showDetail(cell); };
    table.addEventListener("click", open);
    table.addEventListener("keydown", event => { if (event.key === "Enter") open(event); });
  }
}
