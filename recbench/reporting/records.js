// A record as a reader sees it: what was run, on what, how it went, with which settings.

let toldRecords = null;

/** What the page holds about each record; read when the first one is opened. */
function records() {
  toldRecords ??= JSON.parse(document.getElementById("records").textContent);
  return toldRecords;
}

/** A section about one record, or null where the page does not know it. */
function recordSection(runId) {
  const { titles, shared, settings, runs } = records(), run = runs[runId];
  if (!run) return null;
  const told = run.facts.map((fact) => (typeof fact === "number" ? shared[fact] : fact));
  const facts = titles.facts.flatMap((title, place) => {
    const text = told[place];
    if (!text) return [];
    return [make("dt", {}, title), make("dd", {}, title === "Command" ? make("code", {}, text) : text)];
  });
  const pairs = Object.entries(settings[run.settings]).map(([name, value]) => [name, value]);
  const path = `records/${runId}/record.json`;
  const close = make("button", { type: "button", className: "plain" }, "Close this record");
  const node = make(
    "section",
    { className: "record", id: `record-${runId}`, tabIndex: -1, "aria-label": `Record ${runId}` },
    make("h4", {}, "Record ", make("code", {}, runId)),
    make("dl", {}, ...facts),
    make("h5", {}, "Stages"),
    plainTable(titles.stages, run.stages, ["Stage", "From the cache"]),
  );
  if (pairs.length) {
    const list = make("ul", { className: "settings" }, ...pairs.map(([name, value]) => make("li", {}, make("code", {}, `${name} = ${value}`))));
    node.append(make("details", { open: true }, make("summary", {}, `Settings (${pairs.length})`), list));
  }
  node.append(make("p", {}, make("a", { href: path }, "record.json"), " holds all of it, with the figures of every group and the sums of its files. ", close));
  close.addEventListener("click", () => {
    const back = node.closest("tbody")?.querySelector(".more");
    node.remove();
    writeAddress();
    back?.focus();
  });
  return node;
}
