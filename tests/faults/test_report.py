"""The figures that fault tests keep: what is measured, what is summed, and where it is written."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.checker import Tally
from tests.faults.ledger import ACCEPTED, BEGIN, END, Ledger, Reader, read_ledger
from tests.faults.quantiles import quantile, spread
from tests.faults.report import Record
from tests.proxies import proxy
from tests.services import free_port


def tally(kind: str, count: int, lost: int = 0) -> Tally:
    return Tally(Counter({kind: count}), count, 10 * count, 10 * count - lost, lost, 1, 2, [0.5, 1.5], [0.25])


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.5), quantile([], 0.5)) == (50, 99, 7, None)
    assert (spread([1.0, 2.0]), spread([])) == ("1.00/2.00 s", "-")


def test_parts_are_summed_and_what_was_done_again_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "report.jsonl"
    kept = [("T2", "a", tally("x", 1)), ("T2", "b", tally("y", 2)), ("T2", "a", tally("x", 4)), ("T10", "", tally("z", 1, 1))]
    for test, part, one in kept:
        Record.of(test, part, one).keep(file)
    records = report.read(file)
    lines = report.table(records)
    assert lines[2].startswith(f"| T2 | {records[0].size} | 6 | 2 | 6 | 60 | 60 | 0 | 2 of 4 interrupted | 0.50/1.50 s |")
    assert lines[3].startswith("| T10 |")
    assert str(report.together(records)).startswith("7 faults of 3 kinds (7 in flight), 70 runs, 1 lost, 3 duplicated effects")


def test_the_table_is_put_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write(document, ["| new |"])
        assert document.read_text() == f"before\n{report.BEGIN}\n| new |\n{report.END}\nafter\n"
    assert report.BEGIN in report.DOCUMENT.read_text()


def test_nothing_kept_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(report, "read", lambda: [])
    assert report.main([]) == 1
    assert "make test-faults" in capsys.readouterr().err


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    ledger = Ledger(str(file))
    ledger.write(ACCEPTED, "r")
    reader = Reader(file)
    assert [entry.kind for entry in reader.more()] == [ACCEPTED]
    ledger.write(BEGIN, "r", "a", 1)
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert list(reader.more()) == []
    file.write_bytes(whole)
    ledger.write(END, "r", "a", 1)
    first, second = reader.more()
    assert (first.kind, second.kind, second.place) == (BEGIN, END, 2)
    assert first.at <= second.at
    assert read_ledger(file)[1:] == [first, second]


def test_what_a_stranded_connection_sends_never_comes_and_new_ones_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, proxy(server.getsockname()[1]) as between:
        old = socket.create_connection(("127.0.0.1", between.port), timeout=10)
        far, _ = server.accept()
        old.sendall(b"a")
        assert far.recv(1) == b"a"
        assert between.strand() == 1
        old.sendall(b"lost")
        far.settimeout(0.2)
        with pytest.raises(TimeoutError):
            far.recv(1)
        with socket.create_connection(("127.0.0.1", between.port), timeout=10) as fresh:
            near, _ = server.accept()
            fresh.sendall(b"b")
            assert near.recv(1) == b"b"
            near.close()
        old.close()
        far.close()


def test_a_proxy_outlives_what_it_forwards_to() -> None:
    port = free_port()
    with proxy(port) as between:
        with socket.create_connection(("127.0.0.1", between.port), timeout=10) as refused:
            assert refused.recv(1) == b""
        with socket.create_server(("127.0.0.1", port)) as server:
            accepted: list[socket.socket] = []
            listener = threading.Thread(target=lambda: accepted.append(server.accept()[0]))
            listener.start()
            with socket.create_connection(("127.0.0.1", between.port), timeout=10) as passed:
                listener.join(10)
                accepted[0].sendall(b"x")
                assert passed.recv(1) == b"x"
            accepted[0].close()
