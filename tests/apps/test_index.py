"""`triptych index`: real indexes in a directory, made, searched, changed and checked by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from tests.apps.conftest import ROOT, START, Call, Done, child_environment
from tests.apps.test_commands import HEAVY, modules_after
from tests.core.letters import WORST, Letters
from triptych.host import default_host
from triptych_apps.index import COMMANDS
from triptych_apps.outcomes import SCHEMAS

PLUGIN = """
    from triptych import hookimpl
    from triptych.types import Part

    @hookimpl
    def triptych_parts():
        return [
            Part("encoder", "letters", "tests.core.letters:Letters", "N-grams."),
            Part("encoder", "colours", "tests.core.letters:Colours", "Mean colours."),
        ]
"""
ARTICLES = """\
id,text,language,price
returns,how to return a parcel,en,3
lost,what to do about a lost parcel,en,5.5
cards,gift cards and vouchers,en,
karten,Gutscheine und Geschenkkarten,de,8
"""


@pytest.fixture(scope="module")
def letters_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed distribution with encoders that need no weights."""
    folder = tmp_path_factory.mktemp("letters")
    (folder / "triptych_letters.py").write_text(textwrap.dedent(PLUGIN))
    info = folder / "triptych_letters-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: triptych-letters\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[triptych]\nletters = triptych_letters\n")
    return folder


@pytest.fixture
def index(call: Call, letters_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`triptych index ...` in this process."""
    monkeypatch.syspath_prepend(str(letters_folder))
    default_host.cache_clear()
    return lambda *args: call("index", *args)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "articles"


@pytest.fixture
def articles(index: Call, tmp_path: Path, place: Path) -> Path:
    """An index of four articles."""
    done = index("build", place, "--data", table(tmp_path, ARTICLES), "--encoder", "letters:64")
    assert done.code == 0, done.err
    return place


def table(folder: Path, text: str, name: str = "articles.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def lines(folder: Path, *rows: dict[str, Any], name: str = "items.jsonl") -> Path:
    return table(folder, "\n".join(json.dumps(row) for row in rows), name)


def result(done: Done, schema: str, code: int = 0) -> Any:
    """What a command printed as JSON, checked against its documented schema."""
    assert done.code == code, done.err
    found = json.loads(done.out)
    SCHEMAS[schema].model_validate(found)
    published = json.loads((ROOT / "docs" / "schemas" / f"{schema}.json").read_text("utf-8"))
    assert set(found) == set(published["properties"])
    return found


def ids(done: Done) -> list[str]:
    return [hit["id"] for hit in result(done, "index-search")["hits"]]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_one_summary(name):
    command = COMMANDS[name].load()
    assert command.name == name
    assert command.short_help == COMMANDS[name].summary


@pytest.mark.parametrize("args", [("index", "--help"), ("index", "build", "--help"), ("index", "bild")], ids=" ".join)
def test_help_and_misspellings_import_nothing_heavy(args):
    assert modules_after(*args) & HEAVY == set()


def test_an_unknown_command_is_answered_with_the_nearest(index):
    done = index("bild")
    assert done.code == 2
    assert "Did you mean 'build'?" in done.err


def test_the_settings_offered_are_those_of_a_collection():
    from triptych.retrieval.collection import CollectionSettings
    from triptych_apps.index.build import KINDS, WORDS

    fields = CollectionSettings.model_fields
    assert get_args(fields["kind"].annotation) == KINDS
    assert get_args(fields["words"].annotation) == WORDS
    assert (fields["recall"].default, fields["kind"].default, fields["words"].default) == (0.95, "auto", "unicode")


def test_build_says_what_it_made(index, tmp_path, place):
    done = index("build", place, "--data", table(tmp_path, ARTICLES), "--encoder", "letters:64", "--json")
    found = result(done, "index-add")
    assert (found["location"], found["items"], found["added"], found["skipped"]) == (str(place), 4, 4, [])
    (field,) = found["fields"]
    assert (field["name"], field["dim"], field["source"]) == ("text", 64, "letters:64")
    assert field["encoder"]


def test_build_for_people(index, tmp_path, place):
    done = index("build", place, "--data", table(tmp_path, ARTICLES + "bad,,en,1\n"), "--encoder", "letters:64")
    assert done.code == 0
    assert "text: 64 numbers, cosine, letters:64" in done.out
    assert "rows not used  1" in done.out
    assert "articles.csv, row 5: the row is empty" in done.err
    assert "index: done in" in done.err


def test_words_and_vectors_find_the_article(index, articles):
    hits = result(index("search", articles, "a lost parcel", "-k", "2", "--json"), "index-search")
    assert hits["by"] == "hybrid"
    assert hits["hits"][0]["id"] == "lost"
    assert hits["hits"][0]["metadata"] == {"language": "en", "price": 5.5}
    assert hits["hits"][0]["content"] == {"text": "what to do about a lost parcel"}


@pytest.mark.parametrize("by", ["words", "vectors", "hybrid"])
def test_every_way_of_searching(index, articles, by):
    found = result(index("search", articles, "gift cards and vouchers", "--by", by, "--json"), "index-search")
    assert (found["by"], found["hits"][0]["id"]) == (by, "cards")


def test_search_for_people(index, articles):
    done = index("search", articles, "lost parcel", "-k", "1")
    assert "Found by hybrid" in done.out
    assert "what to do about a lost parcel" in done.out
    assert "language en, price 5.5" in done.out
    assert index("search", articles, "xylophone", "--by", "words").out == "Nothing was found.\n"


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"language": "de"}, {"karten"}),
        ({"price": {"max": 5.5}}, {"returns", "lost"}),
        ({"$not": {"price": {"min": 0}}}, {"cards"}),
        ({"language": "fr"}, set()),
    ],
)
def test_filters(index, articles, where, found):
    done = index("search", articles, "parcel", "--by", "vectors", "--where", json.dumps(where), "--json")
    assert set(ids(done)) == found


def test_field_looks_at_its_vectors_alone(index, articles):
    found = result(index("search", articles, "lost parcel", "--field", "text", "--json"), "index-search")
    assert found["by"] == "vectors"
    assert len(found["hits"]) == 4


def test_add_replaces_and_adds(index, articles, tmp_path):
    more = table(tmp_path, "id,text,language\nlost,found again,en\nnew,brand new,en\n", "more.csv")
    found = result(index("add", articles, "--data", more, "--json"), "index-add")
    assert (found["items"], found["added"], found["known"]) == (5, 2, 0)
    assert ids(index("search", articles, "found again", "-k", "1", "--json")) == ["lost"]


def test_new_only_goes_on_where_a_build_was_stopped(index, articles, tmp_path):
    before = len(Letters.encoded)
    whole = table(tmp_path, ARTICLES + "new,brand new,en,1\n", "whole.csv")
    found = result(index("add", articles, "--data", whole, "--new-only", "--json"), "index-add")
    assert (found["items"], found["added"], found["known"]) == (5, 1, 4)
    assert Letters.encoded[before:] == ["brand new"]


def test_an_item_that_cannot_be_encoded_is_listed_and_the_rest_goes_on(index, tmp_path, place):
    data = table(tmp_path, f"id,text\na,fine\nb,{WORST}\nc,fine too\n")
    found = result(index("build", place, "--data", data, "--encoder", "letters", "--json"), "index-add")
    assert (found["added"], [row["row"] for row in found["skipped"]]) == (2, [2])
    assert "words fail me" in found["skipped"][0]["reason"]


def test_delete_by_id_and_from_a_file(index, articles, tmp_path):
    gone = table(tmp_path, "cards\n\nkarten\n", "gone.txt")
    found = result(index("delete", articles, "lost", "never", "--from", gone, "--json"), "index-delete")
    assert (found["deleted"], found["unknown"], found["items"], found["erased"]) == (3, 1, 1, None)
    assert ids(index("search", articles, "parcel", "--json")) == ["returns"]


def test_erase_proves_that_no_trace_is_left(index, articles):
    found = result(index("delete", articles, "karten", "--erase", "--json"), "index-delete")
    assert found["deleted"] == 1
    assert found["erased"]["traces"] == []
    assert found["erased"]["files"] > 0
    everything = b"".join(file.read_bytes() for file in articles.rglob("*") if file.is_file())
    assert b"Geschenkkarten" not in everything
    assert b"parcel" in everything


def test_erase_for_people(index, articles):
    done = index("delete", articles, "karten", "--erase")
    assert "bytes, files:" in done.out
    assert "traces        none" in done.out


def test_traces_that_are_left_are_listed_with_exit_code_3(index, articles, monkeypatch):
    from triptych.retrieval.collection import Collection

    left = {"erased": 1, "files": 4, "bytes": 99, "traces": ["log.sqlite: the id 'karten'"]}
    monkeypatch.setattr(Collection, "erase", lambda self, ids: left)
    done = index("delete", articles, "karten", "--erase", "--json")
    assert result(done, "index-delete", code=3)["erased"]["traces"] == left["traces"]
    assert "a trace is left: log.sqlite" in index("delete", articles, "karten", "--erase").err


def test_stats(index, articles):
    found = result(index("stats", articles, "--json"), "index-stats")
    assert (found["items"], [field["source"] for field in found["fields"]]) == (4, ["letters:64"])
    assert found["details"]
    assert "text: 64 numbers, cosine, letters:64" in index("stats", articles).out


def test_verify_finds_nothing_wrong(index, articles):
    assert result(index("verify", articles, "--json"), "index-verify")["problems"] == []
    assert "all is well (items: 4)." in index("verify", articles).out


def test_verify_lists_problems_with_exit_code_3(index, articles, monkeypatch):
    from triptych.retrieval.collection import Collection

    monkeypatch.setattr(Collection, "verify", lambda self: ["snapshots/1: a hash is wrong"])
    assert result(index("verify", articles, "--json"), "index-verify", code=3)["problems"]
    done = index("verify", articles)
    assert (done.code, done.out) == (3, "")
    assert "a hash is wrong" in done.err


def test_compact(index, articles):
    index("delete", articles, "cards")
    found = result(index("compact", articles, "--json"), "index-compact")
    assert found["items"] == 3
    assert "items: 3" in index("compact", articles).out


def test_migrate_embeds_everything_anew(index, articles):
    found = result(index("migrate", articles, "--encoder", "letters:32", "--json"), "index-migrate")
    assert [field["dim"] for field in found["before"]] == [64]
    assert [(field["dim"], field["source"]) for field in found["fields"]] == [(32, "letters:32")]
    assert ids(index("search", articles, "gift cards", "-k", "1", "--json")) == ["cards"]
    stats = result(index("stats", articles, "--json"), "index-stats")
    assert [field["source"] for field in stats["fields"]] == ["letters:32"]


def test_migrate_drops_no_field_unasked(index, articles):
    done = index("migrate", articles, "--encoder", "colours")
    assert done.code == 2
    assert "the field 'text' would be gone" in done.err
    assert "--encoder letters:64" in done.err
    assert result(index("stats", articles, "--json"), "index-stats")["fields"][0]["name"] == "text"
    assert index("migrate", articles, "--encoder", "letters:32", "--drop", "smell").code == 2


def test_pictures_beside_words(index, tmp_path, place):
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = "id,text,image\nr,a shoe,red.png\nb,a hat,blue.png\nx,a scarf,broken.png\nt,a coat,\n"
    data = table(tmp_path, rows)
    built = index("build", place, "--data", data, "--encoder", "letters", "--encoder", "colours", "--json")
    found = result(built, "index-add")
    assert (found["added"], [row["row"] for row in found["skipped"]]) == (3, [3])
    hits = result(index("search", place, "--image", tmp_path / "blue.png", "--json"), "index-search")
    assert (hits["by"], [hit["id"] for hit in hits["hits"]]) == ("vectors", ["b", "r"])
    assert hits["hits"][0]["content"]["image"] == str((tmp_path / "blue.png").resolve())
    both = result(index("search", place, "shoe", "--image", tmp_path / "red.png", "--json"), "index-search")
    assert (both["by"], both["hits"][0]["id"]) == ("hybrid", "r")
    done = index("search", place, "--image", tmp_path / "broken.png")
    assert done.code == 3
    assert "broken.png" in done.err


def test_vectors_that_were_made_elsewhere_need_no_encoder(index, tmp_path, place):
    rows = [{"id": f"v{i}", "emb": row, "n": i} for i, row in enumerate(np.eye(4).tolist())]
    data = lines(tmp_path, *rows)
    found = result(index("build", place, "--data", data, "--vector", "emb", "--kind", "flat", "--json"), "index-add")
    assert [(field["name"], field["dim"], field["source"]) for field in found["fields"]] == [("vector", 4, "")]
    assert ids(index("search", place, "--vector", "[0, 0, 1, 0.1]", "-k", "2", "--json")) == ["v2", "v3"]
    more = lines(
        tmp_path, {"id": "v9", "emb": [0, 0, 0, 1]}, {"id": "v10", "emb": [1, 2]}, {"id": "v11", "emb": [0] * 4}
    )
    found = result(index("add", place, "--data", more, "--vector", "emb", "--json"), "index-add")
    assert (found["added"], [row["row"] for row in found["skipped"]]) == (1, [2, 3])
    done = index("add", place, "--data", table(tmp_path, ARTICLES))
    assert done.code == 3
    assert "no column holds them" in done.err


def test_a_text_beside_such_vectors_is_searched_by_words(index, tmp_path, place):
    data = lines(tmp_path, {"text": "a lost parcel", "vector": [1, 0]}, {"text": "a gift card", "vector": [0, 1]})
    assert index("build", place, "--data", data).code == 0
    found = result(index("search", place, "parcel", "--json"), "index-search")
    assert (found["by"], len(found["hits"])) == ("words", 1)
    done = index("search", place, "parcel", "--by", "vectors")
    assert done.code == 3
    assert "vector (made elsewhere)" in done.err


def test_reading_commands_work_beside_a_writer(index, articles):
    from triptych.retrieval.collection import Collection

    with Collection.open(articles) as writer:
        writer.add(["more"], {"text": [None]}, contents=[{"text": "an entirely new parcel"}])
        assert ids(index("search", articles, "entirely new", "--by", "words", "--json")) == ["more"]
        assert result(index("stats", articles, "--json"), "index-stats")["items"] == 5
        assert index("verify", articles).code == 0


def test_a_second_writer_is_refused(index, articles):
    from triptych.retrieval.collection import Collection

    with Collection.open(articles):
        for words in (("delete", articles, "lost"), ("compact", articles)):
            done = index(*words)
            assert done.code == 6, words
    assert index("delete", articles, "lost").code == 0


def test_another_version_of_the_encoder_is_answered_with_migrate(index, articles, tmp_path, monkeypatch):
    monkeypatch.setattr(Letters, "settings", property(lambda self: {"dim": self.dim, "version": 2}))
    more = table(tmp_path, "id,text\nnew,brand new\n", "more.csv")
    for words in (("add", articles, "--data", more), ("search", articles, "parcel")):
        done = index(*words)
        assert done.code == 3, words
        assert "triptych index migrate" in done.err
    assert index("search", articles, "parcel", "--by", "words").code == 0
    assert index("migrate", articles, "--encoder", "letters:64").code == 0
    assert index("add", articles, "--data", more).code == 0


SLOW = """
import sys, time
import tests.core.letters as letters
from triptych_apps import progress
from triptych_apps.index import filling
filling.BATCH = 1
quick = letters.Letters.prepare
def prepare(self, values):
    time.sleep(0.2)
    return quick(self, values)
letters.Letters.prepare = prepare
def line(self, event):
    print("AT", event.step, event.done, file=sys.stderr, flush=True)
progress._Lines.__call__ = line
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_build_that_was_stopped_keeps_what_it_had_and_goes_on(index, plugin_folder, letters_folder, tmp_path, place):
    data = table(tmp_path, "text\n" + "".join(f"message number {i}\n" for i in range(30)))
    environment = child_environment(plugin_folder, tmp_path)
    environment["PYTHONPATH"] = os.pathsep.join([str(letters_folder), environment["PYTHONPATH"]])
    command = [sys.executable, "-c", SLOW + START.format(program="triptych"), "index", "build", str(place)]
    command += ["--data", str(data), "--encoder", "letters"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("AT index 3"):
            os.kill(process.pid, signal.SIGINT)
            break
    told = process.stderr.read()
    assert process.wait() == 130
    assert f"triptych index add {place} --data {data} --new-only" in told
    kept = result(index("stats", place, "--json"), "index-stats")["items"]
    assert 3 <= kept < 30
    found = result(index("add", place, "--data", data, "--new-only", "--json"), "index-add")
    assert (found["known"], found["items"]) == (kept, 30)


BAD: dict[str, tuple[Callable[[Path], tuple[object, ...]], int, str]] = {
    # name: the words behind `triptych index`, given a folder; exit code; what the message has
    "missing file": (lambda f: ("build", f / "x", "--data", f / "nowhere.csv"), 3, "nowhere.csv"),
    "unknown column": (
        lambda f: ("build", f / "x", "--data", table(f, ARTICLES), "--text", "txt"),
        3,
        "Did you mean 'text'?",
    ),
    "unknown encoder": (
        lambda f: ("build", f / "x", "--data", table(f, ARTICLES), "--encoder", "leters"),
        2,
        "Did you mean 'letters'?",
    ),
    "untrained encoder": (
        lambda f: ("build", f / "x", "--data", table(f, ARTICLES), "--encoder", "compact:text"),
        2,
        "has been trained",
    ),
    "no encoder for pictures": (
        lambda f: ("build", f / "x", "--data", picture_table(f)),
        2,
        "--encoder timm:mobilenetv2_100",
    ),
    "recall of zero": (lambda f: ("build", f / "x", "--data", table(f, ARTICLES), "--recall", "0"), 2, "recall"),
    "all rows bad": (
        lambda f: ("build", f / "x", "--data", table(f, "text,x\n,1\n,2\n"), "--encoder", "letters"),
        3,
        "none of the 2 rows can be used",
    ),
    "not a collection": (lambda f: ("search", f, "words"), 3, ""),
    "nothing there": (lambda f: ("stats", f / "nowhere"), 3, "nowhere"),
    "no query": (lambda f: ("search", f), 2, "TEXT, --image, --audio or --vector"),
    "words without text": (lambda f: ("search", f, "--by", "words", "--image", "a.png"), 2, "needs a TEXT"),
    "k of zero": (lambda f: ("search", f, "words", "-k", "0"), 2, "-k"),
    "where is no JSON": (lambda f: ("search", f, "words", "--where", "{price: 3}"), 2, "is not JSON"),
    "where is a list": (lambda f: ("search", f, "words", "--where", "[1]"), 2, "is not an object"),
    "no ids to delete": (lambda f: ("delete", f), 2, "no id was given"),
    "no file of ids": (lambda f: ("delete", f, "--from", f / "gone.txt"), 3, "gone.txt"),
}


def picture_table(folder: Path) -> Path:
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    return table(folder, "id,image\na,a.png\n")


@pytest.mark.parametrize("name", BAD)
def test_what_users_get_wrong(index, tmp_path, name):
    words, code, message = BAD[name]
    done = index(*words(tmp_path), "--json")
    assert done.code == code, done.err
    assert message in done.err
    assert json.loads(done.out)["error"]["exit_code"] == code
    assert "Traceback" not in done.err
    assert not (tmp_path / "x").exists()


def test_duplicate_ids_are_listed(index, tmp_path, place):
    data = table(tmp_path, "id,text\na,one\na,two\n")
    found = result(index("build", place, "--data", data, "--encoder", "letters", "--json"), "index-add")
    assert found["skipped"] == [{"file": str(data), "row": 2, "reason": "the id 'a' was already used in row 1"}]


def test_an_index_that_is_there_is_not_built_over(index, articles, tmp_path):
    done = index("build", articles, "--data", table(tmp_path, ARTICLES), "--encoder", "letters")
    assert done.code == 3
    assert "triptych index add" in done.err
    assert result(index("stats", articles, "--json"), "index-stats")["items"] == 4


def test_a_filter_that_is_not_understood_names_its_field(index, articles):
    done = index("search", articles, "parcel", "--where", '{"price": {"below": 3}}')
    assert done.code == 3
    assert "the filter on 'price'" in done.err


def test_a_field_that_is_not_there_is_named(index, articles):
    done = index("search", articles, "parcel", "--field", "smell")
    assert done.code == 3
    assert "'smell'" in done.err


def test_a_password_is_never_shown():
    from triptych_apps.index.places import shown

    assert shown("postgresql://me:secret@host:5/db#articles") == "postgresql://me@host:5/db#articles"
    assert shown("postgresql:///db?host=h&password=secret#x") == "postgresql:///db?host=h#x"
    assert shown("postgresql://host/db#articles") == "postgresql://host/db#articles"
    assert shown("./articles") == "./articles"


def test_a_database_has_no_kind_and_no_recall(index, tmp_path):
    done = index(
        "build",
        "postgresql://localhost/none#x",
        "--data",
        table(tmp_path, ARTICLES),
        "--encoder",
        "letters",
        "--kind",
        "flat",
    )
    assert done.code == 2
    assert "--kind and --recall" in done.err
