"""What the CPU image adds to its base: the bytes of the packages that it installs, from real wheels.

    python tools/image_size.py                  installs them into a temporary folder, which takes minutes
    python tools/image_size.py --installed DIR  counts a folder that `pip install --target DIR` has made

The base image is not in the sum: no container engine is asked, so that its size is its publisher's to say.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
REQUIREMENTS = REPOSITORY / "containers" / "cpu.txt"
SOURCES = ("core", "plugins", "apps", "configs")
_SHOWN = 12


def main() -> None:
    """Print the sum and its largest parts."""
    parser = argparse.ArgumentParser(description="The bytes of the packages of the CPU image.")
    parser.add_argument("--installed", type=Path, help="a folder that has them already")
    given = parser.parse_args().installed
    if given is not None:
        report(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target", folder]
        subprocess.run([*command, "--requirement", str(REQUIREMENTS)], check=True)
        report(Path(folder))


def report(installed: Path) -> None:
    """Print what a folder of packages and the product's own sources take, in millions of bytes."""
    parts = sizes(installed)
    own = sum(sum(sizes(REPOSITORY / name, compiled=False).values()) for name in SOURCES)
    for name, size in sorted(parts.items(), key=lambda part: -part[1])[:_SHOWN]:
        print(f"{size / 1e6:8.1f} MB  {name}")
    rest = sum(sorted(parts.values(), reverse=True)[_SHOWN:])
    print(f"{rest / 1e6:8.1f} MB  {max(0, len(parts) - _SHOWN)} others")
    print(f"{own / 1e6:8.1f} MB  triptych")
    print(f"{(sum(parts.values()) + own) / 1e6:8.1f} MB  in all, without the base image")


def sizes(folder: Path, *, compiled: bool = True) -> dict[str, int]:
    """Bytes of each entry of a folder, links not followed; a library's `.libs` counts with its package.

    `compiled` counts what Python has compiled, as pip does in the image.
    """
    found: dict[str, int] = {}
    for entry in folder.iterdir():
        files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
        counted = [path for path in files if compiled or "__pycache__" not in path.parts]
        if entry.name == "plotly":  # the rest of it Dockerfile.cpu removes
            counted = [path for path in files if path.name == "plotly.min.js"]
        name = entry.name.removesuffix(".libs")
        found[name] = found.get(name, 0) + sum(path.lstat().st_size for path in counted)
    return found


if __name__ == "__main__":
    main()
