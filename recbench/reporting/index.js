"use strict";
// Shows the figures of the JSON block above: as printed there, sorted, filtered and drawn, never computed anew.

const { tasks, across, answers, boards } = JSON.parse(document.getElementById("figures").textContent);
const VIEWS = [...new Set(Object.values(tasks).flatMap(({ views }) => views))];
const INTERVAL = " [95 %]";
const SECONDS = "Training s";
const NOTHING = "–";
const LEAST_SECONDS = 0.1; // figures have one decimal; a logarithmic axis has no zero
const PUBLISHED = ["Metric", "View", "Level", "Published", "Measured", "Difference", "Verdict", "Source"];
const MEASURED = ["Measured", "Difference"];
const PUBLISHED_WORDS = ["Metric", "View", "Level", "Verdict", "Source"];
const COURT_MEASURED = ["At item level", "At code level"];
const KINDS = { trivial: "trivial baseline", scoring: "scoring model", generative: "generative model" };
const SHARED = "Measured while several runs shared the machine: no basis for a comparison.";
const SVG = document.querySelector("template").content.firstElementChild.namespaceURI;

const state = { dataset: "", protocol: "", view: VIEWS[0], columns: "overview", model: "" };
const sorts = new Map(); // table -> [column, direction]; kept when a filter changes
const opened = new Set(); // rows whose details are shown

function make(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function draw(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** The first number in a printed cell, or NaN. */
function numberIn(text) {
  const found = /[-+−]?\d[\d,]*(\.\d+)?/.exec(text);
  return found ? Number(found[0].replaceAll(",", "").replace("−", "-")) : NaN;
}

/** Value, standard deviation and interval of a printed figure, as text; the limits of the interval as numbers. */
function parts(text) {
  const [, value, rest] = /^(\S+)\s*(.*)$/.exec(text) ?? ["", text, ""];
  const limits = /\[(.+), (.+)\]/.exec(rest);
  return { value, rest, low: limits ? Number(limits[1]) : NaN, high: limits ? Number(limits[2]) : NaN };
}

/** A figure as a link to what it follows from: the record of its row, or the list of them where there are several. */
function linked(row, ...content) {
  const records = counting(row), paths = records.map(([, path]) => path);
  if (paths.length === 1) return make("a", { className: "of", href: paths[0], title: paths[0], tabIndex: -1 }, ...content);
  const link = make("a", { className: "of", href: `#${row.id}-made`, title: paths.join("\n"), tabIndex: -1 }, ...content);
  link.addEventListener("click", () => {
    if (!opened.has(row.id)) document.getElementById(row.id)?.querySelector(".more").click();
  });
  return link;
}

// Columns: title, note below it, whether it holds words, text of a row's cell, what to show for it, how a figure is linked.

function column(title, text, { note = "", words = false, ascending = words, show = null, long = false, source = null } = {}) {
  const plain = show ?? ((row) => [text(row)]);
  const shown = source ? (row) => (text(row) === NOTHING || !source(row) ? plain(row) : [linked(source(row), ...plain(row))]) : plain;
  return { title, text, note, words, ascending, long, show: shown };
}

/** The view to show of a task: the one chosen, or its main one where it has no such view. */
function viewOf(task) {
  return task.views.includes(state.view) ? state.view : task.views[0];
}

/** The text of a row's cell by table and column title, of the view shown where the table has views; an en dash where the row has none. */
function cell(row, table, title) {
  const cells = row[viewOf(row.task)][table] ?? row[table][0] ?? [];
  return cells[row.task.columns[table].indexOf(title)] ?? NOTHING;
}

function showFigure(text) {
  const { value, rest } = parts(text);
  return rest ? [value, make("small", {}, rest)] : [value];
}

/** The value alone; its spread is a tip. */
function showValue(text) {
  const { value, rest } = parts(text);
  return [rest ? make("span", { title: rest }, value) : value];
}

function showWhisker(text, scale) {
  const { value, rest, low, high } = parts(text);
  const label = make("span", {}, value, ...(rest ? [make("small", {}, rest)] : []));
  if (Number.isNaN(low) || !scale) return [label];
  const percent = (number) => `${(100 * number) / scale}%`;
  const line = make("i"), dot = make("b");
  line.style.left = percent(low);
  line.style.width = percent(high - low);
  dot.style.left = percent(Number(value));
  return [make("span", { className: "figure" }, make("span", { className: "whisker", "aria-hidden": "true" }, line, dot), label)];
}

function showCost(text) {
  return text.endsWith("†") ? [text.slice(0, -1), make("abbr", { title: SHARED }, "†")] : [text];
}

function verdictClass(verdict) {
  return { reproduced: "good", below: "warn", above: "above" }[verdict] ?? "soft";
}

function showPublished(text) {
  if (text === NOTHING) return [text];
  return text.split("; ").map((part) => {
    const [, value, verdict] = /^(\S+) \((.*)\)$/.exec(part) ?? ["", part, ""];
    return make("span", { className: "note" }, value, make("small", { className: verdictClass(verdict.split(", ").at(-1)) }, verdict));
  });
}

function showNotes(text) {
  const notes = text.split("; ").filter(Boolean);
  return notes.map((note) => make("span", { className: `note ${/^(below|not as|uncommitted|mixed)/.test(note) ? "warn" : "soft"}` }, note));
}

/** The records that a row is made of; those it lists as left out do not count. */
function counting(row) {
  return row.made.filter((line) => line.at(-1) === "counts");
}

function showRecords(row) {
  const link = ([seed, path], place) => make("a", { href: path, title: path }, place ? `${seed}` : `seed ${seed}`);
  return counting(row).flatMap((line, place) => [...(place ? [", "] : []), link(line, place)]);
}

function rowColumns(task, scale) {
  const { columns, quality, main } = task, view = viewOf(task), published = `Published ${main}`;
  const placed = column("#", (row) => String(row.place), { ascending: true });
  const records = column("Records", (row) => String(row.made.length), { show: showRecords });
  const shown = { [quality]: (text) => showWhisker(text, scale), [published]: showPublished, Notes: showNotes };
  const of = (table, title, options) => {
    const show = options?.print ?? shown[title] ?? showFigure;
    const source = options?.words || title.startsWith("Published") ? null : (row) => row;
    return column(title, (row) => cell(row, table, title), { ...options, source, show: (row) => show(cell(row, table, title)) });
  };
  const notes = of("accuracy", "Notes", { words: true, long: true });
  const accuracy = columns.accuracy.filter((title) => title !== "Notes").map((title) => of("accuracy", title, { note: view }));
  const against = columns.against.map((title) =>
    of("against", title, { note: task.views[0], words: title === "Seeds", ascending: /^(p|Seeds)/.test(title), print: (text) => [text] }),
  );
  const cost = columns.cost.map((title) =>
    of("cost", title, { words: title === "Machine", long: title === "Machine", ascending: !title.endsWith("/s"), print: showCost }),
  );
  const beyond = columns.beyond.map((title) => of("beyond", title, { note: view }));
  const levels = columns.levels.map((title) => of("levels", title, { note: view }));
  const named = (list, ...titles) => titles.map((title) => list.find((one) => one.title === title));
  const sets = {
    overview: [
      ...named(accuracy, quality),
      ...task.beside.map((title) => ({ ...of("accuracy", title, { note: view, print: showValue }), label: title.replace(INTERVAL, "") })),
      ...named(accuracy, published),
      ...named(against, "Best − model", "p (Holm)"),
      ...named(cost, SECONDS, "Parameters"),
      notes,
    ],
    accuracy: [...accuracy, notes],
    against,
    cost,
    beyond,
    levels,
    all: [...accuracy, ...against, ...cost, ...beyond, ...levels, notes],
  };
  return [placed, nameColumn(), ...sets[state.columns], records];
}

function nameColumn() {
  return { ...column("Model", (row) => row.model, { words: true }), isName: true, show: (row) => [nameOf(row.model)] };
}

/** `hllm:cpu` with what stands behind it in small type. */
function nameOf(label) {
  const [, name, rest] = /^([^ ,]+)(?:, )?(.*)$/.exec(label) ?? ["", label, ""];
  return make("span", {}, name, ...(rest ? [" ", make("small", {}, rest)] : []));
}

// Tables: one tbody per row, so that a row and its details move together.

function sortable(id, caption, shown, rows, { start, detail = null, rowId = () => "" }) {
  const head = make("tr"), table = make("table", { id, "aria-label": caption }, make("thead", {}, head));
  const bodies = rows.map((row, place) => ({ row, place, body: rowBody(row, shown, detail, rowId(row)) }));
  const order = () => {
    const [title, direction] = sorts.get(id);
    const by = shown.find((one) => one.title === title) ?? shown[0];
    for (const cell of head.children) {
      if (cell.dataset.title === by.title) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    const keyed = bodies.map((one) => ({ ...one, key: by.words ? by.text(one.row) : numberIn(by.text(one.row)) }));
    keyed.sort((a, b) => compare(a, b, direction, by.words));
    table.append(...keyed.map(({ body }) => body));
  };
  for (const one of shown) {
    const button = make("button", { type: "button" }, unbroken(one.label ?? one.title));
    if (one.note) button.prepend(make("small", {}, one.note));
    button.addEventListener("click", () => {
      const [title, direction] = sorts.get(id);
      sorts.set(id, [one.title, title === one.title ? -direction : one.ascending ? 1 : -1]);
      order();
    });
    head.append(make("th", { scope: "col", className: className(one) }, button));
    head.lastChild.dataset.title = one.title;
  }
  if (!shown.some((one) => one.title === sorts.get(id)?.[0])) sorts.set(id, start);
  order();
  const scroll = make("div", { className: "scroll wide", tabIndex: 0, role: "region", "aria-label": caption }, table);
  return make("div", {}, make("p", { className: "caption" }, caption), scroll);
}

/** A text whose single letters and per cent signs do not stand on a line of their own. */
function unbroken(text) {
  return text.replace(/(?<=^\S) | (?=\S$|%)/g, "\u00a0");
}

/** Nothing goes last in either direction; equal cells stay in the order of the board. */
function compare(a, b, direction, words) {
  if (words) return direction * a.key.localeCompare(b.key, "en", { numeric: true }) || a.place - b.place;
  if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number.isNaN(a.key) - Number.isNaN(b.key) || a.place - b.place;
  return direction * (a.key - b.key) || a.place - b.place;
}

function className(one) {
  return one.isName ? "name" : `${one.words ? "words" : ""}${one.long ? " long" : ""}`;
}

function rowBody(row, shown, detail, id) {
  const line = make("tr"), body = make("tbody", { id, className: row.kind ?? "" }, line);
  for (const one of shown) {
    const content = one.show(row);
    if (!one.isName) line.append(make("td", { className: className(one) }, ...content));
    else line.append(make("th", { scope: "row", className: "name" }, make("div", {}, ...(detail ? [moreButton(row, body, shown, detail)] : []), ...content)));
  }
  if (detail && opened.has(row.id)) body.append(detailLine(row, shown, detail));
  return body;
}

function detailLine(row, shown, detail) {
  return make("tr", {}, make("td", { className: "detail", colSpan: shown.length }, make("div", {}, ...detail(row))));
}

function moreButton(row, body, shown, detail) {
  const button = make("button", { type: "button", className: "more", title: "Groups of users, published numbers, records", "aria-label": `Details of ${row.model}` });
  button.setAttribute("aria-expanded", opened.has(row.id));
  button.addEventListener("click", () => {
    const isOpen = opened.delete(row.id);
    if (isOpen) body.lastChild.remove();
    else {
      opened.add(row.id);
      body.append(detailLine(row, shown, detail));
    }
    button.setAttribute("aria-expanded", !isOpen);
  });
  return button;
}

function plainTable(titles, rows, words) {
  const side = (place) => ({ className: words.includes(titles[place]) ? "words" : "" });
  return make(
    "div",
    { className: "scroll" },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ...titles.map((title, place) => make("th", { scope: "col", ...side(place) }, title)))),
      make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, place) => make("td", side(place), cell))))),
    ),
  );
}

/** What a row holds beyond its line: groups of users in this view, published numbers, how each record was made. */
function details(row) {
  const { task } = row, view = viewOf(task);
  const groups = grouped(row[view].groups);
  const most = Math.max(...row[view].groups.map((group) => Number(group[3])), 1e-9);
  const made = [];
  if (groups.size) {
    const tables = [...groups].map(([kind, lines]) =>
      plainTable(
        [`By ${kind}`, capitalised(task.units), task.main, " "],
        lines.map(([, group, n, value]) => [group, n, linked(row, value), bar(Number(value) / most)]),
        [`By ${kind}`],
      ),
    );
    made.push(make("h4", {}, `${task.main} by group of ${task.units}, view ${view}`), make("div", { className: "groups" }, ...tables));
  }
  if (row.published.length) {
    const shown = (text, title) => (MEASURED.includes(title) ? linked(row, text) : text);
    const lines = row.published.map((cells) => PUBLISHED.map((title) => shown(publishedCell(task, cells, title), title)));
    made.push(make("h4", {}, "Published numbers beside ours"), plainTable(PUBLISHED, lines, PUBLISHED_WORDS));
  }
  const titles = ["Seed", "Record", "sha256 of record.json", "Config", "Machine", "Code", "Date", "State"];
  const lines = row.made.map(([seed, path, ...rest]) => [String(seed), make("a", { href: path }, path.split("/")[1]), ...rest]);
  made.push(make("h4", { id: `${row.id}-made` }, "How it was made"), plainTable(titles, lines, titles.slice(1)));
  return made;
}

function publishedCell(task, cells, title) {
  return cells[task.columns.published.indexOf(title)];
}

/** Lines by their first cell, in the order they come in. */
function grouped(lines) {
  const found = new Map();
  for (const line of lines) found.set(line[0], [...(found.get(line[0]) ?? []), line]);
  return found;
}

function bar(share) {
  const filled = make("i");
  filled.style.width = `${100 * share}%`;
  return make("span", { className: "bar", "aria-hidden": "true" }, filled);
}

function capitalised(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}`;
}

// The chart: the main metric in the view shown against seconds of training.

function symbol(kind, x, y) {
  if (kind === "trivial") return draw("rect", { class: "mark", x: x - 4, y: y - 4, width: 8, height: 8 });
  if (kind === "generative") return draw("path", { class: "mark", d: `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5z` });
  return draw("circle", { class: "mark", cx: x, cy: y, r: 4.5 });
}

/** A round distance between at most six lines from 0 to `span`. */
function tickOf(span) {
  const power = 10 ** Math.floor(Math.log10(span / 4));
  return [1, 2, 5, 10].map((factor) => factor * power).find((tick) => span / tick <= 5);
}

function chart(rows, width) {
  const points = rows
    .map((row) => ({ row, ...parts(cell(row, "accuracy", row.task.quality)), text: cell(row, "cost", SECONDS) }))
    .map((point) => ({ ...point, quality: Number(point.value), seconds: Math.max(numberIn(point.text), LEAST_SECONDS) }))
    .filter((point) => !Number.isNaN(point.quality));
  if (!points.length) return null;
  const height = Math.round(Math.min(420, Math.max(300, width * 0.42))), left = 48, right = 14, top = 12, bottom = 42;
  const highest = Math.max(...points.map((point) => point.high || point.quality), 1e-4);
  const decades = points.map((point) => Math.log10(point.seconds));
  const first = Math.floor(Math.min(...decades)), last = Math.max(Math.ceil(Math.max(...decades)), first + 1);
  const x = (seconds) => left + 8 + ((Math.log10(seconds) - first) / (last - first)) * (width - left - right - 8);
  const y = (value) => height - bottom - (value / (1.04 * highest)) * (height - bottom - top);
  const step = ({ seconds, quality }, place) => (place ? `H${x(seconds)}V${y(quality)}` : `M${x(seconds)} ${y(quality)}`);
  const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group" });
  for (let value = 0; value <= 1.04 * highest; value += tickOf(highest)) {
    picture.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    picture.append(draw("text", { class: "axis", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(3)))));
  }
  for (let decade = first; decade <= last; decade += 1) {
    const place = x(10 ** decade), label = decade === -1 ? "≤ 0.1" : (10 ** decade).toLocaleString("en");
    picture.append(draw("line", { class: "grid", x1: place, x2: place, y1: top, y2: height - bottom }));
    picture.append(draw("text", { class: "axis", x: place, y: height - bottom + 16, "text-anchor": decade === last ? "end" : "middle" }, label));
  }
  picture.append(
    draw("text", { class: "axis", x: width - right, y: height - 6, "text-anchor": "end" }, "seconds of training (log scale)"),
    draw("path", { class: "frontier", d: `${frontier(points).map(step).join("")}H${width - right}` }),
  );
  const taken = points.map((point) => box(x(point.seconds) - 6, y(point.quality) - 6, 12, 12));
  for (const point of points) picture.append(mark(point, x(point.seconds), y(point.quality), y));
  for (const point of [...points].sort((a, b) => b.quality - a.quality)) {
    const label = shortName(point.row.model), long = 6.3 * label.length;
    const [px, py] = [x(point.seconds), y(point.quality)];
    const places = [[px + 9, py + 4, "start"], [px - 9, py + 4, "end"], [px + 7, py - 7, "start"], [px + 7, py + 15, "start"], [px - 7, py - 7, "end"], [px - 7, py + 15, "end"]];
    const free = places.find(([tx, ty, anchor]) => {
      const room = box(anchor === "start" ? tx : tx - long, ty - 10, long, 12);
      return room.x > left && room.x + long < width - right + 8 && !taken.some((other) => overlap(room, other));
    });
    if (!free) continue; // its title still says what it is
    const [tx, ty, anchor] = free;
    taken.push(box(anchor === "start" ? tx : tx - long, ty - 10, long, 12));
    picture.append(draw("text", { x: tx, y: ty, "text-anchor": anchor }, label));
  }
  return picture;
}

function mark(point, px, py, y) {
  const { row, value, rest, text } = point;
  const link = draw("a", { href: `#${row.id}`, class: `${row.kind}${text.endsWith("†") ? " shared" : ""}` });
  if (!Number.isNaN(point.low)) link.append(draw("line", { class: "interval", x1: px, x2: px, y1: y(point.low), y2: y(point.high) }));
  link.append(symbol(row.kind, px, py), draw("title", {}, `${row.model}: ${row.task.main} ${value} ${rest}, training ${text} s`));
  return link;
}

/** Points that nothing cheaper reaches, cheapest first. */
function frontier(points) {
  const found = [];
  for (const point of [...points].sort((a, b) => a.seconds - b.seconds || b.quality - a.quality)) {
    if (!found.length || point.quality > found.at(-1).quality) found.push(point);
  }
  return found;
}

function shortName(label) {
  return label.replace(/ \([^)]*\)/, "");
}

function box(x, y, width, height) {
  return { x, y, width, height };
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

function chartFigure(rows) {
  const figure = make("figure"), place = make("div");
  const legend = make("ul", { className: "legend" });
  for (const [kind, title] of Object.entries(KINDS)) {
    if (!rows.some((row) => row.kind === kind)) continue;
    const sign = draw("svg", { width: 13, height: 13, "aria-hidden": "true" }, draw("g", { class: kind }, symbol(kind, 6.5, 6.5)));
    legend.append(make("li", {}, sign, title));
  }
  const caption =
    `${rows[0].task.main} (${viewOf(rows[0].task)}) against seconds of training; bars are 95 % intervals. Hollow: several runs shared the machine (†), ` +
    "its time is no basis for a comparison. Dashed: the best quality at each cost. A mark leads to its row.";
  figure.append(make("h3", {}, "Quality against cost"), legend, place, make("figcaption", {}, caption));
  const redraw = () => {
    const width = Math.floor(place.clientWidth);
    const picture = width ? chart(rows, width) : null;
    place.replaceChildren(...(picture ? [picture] : []));
  };
  return { figure, redraw };
}

// The page.

let redraws = [];

function shownRows(board) {
  const words = state.model.toLowerCase().split(/\s+/).filter(Boolean);
  return board.rows.filter((row) => words.every((word) => row.model.toLowerCase().includes(word)));
}

function boardSection(board) {
  const { about, task } = board, rows = shownRows(board), view = viewOf(task);
  const title = make("h2", { id: board.id }, about.title);
  const described = `${capitalised(about.protocol)}. ${about.targets}`;
  const node = make(
    "section",
    {},
    title,
    make("p", {}, make("code", {}, about.name), ` · ${unbroken(described)} Test fingerprint `, make("code", {}, about.fingerprint), ". ", make("a", { href: `${about.name}.md` }, "As markdown"), "."),
    ...about.rewards.map((text, place) => make("p", {}, ...(place ? [] : [make("strong", {}, "What this test rewards. ")]), unbroken(text))),
  );
  node.dataset.dataset = about.name;
  node.dataset.protocol = about.protocol;
  if (!rows.length) {
    node.append(make("p", { className: "soft" }, "No row of this board matches the filter."));
    return node;
  }
  const figures = board.rows.map((row) => parts(cell(row, "accuracy", task.quality)));
  const scale = Math.max(...figures.map(({ value, high }) => high || Number(value) || 0));
  const caption = `${about.title}, view ${view}: ${rows.length} of ${board.rows.length} rows`;
  const shown = rowColumns(task, scale);
  const start = shown.some((one) => one.title === task.quality) ? [task.quality, -1] : ["#", 1];
  node.append(sortable(`${board.id}-rows`, caption, shown, rows, { start, detail: details, rowId: (row) => row.id }));
  if (about.missing.length) node.append(make("p", { className: "soft" }, `Trivial baselines without a row: ${about.missing.join("; ")}.`));
  const { figure, redraw } = chartFigure(rows);
  redraws.push(redraw);
  node.append(figure, publishedTable(board, rows), ...courtTable(board, rows));
  return node;
}

function publishedTable(board, rows) {
  const lines = rows.flatMap((row) => row.published.map((cells) => ({ model: row.model, kind: row.kind, cells, row })));
  if (!lines.length) return make("p", { className: "soft" }, "The cards of these models name no published number for this data set.");
  const shown = PUBLISHED.map((title) => {
    const text = ({ cells }) => publishedCell(board.task, cells, title);
    const show = (line) => [title === "Verdict" ? make("span", { className: verdictClass(text(line)) }, text(line)) : text(line)];
    const source = MEASURED.includes(title) ? (line) => line.row : null;
    return column(title, text, { words: PUBLISHED_WORDS.includes(title), long: title === "Source" || title === "Verdict", show, source });
  });
  const caption = `Published and measured, ${board.about.title}`;
  const table = sortable(`${board.id}-published`, caption, [nameColumn(), ...shown], lines, { start: ["Model", 1] });
  return make("details", {}, make("summary", {}, `Published numbers beside ours (${lines.length})`), table);
}

/** Every published number with its level, our figures at both levels and the command that repeats it; no table where there is none. */
function courtTable(board, rows) {
  const titles = board.task.columns.court, ourRow = titles.indexOf("Our row") + 1;
  const byLabel = new Map(rows.map((row) => [row.model, row]));
  const lines = board.court.filter((cells) => byLabel.has(cells[ourRow]));
  if (!lines.length) return [];
  const model = { ...column("Model", ([name]) => name, { words: true }), isName: true };
  const shown = titles.map((title, place) => {
    const text = (cells) => cells[place + 1];
    const show = (cells) => [title === "Verdict" ? make("span", { className: verdictClass(text(cells)) }, text(cells)) : text(cells)];
    const source = COURT_MEASURED.includes(title) ? (cells) => byLabel.get(cells[ourRow]) : null;
    const words = title !== "Published" && !source;
    return column(title, text, { words, long: ["Source", "Verdict", "Repeat with"].includes(title), show, source });
  });
  const table = sortable(`${board.id}-court`, `The court, ${board.about.title}`, [model, ...shown], lines, { start: ["Model", 1] });
  return [make("details", {}, make("summary", {}, `The court: published numbers, their level, ours at both levels (${lines.length})`), table)];
}

function acrossSection() {
  const node = make("section", { id: "across" }, make("h2", {}, "All data sets"));
  for (const [name, task] of Object.entries(tasks)) appendOverview(node, name, task);
  return node;
}

function appendOverview(node, name, task) {
  const lines = boards.filter((board) => board.task === task && isShown(board)).map(({ about, id, rows }) => ({ ...about, id, rows }));
  if (!lines.length) return;
  const count = (key) => (line) => line[key].toLocaleString("en");
  const shown = [
    { ...column("Data set", (line) => line.name, { words: true }), isName: true, show: (line) => [make("a", { href: `#${line.id}` }, line.name)] },
    column("Title", (line) => line.title, { words: true, long: true }),
    column("Protocol", (line) => line.protocol, { words: true, long: true }),
    column(`Test ${task.units}`, count("n_users")),
    column("Items", count("n_items")),
    column("Interactions", count("n_interactions")),
    column("Rows", count("n_rows")),
    column("Best row", (line) => line.best, { words: true, note: `by ${task.main}, ${task.views[0]}` }),
    ...task.views.map((view) => column(`${task.main}, ${view}`, (line) => line.values[view], { note: "of that row", source: (line) => line.rows[0] })),
  ];
  if (Object.keys(tasks).length > 1) node.append(make("h3", {}, task.title));
  node.append(sortable(`overview-${name}`, "Data sets and the best row of each", shown, lines, { start: ["Data set", 1] }));
  across.forEach(({ about, rows }, number) => {
    if (about.task !== name || about.view !== viewOf(task) || (state.protocol && about.protocol !== state.protocol)) return;
    const found = about.columns.map((title, place) => {
      const words = about.words.includes(title), dataset = about.datasets.indexOf(title);
      const note = dataset < 0 ? "" : `${task.main} (rank)`;
      const source = dataset < 0 ? null : ({ best }) => rowOf(title, about.protocol, best[dataset]);
      return { ...column(title, ({ cells }) => cells[place], { words, note, source, ascending: words || title === "Mean rank" }), isName: !place };
    });
    const caption = `${about.protocol}, view ${about.view}: ${about.datasets.length} data sets, ${about.ranked} models on all of them`;
    const meaning =
      "A model stands with its best row on each data set, chosen by the figure shown, so a model with more rows has more chances. Rank: among the " +
      `models that stand on every data set of the table; models on fewer have none. Wins: data sets on which no model has a higher ${task.main}.`;
    node.append(
      make("h3", {}, `Models across data sets, view ${about.view}`),
      make("p", { className: "soft" }, meaning),
      sortable(`across-${number}`, caption, found, rows, { start: ["Mean rank", 1] }),
    );
  });
}

/** What is said of all data sets: the answer where the view shown has one, then each data set's best row. */
function overall() {
  const task = tasks["next-item"];
  return [...(task && !state.protocol ? answerSections(answers, viewOf(task)) : []), acrossSection()];
}

function rowOf(dataset, protocol, label) {
  return boards.find(({ about }) => about.name === dataset && about.protocol === protocol).rows.find((row) => row.model === label);
}

function isShown({ about }) {
  return (!state.dataset || about.name === state.dataset) && (!state.protocol || about.protocol === state.protocol);
}

function render() {
  redraws = [];
  const shown = boards.filter(isShown);
  const sections = shown.map(boardSection);
  document.querySelector("main").replaceChildren(...(state.dataset ? [] : overall()), ...sections);
  redraws.forEach((redraw) => redraw());
  const rows = shown.reduce((sum, board) => sum + shownRows(board).length, 0);
  const all = boards.reduce((sum, board) => sum + board.rows.length, 0);
  document.getElementById("count").textContent = `${rows} of ${all} rows`;
}

function choices(id, options) {
  const place = document.getElementById(id);
  for (const [value, title] of Object.entries(options)) {
    const input = make("input", { type: "radio", name: id, value, defaultChecked: state[id] === value });
    input.addEventListener("change", () => change(id, value));
    place.append(make("label", {}, input, make("span", {}, title)));
  }
}

function selection(id, values) {
  const select = document.getElementById(id);
  select.append(make("option", { value: "" }, "all"), ...[...new Set(values)].map((value) => make("option", { value }, value)));
  select.addEventListener("change", () => change(id, select.value));
}

function change(id, value) {
  state[id] = value;
  render();
}

function start() {
  const summary = document.getElementById("summary");
  if (!boards.length) {
    summary.textContent = "There is no record yet. Make one with recbench run, then publish it with recbench leaderboard publish.";
    return;
  }
  boards.forEach((board, number) => {
    board.id = `board-${number + 1}`;
    board.task = tasks[board.about.task];
    board.rows.forEach((row, place) => Object.assign(row, { id: `${board.id}-${place + 1}`, place: place + 1, task: board.task }));
  });
  selection("dataset", boards.map(({ about }) => about.name));
  selection("protocol", boards.map(({ about }) => about.protocol));
  choices("view", Object.fromEntries(VIEWS.map((view) => [view, view])));
  choices("columns", { overview: "overview", accuracy: "accuracy", against: "significance", cost: "cost", beyond: "beyond accuracy", levels: "code level", all: "all" });
  const input = document.getElementById("model");
  input.addEventListener("input", () => change("model", input.value));
  const form = document.getElementById("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.reset(); // a browser may have kept the choices of an earlier visit
  form.hidden = false;
  addEventListener("resize", () => redraws.forEach((redraw) => redraw()));
  render();
}

start();
