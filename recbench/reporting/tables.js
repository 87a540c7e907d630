// Tables: columns with their explanations, sorting, filtering, rows that unfold. One tbody per row, so that a row and its details move together.

const opened = new Set(); // rows whose details are shown

// Columns: title, whether it holds words, text of a row's cell, what to show for it, whether a narrow window keeps it, its explanation.

function column(title, text, { note = "", words = false, ascending = words, show = null, long = false, source = null, isKept = false, isBadges = false, task } = {}) {
  const plain = show ?? ((row) => [text(row)]);
  const shown = source ? (row) => (text(row) === NOTHING || !source(row) ? plain(row) : [linked(source(row), ...plain(row))]) : plain;
  return { title, text, note, words, ascending, long, isKept, isBadges, explained: task?.explained[title] ?? "", show: shown };
}

/** The view to show of a task: the one chosen, or its main one where it has no such view. */
function viewOf(task) {
  return task.views.includes(state.view) ? state.view : task.views[0];
}

/** The records that a row is made of; those it lists as left out do not count. */
function counting(row) {
  return row.made.filter((line) => line.at(-1) === "counts");
}

function runOf(path) {
  return path.split("/")[1];
}

/** A figure as a link to what it follows from: the record of its row, or the list of them where there are several. */
function linked(row, ...content) {
  const paths = counting(row).map(([, path]) => path);
  const place = paths.length === 1 ? { record: runOf(paths[0]) } : { at: `${row.id}-made` };
  return linkTo(place, { className: "of", tabIndex: -1 }, ...content);
}

function showFigure(text) {
  const { value, rest } = parts(text);
  return rest ? [value, " ", make("small", {}, rest)] : [value];
}

/** The value alone; its spread is a tip. */
function showValue(text) {
  const { value, rest } = parts(text);
  return [rest ? withTip(make("span", {}, value), "", rest) : value];
}

/** Value and interval beside a picture of them; a deviation over seeds is a tip. */
function showWhisker(text, scale) {
  const { value, rest, low, high } = parts(text);
  const interval = rest.replace(/^± \S+ /, ""), label = withTip(make("span", {}, value, ...(interval ? [" ", make("small", {}, interval)] : [])), "", interval === rest ? "" : rest);
  if (Number.isNaN(low) || !scale) return [label];
  const percent = (number) => `${(100 * number) / scale}%`;
  const line = make("i"), dot = make("b");
  line.style.left = percent(low);
  line.style.width = percent(high - low);
  dot.style.left = percent(Number(value));
  return [make("span", { className: "figure" }, make("span", { className: "whisker", "aria-hidden": "true" }, line, dot), label)];
}

function showCost(text) {
  return text.endsWith("†") ? [text.slice(0, -1), withTip(make("span", { className: "dagger" }, "†"), "†", SHARED)] : [text];
}

function verdictClass(verdict) {
  return { reproduced: "good", below: "warn", above: "above" }[verdict] ?? "soft";
}

/** Each published value as a badge, with its verdict where it was judged at all. */
function showPublished(text) {
  if (text === NOTHING) return [text];
  return text.split("; ").map((part) => {
    const [, value, said] = /^(\S+) \((.*)\)$/.exec(part) ?? ["", part, ""];
    const verdict = said.split(", ").at(-1), word = verdict.startsWith("not ") ? value : `${value} ${verdict}`;
    return badge(word, verdictClass(verdict), `Published: ${part}`, "Reproduced: within 5 % or within our interval; else above or below. Not comparable: the setting is another.");
  });
}

/** A word in a box that opens its explanation. */
function badge(word, kind, title, text) {
  return withTip(make("button", { type: "button", className: `badge ${kind}` }, word), title, text);
}

/** Notes of a row that say more than that it has one seed: the word on the badge, its colour, the note, its explanation. */
function notesOf(text) {
  return text
    .split("; ")
    .filter((note) => note && note !== "1 seed" && note !== NOTHING)
    .map((note) => {
      const [, explained] = badges.find(([pattern]) => new RegExp(`^(?:${pattern})`).test(note)) ?? ["", ""];
      const word = note.startsWith("not as its preset") ? "changed settings" : note.startsWith("below ") ? "below baseline" : note.split(":")[0];
      return { word, kind: /^(below|not as|uncommitted|mixed|undertrained)/.test(note) ? "warn" : "soft", note, explained };
    });
}

function showNotes(text) {
  return notesOf(text).map(({ word, kind, note, explained }) => badge(word, kind, note, explained));
}

/** `hllm:cpu` with what stands behind it in small type. */
function nameOf(label) {
  const [, name, rest] = /^([^ ,]+)(?:, )?(.*)$/.exec(label) ?? ["", label, ""];
  const whole = name.split(/(?<=:)/).flatMap((part, place) => [...(place ? [make("wbr")] : []), make("span", { className: "whole" }, part)]);
  return make("span", {}, ...whole, ...(rest ? [" ", make("small", {}, rest.trim())] : []));
}

function nameColumn(task) {
  return { ...column("Model", (row) => row.model, { words: true, isKept: true, task }), isName: true, show: (row) => [nameOf(row.model)] };
}

/** A table that sorts and filters. `caption`: a text, given the number of rows shown. `filterBy`: the text of a row that the filter of models looks at. */
function sortable(id, caption, shown, rows, { start, detail = null, rowId = () => "", filterBy = null }) {
  const head = make("tr"), table = make("table", { id }, make("thead", {}, head));
  const bodies = rows.map((row, place) => ({ row, place, body: rowBody(row, shown, detail, rowId(row)), words: filterBy?.(row).toLowerCase() }));
  const order = () => {
    const { by, direction } = sortOf(id, shown, start);
    for (const cell of head.children) {
      if (cell.dataset.title === by.title) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    table.append(...inOrder(bodies, by, direction).map(({ body }) => body));
  };
  for (const one of shown) {
    const button = make("button", { type: "button" }, unbroken(one.label ?? one.title));
    if (one.note) button.prepend(make("small", {}, one.note));
    button.addEventListener("click", () => {
      const { by, direction } = sortOf(id, shown, start);
      sorts.set(id, [one.title, by === one ? -direction : one.ascending ? 1 : -1]);
      order();
      writeAddress();
    });
    head.append(make("th", { scope: "col", className: className(one) }, withTip(button, one.title, one.explained)));
    head.lastChild.dataset.title = one.title;
  }
  order();
  const text = make("p", { className: "caption" }), scroll = make("div", { className: "scroll wide", tabIndex: 0, role: "region" }, table);
  const filter = () => {
    const isWanted = wanted();
    let n = 0;
    for (const { body, words } of bodies) {
      body.hidden = words !== undefined && !isWanted(words);
      n += !body.hidden;
    }
    text.textContent = caption(n);
    for (const node of [table, scroll]) node.setAttribute("aria-label", text.textContent);
    return n;
  };
  filter();
  return { node: make("div", {}, text, scroll), filter };
}

/** Whether a text holds all words of the filter of models. */
function wanted() {
  const asked = state.model.toLowerCase().split(/\s+/).filter(Boolean);
  return (text) => asked.every((word) => text.includes(word));
}

/** By which column a table is sorted, and in which direction. */
function sortOf(id, shown, start) {
  const chosen = sorts.get(id), [title, direction] = chosen && shown.some((one) => one.title === chosen[0]) ? chosen : start;
  return { by: shown.find((one) => one.title === title) ?? shown[0], direction };
}

function inOrder(lines, by, direction) {
  const keyed = lines.map((one) => ({ ...one, key: by.words ? by.text(one.row) : numberIn(by.text(one.row)) }));
  return keyed.sort((a, b) => compare(a, b, direction, by.words));
}

const words = new Intl.Collator("en", { numeric: true });

/** Nothing goes last in either direction; equal cells stay in the order of the board. */
function compare(a, b, direction, isWords) {
  if (isWords) return direction * words.compare(a.key, b.key) || a.place - b.place;
  if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number.isNaN(a.key) - Number.isNaN(b.key) || a.place - b.place;
  return direction * (a.key - b.key) || a.place - b.place;
}

function className(one) {
  return [one.isName ? "name" : one.words && "words", one.long && "long", one.isBadges && "badges", one.isExtra && "extra"].filter(Boolean).join(" ");
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
  return make("tr", { className: "details" }, make("td", { className: "detail", colSpan: shown.length }, make("div", {}, ...detail(row, shown))));
}

function moreButton(row, body, shown, detail) {
  const button = make("button", { type: "button", className: "more", "aria-label": `Details of ${row.model}` });
  button.setAttribute("aria-expanded", opened.has(row.id));
  button.addEventListener("click", () => {
    const isOpen = opened.delete(row.id);
    if (isOpen) body.querySelector("tr.details").remove();
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
