"use strict";
// The figures of the JSON block above, the choices of the reader, and what every other part builds with. Nothing here computes a figure.

const { tasks, badges, headlines, across, answers, boards } = JSON.parse(document.getElementById("figures").textContent);
const VIEWS = [...new Set(Object.values(tasks).flatMap(({ views }) => views))];
const NOTHING = "–";
const SVG = document.querySelector("template").content.firstElementChild.namespaceURI;

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

/** Value, standard deviation and interval of a printed figure, as text; the limits of the interval as numbers. A deviation of 0 is not repeated. */
function parts(text) {
  const [, value, printed] = /^(\S+)\s*(.*)$/.exec(text) ?? ["", text, ""];
  const rest = printed.replace(/^± 0\.0+(?!\d)\s*/, "");
  const limits = /\[(.+), (.+)\]/.exec(rest);
  return { value, rest, low: limits ? Number(limits[1]) : NaN, high: limits ? Number(limits[2]) : NaN };
}

function capitalised(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}`;
}

/** A text whose single letters and per cent signs do not stand on a line of their own. */
function unbroken(text) {
  return text.replace(/(?<=^\S) | (?=\S$|%)/g, "\u00a0");
}

// What the reader chose. It stands in the address, so that a reload, a bookmark and the button "back" lead to the same page.

const DEFAULTS = { dataset: "", protocol: "", view: VIEWS[0] ?? "", columns: "overview", model: "" };
const COLUMNS = {
  overview: "overview",
  accuracy: "accuracy",
  against: "significance",
  cost: "cost",
  beyond: "beyond accuracy",
  levels: "code level",
  all: "all",
};
const KNOWN = {
  dataset: (value) => boards.some(({ about }) => about.name === value),
  protocol: (value) => boards.some(({ about }) => about.protocol === value),
  view: (value) => VIEWS.includes(value),
  columns: (value) => Object.hasOwn(COLUMNS, value),
  model: () => true,
};
const state = { ...DEFAULTS };
const sorts = new Map(); // table -> [column, direction], where the reader chose them

/** Take over the choices of the address; what it does not name, or names wrongly, is as at first. The place that it names, if any. */
function readAddress() {
  const hash = location.hash.slice(1);
  const read = new URLSearchParams(hash.includes("=") ? hash : { at: hash });
  for (const [key, value] of Object.entries(DEFAULTS)) {
    const asked = read.get(key) ?? value;
    state[key] = KNOWN[key](asked) ? asked : value;
  }
  sorts.clear();
  for (const [table, title, direction] of read.getAll("sort").map((text) => text.split("~"))) {
    if (title) sorts.set(table, [title, direction === "up" ? 1 : -1]);
  }
  return placeIn(read);
}

function placeIn(read) {
  return { at: read.get("at"), record: read.get("record") };
}

/** The choices, and a place if one is given, as the end of an address; empty where all is as at first. */
function address(place = {}) {
  const written = new URLSearchParams();
  for (const [key, value] of Object.entries(DEFAULTS)) if (state[key] !== value) written.set(key, state[key]);
  for (const [table, [title, direction]] of sorts) written.append("sort", `${table}~${title}~${direction > 0 ? "up" : "down"}`);
  for (const [key, value] of Object.entries(place)) if (value) written.set(key, value);
  const text = written.toString();
  return text ? `#${text}` : "";
}

function writeAddress() {
  history.replaceState(null, "", location.href.split("#")[0] + address());
}

/** A link to a place of the page: an element's id, or a record. */
function linkTo(place, properties, ...children) {
  return make("a", { href: `#${new URLSearchParams(place)}`, ...properties }, ...children);
}
