"""The frame of every page that is written for people: one file, one style, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #5b6470;
  --line: #d8dde3; --heat: #1d5fa8; --worse: #b4541a; --on: #ffffff; --good: #1a7f37;
  --bad: #b4541a; --other: #9aa4b0; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e4e8ec; --soft: #9aa4b0;
  --line: #333b44; --heat: #6cb0f5; --worse: #f0a36b; --on: #0d1116; --good: #57c274;
  --bad: #f0a36b; --other: #5b6470; } }
body { margin: 2rem auto; max-width: 74rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } svg { font: 12px system-ui, sans-serif; fill: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, th.l, td.l { text-align: left; }
details { margin: 0.6rem 0; } summary { cursor: pointer; }
.heat, .bar1 { fill: var(--heat); } .worse { fill: var(--worse); } .bar0 { fill: var(--other); }
.on { fill: var(--on); } .good { fill: var(--good); color: var(--good); }
.bad { fill: var(--bad); color: var(--bad); }
.rule { fill: var(--line); } .dot { fill: none; stroke: var(--ink); }
"""
# Even a page that someone tampered with in the data asks for nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page around `parts`, which are HTML; `title` is text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def wide(content: str) -> str:
    """Content that scrolls by itself where the page is narrower."""
    return f'<div class="wide">{content}</div>'
