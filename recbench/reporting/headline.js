// The headline: one dot plot over data sets of the best of each kind of model and the best published number.

const LANE = 8; // pixels between two marks of a data set
const LEAST_SHARE = 0.6; // of the lowest best figure: an interval may begin at 0, where a logarithmic axis has no place

/** The pictures of all tasks in the view shown. */
function headlineSection() {
  const node = document.getElementById("headline");
  const figures = Object.entries(tasks).flatMap(([name, task]) => {
    const found = headlines.find(({ about }) => about.task === name && about.view === viewOf(task));
    return found?.rows.length ? [headlineFigure(found, task)] : [];
  });
  const caption =
    "Further right is better; the scale is logarithmic. Bars are 95 % intervals: where two overlap, the picture does not tell which is better. Each mark is the best " +
    "of all rows of its kind by the figure shown, whatever time they had, and leads to its row: a kind with more rows has more chances. Published numbers have no " +
    "interval; ? where a source does not say whether it compares items or codes.";
  node.replaceChildren(...figures.map(({ figure }) => figure), make("p", { className: "caption" }, caption));
  node.hidden = !figures.length;
  figures.forEach(({ redraw }) => redraw());
  return () => figures.forEach(({ redraw }) => redraw());
}

function headlineFigure({ about, rows }, task) {
  const several = Object.keys(tasks).length > 1 ? `${task.title}: best` : "Best";
  const title = make("h2", {}, `${several} ${task.main} of each kind of model on every data set`);
  const place = make("div", { className: "picture" });
  const titles = {};
  for (const [kind, word] of Object.entries(task.kinds)) if (rows.some(({ best }) => best[kind])) titles[kind] = `best ${word} model`;
  if (rows.some(({ published }) => published)) titles.published = "best published number";
  const figure = make("figure", {}, title, make("p", { className: "lead" }, about.sentence), legendOf(titles), place);
  const redraw = () => {
    const width = Math.floor(place.clientWidth);
    place.replaceChildren(...(width ? [headlinePicture(rows, task, width)] : []));
  };
  return { figure, redraw };
}

/** The marks of a data set, from the best kind's down: kind, what leads to it, its figure, what it says. */
function marksOf(row, task) {
  const board = boards.find(({ about }) => about.name === row.dataset && about.protocol === row.protocol);
  const marks = Object.entries(row.best).map(([kind, [label, text]]) => {
    const found = board.rows.find(({ model }) => model === label);
    return { kind, label, ...parts(text), href: `#at=${found.id}`, said: `${row.dataset}, best ${task.kinds[kind]}: ${label}, ${task.main} ${text}` };
  });
  if (row.published) {
    const [model, value, level, source] = row.published;
    const said = `${row.dataset}, best published: ${value} for ${model}${level === "item" ? "" : ", level unknown"}. ${source}`;
    marks.push({ kind: "published", label: model, value: value + (level === "item" ? "" : "?"), low: NaN, high: NaN, href: `#at=${board.id}`, said });
  }
  return { board, marks: marks.map((mark) => ({ ...mark, number: parseFloat(mark.value) })) };
}

function headlinePicture(rows, task, width) {
  const lines = rows.map((row) => ({ row, ...marksOf(row, task) }));
  const isNarrow = width < 640, right = isNarrow ? 10 : Math.min(330, width * 0.3), above = isNarrow ? 17 : 0;
  const left = isNarrow ? 8 : Math.min(190, Math.max(...rows.map(({ dataset }) => widthOf(dataset)))) + 14;
  const numbers = lines.flatMap(({ marks }) => marks.map(({ number }) => number)).filter((value) => value > 0);
  const lowest = LEAST_SHARE * Math.min(...numbers), highest = 1.05 * Math.max(...lines.flatMap(({ marks }) => marks.map(({ high, number }) => high || number)));
  const low = Math.log(lowest), span = Math.log(highest) - low || 1;
  const x = (value) => left + 8 + ((Math.log(Math.max(value, lowest)) - low) / span) * (width - left - right - 16);
  const heights = lines.map(({ marks }) => Math.max(TARGET, marks.length * LANE + 10) + above);
  const top = 22, height = top + heights.reduce((sum, one) => sum + one, 0) + 2;
  const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  const ticks = roundNumbers(lowest, highest).map((value) => [x(value), String(value)]);
  for (const [place] of ticks) picture.append(draw("line", { class: "grid", x1: place, x2: place, y1: top - 4, y2: height }));
  picture.append(...axisLabels(ticks, 12, width - right + 8));
  let start = top;
  lines.forEach(({ row, board, marks }, number) => {
    const middle = start + above + (heights[number] - above) / 2;
    picture.append(draw("line", { class: "grid", x1: 0, x2: width, y1: start, y2: start }));
    const ahead = row.best[row.ahead[0]], [label, text] = ahead ?? ["", ""];
    const told = ahead ? `${parts(text).value} ${shortName(label)}` : "";
    const name = draw("a", { href: `#at=${board.id}`, class: "name" });
    const nameAt = isNarrow ? [left, start + 13] : [left - 10, middle + 4];
    name.append(draw("rect", { class: "hit", x: 0, y: isNarrow ? start : middle - 12, width: isNarrow ? widthOf(row.dataset) + 16 : left, height: TARGET }));
    name.append(draw("text", { x: nameAt[0], y: nameAt[1], "text-anchor": isNarrow ? "start" : "end" }, fitted(row.dataset, isNarrow ? width / 2 : left - 12)));
    picture.append(withTip(name, `${board.about.title}, ${row.protocol}`, ""));
    const toldAt = isNarrow ? [width - 4, start + 13, "end", width - widthOf(row.dataset) - 30] : [width - right + 12, middle + 4, "start", right - 14];
    picture.append(draw("text", { class: "axis", x: toldAt[0], y: toldAt[1], "text-anchor": toldAt[2] }, fitted(told, toldAt[3])));
    marks.forEach((mark, lane) => {
      const y = middle + (lane - (marks.length - 1) / 2) * LANE, px = x(mark.number);
      const link = markLink(mark.href, mark.kind, px, y, mark.said);
      if (!Number.isNaN(mark.low)) link.append(draw("line", { class: "interval", x1: x(mark.low), x2: x(mark.high), y1: y, y2: y }));
      link.append(symbol(mark.kind, px, y));
      picture.append(link);
    });
    start += heights[number];
  });
  return asOneStop(picture, `Best ${task.main} of each kind of model on every data set`);
}
