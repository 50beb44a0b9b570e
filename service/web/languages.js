// Languages: their names, the marks that they have on the map, and a guess for the font.

const names = new Intl.DisplayNames(["en"], { type: "language" });

export function languageName(code) {
  if (!code) return "no language";
  try {
    return names.of(code);
  } catch {
    return code;
  }
}

const SCRIPTS = [
  [/[\p{Script=Hiragana}\p{Script=Katakana}]/u, "ja"],
  [/\p{Script=Hangul}/u, "ko"],
  [/\p{Script=Han}/u, "zh"],
  [/\p{Script=Arabic}/u, "ar"],
  [/\p{Script=Hebrew}/u, "he"],
  [/\p{Script=Devanagari}/u, "hi"],
  [/\p{Script=Thai}/u, "th"],
  [/\p{Script=Greek}/u, "el"],
  [/\p{Script=Cyrillic}/u, "ru"],
];

// A language whose fonts can draw `text`, for its lang attribute; null for Latin letters, which
// say nothing. It is told from the script alone: Persian counts as Arabic.
export function languageByScript(text) {
  return SCRIPTS.find(([script]) => script.test(text))?.[1] ?? null;
}

// Attributes of an element that shows a reader's text: its direction, and its language's fonts.
export const written = (text, language = null) => ({
  dir: "auto", lang: language ?? languageByScript(text),
});

// Keep a field's lang attribute at what is written in it.
export function followLanguage(field) {
  const language = languageByScript(field.value);
  if (language) field.lang = language;
  else field.removeAttribute("lang");
}

// `text` in sentences, by the browser's rules of Unicode (which know most languages' marks).
export function sentences(text) {
  if (!Intl.Segmenter) return text.split(/(?<=[.!?。！？।؟])\s*/u).map((s) => s.trim()).filter(Boolean);
  const segmenter = new Intl.Segmenter(languageByScript(text) ?? "en", { granularity: "sentence" });
  return [...segmenter.segment(text)].map(({ segment }) => segment.trim()).filter(Boolean);
}

export const lines = (text) => text.split(/\r?\n/u).map((line) => line.trim()).filter(Boolean);

// At most `limit` characters, whole ones, to name a text in little room.
export function short(text, limit = 60) {
  const characters = [...text.replace(/\s+/gu, " ")];
  return characters.length <= limit ? characters.join("") : `${characters.slice(0, limit - 1).join("")}…`;
}
