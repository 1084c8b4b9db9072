"""A report as one HTML file that needs nothing beside it: no scripts, no fonts, pictures inside."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from triptych.compression.tables import Table
from triptych.report.document import Block, Document, Items, Picture, Section

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --dim: #5c6370; --page: #ffffff; --line: #d9dce1; --mark: #fff3e8;
  --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --dim: #a2a8b3; --page: #16181c; --line: #3a3f47; --mark: #3a2a1c; --link: #8cbcf2; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; font: 16px/1.55 system-ui, sans-serif; color: var(--text);
  background: var(--page); }
h1 { font-size: 1.8rem; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
p, ul { max-width: 52rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: 0; }
a { color: var(--link); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--dim); padding-bottom: .3rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  font-weight: normal; }
thead th { color: var(--dim); white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
tr.strong > * { background: var(--mark); font-weight: 600; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
figcaption { color: var(--dim); font-size: .9rem; }
@media print { nav { display: none; } .wide { overflow: visible; } }
"""


def to_html(page: Document, directory: Path) -> str:
    """The document as HTML. Pictures are read from `directory`; every text is escaped."""
    title = escape(page.title)
    links = "".join(f'<li><a href="#{_anchor(s)}">{escape(s.title)}</a></li>' for s in page.sections)
    sections = "\n".join(_section(section, directory) for section in page.sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: Triptych report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{title}</h1>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n'
        f"<main>\n{sections}\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section, directory: Path) -> str:
    name = _anchor(section)
    blocks = "\n".join(_block(block, directory) for block in section.blocks)
    return f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(section.title)}</h2>\n{blocks}\n</section>'


def _block(block: Block, directory: Path) -> str:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Items):
        return "<ul>" + "".join(f"<li>{escape(point)}</li>" for point in block.points) + "</ul>"
    if isinstance(block, Picture):
        return _picture(block, directory)
    return f"<p>{escape(block)}</p>"


def _table(table: Table) -> str:
    """A table that can be scrolled with the keyboard where the screen is narrow; the first cell names its row."""
    sides = ["" if number < table.numbers else ' class="number"' for number in range(len(table.header))]
    head = "".join(
        f'<th scope="col"{side}>{escape(name)}</th>' if name else "<td></td>"
        for name, side in zip(table.header, sides, strict=True)
    )
    rows = []
    for number, row in enumerate(table.rows):
        cells = "".join(f"<td{side}>{escape(cell)}</td>" for cell, side in zip(row[1:], sides[1:], strict=True))
        strong = ' class="strong"' if number == table.strong else ""
        rows.append(f'<tr{strong}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    caption = escape(table.caption)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
    )


def _picture(picture: Picture, directory: Path) -> str:
    content = base64.b64encode((directory / picture.file).read_bytes()).decode("ascii")
    text = escape(picture.description)
    return (
        f'<figure><img src="data:image/png;base64,{content}" alt="{text}">'
        f"<figcaption>{text} ({escape(picture.file)})</figcaption></figure>"
    )


def _anchor(section: Section) -> str:
    return "".join(c if c.isalnum() else "-" for c in section.title.lower())
