// What is shown, as a file: the rows that the filters leave, with the columns chosen, in the order of the tables.

/** The lines shown: an object per row, figures as numbers with the ends of their intervals beside them, what is no number as text. */
function shownLines() {
  return boards.filter(isShown).flatMap((board) => {
    const { task, about } = board, columns = rowColumns(task, 0);
    const { by, direction } = sortOf(`${board.id}-rows`, columns, startOf(task));
    const rows = matchingRows(board).map((row) => ({ row, place: row.place }));
    return inOrder(rows, by, direction).map(({ row }) => {
      const line = { "Data set": about.name, Protocol: about.protocol, View: viewOf(task) };
      for (const one of columns) {
        if (one.title === "Records") line.Records = counting(row).map(([, path]) => runOf(path)).join(" ");
        else Object.assign(line, fields(one, one.text(row)));
      }
      return line;
    });
  });
}

/** The fields of a cell: one, or a value with deviation and interval. */
function fields({ title, words, isName }, text) {
  if (words || isName || title.startsWith("Published")) return { [title]: text === NOTHING ? "" : text };
  if (text === NOTHING) return { [title]: null };
  const name = title.replace(INTERVAL, ""), { value, rest, low, high } = parts(text);
  const plain = /^[<[]/.test(text) ? text : numberIn(value); // `< 0.0001` and intervals of differences stay as printed
  const deviation = /± (\S+)/.exec(rest);
  return {
    [name]: Number.isNaN(plain) ? text : plain,
    ...(deviation && { [`${name} ±`]: Number(deviation[1]) }),
    ...(Number.isNaN(low) || plain === text ? {} : { [`${name} low`]: low, [`${name} high`]: high }),
    ...(text.endsWith("†") && { [`${name} shared machine`]: true }),
  };
}

function asCsv(lines) {
  const titles = [...new Set(lines.flatMap(Object.keys))];
  const field = (value) => {
    const text = String(value ?? "");
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [titles, ...lines.map((line) => titles.map((title) => line[title]))].map((cells) => cells.map(field).join(",")).join("\n") + "\n";
}

function download(format) {
  const lines = shownLines();
  const text = format === "csv" ? asCsv(lines) : `${JSON.stringify({ ...state, rows: lines }, null, 1)}\n`;
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: format === "csv" ? "text/csv" : "application/json" })) });
  link.download = `${["recbench", state.dataset, state.view, state.columns].filter(Boolean).join("-")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
