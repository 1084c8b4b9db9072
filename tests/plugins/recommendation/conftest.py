"""A shop of five items and four people, as arrays and as a folder; and one small bundle for all tests that need one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import triptych_recommendation
from tests.plugins.recommendation.tastes import write_shop
from triptych.config import load_config
from triptych.host import Host
from triptych.pipeline import RunResult, run
from triptych.predictor import Predictor, load
from triptych_recommendation.data.interactions import Interactions

EVENTS = """user,item,type,time,value
ann,lamp,view,2025-03-01T10:00:00Z,
ann,vase,purchase,2025-03-02T10:00:00Z,
ann,rug,view,2025-03-03T10:00:00Z,
ann,chair,rating,2025-03-04T10:00:00Z,5
bob,lamp,view,2025-03-01T11:00:00Z,
bob,rug,view,2025-03-02T11:00:00Z,
bob,vase,click,2025-03-05T11:00:00Z,
cat,vase,view,2025-03-02T12:00:00Z,
cat,rug,rating,2025-03-06T12:00:00Z,1
dan,chair,view,2025-03-03T12:00:00Z,
"""
ITEMS = """id,title,description,image,audio,category,price,stock,tags,maker
lamp,Lamp,Gives light,pictures/lamp.png,,light,20,3,warm|small,Ostrin
vase,Vase,Holds flowers,,,decor,15.5,0,blue,Ostrin
rug,Rug,,,,decor,80,2,,
chair,,,pictures/chair.png,,,,,,
new,Table,Stands on four legs,,,furniture,120,1,wood,Velm
"""


@pytest.fixture
def interactions() -> Interactions:
    """Three people, four items, one more item that nobody has had to do with."""
    users = ["ann", "ann", "ann", "ann", "bob", "bob", "bob", "cat"]
    items = ["lamp", "vase", "rug", "chair", "lamp", "rug", "vase", "vase"]
    times = [10, 20, 30, 40, 11, 21, 50, 22]
    return Interactions.of(users, items, times).with_items(["lamp", "new"])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file below the temporary folder: `write("events.csv", "user,item...")`."""

    def writer(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return writer


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A data folder: events.csv, items.csv and two pictures."""
    (tmp_path / "events.csv").write_text(EVENTS, encoding="utf-8")
    (tmp_path / "items.csv").write_text(ITEMS, encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    for name, colour in (("lamp", "orange"), ("chair", "navy")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path


def host() -> Host:
    """A host with the plugin alone, installed or not."""
    return Host({"recommendation": triptych_recommendation}, installed=False)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A bundle of words and pictures, trained on the shop of `tastes`."""
    folder = tmp_path_factory.mktemp("tastes")
    config = {
        "encoders": {
            "text": {"use": "compact:text", "dim": 64, "buckets": 4096},
            "image": {"use": "compact:image"},
        },
        "fusion_dim": 256,
        "data": {"path": str(write_shop(folder / "shop")), "columns": {"id": "id"}},
        "training": {"strategy": "co-consumption", "epochs": 20},
        "compression": {"enabled": False, "memory": False},
        "vertical": {"models": {"candidates": ["popularity", "neighbours", "content"], "tune": False}},
    }
    os.environ.setdefault("TRIPTYCH_HOME", str(folder / "home"))
    return run("recommendation", load_config(config), output=folder / "bundle", host=host())


@pytest.fixture
def predictor(built: RunResult, tmp_path: Path) -> Predictor:
    """The bundle, with a store of its own."""
    return load(built.bundle, host=host(), state=tmp_path / "state")
