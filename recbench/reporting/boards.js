// The boards: the columns of their rows, what a row unfolds into, the sections with their tables and pictures.

const PUBLISHED = ["Metric", "View", "Level", "Published", "Measured", "Difference", "Verdict", "Source"];
const MEASURED = ["Measured", "Difference"];
const PUBLISHED_WORDS = ["Metric", "View", "Level", "Verdict", "Source"];
const COURT_MEASURED = ["At item level", "At code level"];
const INTERVAL = " [95 %]";
const SHARED = "Measured while several runs shared the machine: no basis for a comparison.";
const ONE_SEED = "One seed each, unless a badge says how many";

/** The text of a row's cell by table and column title, of the view shown where the table has views; an en dash where the row has none. */
function cell(row, table, title) {
  const cells = row[viewOf(row.task)][table] ?? row[table][0] ?? [];
  return cells[row.task.columns[table].indexOf(title)] ?? NOTHING;
}

function showRecords(row) {
  const link = ([seed, path], place) => linkTo({ record: runOf(path) }, { className: "seed" }, place ? `${seed}` : `seed ${seed}`);
  return counting(row).flatMap((line, place) => [...(place ? [", "] : []), link(line, place)]);
}

/** The columns chosen, of the view chosen. The narrow window of the overview keeps place, model and quality. */
function rowColumns(task, scale) {
  const { columns, quality, main } = task, view = viewOf(task), published = `Published ${main}`;
  const other = view === task.views[0] ? "" : task.views[0];
  const placed = column("#", (row) => String(row.place), { ascending: true, isKept: true, task });
  const records = column("Records", (row) => String(row.made.length), { show: showRecords, words: true, task });
  const shown = { [quality]: (text) => showWhisker(text, scale), [published]: showPublished, Notes: showNotes };
  const of = (table, title, options) => {
    const show = options?.print ?? shown[title] ?? showFigure;
    const source = options?.words || title.startsWith("Published") ? null : (row) => row;
    return column(title, (row) => cell(row, table, title), { ...options, task, source, isKept: title === quality, isBadges: title === published, show: (row) => show(cell(row, table, title)) });
  };
  const notes = { ...of("accuracy", "Notes", { words: true }), isBadges: true };
  const accuracy = columns.accuracy.filter((title) => title !== "Notes").map((title) => of("accuracy", title));
  const against = columns.against.map((title) =>
    of("against", title, { note: other, words: title === "Seeds", ascending: /^(p|Seeds)/.test(title), print: (text) => [text] }),
  );
  const cost = columns.cost.map((title) =>
    of("cost", title, { words: title === "Machine", long: title === "Machine", ascending: !title.endsWith("/s"), print: showCost }),
  );
  const beyond = columns.beyond.map((title) => of("beyond", title));
  const levels = columns.levels.map((title) => of("levels", title));
  const named = (list, ...titles) => titles.map((title) => list.find((one) => one.title === title));
  const sets = {
    overview: [
      ...named(accuracy, quality),
      ...task.beside.map((title) => ({ ...of("accuracy", title, { print: showValue }), label: title.replace(INTERVAL, "") })),
      ...named(accuracy, published),
      ...named(against, "Best − model", "p (Holm)"),
      ...named(cost, SECONDS),
      notes,
    ],
    accuracy: [...accuracy, notes],
    against,
    cost,
    beyond,
    levels,
    all: [...accuracy, ...against, ...cost, ...beyond, ...levels, notes],
  };
  const chosen = [placed, nameColumn(task), ...sets[state.columns], records];
  return chosen.map((one) => ({ ...one, isExtra: state.columns === "overview" && !one.isKept }));
}

/** What a row holds beyond its line: what a narrow window leaves out, its notes, groups of users in this view, published numbers, its records. */
function details(row, shown) {
  const { task } = row, view = viewOf(task), made = [];
  const left = shown.filter((one) => one.isExtra && one.title !== "Notes" && one.text(row) !== NOTHING);
  const pairs = left.flatMap((one) => [make("dt", {}, one.title), make("dd", {}, ...one.show(row))]);
  if (pairs.length) made.push(make("dl", { className: "narrow" }, ...pairs));
  const notes = notesOf(cell(row, "accuracy", "Notes"));
  if (notes.length) {
    const list = notes.map(({ note, explained }) => make("li", {}, note, explained ? make("small", {}, ` ${explained}`) : ""));
    made.push(make("h4", {}, "Notes"), make("ul", {}, ...list));
  }
  const groups = groupsOf(row, view);
  const most = Math.max(...[...groups.values()].flat().map(({ value }) => Number(value)), 1e-9);
  if (groups.size) {
    const lines = (kind) => groups.get(kind).map(({ group, n, value }) => [group, n, linked(row, value), bar(Number(value) / most)]);
    const tables = [...groups.keys()].map((kind) => plainTable([`By ${kind}`, capitalised(task.units), task.main, " "], lines(kind), [`By ${kind}`]));
    made.push(make("h4", {}, `${task.main} by group of ${task.units}, view ${view}`), make("div", { className: "groups" }, ...tables));
  }
  if (row.published.length) {
    const text = (text, title) => (MEASURED.includes(title) ? linked(row, text) : text);
    const lines = row.published.map((cells) => PUBLISHED.map((title) => text(publishedCell(task, cells, title), title)));
    made.push(make("h4", {}, "Published numbers beside ours"), plainTable(PUBLISHED, lines, PUBLISHED_WORDS));
  }
  const titles = ["Seed", "Record", "sha256 of record.json", "Config", "Machine", "Code", "Date", "State"];
  const lines = row.made.map(([seed, path, ...rest]) => [String(seed), linkTo({ record: runOf(path) }, { className: "seed" }, runOf(path)), ...rest]);
  made.push(make("h4", { id: `${row.id}-made` }, "How it was made"), plainTable(titles, lines, titles.slice(1)));
  return made;
}

/** The main metric of each group of a row, by how they are grouped. */
function groupsOf(row, view) {
  const found = new Map(), values = row[view].groups;
  row.board.about.groups[view].forEach(([kind, group, n], place) => {
    if ((values[place] ?? NOTHING) === NOTHING) return;
    found.set(kind, [...(found.get(kind) ?? []), { group, n, value: values[place] }]);
  });
  return found;
}

function publishedCell(task, cells, title) {
  return cells[task.columns.published.indexOf(title)];
}

function bar(share) {
  const filled = make("i");
  filled.style.width = `${100 * share}%`;
  return make("span", { className: "bar", "aria-hidden": "true" }, filled);
}

function chartFigure(board) {
  const { task } = board, figure = make("figure"), place = make("div", { className: "picture" });
  const there = Object.entries(task.kinds).filter(([kind]) => board.rows.some((row) => row.kind === kind));
  const caption =
    `${task.main} (${viewOf(task)}) against seconds of training; bars are 95 % intervals. Hollow: several runs shared the machine (†), ` +
    "its time is no basis for a comparison. Dashed: the best quality at each cost. A mark leads to its row.";
  const titles = Object.fromEntries(there.map(([kind, word]) => [kind, `${word} model`]));
  figure.append(make("h3", {}, "Quality against cost"), legendOf(titles), place, make("figcaption", {}, caption));
  const redraw = () => {
    const width = Math.floor(place.clientWidth);
    const picture = width ? costChart(matchingRows(board), width) : null;
    place.replaceChildren(...(picture ? [picture] : []));
  };
  return { figure, redraw };
}

/** The rows of a board that the filter of models leaves. */
function matchingRows(board) {
  const isWanted = wanted();
  return board.rows.filter((row) => isWanted(row.words));
}

/** The heading of a board; the rest comes when it is near the window. */
function boardSection(board) {
  const { about } = board;
  const node = make("section", {}, make("h2", { id: board.id, tabIndex: -1 }, about.title));
  node.dataset.dataset = about.name;
  node.dataset.protocol = about.protocol;
  return node;
}

/** Fill the section of a board; what filters its tables, and what draws its picture again. */
function fillBoard(board, node) {
  const { about, task } = board, view = viewOf(task);
  const told = `${capitalised(about.protocol)}. ${about.targets}`;
  node.append(
    make("p", {}, make("code", {}, about.name), ` · ${unbroken(told)} Test fingerprint `, make("code", {}, about.fingerprint), ". ", make("a", { href: `${about.name}.md` }, "As markdown"), "."),
  );
  if (about.rewards.length) {
    node.append(make("details", { className: "rewards" }, make("summary", {}, "What this test rewards"), ...about.rewards.map((text) => make("p", {}, unbroken(text)))));
  }
  const figures = board.rows.map((row) => parts(cell(row, "accuracy", task.quality)));
  const scale = Math.max(...figures.map(({ value, high }) => high || Number(value) || 0));
  const seeds = board.rows.some((row) => cell(row, "accuracy", "Notes").includes("1 seed")) ? ` ${ONE_SEED}.` : "";
  const caption = (n) => `${about.title}, view ${view}: ${n} of ${board.rows.length} rows.${seeds}`;
  const rows = sortable(`${board.id}-rows`, caption, rowColumns(task, scale), board.rows, {
    start: startOf(task),
    detail: details,
    rowId: (row) => row.id,
    filterBy: (row) => row.model,
  });
  node.append(rows.node);
  if (about.missing.length) node.append(make("p", { className: "soft" }, `Trivial baselines without a row: ${about.missing.join("; ")}.`));
  const { figure, redraw } = chartFigure(board);
  const more = [publishedTable(board), courtTable(board)].filter(Boolean);
  node.append(figure, ...more.map(({ node: folded }) => folded));
  if (!board.rows.some((row) => row.published.length)) node.append(make("p", { className: "soft" }, "The cards of these models name no published number for this data set."));
  return { tables: [rows, ...more], redraw };
}

/** How the rows of a board are sorted at first. */
function startOf(task) {
  const isThere = ["overview", "accuracy", "all"].includes(state.columns);
  return isThere ? [task.quality, -1] : ["#", 1];
}

/** A table folded away below a line that says how many of its rows are shown. */
function folded(title, table) {
  const summary = make("summary"), node = make("details", {}, summary, table.node);
  const filter = () => {
    const n = table.filter();
    summary.textContent = `${title} (${n})`;
    node.hidden = !n;
  };
  filter();
  return { node, filter };
}

function publishedTable(board) {
  const lines = board.rows.flatMap((row) => row.published.map((cells) => ({ model: row.model, kind: row.kind, cells, row })));
  if (!lines.length) return null;
  const shown = PUBLISHED.map((title) => {
    const text = ({ cells }) => publishedCell(board.task, cells, title);
    const show = (line) => [title === "Verdict" ? make("span", { className: verdictClass(text(line)) }, text(line)) : text(line)];
    const source = MEASURED.includes(title) ? (line) => line.row : null;
    return column(title, text, { words: PUBLISHED_WORDS.includes(title), long: title === "Source" || title === "Verdict", show, source, task: board.task });
  });
  const caption = () => `Published and measured, ${board.about.title}`;
  const options = { start: ["Model", 1], filterBy: ({ model }) => model };
  return folded("Published numbers beside ours", sortable(`${board.id}-published`, caption, [nameColumn(board.task), ...shown], lines, options));
}

/** Every published number with its level, our figures at both levels and the command that repeats it; no table where there is none. */
function courtTable(board) {
  const titles = board.task.columns.court, ourRow = titles.indexOf("Our row") + 1;
  const byLabel = new Map(board.rows.map((row) => [row.model, row]));
  if (!board.court.length) return null;
  const model = { ...column("Model", ([name]) => name, { words: true, task: board.task }), isName: true };
  const shown = titles.map((title, place) => {
    const text = (cells) => cells[place + 1];
    const show = (cells) => [title === "Verdict" ? make("span", { className: verdictClass(text(cells)) }, text(cells)) : text(cells)];
    const source = COURT_MEASURED.includes(title) ? (cells) => byLabel.get(cells[ourRow]) : null;
    const words = title !== "Published" && !source;
    return column(title, text, { words, long: ["Source", "Verdict", "Repeat with"].includes(title), show, source, task: board.task });
  });
  const options = { start: ["Model", 1], filterBy: (cells) => cells[ourRow] };
  return folded("The court: published numbers, their level, ours at both levels", sortable(`${board.id}-court`, () => `The court, ${board.about.title}`, [model, ...shown], board.court, options));
}

/** Fill the section about all data sets: the best row of each, then models across them. */
function fillAcross(node) {
  return { tables: Object.entries(tasks).flatMap(([name, task]) => overview(node, name, task)), redraw: () => {} };
}

function overview(node, name, task) {
  const lines = boards.filter((board) => board.task === task && isShown(board)).map(({ about, id, rows }) => ({ ...about, id, rows }));
  if (!lines.length) return [];
  const count = (key) => (line) => line[key].toLocaleString("en");
  const shown = [
    { ...column("Data set", (line) => line.name, { words: true, task }), isName: true, show: (line) => [linkTo({ at: line.id }, {}, line.name)] },
    column("Title", (line) => line.title, { words: true, long: true, task }),
    column("Protocol", (line) => line.protocol, { words: true, long: true, task }),
    column(`Test ${task.units}`, count("n_users"), { task }),
    column("Items", count("n_items"), { task }),
    column("Interactions", count("n_interactions"), { task }),
    column("Rows", count("n_rows"), { task }),
    column("Best row", (line) => line.best, { words: true, long: true, note: `by ${task.main}, ${task.views[0]}`, task }),
    ...task.views.map((view) => column(`${task.main}, ${view}`, (line) => line.values[view], { note: "of that row", source: (line) => line.rows[0], task })),
  ];
  if (Object.keys(tasks).length > 1) node.append(make("h3", {}, task.title));
  const table = sortable(`overview-${name}`, () => "Data sets and the best row of each", shown, lines, { start: ["Data set", 1] });
  node.append(table.node);
  return [table, ...across.flatMap((found, number) => modelsAcross(node, name, task, found, number))];
}

function modelsAcross(node, name, task, { about, rows }, number) {
  if (about.task !== name || about.view !== viewOf(task) || (state.protocol && about.protocol !== state.protocol)) return [];
  const shown = about.columns.map((title, place) => {
    const words = about.words.includes(title), dataset = about.datasets.indexOf(title);
    const note = dataset < 0 ? "" : `${task.main} (rank)`;
    const source = dataset < 0 ? null : ({ best }) => rowOf(title, about.protocol, best[dataset]);
    return { ...column(title, ({ cells }) => cells[place], { words, note, source, long: title === "Best rows", ascending: words || title === "Mean rank", task }), isName: !place };
  });
  const caption = `View ${about.view}: ${about.datasets.length} data sets, ${about.ranked} models on all of them`;
  const meaning =
    "A model stands with its best row on each data set, chosen by the figure shown, so a model with more rows has more chances. Rank: among the " +
    `models that stand on every data set of the table; models on fewer have none. Wins: data sets on which no model has a higher ${task.main}.`;
  const table = sortable(`across-${number}`, () => caption, shown, rows, { start: ["Mean rank", 1], filterBy: ({ cells }) => cells[0] });
  const fold = make("details", { open: !node.querySelector("details") }, make("summary", {}, `Models across data sets: ${about.protocol}`));
  fold.append(make("p", { className: "soft" }, meaning), table.node);
  node.append(fold);
  return [table];
}

function rowOf(dataset, protocol, label) {
  return boards.find(({ about }) => about.name === dataset && about.protocol === protocol).rows.find((row) => row.model === label);
}

function isShown({ about }) {
  return (!state.dataset || about.name === state.dataset) && (!state.protocol || about.protocol === state.protocol);
}
