"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# no test fails because the machine is slow
_SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("patient", max_examples=40, **_SLOW)
settings.register_profile("thorough", max_examples=1_000, **_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))

# threads that wait for each other in a loop make small trainings many times slower where a core is busy
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # tests beside each other have a core each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# a shell that starts us in the background has us ignore Ctrl-C, and so would every program the tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def triptych_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has its own home for bundles and state."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("TRIPTYCH_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data and weights; the test is skipped where it is absent."""
    folder = Path(os.environ.get("TRIPTYCH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.exists():
        pytest.skip(f"{folder} is absent; set TRIPTYCH_DATA to the folder with the benchmark data")
    return folder
