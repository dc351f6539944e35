// The table of jobs. Only the rows in view exist as elements, so 20,000 cost as much
// as 40.

const ROW_HEIGHT = 32;
const SPARE_ROWS = 8;

function makeTable(jobs, { onSelect, onSort }) {
  const scroller = byId("scroller");
  const head = make("thead");
  const body = make("tbody");
  byId("job-table").append(head, body);
  const state = { rows: [], fields: [], selected: null, sort: null, drawn: "" };

  const drawRows = () => {
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const visible = Math.ceil(scroller.clientHeight / ROW_HEIGHT) + 2 * SPARE_ROWS;
    const last = Math.min(state.rows.length, first + visible);
    const drawn = `${first}-${last}`;
    if (drawn === state.drawn) return;
    state.drawn = drawn;
    const lines = [];
    for (let at = first; at < last; at += 1) lines.push(drawRow(state.rows[at], at));
    body.replaceChildren(
      spacer(first, state.fields.length), ...lines,
      spacer(state.rows.length - last, state.fields.length));
  };

  const drawRow = (row, at) => make("tr", {
    class: "row", "data-row": row, "aria-rowindex": at + 2,
    "aria-selected": row === state.selected ? "true" : "false",
  }, ...state.fields.map((field) => drawCell(jobs, row, field)));

  const redraw = () => { state.drawn = ""; drawRows(); };

  const showHead = () => head.replaceChildren(make("tr", { "aria-rowindex": 1 },
    ...state.fields.map((field) => headCell(field, state.sort, onSort))));

  const reveal = (row) => {
    const at = state.rows.indexOf(row);
    if (at < 0) return;
    const top = at * ROW_HEIGHT;
    const height = scroller.clientHeight - head.offsetHeight - ROW_HEIGHT;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top > scroller.scrollTop + height) scroller.scrollTop = top - height;
  };

  const select = (row) => { state.selected = row; reveal(row); redraw(); };

  scroller.addEventListener("scroll", () => requestAnimationFrame(drawRows));
  new ResizeObserver(() => requestAnimationFrame(redraw)).observe(scroller);
  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr.row");
    if (line) onSelect(Number(line.dataset.row));
  });
  scroller.addEventListener("keydown", (event) => {
    const next = rowForKey(event.key, state, scroller);
    if (next === undefined) return;
    event.preventDefault();
    onSelect(next);
  });
  return {
    select,
    show(rows, fields, sort) {
      Object.assign(state, { rows, fields, sort });
      byId("job-table").setAttribute("aria-rowcount", rows.length + 1);
      showHead();
      redraw();
    },
    toTop() { scroller.scrollTop = 0; },
  };
}

function rowForKey(key, { rows, selected }, scroller) {
  const page = Math.max(1, Math.floor(scroller.clientHeight / ROW_HEIGHT) - 2);
  const at = rows.indexOf(selected);
  const target = {
    ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page,
    Home: 0, End: rows.length - 1,
  }[key];
  if (target === undefined || rows.length === 0) return undefined;
  return rows[Math.min(rows.length - 1, Math.max(0, target))];
}

function spacer(numRows, span) {
  const cell = make("td", { colspan: span });
  cell.style.height = `${numRows * ROW_HEIGHT}px`;
  return make("tr", { class: "spacer", "aria-hidden": "true" }, cell);
}

function headCell(field, sort, onSort) {
  const sorted = sort.key === field.key;
  const arrow = sorted ? (sort.descending ? "\u00a0↓" : "\u00a0↑") : "";
  return make("th", {
    scope: "col", class: field.kind === "number" ? "number" : null,
    "aria-sort": sorted ? (sort.descending ? "descending" : "ascending") : null,
    title: field.doc + (field.unit ? ` (${field.unit})` : ""),
  }, make("button", { type: "button", onclick: () => onSort(field) },
    field.label + arrow));
}

function drawCell(jobs, row, field) {
  const value = jobs.values(field.key)[row];
  if (field.key === "status") {
    return make("td", {}, make("span", { class: `state ${value}` }, value));
  }
  if (field.key === "name") return make("td", { class: "name", title: value }, value);
  const text = formatValue(value, field);
  const cell = make("td", { class: field.kind === "number" ? "number" : null });
  if (text === DASH) cell.append(make("span", { class: "none" }, DASH));
  else if (field.key === "mean_plddt") cell.append(bandedPlddt(value, text));
  else cell.append(text);
  return cell;
}

function bandedPlddt(value, text) {
  const band = make("span", { class: "band" }, text);
  band.style.setProperty("--band", plddtColour(value));
  return band;
}
