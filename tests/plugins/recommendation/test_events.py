"""Events from files: formats, times, weights, and what is said of rows that cannot be used."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import DataError
from triptych_recommendation.data import columns
from triptych_recommendation.data.columns import read_columns
from triptych_recommendation.data.events import Events, read_events
from triptych_recommendation.data.settings import DataSettings, EventColumns
from triptych_recommendation.data.times import MISSING, microseconds_of, moment_of, read_times

NOW = datetime.datetime(2025, 6, 1, tzinfo=datetime.UTC)
STRICT = DataSettings(on_error="fail")
LENIENT = DataSettings(max_skipped=1)
ROWS = [
    {"user": "ann", "item": "lamp", "type": "view", "time": "2025-03-01T10:00:00Z", "value": None, "page": "home"},
    {"user": "bob", "item": "vase", "type": "purchase", "time": "2025-03-02T10:00:00Z", "value": None, "page": "x, y"},
    {"user": "ann", "item": "vase", "type": "rating", "time": "2025-03-03T10:00:00Z", "value": 5, "page": ""},
    {"user": "ann", "item": "rug", "type": "rating", "time": "2025-03-04T10:00:00Z", "value": 2, "page": ""},
]


def save(path: Path, rows: list[dict[str, object]]) -> Path:
    """Rows in the format that the name tells."""
    if path.name.endswith(".parquet"):
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = buffer.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def told(events: Events) -> list[tuple[str, str, str, str, float]]:
    return [
        (
            events.users[events.user[n]], events.items[events.item[n]], events.kinds[events.kind[n]],
            moment_of(int(events.time[n])).isoformat(), float(events.weight[n]),
        )
        for n in range(len(events))
    ]  # fmt: skip


FORMATS = ["events.csv", "events.csv.gz", "events.tsv", "events.jsonl", "events.jsonl.gz", "events.parquet"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_the_same(tmp_path, name):
    events = read_events(save(tmp_path / name, ROWS), now=NOW)
    assert told(events) == [
        ("ann", "lamp", "view", "2025-03-01T10:00:00+00:00", 1),
        ("bob", "vase", "purchase", "2025-03-02T10:00:00+00:00", 3),
        ("ann", "vase", "rating", "2025-03-03T10:00:00+00:00", 1),
        ("ann", "rug", "rating", "2025-03-04T10:00:00+00:00", 0),
    ]
    assert events.timed
    assert not events.skipped


@pytest.mark.parametrize("name", FORMATS)
def test_the_careful_way_reads_what_the_fast_one_does(tmp_path, monkeypatch, name):
    path = save(tmp_path / name, ROWS)
    fast = read_events(path, now=NOW)

    def refuse(*_: object) -> None:
        raise columns._NotPlainError

    for way in ("_read_csv", "_read_json", "_read_parquet"):
        monkeypatch.setattr(columns, way, refuse)
    assert told(read_events(path, now=NOW)) == told(fast)


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=("Cs", "Zs", "Cc")))


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=12), st.sampled_from([",", ";", "\t"]))
def test_fast_and_careful_agree_on_any_table(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("any") / ("events.tsv" if delimiter == "\t" else "events.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("user", "item", "page"), *rows])
    careful = columns._read_carefully(path, "tsv" if delimiter == "\t" else "csv", ["user", "item"])
    found = read_columns(path, ["user", "item"])
    assert found.names == careful.names
    assert found.numbers.tolist() == careful.numbers.tolist()
    for name in ("user", "item"):
        assert found.columns[name].to_pylist() == careful.columns[name].to_pylist()


def test_what_is_learnt_from_leaves_out_dislikes_and_keeps_all_rows_of_items(tmp_path):
    events = read_events(save(tmp_path / "events.csv", ROWS), now=NOW)
    learnt = events.interactions()
    assert learnt.items == ("lamp", "vase", "rug")
    assert learnt.history(0).items.tolist() == [0, 1]
    assert any("1 events are known but not learnt from" in note for note in events.notes())


def test_settings_weigh_types_and_say_what_is_liked(tmp_path):
    path = save(tmp_path / "events.csv", ROWS)
    settings = DataSettings(weights={"view": 0, "purchase": 5}, like_from=1)
    assert read_events(path, settings, now=NOW).weight.tolist() == [0, 5, 1, 1]


def test_a_weight_of_its_own_comes_before_that_of_the_type(write):
    path = write("events.csv", "user,item,type,weight\na,x,purchase,0.5\na,y,purchase,\na,z,view,0\n")
    assert read_events(path).weight.tolist() == [0.5, 3, 0]


def test_values_without_types_are_ratings(write):
    path = write("events.csv", "user,item,value\na,x,5\na,y,1.5\na,z,\n")
    events = read_events(path)
    assert events.kinds == ("rating",)
    assert events.weight.tolist() == [1, 0, 1]


def test_a_value_of_another_type_is_no_rating(write):
    path = write("events.csv", "user,item,type,value\na,x,purchase,1\na,y,comment,2\na,z,,2\n")
    assert read_events(path).weight.tolist() == [3, 1, 0]  # without a type it is one


def test_without_times_the_order_counts(write):
    events = read_events(write("events.jsonl", '{"user":"a","item":"y"}\n{"user":"a","item":"x"}\n'))
    assert events.kinds == ("view",)
    assert not events.timed
    assert [events.items[row] for row in events.interactions().history(0).items] == ["y", "x"]
    assert any("order of the rows" in note for note in events.notes())


def test_equal_events_count_once_and_are_counted(write):
    row = "a,x,view,2025-01-01T00:00:00Z\n"
    others = "a,x,click,2025-01-01T00:00:00Z\na,x,view,2025-01-01T00:00:01Z\nb,x,view,2025-01-01T00:00:00Z\n"
    events = read_events(write("events.csv", "user,item,type,time\n" + row + others + row * 2))
    assert len(events) == 4
    assert events.repeated == 2
    assert any("2 events stand more than once" in note for note in events.notes())


def test_columns_may_be_called_otherwise(write):
    path = write("events.csv", "who,what,when\na,x,2025-01-01\n")
    settings = DataSettings(columns=EventColumns(user="who", item="what", time="when"))
    assert told(read_events(path, settings)) == [("a", "x", "view", "2025-01-01T00:00:00+00:00", 1)]
    with pytest.raises(DataError, match=r"no column is called 'user', as vertical.data.columns.user says.*who, what"):
        read_events(path)
    with pytest.raises(DataError, match=r"'stars', as vertical.data.columns.value says"):
        read_events(path, DataSettings(columns=EventColumns(user="who", item="what", value="stars")))


@pytest.mark.parametrize(
    "written",
    [
        "2025-03-01T10:00:00.5Z", "2025-03-01T10:00:00.5", "2025-03-01 10:00:00.500000", "2025-03-01T12:00:00.5+02:00",
        "1740823200.5", "1740823200500", "1740823200500000", "1740823200500000000",
    ],
)  # fmt: skip
def test_one_time_in_many_notations(write, written):
    path = write("events.csv", f"user,item,time\na,x,{written}\n")
    assert told(read_events(path))[0][3] == "2025-03-01T10:00:00.500000+00:00"


def test_notations_may_be_mixed(write):
    written = ["2025-03-01T10:00:00Z", "2025-03-01T10:00:00", "2025-03-01T11:00:00+01:00", "1740823200"]
    events = read_events(write("events.csv", "user,item,time\n" + "".join(f"u{t},x,{t}\n" for t in written)))
    assert set(events.time.tolist()) == {1_740_823_200_000_000}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1_740_823_200, None]), pa.array([1_740_823_200.0, float("nan")]),
        pa.array([datetime.datetime(2025, 3, 1, 10), None]), pa.array([1_740_823_200_000, None], pa.timestamp("ms")),
        pa.array([1_740_823_200, None], pa.timestamp("s", "Europe/Berlin")), pa.array(["2025-03-01T10:00", " "]),
        pa.array([1_740_823_200_000_000_123, None], pa.timestamp("ns")),
    ],
    ids=str,
)  # fmt: skip
def test_typed_columns_of_times(column):
    assert read_times(column).tolist() == [1_740_823_200_000_000, MISSING]


def test_dates_begin_at_midnight():
    assert (
        moment_of(int(read_times(pa.array([datetime.date(2025, 3, 1)]))[0])).isoformat() == "2025-03-01T00:00:00+00:00"
    )


@given(st.datetimes(timezones=st.timezones()))
def test_times_come_back(moment):
    try:
        expected = moment.astimezone(datetime.UTC)
    except OverflowError:
        return
    assert moment_of(microseconds_of(moment)) == expected
    assert read_times(pa.array([moment.isoformat()])).tolist() == [microseconds_of(expected)]


def test_ids_may_be_numbers(tmp_path):
    rows = [{"user": 7, "item": 1.0}, {"user": 8, "item": 2.0}]
    for name in ("events.jsonl", "events.parquet"):
        events = read_events(save(tmp_path / name, rows))
        assert (events.users, events.items) == (("7", "8"), ("1", "2"))


def test_ids_that_look_like_dates_stay_as_they_are(write):
    path = write("events.jsonl", '{"user":"2025-01-01","item":"x","time":"2025-01-02T00:00:00Z"}\n')
    assert read_events(path).users == ("2025-01-01",)


BAD = {
    "no user: the cell is empty": "user,item\na,x\n ,x\n",
    "no item: the cell is empty": "user,item\na,x\nb,\n",
    "the row has 3 cells where the header has 2": "user,item\na,x\na,x,y\n",
    "the time '' is neither ISO 8601 nor a number": "user,item,time\na,x,2025-01-01\na,x,\n",
    "the time 'soon' is neither ISO 8601 nor a number": "user,item,time\na,x,2025-01-01\na,x,soon\n",
    "the time '2025-13-01' is neither": "user,item,time\na,x,2025-01-01\na,x,2025-13-01\n",
    "the time 'nan' is neither": "user,item,time\na,x,1740823200\na,x,nan\n",
    "the time '2025-06-03' is in the future (2025-06-03)": "user,item,time\na,x,2025-06-02\na,x,2025-06-03\n",
    "in the future (after the year 9999)": "user,item,time\na,x,1740823200\na,x,999999999999\n",
    "the weight 'nan' is not a finite number": "user,item,weight\na,x,1\na,x,nan\n",
    "the weight 'inf' is not a finite number": "user,item,weight\na,x,1\na,x,inf\n",
    "the weight 'much' is not a finite number": "user,item,weight\na,x,1\na,x,much\n",
    "the weight '-1' is not between 0 and 1,000,000": "user,item,weight\na,x,1\na,x,-1\n",
    "the weight '1e30' is not between": "user,item,weight\na,x,1000000\na,x,1e30\n",
    "the value 'good' is not a finite number": "user,item,value\na,x,1\na,x,good\n",
}


@pytest.mark.parametrize(("reason", "text"), BAD.items(), ids=list(BAD))
def test_a_bad_row_is_named_and_skipped_or_fatal(write, reason, text):
    path = write("events.csv", text)
    with pytest.raises(DataError) as caught:
        read_events(path, STRICT, now=NOW)
    assert (caught.value.row, str(caught.value.file)) == (2, str(path))
    assert reason in str(caught.value)
    events = read_events(path, LENIENT, now=NOW)
    assert len(events) == 1
    assert [bad.row for bad in events.skipped] == [2]
    assert reason in events.skipped[0].reason
    assert reason in " ".join(events.notes())


def test_nan_in_parquet_is_told_from_nothing(tmp_path):
    path = tmp_path / "events.parquet"
    table = pa.table({"user": ["a", "b", None], "item": ["x", "y", "z"], "weight": [None, float("nan"), 1.0]})
    pyarrow.parquet.write_table(table, path)
    events = read_events(path, LENIENT)
    assert told(events)[0][:3] == ("a", "x", "view")
    assert [(bad.row, bad.reason) for bad in events.skipped] == [
        (2, "the weight nan is not a finite number"), (3, "no user: the cell is empty")
    ]  # fmt: skip


def test_rows_are_numbered_behind_bad_ones_and_blank_lines(write):
    path = write("events.csv", "user,item\na,x\n\nb\nc,x\n,x\nd,x\n")
    events = read_events(path, LENIENT)
    assert [bad.row for bad in events.skipped] == [2, 4]
    assert events.users == ("a", "c", "d")
    lines = write("events.jsonl", '{"user":"a","item":"x"}\n\n{"user":"b"}\n{"user":["c"],"item":"x"}\n{broken\n')
    assert [bad.row for bad in read_events(lines, LENIENT).skipped] == [3, 4, 5]


def test_the_first_of_several_problems_is_the_one_raised(write):
    with pytest.raises(DataError) as caught:
        read_events(write("events.csv", "user,item,weight\na,x,1\nb,x,nan\n,x,1\nc\n"), STRICT)
    assert caught.value.row == 2


def test_too_many_bad_rows_are_fatal(write):
    good, bad = "a,x\n" * 8, ",x\n" * 2
    assert len(read_events(write("events.csv", f"user,item\n{good}{bad}")).skipped) == 2
    with pytest.raises(DataError, match=r"3 of 11 rows cannot be used .*max_skipped allows 20%"):
        read_events(write("events.csv", f"user,item\n{good}{bad},x\n"))
    with pytest.raises(DataError, match="2 of 2 rows cannot be used"):
        read_events(write("events.csv", f"user,item\n{bad}"), LENIENT)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("events.csv", b"", "empty"),
        ("events.csv", b"user,item\n", "no rows"),
        ("events.csv", b"user,thing\na,x\n", "Columns: user, thing"),
        ("events.csv", b"user,item\n\xff,x\n", "not UTF-8"),
        ("events.csv", "user,item\na,x\n".encode("utf-16"), "UTF-16"),
        ("events.csv", b'user,item\na,"x\nb,y\n', "never closed"),
        ("events.csv.gz", gzip.compress(b"user,item\na,x\n" * 99, mtime=0)[:40], "cut short or damaged"),
        ("events.parquet", b"PAR1 no parquet", "not Parquet"),
        ("events.xml", b"<a/>", "tells the format"),
        ("events.csv", b"user,item,user\na,x,b\n", "twice"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(write, name, content, word):
    path = write(name, content)
    with pytest.raises(DataError, match=word) as caught:
        read_events(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path):
    (tmp_path / "event.csv").touch()
    with pytest.raises(DataError, match=r"does not exist; did you mean .*event.csv"):
        read_events(tmp_path / "events.csv")


def test_too_many_types_are_no_types(write):
    rows = "".join(f"a,x,{n}\n" for n in range(200))
    with pytest.raises(DataError, match=r"200 different types .* is 'type' the column"):
        read_events(write("events.csv", "user,item,type\n" + rows))


def test_a_column_that_holds_something_else_is_refused(tmp_path):
    path = tmp_path / "events.parquet"
    pyarrow.parquet.write_table(pa.table({"user": [[1], [2]], "item": ["x", "y"]}), path)
    with pytest.raises(DataError, match="the column of the user holds list"):
        read_events(path)


def test_many_events_keep_their_numbers(tmp_path):
    rng = np.random.default_rng(0)
    n = 200_000
    path = tmp_path / "events.csv"
    users, items = rng.integers(0, 5000, n), rng.integers(0, 900, n)
    rows = [f"u{u},i{i},{1_700_000_000 + k}\n" for k, (u, i) in enumerate(zip(users, items, strict=True))]
    rows[150_000] = "u1,i1\n"
    rows[170_000] = "u1,,1700000000\n"
    path.write_text("user,item,time\n" + "".join(rows))
    events = read_events(path)
    assert [bad.row for bad in events.skipped] == [150_001, 170_001]
    kept = np.delete(np.arange(n), [150_000, 170_000])
    assert [events.users[u] for u in events.user] == [f"u{u}" for u in users[kept]]
    assert [events.items[i] for i in events.item] == [f"i{i}" for i in items[kept]]
    assert (events.time == (1_700_000_000 + kept) * 1_000_000).all()
