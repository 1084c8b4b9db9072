"""Pictures of every web page for the documentation, in a light and a dark theme and as wide as a phone.

    python tools/screenshots.py customer-service finance recommendation

serves the newest bundles of these verticals (or bundles by their paths) from TRIPTYCH_HOME and writes
docs/pictures/<page>-light.png, -dark.png and -phone.png. It needs Chromium, as the tests of pages do. A server that
runs already is looked at with --url.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
LARGEST = 200_000  # bytes of one picture
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="directories, or names of verticals")
    parser.add_argument("--url", help="a server that runs already, instead of bundles")
    parser.add_argument("--only", action="append", metavar="PAGE", help="of these pages alone; may be repeated")
    parser.add_argument("--wait", type=float, default=1.5, metavar="SECONDS", help="after a page says that it is ready")
    given = parser.parse_args()
    if bool(given.bundles) == bool(given.url):
        parser.error("name bundles, or a server with --url")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        parser.error("no chromium is installed: apt-get install chromium")
    with served(given.bundles, given.url) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for name, path in pages(browser, url).items():
            if not given.only or name in given.only:
                for look in LOOKS:
                    take(browser, url + path, PICTURES / f"{name}-{look}.png", look, given.wait)
        browser.close()


@contextmanager
def served(bundles: list[str], url: str | None) -> Iterator[str]:
    """The address of a server, which is started here where none is given."""
    if url is not None:
        yield url.rstrip("/")
        return
    command = [sys.executable, "-c", "from triptych_apps.cli import main; main()", "serve", *bundles, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = ready(process, len(bundles))
            assert process.stderr is not None
            threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop the server
            yield url
        finally:
            process.terminate()


def ready(process: subprocess.Popen[str], bundles: int) -> str:
    """Wait until all bundles answer. Raises RuntimeError where the server ends before."""
    assert process.stderr is not None
    said, url = "", ""
    for line in process.stderr:
        said += line
        told = json.loads(line) if line.startswith("{") else {}
        url = str(told.get("url", url))
        bundles -= told.get("event") == "ready"
        if not bundles:
            return url
    raise RuntimeError(f"the server has ended: {said}")


def pages(browser: Browser, url: str) -> dict[str, str]:
    """The paths of all pages by their names, with the page of pages as "index"."""
    page = browser.new_page()
    page.goto(url)
    links = page.eval_on_selector_all("header.site nav a", "links => links.map(link => link.getAttribute('href'))")
    page.close()
    return {"index": "/", **{link.strip("/").rpartition("/")[2].strip("_"): link for link in links}}


def take(browser: Browser, url: str, path: Path, look: str, wait: float) -> None:
    """One picture, with fewer colours where it would be too large."""
    context = browser.new_context(reduced_motion="reduce", **LOOKS[look])
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("body[data-ready=true]", timeout=60_000)
    page.wait_for_timeout(1000 * wait)
    content = small(page.screenshot())
    context.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{path.name}: {len(content):,} bytes")


def small(content: bytes) -> bytes:
    """The same picture in a PNG of at most `LARGEST` bytes. Raises ValueError where 32 colours are too many."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    for colours in (256, 128, 64, 32):
        buffer = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            return buffer.getvalue()
    raise ValueError(f"the picture has {buffer.tell():,} bytes; {LARGEST:,} are allowed")


if __name__ == "__main__":
    main()
