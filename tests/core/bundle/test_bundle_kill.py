"""`kill -9` at any moment of a commit leaves a bundle that opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# One process forks the committers: no threads, no start-up for each of them.
SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
from triptych.bundle import BundleWriter, Manifest, open_bundle, rollback
from triptych.errors import BundleError

root, random_ = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
output, work = root / "out", root / "work"

def commit(number):
    with BundleWriter(output, work) as writer:
        (writer.path / "sub").mkdir()
        (writer.path / "a.json").write_text(str(number))
        (writer.path / "sub" / "b.json").write_text(str(number) * 2000)
        writer.commit(Manifest(vertical="florist", metrics={"number": number}))

began = time.perf_counter()
commit(0)
seconds = time.perf_counter() - began
last, seen = 0, set()
for round_ in range(30):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        number = last
        while True:
            number += 1
            commit(number)
            os.write(writing, b"%d " % number)
    os.close(writing)
    time.sleep(random_.uniform(0.0, 4 * seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    reported = os.read(reading, 1 << 20).split()
    os.close(reading)
    committed = int(reported[-1]) if reported else last
    bundle = open_bundle(output)
    number = bundle.manifest.metrics["number"]
    assert number in (committed, committed + 1), (number, committed)
    assert bundle.file("a.json").read_text() == str(number)
    last = number
    seen.add(number)
assert len(seen) > 3, seen
commit(last + 1)
names = sorted(os.listdir(output / "versions"))
assert len(names) == 2 and sorted(os.listdir(output)) == ["CURRENT", "versions"], names
rollback(output)
assert open_bundle(output).manifest.metrics["number"] == last
"""


def test_a_killed_commit_leaves_a_committed_version(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), "7"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
