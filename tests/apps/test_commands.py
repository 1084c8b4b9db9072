"""Finding commands: by name, lazily, from plugins, for one vertical alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from triptych_apps.cli import COMMANDS, group
from triptych_apps.lazy import LazyGroup

HEAVY = {"torch", "transformers", "faiss", "numpy", "pydantic", "rich", "PIL", "sklearn", "asyncio"}


def modules_after(*args: str) -> set[str]:
    code = (
        "import json, sys\nfrom triptych_apps.cli import main\n"
        f"try:\n    main({list(args)!r})\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("args", [("--help",), ("run", "--help"), ("runn",), ("--version",)], ids=" ".join)
def test_help_and_misspellings_import_nothing_heavy(args):
    assert modules_after(*args) & HEAVY == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_one_summary(name):
    command = COMMANDS[name].load()
    assert command.name == name
    assert command.short_help == COMMANDS[name].summary
    assert command.callback is not None
    assert (command.callback.__doc__ or "").strip()


def test_help_lists_the_commands_of_plugins(call):
    done = call("--help")
    assert done.code == 0
    assert "paint" in done.out
    assert "Paint the shop." in done.out
    assert "Would take the place of run." not in done.out


def test_no_words_at_all_show_the_help(call):
    done = call()
    assert done.code == 2
    assert "Commands" in done.err
    assert "error" not in done.err


def test_a_command_of_a_plugin_runs(call):
    assert call("paint").out == "painted\n"


def test_a_command_that_leads_nowhere_names_its_plugin(call):
    done = call("gone")
    assert done.code == 5
    assert "'shop'" in done.err
    assert "triptych_shop_nowhere" in done.err


def test_a_command_that_is_none_names_its_plugin(call):
    done = call("odd")
    assert done.code == 5
    assert "must be a click.Command" in done.err


def test_an_unknown_command_is_answered_with_the_nearest(call):
    done = call("evaluat")
    assert done.code == 2
    assert "Did you mean 'evaluate'?" in done.err
    assert done.out == ""


def test_a_vertical_in_place_of_a_command_is_answered_with_ask(call):
    done = call("shop", "hello")
    assert done.code == 2
    assert "triptych ask shop" in done.err


def test_an_unknown_option_is_answered_with_the_nearest(call):
    done = call("run", "shop", "--outptu", "x")
    assert done.code == 2
    assert "--output" in done.err
    assert "triptych run --help" in done.err


def test_an_unknown_vertical_is_answered_with_the_nearest(call):
    done = call("run", "shpo")
    assert done.code == 2
    assert "Did you mean 'shop'?" in done.err


@pytest.mark.parametrize("command", ["run", "ask", "info"])
def test_a_missing_name_is_answered_with_those_that_exist(call, command):
    done = call(command)
    assert done.code == 2
    assert "shop" in done.err


def test_version(call):
    import triptych

    assert call("--version").out == f"triptych {triptych.__version__}\n"


def test_plugins_lists_what_works_and_what_does_not(call):
    done = call("plugins", "--json")
    plugins = {plugin["name"]: plugin for plugin in json.loads(done.out)["plugins"]}
    assert ("vertical", "shop") in [(o["kind"], o["name"]) for o in plugins["shop"]["offers"]]
    assert plugins["shop"]["version"] == "0.3"
    assert "the shop is shut" in plugins["broken"]["error"]
    assert any("'run' of shop cannot be used" in problem for problem in json.loads(done.out)["problems"])


def test_plugins_for_people_name_the_reason(call):
    done = call("plugins")
    assert done.code == 0
    assert "not in use: RuntimeError: the shop is shut" in done.out
    assert "Sells colours." in done.out


@pytest.fixture
def florist() -> LazyGroup:
    return group("triptych-florist", vertical="florist")


def test_a_verticals_own_script_has_the_vertical_filled_in(florist):
    context = florist.make_context("triptych-florist", [], resilient_parsing=True)
    for name in florist.list_commands(context):
        command = florist.get_command(context, name)
        assert command is not None
        assert not {"vertical"} & {p.name for p in command.params}
        assert "BUNDLE" not in command.collect_usage_pieces(context)
        if name in ("evaluate", "ask", "chat", "info", "rollback"):
            assert next(p.default for p in command.params if p.name == "bundle") == "florist"


def test_a_verticals_own_script_offers_no_other_commands(florist):
    context = florist.make_context("triptych-florist", [], resilient_parsing=True)
    assert set(florist.list_commands(context)) == {
        "run",
        "train",
        "evaluate",
        "compress",
        "export",
        "ask",
        "chat",
        "info",
        "rollback",
    }


def test_the_general_commands_stay_as_they_are(florist):
    context = florist.make_context("triptych-florist", [], resilient_parsing=True)
    assert florist.get_command(context, "ask") is not COMMANDS["ask"].load()
    assert any(p.name == "bundle" and p.param_type_name == "argument" for p in COMMANDS["ask"].load().params)


def test_the_script_is_named_after_its_vertical(spawn, tmp_path):
    out, err = spawn("info", program="/usr/bin/triptych-shop").communicate()
    assert out == ""
    assert "there is no bundle 'shop'" in err


def test_the_shell_completes_names_of_verticals(spawn, monkeypatch):
    monkeypatch.setenv("_TRIPTYCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "triptych run sh")
    monkeypatch.setenv("COMP_CWORD", "2")
    out, _ = spawn().communicate()
    assert "plain,shop" in out
