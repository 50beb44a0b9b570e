"""An alignment as a page for people: both sides, lines between what belongs together, and scores.

One HTML file that asks for nothing from anywhere. Everything but the lines is there without
scripts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from string import Template

from service.alignment.aligned import Aligned, LinkedSentences
from service.alignment.segmentation import Span


@dataclass(frozen=True, slots=True)
class _Line:
    """A link between two items of a group, with what is said of it."""

    source: int
    target: int
    said: str


def texts_page(
    title: str,
    names: tuple[str, str],
    sources: Sequence[str],
    targets: Sequence[str],
    found: Aligned,
) -> str:
    """Texts or the sentences of documents, in two columns."""
    lines = [
        _Line(source, target, _said(pair.score, pair.cosine, pair.probability))
        for pair in found.pairs
        for source in pair.source
        for target in pair.target
    ]
    columns = _group("columns", names, (sources, targets), lines)
    facts = (
        f"{len(found.pairs)} pairs; {len(found.unaligned_source)} of {len(sources)} and "
        f"{len(found.unaligned_target)} of {len(targets)} without a partner"
    )
    return _page(title, facts, [columns])


def words_page(
    title: str, pairs: Iterable[tuple[str, str, LinkedSentences]], names: tuple[str, str]
) -> str:
    """Sentences above their translations, with lines between their words."""
    groups = []
    links = 0
    for source, target, linked in pairs:
        lines = [
            _Line(link.source, link.target, _said(None, link.cosine, link.probability))
            for link in linked.links
        ]
        links += len(lines)
        sides = _words(source, linked.source_words), _words(target, linked.target_words)
        groups.append(_group("rows", names, sides, lines))
    return _page(title, f"{len(groups)} pairs of sentences, {links} links", groups)


def _words(text: str, spans: Sequence[Span]) -> list[str]:
    return [text[start:end] for start, end in spans]


def _said(score: float | None, cosine: float, probability: float | None) -> str:
    parts = [] if score is None else [f"score {score:.3f}"]
    parts.append(f"cosine {cosine:.3f}")
    if probability is not None:
        parts.append(f"probability {probability:.3f}")
    return ", ".join(parts)


def _group(
    layout: str, names: tuple[str, str], sides: tuple[Sequence[str], ...], lines: list[_Line]
) -> str:
    partners: list[dict[int, list[str]]] = [{}, {}]
    for line in lines:
        partners[0].setdefault(line.source, []).append(f"↔ {line.target + 1}: {line.said}")
        partners[1].setdefault(line.target, []).append(f"↔ {line.source + 1}: {line.said}")
    pairs = json.dumps([[line.source, line.target] for line in lines])
    html = [f'<section class="{layout}" data-lines="{pairs}"><svg aria-hidden="true"></svg>']
    for name, side, own in zip(names, sides, partners, strict=True):
        html.append(f'<ol dir="auto" aria-label="{escape(name)}">')
        for index, text in enumerate(side):
            said = own.get(index, [])
            kind = "" if said else ' class="alone"'
            notes = "".join(f"<small>{escape(one)}</small>" for one in said)
            html.append(
                f'<li{kind} dir="auto" title="{escape("; ".join(said) or "no partner")}">'
                f"<b>{index + 1}</b> <span>{escape(text)}</span>{notes}</li>"
            )
        html.append("</ol>")
    html.append("</section>")
    return "\n".join(html)


def _page(title: str, facts: str, groups: list[str]) -> str:
    return _PAGE.substitute(title=escape(title), facts=escape(facts), groups="\n".join(groups))


_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em;
  color: #222; background: #fff; }
section { position: relative; margin: 1.5em 0; }
svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
path { fill: none; stroke: #2a6fb0; stroke-width: 1.5; opacity: .55; }
path.on { stroke: #c2410c; stroke-width: 3; opacity: 1; }
ol { list-style: none; margin: 0; padding: 0; }
li { border: 1px solid #ddd; border-radius: 6px; padding: .3em .5em; background: #fafafa; }
li.on { border-color: #c2410c; background: #fff3ea; }
li.alone { color: #888; background: #fff; border-style: dashed; }
b { color: #999; font-weight: normal; font-size: 80%; }
small { display: block; color: #2a6fb0; font-size: 75%; }
.columns { display: grid; grid-template-columns: 1fr 1fr; column-gap: 10em; }
.columns li { margin: .4em 0; }
.rows ol { display: flex; flex-wrap: wrap; gap: .4em; }
.rows ol + ol { margin-top: 3.5em; }
.rows small { display: none; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; } li { background: #222; border-color: #444; }
  li.alone { background: #181818; } li.on { background: #40250f; }
  path { stroke: #6aa9e0; } small { color: #6aa9e0; } }
</style>
<h1>$title</h1>
<p>$facts. Point at a text to see what belongs to it.</p>
$groups
<script>
const draw = section => {
  const svg = section.querySelector("svg"), box = section.getBoundingClientRect();
  const sides = [...section.querySelectorAll("ol")].map(side => [...side.children]);
  const rows = section.className === "rows";
  svg.replaceChildren(...JSON.parse(section.dataset.lines).map(([source, target]) => {
    const a = sides[0][source].getBoundingClientRect();
    const b = sides[1][target].getBoundingClientRect();
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const from = rows ? [a.x + a.width / 2 - box.x, a.bottom - box.y]
                      : [a.right - box.x, a.y + a.height / 2 - box.y];
    const to = rows ? [b.x + b.width / 2 - box.x, b.y - box.y]
                    : [b.x - box.x, b.y + b.height / 2 - box.y];
    const bend = rows ? [from[0], (from[1] + to[1]) / 2, to[0], (from[1] + to[1]) / 2]
                      : [(from[0] + to[0]) / 2, from[1], (from[0] + to[0]) / 2, to[1]];
    path.setAttribute("d", `M $${from} C $${bend} $${to}`);
    for (const [item, other] of [[sides[0][source], sides[1][target]],
                                 [sides[1][target], sides[0][source]]])
      for (const [event, on] of [["mouseenter", true], ["mouseleave", false]])
        item.addEventListener(event, () =>
          [path, item, other].forEach(one => one.classList.toggle("on", on)));
    return path;
  }));
};
const all = () => document.querySelectorAll("section").forEach(draw);
addEventListener("load", all);
addEventListener("resize", all);
</script>
</html>
""")
