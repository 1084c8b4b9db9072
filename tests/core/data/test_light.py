"""The data floor loads neither torch nor any decoder."""

from __future__ import annotations

import subprocess
import sys

MODULES = "media sources splits checks readers transcripts tables columns folders hub partition ocr_layout"
HEAVY = "torch transformers PIL soundfile av pyarrow scipy sklearn datasets rapidocr pocketsphinx cv2"


def test_importing_the_data_floor_loads_nothing_heavy() -> None:
    imports = "; ".join(f"import triptych.data.{name}" for name in MODULES.split())
    code = f"import sys; {imports}; print([m for m in {HEAVY.split()!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_loading_a_table_loads_no_torch() -> None:
    code = (
        "import sys, pathlib, tempfile\n"
        "from triptych.config import DataConfig; from triptych.data.splits import load_splits\n"
        "path = pathlib.Path(tempfile.mkdtemp(), 'd.csv'); rows = ''.join(f't{i},{i % 2}\\n' for i in range(20))\n"
        "path.write_text('text,label\\n' + rows); load_splits(DataConfig(path=str(path)), seed=1)\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
