"""Generate the parts of `docs/` that are written in code already: `python -m triptych_apps.reference docs`.

- `schemas/*.json`: JSON Schemas of what `--json` prints
- `configuration.md`: every config key, with its type, default and the comment beside it in the code
- `cli.md`: the blocks between `<!-- begin ... -->` and `<!-- end -->` (help pages, exit codes)
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import io
import json
import operator
import re
import sys
import tokenize
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from triptych import errors
from triptych.config import Config, Section, packaged_names
from triptych.host import ENTRY_POINT_GROUP, default_host
from triptych.vertical import Response, Vertical
from triptych_apps.cli import group
from triptych_apps.outcomes import SCHEMAS

_WIDTH = 88  # of help pages
_BLOCK = re.compile(r"(<!-- begin (?P<what>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_INTRODUCTION = """\
# Configuration

Every key of a run's configuration, generated from the code. `triptych run NAME --set key=value` sets one of them, a
TOML file given with `--config` any number. What is wrong is reported all at once, each unknown key with the nearest
right one.

Layers, the later ones win:

1. the defaults below
2. the vertical's packaged config ({names})
3. `--config FILE`, or the name of a packaged config
4. environment variables: `TRIPTYCH__TRAINING__EPOCHS=3` sets `training.epochs`
5. `--set training.epochs=3`, and `--data` and `--device`, which set `data.path` and `device`

A part (an encoder, a fusion) is a table with `use`, the part's name as `triptych plugins` lists it; its other keys are
the part's own options:

```toml
[encoders.text]
use = "sentence:all-MiniLM-L6-v2"
```
"""


def main() -> None:
    """Write everything into the folder that the command line names."""
    docs = Path(sys.argv[1])
    for name, text in schemas().items():
        (docs / "schemas").mkdir(parents=True, exist_ok=True)
        (docs / "schemas" / name).write_text(text, encoding="utf-8")
    (docs / "configuration.md").write_text(configuration(), encoding="utf-8")
    cli = docs / "cli.md"
    cli.write_text(fill(cli.read_text(encoding="utf-8")), encoding="utf-8")


def schemas() -> dict[str, str]:
    """File name to JSON Schema. `ask` is what every vertical answers; its own fields are in `ask-NAME`."""
    models: dict[str, type[BaseModel]] = {**SCHEMAS, "ask": Response}
    for vertical in first_party_verticals():
        models[f"ask-{vertical.name}"] = vertical.response_type
    return {f"{name}.json": _schema(name, model) for name, model in sorted(models.items())}


def configuration() -> str:
    """The page with every config key."""
    names = ", ".join(f"`{name}`" for name in packaged_names()) or "none"
    parts = [_INTRODUCTION.format(names=names)]
    parts += [_section(f"`[{name}]`" if name else "Top level", name, model) for name, model in _sections("", Config)]
    for vertical in first_party_verticals():
        for name, model in _sections("vertical", vertical.settings_type):
            parts.append(_section(f"`[{name}]` of {vertical.name}", name, model))
    return "\n".join(parts)


def fill(text: str) -> str:
    """A page with its generated blocks made anew."""
    return _BLOCK.sub(lambda match: match[1] + _block(match["what"]) + match[3], text)


def first_party_verticals() -> list[Vertical[Any, Any]]:
    """The verticals that come with triptych itself: what is documented does not depend on what else is installed."""
    points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    own = {point.name for point in points if point.dist is not None and point.dist.name == "triptych"}
    specs = [spec for info in default_host().plugins() if info.name in own for spec in info.verticals]
    return [default_host().vertical(spec.name) for spec in sorted(specs, key=lambda spec: spec.name)]


def comments(model: type[BaseModel]) -> dict[str, str]:
    """Field to the comment at the end of its line, for there the code says what a key means."""
    found: dict[str, str] = {}
    for line in inspect.getsource(model).splitlines():
        name = re.match(r"    (\w+): ", line)
        if name:
            tokens = tokenize.generate_tokens(io.StringIO(line.strip() + "\n").readline)
            found[name[1]] = "".join(t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT)
    return found


def _schema(name: str, model: type[BaseModel]) -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(mode="serialization"),
    }
    schema["title"] = f"triptych {name} --json"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _sections(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """A section and those within it; of a table of sections, the one called NAME."""
    yield prefix, model
    for name, info in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        values = typing.get_args(info.annotation)[1:] if typing.get_origin(info.annotation) is dict else ()
        if _is_section(info.annotation):
            yield from _sections(key, info.annotation)
        elif values and _is_section(values[0]):
            yield from _sections(f"{key}.NAME", values[0])


def _is_section(annotation: Any) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _section(title: str, prefix: str, model: type[BaseModel]) -> str:
    meanings = comments(model)
    rows = []
    for name, info in model.model_fields.items():
        if _is_section(info.annotation):
            continue  # a section of its own
        key = f"{prefix}.{name}" if prefix else name
        meaning = info.description or meanings.get(name, "")
        cells = (f"`{key}`", _type_name(info), f"`{_default(info)}`", meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if not rows:
        return ""
    first = (inspect.getdoc(model) or "").splitlines()[0]
    return "\n".join(
        [f"## {title}", "", first, "", "| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _type_name(info: FieldInfo) -> str:
    annotation = _bare(info.annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f'"{value}"' for value in typing.get_args(annotation))
    text = annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
    text = re.sub(r"\b(?:[a-z_]\w*\.)+", "", text)
    text = text.replace(str(typing.Literal["text", "image", "audio"]).removeprefix("typing."), "modality")
    text = text.replace(" | None", " or none").replace(" | ", " or ")
    return text + "".join(f", {limit}" for limit in _limits(info))


def _bare(annotation: Any) -> Any:
    """The type without what checks it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _bare(arguments[0])
    if not arguments or origin is typing.Literal:
        return annotation
    bare = tuple(map(_bare, arguments))
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, bare)
    return origin[bare]


def _limits(info: FieldInfo) -> Iterator[str]:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    for constraint in info.metadata:
        for name, sign in signs.items():
            if getattr(constraint, name, None) is not None:
                yield f"{sign} {getattr(constraint, name)}"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "(needed)"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _block(what: str) -> str:
    if what == "exit codes":
        lines = (errors.__doc__ or "").splitlines()
        return "\n".join(line for line in lines if line.startswith("|")) + "\n"
    words = what.removeprefix("help ").split()
    return f"```text\n$ {' '.join(words)} --help\n{_help(words)}\n```\n"


def _help(words: list[str]) -> str:
    root = group(words[0])
    root.plugins = False  # the page does not depend on what else is installed
    command: click.Command = root
    context = command.make_context(words[0], [], resilient_parsing=True, terminal_width=_WIDTH)
    for word in words[1:]:
        if not isinstance(command, click.Group):
            raise ValueError(f"{' '.join(words)} is not a command")
        found = command.get_command(context, word)
        if found is None:
            raise ValueError(f"{' '.join(words)} is not a command")
        command = found
        context = command.make_context(word, [], parent=context, resilient_parsing=True, terminal_width=_WIDTH)
    return command.get_help(context)


if __name__ == "__main__":
    main()
