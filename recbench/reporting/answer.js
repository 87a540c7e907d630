"use strict";
// The answer across data sets: a table, the strengths with their intervals, and which mean ranks are too near to tell apart.

const FAMILIES = { untrained: "trivial", sequential: "scoring", generative: "generative" };
const LINE = 19; // pixels between two models of a picture

/** The sections of the answer in one view. */
function answerSections(answers, view) {
  const shown = answers.filter(({ about }) => about.view === view);
  if (!shown.length) return [];
  const meaning =
    "Rows of the leagues alone: every model that learns had the same processor time on a data set. Strength: Bradley-Terry, the log odds to win a data set " +
    "against a made-up model of strength 0. Mean rank: of the models on all data sets. Intervals are over users and data sets. Behind each figure its rank there.";
  const node = make("section", { id: "answer" }, make("h2", {}, "The answer at equal processor time"), make("p", { className: "soft" }, meaning));
  shown.forEach(({ about, rows }, number) => {
    const columns = about.columns.map((title, place) => {
      const words = about.words.includes(title);
      return { ...column(title, ({ cells }) => cells[place], { words, ascending: words || title.startsWith("Mean rank") }), isName: !place };
    });
    const caption = `${capitalised(about.protocol)}, view ${about.view}: ${about.datasets.length} data sets, ${rows.length} models`;
    node.append(sortable(`answer-${number}`, caption, columns, rows, { start: [about.columns[3], -1] }));
    const figure = make("figure"), place = make("div");
    figure.append(place, make("figcaption", {}, `Strength with its 95 % interval; lines at the right join models whose mean ranks Nemenyi's test does not tell apart. ${about.tests} ${about.predicted}`));
    redraws.push(() => {
      const width = Math.floor(place.clientWidth);
      place.replaceChildren(...(width ? [strengthPicture(about, rows, width)] : []));
    });
    node.append(figure);
  });
  node.append(make("p", {}, make("a", { href: "answer.md" }, "Best of each family, costs, agreement of protocols, what is missing"), "."));
  return [node];
}

/** A line per model, strongest first, and a bar per run of models that are not told apart. */
function strengthPicture(about, rows, width) {
  const label = 150, side = 12 + 9 * about.alike.length, top = 22, height = top + LINE * rows.length + 8;
  const ends = rows.flatMap(({ strength }) => strength.map(Number));
  const low = Math.min(...ends), high = Math.max(...ends, low + 1e-6);
  const x = (value) => label + ((value - low) / (high - low)) * (width - label - side - 12);
  const y = (place) => top + LINE * (place + 0.5);
  const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Strengths of the models" });
  for (let value = Math.ceil(low); value <= high; value += Math.max(1, Math.round((high - low) / 8))) {
    picture.append(draw("line", { class: "grid", x1: x(value), x2: x(value), y1: top - 4, y2: height - 6 }));
    picture.append(draw("text", { class: "axis", x: x(value), y: 12, "text-anchor": "middle" }, String(value).replace("-", "−")));
  }
  rows.forEach(({ cells, family, strength }, place) => {
    const [value, from, to] = strength.map(Number);
    const line = draw("g", { class: FAMILIES[family] }, draw("line", { class: "interval", x1: x(from), x2: x(to), y1: y(place), y2: y(place) }));
    line.append(symbol(FAMILIES[family], x(value), y(place)), draw("title", {}, `${cells[0]}, ${family}: strength ${cells[3]}, mean rank ${cells[4]}`));
    picture.append(line, draw("text", { x: label - 10, y: y(place) + 4, "text-anchor": "end" }, cells[0]));
  });
  const placeOf = new Map(rows.map(({ cells }, place) => [cells[0], place]));
  about.alike.forEach((models, number) => {
    const places = models.map((model) => placeOf.get(model)).sort((a, b) => a - b), at = width - side + 9 * number;
    picture.append(draw("line", { class: "alike", x1: at, x2: at, y1: y(places[0]) - 5, y2: y(places.at(-1)) + 5 }));
    for (const place of places) picture.append(draw("circle", { class: "alike", cx: at, cy: y(place), r: 2.5 }));
  });
  return picture;
}
