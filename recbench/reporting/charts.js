// Drawing: signs of the kinds of models, axes, labels that keep clear of each other, a keyboard's way through a picture.

const SIDE = 9; // pixels between a mark and its label
const TARGET = 24; // least width and height of what can be pressed
const LINE_HEIGHT = 13;
const LEAST_SECONDS = 0.1; // figures have one decimal; a logarithmic axis has no zero
const SECONDS = "Training s";

const measuring = document.createElement("canvas").getContext("2d");
const widths = new Map();

/** Width of a label in a picture, in pixels. */
function widthOf(text) {
  if (!widths.has(text)) {
    measuring.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    widths.set(text, Math.ceil(measuring.measureText(text).width) + 1);
  }
  return widths.get(text);
}

/** The text, cut off at its end where it is wider than so many pixels. */
function fitted(text, most) {
  if (widthOf(text) <= most) return text;
  let length = text.length;
  while (length > 1 && widthOf(`${text.slice(0, length)}…`) > most) length -= 1;
  return `${text.slice(0, length).trimEnd()}…`;
}

function symbol(kind, x, y) {
  if (kind === "untrained" || kind === "foreign") return draw("rect", { class: "mark", x: x - 4, y: y - 4, width: 8, height: 8 });
  if (kind === "generative") return draw("path", { class: "mark", d: `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5z` });
  if (kind === "published") return draw("path", { class: "mark", d: `M${x} ${y - 5}l5 9h-10z` });
  return draw("circle", { class: "mark", cx: x, cy: y, r: 4.5 });
}

/** Signs of kinds with their titles, as a list beside a picture. */
function legendOf(titles) {
  const legend = make("ul", { className: "legend" });
  for (const [kind, title] of Object.entries(titles)) {
    const sign = draw("svg", { width: 13, height: 13, "aria-hidden": "true" }, draw("g", { class: kind }, symbol(kind, 6.5, 6.5)));
    legend.append(make("li", {}, sign, title));
  }
  return legend;
}

/** A link in a picture, as large as a finger needs it, with what it says. */
function markLink(href, kind, x, y, label, ...children) {
  const link = draw("a", { href, class: kind, "aria-label": label });
  link.append(draw("circle", { class: "hit", cx: x, cy: y, r: TARGET / 2 }), ...children);
  return withTip(Object.assign(link, { at: [x, y] }), "", label);
}

/** One stop of the keyboard for all links of a picture: arrows go from one to the next, Tab goes on behind it. A press goes to the nearest. */
function asOneStop(picture, label) {
  const links = [...picture.querySelectorAll("a")];
  picture.setAttribute("role", "group");
  picture.setAttribute("aria-label", `${label}. Arrow keys move between its marks.`);
  links.forEach((link, place) => link.setAttribute("tabindex", place ? -1 : 0));
  const focus = (place) => {
    links.forEach((link, other) => link.setAttribute("tabindex", other === place ? 0 : -1));
    links[place].focus();
  };
  picture.addEventListener("keydown", (event) => {
    const place = links.indexOf(document.activeElement), last = links.length - 1;
    const next = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: last }[event.key];
    if (place < 0 || next === undefined) return;
    event.preventDefault();
    focus(Math.max(0, Math.min(last, next)));
  });
  picture.addEventListener("click", (event) => {
    if (!event.detail || !event.target.closest("a")?.at) return; // a key, or something without a place
    const corner = picture.getBoundingClientRect();
    const distance = ({ at: [x, y] }) => Math.hypot(event.clientX - corner.left - x, event.clientY - corner.top - y);
    const nearest = links.filter((link) => link.at).reduce((best, link) => (distance(link) < distance(best) ? link : best));
    if (nearest === event.target.closest("a")) return;
    event.preventDefault();
    event.stopPropagation();
    follow(nearest.getAttribute("href"));
  });
  return picture;
}

function box(x, y, width, height) {
  return { x, y, width, height };
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** Room that a text takes whose line stands at (x, y). */
function roomOf(text, x, y, anchor) {
  const long = widthOf(text), left = { start: x, middle: x - long / 2, end: x - long }[anchor];
  return box(left - 2, y - LINE_HEIGHT + 3, long + 4, LINE_HEIGHT);
}

/** A label where it is clear of all that is taken and inside the frame; null where no place is free. */
function freeLabel(text, places, taken, frame) {
  for (const [x, y, anchor] of places) {
    const room = roomOf(text, x, y, anchor);
    const isInside = room.x >= frame.x && room.x + room.width <= frame.x + frame.width && room.y >= frame.y && room.y + room.height <= frame.y + frame.height;
    if (!isInside || taken.some((other) => overlap(room, other))) continue;
    taken.push(room);
    return draw("text", { x, y, "text-anchor": anchor }, text);
  }
  return null;
}

/** Labels of an axis at y, those left out that would touch the one before or leave the picture. */
function axisLabels(ticks, y, width) {
  const found = [];
  let end = -Infinity;
  for (const [x, text] of ticks) {
    const long = widthOf(text), left = Math.max(1, Math.min(x - long / 2, width - long - 1));
    if (left < end + 6) continue;
    end = left + long;
    found.push(draw("text", { class: "axis", x: left, y, "text-anchor": "start" }, text));
  }
  return found;
}

/** A round distance between at most six lines from 0 to `span`. */
function tickOf(span) {
  const power = 10 ** Math.floor(Math.log10(span / 4));
  return [1, 2, 5, 10].map((factor) => factor * power).find((tick) => span / tick <= 5);
}

/** Numbers such as 0.01, 0.02, 0.05 between two limits. */
function roundNumbers(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    found.push(...[1, 2, 5].map((factor) => Number((factor * 10 ** power).toPrecision(1))));
  }
  return found.filter((value) => value >= low && value <= high);
}

// Quality against cost on one board.

function costChart(rows, width) {
  const points = rows
    .map((row) => ({ row, ...parts(cell(row, "accuracy", row.task.quality)), text: cell(row, "cost", SECONDS) }))
    .map((point) => ({ ...point, quality: Number(point.value), seconds: Math.max(numberIn(point.text), LEAST_SECONDS) }))
    .filter((point) => !Number.isNaN(point.quality) && !Number.isNaN(point.seconds));
  if (!points.length) return null;
  const height = Math.round(Math.min(420, Math.max(300, width * 0.42))), left = 48, right = 16, top = 14, bottom = 44;
  const highest = Math.max(...points.map((point) => point.high || point.quality), 1e-4);
  const decades = points.map((point) => Math.log10(point.seconds));
  const first = Math.floor(Math.min(...decades)), last = Math.max(Math.ceil(Math.max(...decades)), first + 1);
  const x = (seconds) => left + 12 + ((Math.log10(seconds) - first) / (last - first)) * (width - left - right - 12);
  const y = (value) => height - bottom - (value / (1.04 * highest)) * (height - bottom - top);
  const step = ({ seconds, quality }, place) => (place ? `H${x(seconds)}V${y(quality)}` : `M${x(seconds)} ${y(quality)}`);
  const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  for (let value = 0; value <= 1.04 * highest; value += tickOf(highest)) {
    picture.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    picture.append(draw("text", { class: "axis", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(3)))));
  }
  const ticks = [];
  for (let decade = first; decade <= last; decade += 1) {
    const place = x(10 ** decade);
    picture.append(draw("line", { class: "grid", x1: place, x2: place, y1: top, y2: height - bottom }));
    ticks.push([place, decade === -1 ? "≤ 0.1" : (10 ** decade).toLocaleString("en")]);
  }
  picture.append(
    ...axisLabels(ticks, height - bottom + 16, width),
    draw("text", { class: "axis", x: width - right, y: height - 6, "text-anchor": "end" }, "seconds of training (log scale)"),
    draw("path", { class: "frontier", d: `${frontier(points).map(step).join("")}H${width - right}` }),
  );
  const taken = points.map((point) => box(x(point.seconds) - 6, y(point.quality) - 6, 12, 12));
  const frame = box(left + 1, 0, width - left - 2, height - bottom - 1);
  const byPlace = [...points].sort((a, b) => x(a.seconds) - x(b.seconds) || b.quality - a.quality);
  for (const point of byPlace) picture.append(costMark(point, x(point.seconds), y(point.quality), y));
  for (const point of [...points].sort((a, b) => b.quality - a.quality)) {
    const [px, py] = [x(point.seconds), y(point.quality)];
    const sides = [[SIDE, 4, "start"], [-SIDE, 4, "end"], [7, -8, "start"], [7, 16, "start"], [-7, -8, "end"], [-7, 16, "end"]];
    const label = freeLabel(shortName(point.row.model), sides.map(([dx, dy, anchor]) => [px + dx, py + dy, anchor]), taken, frame);
    if (label) picture.append(label); // without one its link still says what it is
  }
  return asOneStop(picture, "Quality against seconds of training");
}

function costMark(point, px, py, y) {
  const { row, value, rest, text } = point;
  const said = `${row.model}: ${row.task.main} ${value} ${rest}, training ${text} s`;
  const link = markLink(`#at=${row.id}`, `${row.kind}${text.endsWith("†") ? " shared" : ""}`, px, py, said);
  if (!Number.isNaN(point.low)) link.append(draw("line", { class: "interval", x1: px, x2: px, y1: y(point.low), y2: y(point.high) }));
  link.append(symbol(row.kind, px, py));
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
