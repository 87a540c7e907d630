// The page: its parts, filled when they come near the window, and bit by bit behind it; its filters; its places.

const main = document.querySelector("main");
const NEAR = "600px"; // a part is filled before it is scrolled to
const SLICE_MS = 12; // of work at a time, so that a key or a finger never waits long
const page = { parts: [], redrawHeadline: () => {}, waiting: 0 };

/** A part of the page below its heading: `fill` adds what it holds, and gives its tables and what draws its pictures. */
function part(node, fill, isWanted) {
  const body = make("div", { className: "body" });
  node.append(body);
  node.classList.add("unfilled");
  return { node, body, fill, isWanted, isFilled: false, isDrawn: false, held: { tables: [], redraw: () => {} } };
}

/** Do what is left to do for a part. */
function finish(one) {
  if (!one.isFilled) {
    one.body.replaceChildren();
    one.held = one.fill(one.body);
    one.isFilled = true;
    one.isDrawn = false;
    one.node.classList.remove("unfilled");
  }
  if (!one.isDrawn) one.held.redraw();
  one.isDrawn = true;
}

function isNear({ node }) {
  const { top, bottom } = node.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}

/** Bring the page up to the choices: at once what is in sight, the rest bit by bit, so that the browser stays free. */
function settle() {
  for (const one of page.parts) one.node.hidden = !one.isWanted();
  const left = () => page.parts.filter((one) => !one.node.hidden && !(one.isFilled && one.isDrawn));
  main.setAttribute("aria-busy", "true");
  for (const one of left()) {
    const { top } = one.node.getBoundingClientRect();
    if (top > innerHeight) break;
    if (isNear(one)) finish(one);
  }
  clearTimeout(page.waiting);
  const go = () => {
    const end = performance.now() + SLICE_MS;
    for (const one of left()) {
      finish(one);
      if (performance.now() > end) break;
    }
    page.waiting = left().length ? setTimeout(go) : 0;
    main.setAttribute("aria-busy", String(Boolean(page.waiting)));
  };
  page.waiting = setTimeout(go);
}

function finishAll() {
  for (const one of page.parts) if (!one.node.hidden) finish(one);
}

// Filters.

/** Take over a choice of the reader. */
function change(key, value) {
  state[key] = value;
  writeAddress();
  render(key);
}

/** Show the page by its choices; `key` is the only one that changed, if it is known. */
function render(key = "") {
  hideTip();
  if (!key || key === "view") page.redrawHeadline = headlineSection();
  const isRefilled = key === "model" ? () => false : key === "dataset" || key === "protocol" ? (one) => one.isOverall : () => true;
  for (const one of page.parts) {
    if (isRefilled(one)) one.isFilled = false;
    else if (key === "model" && one.isFilled) {
      for (const table of one.held.tables) table.filter();
      one.isDrawn = false;
    }
  }
  settle();
  const rows = boards.filter(isShown).map((board) => matchingRows(board).length);
  const shown = rows.reduce((sum, n) => sum + n, 0), all = boards.reduce((sum, board) => sum + board.rows.length, 0);
  document.getElementById("count").textContent = `${shown} of ${all} rows`;
  document.getElementById("nothing").hidden = shown > 0;
  document.getElementById("chosen").textContent = [state.dataset || "all data sets", state.view, state.model].filter(Boolean).join(", ");
}

function setControls() {
  for (const id of ["dataset", "protocol", "columns", "model"]) document.getElementById(id).value = state[id];
  for (const input of document.querySelectorAll("#view input")) input.checked = input.value === state.view;
}

function choices(id, options) {
  const place = document.getElementById(id);
  for (const [value, title] of Object.entries(options)) {
    const input = make("input", { type: "radio", name: id, value });
    input.addEventListener("change", () => change(id, value));
    place.append(make("label", {}, input, make("span", {}, title)));
  }
}

function selection(id, options) {
  const select = document.getElementById(id);
  select.append(...Object.entries(options).map(([value, title]) => make("option", { value }, title)));
  select.addEventListener("change", () => change(id, select.value));
}

/** Values by themselves, below "all". */
function allOr(values) {
  return Object.fromEntries([["", "all"], ...values.map((value) => [value, value])]);
}

// Places.

/** Go to a place of the page, whatever the filters leave out: an element by its id, or a record. */
function reveal({ at, record }) {
  const row = record ? page.rowOfRun.get(record) : page.rowOfId.get(/^board-\d+-\d+/.exec(at)?.[0]);
  const board = row?.board ?? boards.find(({ id }) => id === at);
  if (board) {
    uncover(board, row);
    finish(board.part);
  }
  if (row && (record || at.endsWith("-made")) && !opened.has(row.id)) document.getElementById(row.id).querySelector(".more").click();
  let target = document.getElementById(at);
  if (record && row) {
    const detail = document.querySelector(`#${row.id} td.detail > div`);
    detail.querySelectorAll(".record").forEach((other) => other.remove());
    target = recordSection(record);
    if (target) detail.append(target);
  }
  if (!target) return;
  target.scrollIntoView({ block: target.matches("tbody") ? "center" : "start" });
  (target.querySelector(":scope > tr .more") ?? target).focus({ preventScroll: true });
}

/** Lift the filters that hide a board, or a row of it. */
function uncover(board, row) {
  const isHidden = !isShown(board) || (row && !wanted()(row.words)) || !matchingRows(board).length;
  if (!isHidden) return;
  Object.assign(state, { dataset: "", protocol: "", model: "" });
  setControls();
  render();
}

/** Follow a link to a place of the page; the choices stay, and "back" leads to where the reader was. */
function follow(href) {
  const place = placeIn(new URLSearchParams(href.slice(1)));
  reveal(place);
  history.pushState(null, "", location.href.split("#")[0] + address(place));
}

function start() {
  if (!boards.length) {
    document.getElementById("summary").textContent = "There is no record yet. Make one with recbench run, then publish it with recbench leaderboard publish.";
    return;
  }
  boards.forEach((board, number) => {
    board.id = `board-${number + 1}`;
    board.task = tasks[board.about.task];
    board.rows.forEach((row, place) => Object.assign(row, { id: `${board.id}-${place + 1}`, place: place + 1, task: board.task, board, words: row.model.toLowerCase() }));
  });
  const rows = boards.flatMap((board) => board.rows);
  page.rowOfId = new Map(rows.map((row) => [row.id, row]));
  page.rowOfRun = new Map(rows.flatMap((row) => row.made.map(([, path]) => [runOf(path), row])));
  const answer = make("section", { id: "answer" }, make("h2", {}, "The answer at equal processor time"));
  const allSets = make("section", { id: "across" }, make("h2", {}, "All data sets"));
  const hasAnswer = () => !state.dataset && !state.protocol && answers.some(({ about }) => about.view === viewOf(tasks["next-item"]));
  const overall = [part(allSets, fillAcross, () => !state.dataset), part(answer, fillAnswer, hasAnswer)];
  overall.forEach((one) => (one.isOverall = true));
  for (const board of boards) board.part = part(boardSection(board), (body) => fillBoard(board, body), () => isShown(board) && matchingRows(board).length > 0);
  page.parts = [...overall, ...boards.map((board) => board.part)];
  main.append(...page.parts.map(({ node }) => node));

  selection("dataset", allOr([...new Set(boards.map(({ about }) => about.name))]));
  selection("protocol", allOr([...new Set(boards.map(({ about }) => about.protocol))]));
  selection("columns", COLUMNS);
  choices("view", Object.fromEntries(VIEWS.map((view) => [view, view])));
  const model = document.getElementById("model"), form = document.getElementById("filters"), fold = form.querySelector("details");
  model.addEventListener("input", () => change("model", model.value));
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const format of ["csv", "json"]) document.getElementById(format).addEventListener("click", () => download(format));
  fold.open = matchMedia("(min-width: 48.01rem)").matches;
  form.hidden = false;
  const keepClear = () => document.documentElement.style.setProperty("--bar", `${getComputedStyle(form).position === "sticky" ? form.offsetHeight : 0}px`);
  keepClear();
  new ResizeObserver(keepClear).observe(form);

  startTips();
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    follow(link.getAttribute("href"));
  });
  addEventListener("popstate", () => open(readAddress()));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width === innerWidth) return; // a phone's bars come and go
    width = innerWidth;
    page.redrawHeadline();
    for (const one of page.parts) one.isDrawn = false;
    settle();
  });
  addEventListener("beforeprint", finishAll);
  const near = new IntersectionObserver((seen) => seen.filter(({ isIntersecting }) => isIntersecting).forEach(({ target }) => finish(page.parts.find(({ node }) => node === target))), { rootMargin: NEAR });
  page.parts.forEach(({ node }) => near.observe(node));
  open(readAddress());
}

/** Show the page by the choices of its address, at the place that it names. */
function open(place) {
  setControls();
  render();
  if (place.at || place.record) reveal(place);
}

start();
