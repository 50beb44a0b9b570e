// Documents out of a file that somebody drops: text, TSV, CSV, JSON or JSON lines.

export const ACCEPTED = ".txt,.md,.tsv,.csv,.json,.jsonl,.ndjson";

// Fields of a document; all others of a row go into its metadata.
const FIELDS = ["id", "text", "language", "granularity", "metadata"];

// The documents of `file`; an Error whose message says what is wrong with it and in which line.
export async function readDocuments(file) {
  const content = (await file.text()).replace(/^\uFEFF/u, "");
  const kind = file.name.split(".").pop().toLowerCase();
  const read = { tsv: table("\t"), csv: table(","), json: array, jsonl: jsonLines, ndjson: jsonLines }[kind] ?? textLines;
  const documents = read(content).map(({ place, value }) => documentOf(value, place, file.name));
  if (!documents.length) throw new Error(`${file.name} holds no text.`);
  return documents;
}

function documentOf(value, place, name) {
  const row = typeof value === "string" ? { text: value } : value;
  if (typeof row?.text !== "string" || !row.text.trim()) {
    throw new Error(`${name}, ${place}: there is no text; each document needs a field "text".`);
  }
  const others = Object.entries(row).filter(([key, value]) => !FIELDS.includes(key) && value !== "");
  const metadata = { ...row.metadata, ...Object.fromEntries(others) };
  const id = String(row.id ?? "");
  const document = { id: id || `${name}, ${place}`, text: row.text };
  for (const key of ["language", "granularity"]) if (row[key]) document[key] = row[key];
  return Object.keys(metadata).length ? { ...document, metadata } : document;
}

function textLines(content) {
  return content.split(/\r?\n/u).map((value, index) => ({ place: `line ${index + 1}`, value }))
    .filter(({ value }) => value.trim());
}

function jsonLines(content) {
  return textLines(content).map(({ place, value }) => ({ place, value: json(value, place) }));
}

function array(content) {
  const values = json(content, "the whole file");
  if (!Array.isArray(values)) throw new Error("The JSON file is no list of documents.");
  return values.map((value, index) => ({ place: `item ${index + 1}`, value }));
}

function json(text, place) {
  try {
    return JSON.parse(text);
  } catch (fault) {
    throw new Error(`${place} is not JSON: ${fault.message}`);
  }
}

// A table whose first row names the columns; one column has the name "text".
const table = (separator) => (content) => {
  const [head, ...rows] = cells(content, separator);
  if (!head?.includes("text")) throw new Error('The first line names no column "text".');
  return rows.filter((row) => row.some(Boolean)).map((row, index) => ({
    place: `row ${index + 2}`,
    value: Object.fromEntries(head.map((name, column) => [name, row[column] ?? ""])),
  }));
};

// Rows of cells; in CSV a cell in quotes may hold separators, line breaks and doubled quotes.
function cells(content, separator) {
  if (separator === "\t") return content.split(/\r?\n/u).map((line) => line.split("\t"));
  const rows = [[]];
  const cell = /("(?:[^"]|"")*"|(?!")[^,\r\n]*)(,|\r?\n|$)/gy;
  for (;;) {
    const match = cell.exec(content);
    if (!match) throw new Error(`In row ${rows.length} a quotation mark stands inside a cell; double it.`);
    const [, value, end] = match;
    rows.at(-1).push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value);
    if (!end) return rows;
    if (end !== ",") rows.push([]);
  }
}
