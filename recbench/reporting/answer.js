// The answer across data sets: a table, the strengths with their intervals, and which mean ranks are too near to tell apart.

const FAMILIES = { untrained: "untrained", sequential: "scoring", generative: "generative" };
const LINE = 19; // pixels between two models of a picture

/** Fill the section of the answer for the view shown; what filters its tables, and what draws its pictures again. */
function fillAnswer(node) {
  const task = tasks["next-item"], shown = task ? answers.filter(({ about }) => about.view === viewOf(task)) : [];
  if (!shown.length) return { tables: [], redraw: () => {} };
  const meaning =
    "Rows of the leagues alone: every model that learns had the same processor time on a data set. Strength: Bradley-Terry, the log odds to win a data set " +
    "against a made-up model of strength 0. Mean rank: of the models on all data sets. Intervals are over users and data sets. Behind each figure its rank there.";
  node.append(make("p", { className: "soft" }, meaning), make("p", {}, make("strong", {}, "Mind the data sets. "), shown[0].about.warning));
  const tables = [], pictures = [];
  shown.forEach(({ about, rows }, number) => {
    const columns = about.columns.map((title, place) => {
      const words = about.words.includes(title);
      return { ...column(title, ({ cells }) => cells[place], { words, ascending: words || title.startsWith("Mean rank"), task }), isName: !place };
    });
    const caption = `View ${about.view}: ${about.datasets.length} data sets, ${rows.length} models`;
    const table = sortable(`answer-${number}`, () => caption, columns, rows, { start: [about.columns[3], -1], filterBy: ({ cells }) => cells[0] });
    const place = make("div", { className: "picture" });
    const figure = make("figure", {}, place, make("figcaption", {}, `Strength with its 95 % interval; lines at the right join models whose mean ranks Nemenyi's test does not tell apart. ${about.tests} ${about.predicted}`));
    const fold = make("details", { open: !number }, make("summary", {}, capitalised(about.protocol)), table.node, figure);
    const redraw = () => {
      const width = fold.open ? Math.floor(place.clientWidth) : 0;
      place.replaceChildren(...(width ? [strengthPicture(about, rows, width)] : []));
    };
    fold.addEventListener("toggle", redraw);
    tables.push(table);
    pictures.push(redraw);
    node.append(fold);
  });
  node.append(make("p", {}, make("a", { href: "answer.md" }, "Best of each family, costs, agreement of protocols, what is missing"), "."));
  return { tables, redraw: () => pictures.forEach((redraw) => redraw()) };
}

/** A line per model, strongest first, and a bar per run of models that are not told apart. */
function strengthPicture(about, rows, width) {
  const names = rows.map(({ cells }) => fitted(cells[0], width * 0.4));
  const label = Math.max(...names.map(widthOf)) + 14, side = 14 + 9 * about.alike.length, top = 22, height = top + LINE * rows.length + 8;
  const ends = rows.flatMap(({ strength }) => strength.map(Number));
  const low = Math.min(...ends), high = Math.max(...ends, low + 1e-6);
  const x = (value) => label + ((value - low) / (high - low)) * (width - label - side - 12);
  const y = (place) => top + LINE * (place + 0.5);
  const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Strengths of the models; the table above holds the same figures" });
  const ticks = [];
  for (let value = Math.ceil(low); value <= high; value += Math.max(1, Math.round((high - low) / 8))) ticks.push([x(value), String(value).replace("-", "−")]);
  for (const [place] of ticks) picture.append(draw("line", { class: "grid", x1: place, x2: place, y1: top - 4, y2: height - 6 }));
  picture.append(...axisLabels(ticks, 12, width));
  rows.forEach(({ cells, family, strength }, place) => {
    const [value, from, to] = strength.map(Number);
    const line = draw("g", { class: FAMILIES[family] }, draw("line", { class: "interval", x1: x(from), x2: x(to), y1: y(place), y2: y(place) }));
    line.append(symbol(FAMILIES[family], x(value), y(place)));
    picture.append(withTip(line, cells[0], `${family}: strength ${cells[3]}, mean rank ${cells[4]}`));
    picture.append(draw("text", { x: label - 10, y: y(place) + 4, "text-anchor": "end" }, names[place]));
  });
  const placeOf = new Map(rows.map(({ cells }, place) => [cells[0], place]));
  about.alike.forEach((models, number) => {
    const places = models.map((model) => placeOf.get(model)).sort((a, b) => a - b), at = width - side + 9 * number;
    picture.append(draw("line", { class: "alike", x1: at, x2: at, y1: y(places[0]) - 5, y2: y(places.at(-1)) + 5 }));
    for (const place of places) picture.append(draw("circle", { class: "alike", cx: at, cy: y(place), r: 2.5 }));
  });
  return picture;
}
