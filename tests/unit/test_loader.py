"""Manifests as kubectl reads them: kinds, Secrets, Lists, files, bounds, and messages that name file, line and field."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from arklex_api.loader import Manifests, load_files, load_text
from arklex_api.paths import Marks, line_of, parse, render
from arklex_api.taskgraph import TaskGraph, TaskGraphSpec

WORKER = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: w}
spec: {type: custom, config: {handler: "handlers:greet"}}
"""


SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"


def graph(tasks: str, name: str = "g", **fields: object) -> str:
    extra = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in fields.items())
    return f"apiVersion: arklex.ai/v1alpha1\nkind: TaskGraph\nmetadata: {{name: {name}}}\nspec:\n{extra}  tasks:\n{tasks}"


def value_of(text: str) -> object:
    """What ``value: <text>`` loads as."""
    manifests = load_text(graph(f"  - name: a\n    value: {text}\n"))
    assert manifests.problems == []
    return manifests.graphs["g"].spec.tasks[0].value


def only(manifests: Manifests) -> str:
    (problem,) = manifests.problems
    return f"{problem.reason} {problem.path} {problem.line}"


# Expected values are those of sigs.k8s.io/yaml v1.6.0, stored by kube-apiserver 1.37.2.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y", True), ("Y", True), ("n", False), ("on", True), ("Off", False), ("yes", True), ("NO", False), ("TRUE", True),
        ("tRUE", "tRUE"), ("~", None), ("", None), ("null", None), ("1_000", 1000), ("010", 8), ("0o10", 8), ("0O7", 7),
        ("0x1F", 31), ("-0x1f", -31), ("+0x10", 16), ("0b101", 5), ("-0b11", -3), ("0b2", "0b2"), ("08", 8), ("0777", 511),
        ("1:30", "1:30"), ("1e3", 1000), ("1.5e3", 1500), ("1.0", 1), ("1.", 1), ("+1", 1), ("-0", 0), ("-0.0", 0), (".5", 0.5),
        ("+.5", 0.5), ("-1e-3", -0.001), ("1__0", 10), ("_1", "_1"), ("1_", 1), ("0_1", 1), ("0x", "0x"), ("-.nan", "-.nan"),
        ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)), ("1e20", 1e20), ("1e21", 1e21),
        ("1234567890123456789.0", 1234567890123456800), ("2001-12-14", "2001-12-14"),
        ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"), ("!!str 1", "1"), ("!!int '3'", 3), ("!!float 1", 1),
        ("!!bool yes", True), ("! 1", "1"), ("!!timestamp 2001-12-14", "2001-12-14"), ("'1'", "1"), ('"yes"', "yes"),
        ("=", "="), ("<<", "<<"), ("0.1", 0.1), ("1.7976931348623157e308", 1.7976931348623157e308), ("b\tc", "b\tc"),
        ("!!map {a: 1}", {"a": 1}), ("!!seq [1]", [1]), ("{!!str on: 1}", {"on": 1}), ("{2001-12-14: 1}", {"2001-12-14": 1}),
    ],
)  # fmt: skip
def test_scalars_are_read_as_kubectl_reads_them(text: str, expected: object) -> None:
    value = value_of(text)
    assert value == expected
    assert type(value) is type(expected)


def test_block_scalars_and_json_are_yaml() -> None:
    assert value_of("|\n      one\n      two\n") == "one\ntwo\n"
    document = {"apiVersion": "arklex.ai/v1alpha1", "kind": "TaskGraph", "metadata": {"name": "g"},
                "spec": {"tasks": [{"name": "a", "value": "😀 \\ud83d/"}]}}  # fmt: skip
    manifests = load_text(json.dumps(document, indent="\t"))
    assert manifests.graphs["g"].spec.tasks[0].value == "😀 \\ud83d/"


def test_aliases_and_merges() -> None:
    text = "  - &a {name: a, worker: w, retry: &r {limit: 2}}\n  - {<<: *a, name: b}\n  - {<<: [{name: c}, *a], retry: *r}\n"
    tasks = load_text(graph(text) + "---" + WORKER).graphs["g"].spec.tasks
    assert [(task.name, task.worker, task.retry.limit) for task in tasks] == [("a", "w", 2), ("b", "w", 2), ("c", "w", 2)]


def test_a_merged_field_is_reported_where_it_was_written() -> None:
    text = "  - &base {name: a, worker: w,\n     timeout: 1d}\n  - <<: *base\n    name: b\n"
    problems = load_text(graph(text)).problems
    assert [(p.path, p.line) for p in problems] == [("spec.tasks[0].timeout", 7), ("spec.tasks[1].timeout", 7)]


def test_a_bomb_of_aliases_is_defused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]" for below, name in zip("abcdefgh", "bcdefghi", strict=True)]
    assert only(load_text("\n".join(lines))) == "TooLarge  6"


def test_a_bomb_of_long_text_is_defused() -> None:
    text = f"a: &a {'x' * 1_000_000}\nb: [{', '.join(['*a'] * 100)}]\n"
    assert only(load_text(text)) == "TooLarge  2"


def test_a_chain_of_aliases_is_no_deeper_than_brackets() -> None:
    lines = ["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 80)]
    assert only(load_text("\n".join(lines))) == "TooDeep  64"


@pytest.mark.parametrize(
    ("data", "message", "line"),
    [
        (b"a: 1\nb: \xff\n", "byte 0xff is not UTF-8", 2),
        (b"\x7fELF\0\0", "control character 0x7f", 1),
        (b"a: b\n\0", "a binary file", 2),
        (b"a: b\nc: \x07\n", "control character 0x07", 2),
        ("a: 1\nb: \ud800".encode("utf-8", "surrogatepass"), "not UTF-8", 2),
        ("a: 1\nb: \ufffe\n".encode(), "control characters are not allowed", 2),
        ("a: 1".encode("utf-16"), "not UTF-8", 1),
        (b"a: 1\n\tb: 2\n", "a tab in the indentation", 2),
        (b"a: [1, 2\nb: 3\n", "not YAML", 2),
        (b"%YAML 3.0\n---\na: 1\n", "incompatible YAML", 1),
    ],
)
def test_what_is_no_yaml_has_a_line(data: bytes, message: str, line: int) -> None:
    (problem,) = load_text(data, "f.yaml").problems
    assert message in problem.message
    assert (problem.reason, problem.file, problem.line) == ("InvalidYAML", "f.yaml", line)


@pytest.mark.parametrize("line", ["when: ${input.x ? true : false}", "with: {x: ${tasks.a.output}}"])
def test_an_expression_that_yaml_takes_apart_is_to_be_quoted(line: str) -> None:
    (problem,) = load_text(f"a: 1\n{line}\n").problems
    assert problem.line == 2 and problem.message.endswith("quote the whole string that holds ${…}")


def test_a_lone_surrogate_in_text_is_a_problem() -> None:
    assert only(load_text("a: \ud800")) == "InvalidYAML  1"


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert load_text(b"\xef\xbb\xbf" + WORKER.replace("\n", "\r\n").encode()).problems == []


def test_what_is_before_a_syntax_error_is_loaded() -> None:
    manifests = load_text(WORKER + "---\na: [\n")
    assert list(manifests.workers) == ["w"]
    assert only(manifests) == "InvalidYAML  8"


def test_a_file_of_more_than_8_mib_is_refused() -> None:
    assert only(load_text(b"# " + b"x" * (8 * 2**20))) == "TooLarge  1"


def test_ten_thousand_tasks_and_no_more() -> None:
    tasks = "".join(f"  - {{name: t{i}, value: {i}}}\n" for i in range(10_000))
    assert len(load_text(graph(tasks)).graphs["g"].spec.tasks) == 10_000
    manifests = load_text(graph(tasks + "  - {name: more, value: 1}\n"))
    assert only(manifests) == "Invalid spec.tasks 5"
    assert manifests.problems[0].message == "has 10001 entries; at most 10000 are allowed"


def test_hundreds_of_problems_are_cut() -> None:
    problems = load_text(graph("  - name: a\n    value:\n" + "      1: x\n" * 500)).problems
    assert len(problems) == 101
    assert [problem.line for problem in problems if problem.reason == "TooManyProblems"] == [107]


def test_empty_documents_and_files_mean_nothing() -> None:
    for text in ("", "---\n---\n# only a comment\n", "null\n"):
        assert load_text(text) == Manifests()
    assert list(load_text("---\n" + WORKER + "\n---\n").workers) == ["w"]


def test_a_list_is_flattened_with_its_lines() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        f"{'-' if not i else ' '} {line}\n" for i, line in enumerate(WORKER.split("\n")[1:])
    )
    assert list(load_text(text).workers) == ["w"]
    broken = load_text(text.replace("type: custom", "type: costum"))
    assert only(broken) == "Invalid items[0].spec.type 7"


def test_secrets_are_decoded_and_never_repeated() -> None:
    text = SECRET + "data: {a: aHVudGVyMg==, b: aHVudGVyMg==}\nstringData: {b: hunter3}\n"
    manifests = load_text(text)
    assert manifests.secrets == {"s": {"a": "hunter2", "b": "hunter3"}}
    assert "hunter" not in repr(manifests.documents)


@pytest.mark.parametrize(
    "value", ["hunter2!", "/////w==", "[hunter2]", "1234567890123456789012", "1e999", "!x hunter2", "{hunter2: hunter2}"]
)
def test_a_bad_secret_names_the_key_only(value: str) -> None:
    manifests = load_text(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata:\n  key: {value}\n")
    assert {problem.line for problem in manifests.problems} == {5}
    assert "hunter2" not in str(manifests.problems)
    assert "123456" not in str(manifests.problems)


def test_a_secret_given_twice_is_a_problem() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: x}\n"
    assert only(load_text(f"{text}---\n{text}")) == "DuplicateObject metadata.name 8"


def test_kubernetes_own_kinds_are_passed_over() -> None:
    manifests = load_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n---\napiVersion: apps/v1\nkind: Deployment\n")
    assert manifests.problems == []
    assert manifests.documents == []


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(WORKER)
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}')
    (tmp_path / "notes.txt").write_text("no manifest")
    manifests = load_files([tmp_path])
    assert (list(manifests.workers), list(manifests.secrets), manifests.problems) == (["w"], ["s"], [])
    missing = load_files([tmp_path / "none.yaml", tmp_path / "b.yaml"])
    assert [(p.reason, p.file) for p in missing.problems] == [("Unreadable", str(tmp_path / "none.yaml"))]


def test_names_are_unique_over_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WORKER)
    (tmp_path / "b.yaml").write_text(WORKER)
    (problem,) = load_files([tmp_path / "a.yaml", tmp_path / "b.yaml"]).problems
    assert problem.file == str(tmp_path / "b.yaml")
    assert f"first in {tmp_path / 'a.yaml'} on line 2" in problem.message


def test_a_run_may_leave_its_name_to_the_api_server() -> None:
    text = "apiVersion: arklex.ai/v1alpha1\nkind: TaskGraphRun\nmetadata: {generateName: g-}\nspec: {graph: g}\n"
    assert load_text(text).problems == []


def test_null_is_absent_but_a_value_may_be_null() -> None:
    text = graph(
        "  - {name: a, value: null, timeout: null, worker: null}\n  - {name: b, worker: w, fallback: {value: null}}\n",
        timeout=None,
    )
    spec = load_text(text).graphs["g"].spec
    assert (spec.timeout, spec.given("timeout")) == ("24h", False)
    assert (spec.tasks[0].given("value"), spec.tasks[0].given("worker")) == (True, False)
    assert spec.tasks[1].fallback is not None and spec.tasks[1].fallback.given("value")


def test_the_operator_reads_fields_of_a_newer_crd() -> None:
    raw = {"tasks": [{"name": "a", "value": 1, "later": 1}], "newer": {}}
    assert TaskGraphSpec.model_validate(raw, extra="ignore").tasks[0].name == "a"
    with pytest.raises(ValidationError):
        TaskGraphSpec.model_validate(raw)


def test_what_was_loaded_loads_again_from_its_own_json() -> None:
    text = graph(
        "  - {name: a, value: null}\n  - {name: b, forEach: {items: [1], as: x}, worker: w, with: {k: null}}\n",
        output="${tasks.a.output}",
    )
    first = load_text(text).graphs["g"]
    again = TaskGraph.model_validate(first.model_dump(mode="json", by_alias=True, exclude_unset=True))
    assert again == first
    assert again.spec.tasks[0].model_fields_set == first.spec.tasks[0].model_fields_set


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("spec.tasks[0].value", ("spec", "tasks", 0, "value")),
        ("spec.tasks[12].with[a.b][c d]", ("spec", "tasks", 12, "with", "a.b", "c d")),
        ("metadata.annotations[example.com/x]", ("metadata", "annotations", "example.com/x")),
        ("", ()),
    ],
)
def test_paths_are_kubernetes_style(path: str, steps: tuple[str | int, ...]) -> None:
    assert render(steps) == path
    assert parse(path) == steps


def test_a_line_is_that_of_the_nearest_node_there_is() -> None:
    marks: Marks = (1, {"spec": (2, {"0": (3, None), "list": (4, {0: (5, None)})})})
    assert line_of(marks, ("spec", "list", 0, "deeper")) == 5
    assert line_of(marks, ("spec", "list", 7)) == 4
    assert line_of(marks, ("spec", 0)) == 3
    assert line_of(marks, ("status",)) == 1


def test_the_loader_imports_no_expressions_and_no_validator() -> None:
    script = "import sys, arklex_api.loader; print(sorted({'cel', 'jsonschema_rs', 'cronsim'} & sys.modules.keys()))"
    path = str(Path(__file__).parents[2] / "crds")
    ran = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
