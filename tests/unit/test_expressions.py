"""Expressions: what semantics.md says of them, line by line."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from arklex_api.expressions import ExpressionError, Reference, TemplateError, compile_expression, compile_template

ROOTS = ("input", "query", "context", "session", "tasks", "run", "item", "index")
TASKS: dict[str, Any] = {
    "a": {
        "phase": "Succeeded",
        "output": {"x": [1, {"y": "z"}], "n": 3, "s": "é😀", "none": None},
        "error": None,
        "errors": [],
    },
    "my-task": {"phase": "Failed", "error": {"type": "Timeout", "message": "late"}, "errors": []},
    "skipped": {"phase": "Skipped", "error": None, "errors": []},
}


class Asked:
    """The tasks of a scope, as the engine gives them; remembers which were asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getitem__(self, name: str) -> dict[str, Any]:
        self.names.append(name)
        found: dict[str, Any] = TASKS[name]
        return found


def scope() -> dict[str, Any]:
    return {
        "tasks": Asked(),
        "input": {"y": 1.5, "items": [{"a": i, "t": f"t{i}"} for i in range(4)], "key": "s", "names": {"b": 1, "a": 2}},
        "query": "why?",
        "item": {"id": 7},
        "index": 2,
        "session": {},
    }


def evaluate(value: Any) -> Any:
    return compile_template(value, path="spec.output", roots=ROOTS).evaluate(scope())


def fails(text: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text)
    return str(caught.value)


def refused(value: Any) -> str:
    with pytest.raises(TemplateError) as caught:
        compile_template(value, path="spec.output", roots=ROOTS)
    return caught.value.problems[0].message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${input.y}", 1.5),
        ("${tasks.a.output.x}", [1, {"y": "z"}]),
        ("${tasks.a.output.none}", None),
        ("${ item }", {"id": 7}),
        ("${tasks['my-task'].error.type}", "Timeout"),
        ("${tasks.a.output.x[1].y}", "z"),
        ("q=${query}", "q=why?"),
        ("${tasks.a.output.x} ${input.y}|${tasks.a.output.none}", '[1,{"y":"z"}] 1.5|null'),
        ("${input.names}!", '{"b":1,"a":2}!'),
        ("${tasks.a.output.s}${true}", "é😀true"),
        ("cost: $5, $${query} and $$${query}", "cost: $5, ${query} and $${query}"),
        ("${'}' + \"${\" + {'a': '}'}.a}", "}${}"),
        ("${'''it's}''' + r'\\}'}", "it's}\\}"),
        ("no expression", "no expression"),
        ("", ""),
    ],
)
def test_a_template_keeps_types_alone_and_makes_text_inside_text(text: str, value: object) -> None:
    found = evaluate(text)
    assert found == value
    assert type(found) is type(value)


def test_templates_are_any_json() -> None:
    value = {"a": ["${query}", 1, None, {"b": "${index}"}], "${query}": True, "c": {"d": []}}
    assert evaluate(value) == {"a": ["why?", 1, None, {"b": 2}], "${query}": True, "c": {"d": []}}
    template = compile_template(value, path="p", roots=ROOTS)
    assert template.references == {Reference("query", (), False), Reference("index", (), False)}


def test_constants_read_nothing() -> None:
    for value in (None, 1, "text", ["$${x}"], "${1 + 2}", {"a": "${[1, 2].map(x, x * 2)}"}):
        template = compile_template(value, path="p", roots=())
        assert template.constant
        template.evaluate({})
    assert compile_template("${1 + 2}", path="p", roots=()).evaluate({}) == 3
    assert not compile_template("${query}", path="p", roots=ROOTS).constant


def test_every_problem_is_reported_with_its_path() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template({"a": ["${nope}", "${1 +}"], "b c": "${query"}, path="spec.tasks[0].with", roots=ROOTS)
    assert [problem.path for problem in caught.value.problems] == [
        "spec.tasks[0].with.a[0]",
        "spec.tasks[0].with.a[1]",
        "spec.tasks[0].with['b c']",
    ]


@pytest.mark.parametrize("text", ["query", "", "${query} ", "a ${query}", "${query}${query}", "$${query}", "${query"])
def test_an_expression_is_exactly_one(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_expression(text, path="spec.tasks[0].when", roots=ROOTS)
    assert caught.value.problems[0].path == "spec.tasks[0].when"
    assert compile_expression("${query}", path="p", roots=ROOTS).evaluate(scope()) == "why?"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tasks.a.output.x[0]", [("tasks", ("a", "output", "x", 0), False)]),
        ("tasks['a-b']['output'].x", [("tasks", ("a-b", "output", "x"), False)]),
        ("has(tasks.a.output.x)", [("tasks", ("a", "output", "x"), True)]),
        ("input.items[index].t", [("input", ("items",), False), ("index", (), False)]),
        ("input.items.map(item, item.a + index)", [("input", ("items",), False), ("index", (), False)]),
        ("item.id + [1].map(item, item)[0]", [("item", ("id",), False)]),
        (
            "size(query) > 3 ? tasks.a : tasks.b.error",
            [("query", (), False), ("tasks", ("a",), False), ("tasks", ("b", "error"), False)],
        ),
        ("(tasks.a).output", [("tasks", ("a", "output"), False)]),
        ("'tasks.a' + query // tasks.b", [("query", (), False)]),
        ("tasks\n.a . output", [("tasks", ("a", "output"), False)]),
    ],
)
def test_references(text: str, found: list[tuple[str, tuple[str | int, ...], bool]]) -> None:
    template = compile_expression(f"${{{text}\n}}", path="p", roots=ROOTS)
    assert template.references == {Reference(*reference) for reference in found}


def test_only_tasks_that_are_named_are_asked_for() -> None:
    variables = scope()
    compile_expression("${tasks.a.output.n == 3 || tasks.b.output}", path="p", roots=ROOTS).evaluate(variables)
    assert variables["tasks"].names == ["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("has(tasks.a.output)", True),
        ("has(tasks.a.output.n)", True),
        ("has(tasks.a.output.none)", True),
        ("has(tasks.a.output.nope)", False),
        ("has(tasks.skipped.output)", False),
        ("has(tasks.skipped.output.x.y)", False),
        ("has(tasks.a.error)", False),
        ("has(tasks.a.error.type)", False),
        ("has(tasks['my-task'].error)", True),
        ("has(tasks['my-task'].error.type)", True),
        ("has(tasks['my-task'].error.details)", False),
        ("has(tasks.a.phase)", True),
        ("has(tasks.a)", True),
        ("has(session.x)", False),
        ("has(session.x) ? session.x : 'new'", "new"),
        ("has(tasks.skipped.output) && tasks.skipped.output.x", False),
        ("input.items.filter(i, has(i.b))", []),
    ],
)
def test_has(text: str, value: object) -> None:
    assert evaluate(f"${{{text}}}") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("size('é😀')", 2),
        ("'é😀'.size()", 2),
        ("tasks.a.output.s.size() + size(tasks.a.output.x)", 4),
        ("size(input.names)", 2),
        ("size(b'\\xc3\\xa9')", 2),
        ("'size(x)' + string(size([1]))", "size(x)1"),
        ("input.items.filter(i, i.a > 1).map(i, {'n': i.a, 't': i.t + '!'})", [{"n": 2, "t": "t2!"}, {"n": 3, "t": "t3!"}]),
        ("input.items.map(i, i.a > 2, i.t)", ["t3"]),
        ("input.names.map(k, k)", ["a", "b"]),
        ("input.names.exists(k, input.names[k] == 1)", True),
        ("input.items.all(i, i.a < 4) && input.items.exists_one(i, i.a == 2)", True),
        ("[0, 1].exists(x, 1 / x == 1)", True),
        ("[1, 2].map(x, [10, 20].map(y, x + y))", [[11, 21], [12, 22]]),
        ("[1].map(x, [2].map(x, x))", [[2]]),
        ("input.items[index].t", "t2"),
        ("tasks.a.output[input.key]", "é😀"),
        ("input.nope == 1 || true", True),
        ("true || input.nope == 1", True),
        ("index == 2.0 && 2 in [1, 2.0] && !(true in [1]) && 'b' in input.names", True),
        ("{'z': 1, 'a': query}", {"z": 1, "a": "why?"}),
        ("string(true) + string(1) + string(1.5) + string('s')", "true11.5s"),
        ("type(input) == map && type(1) != double && type(null) == null_type", True),
        ("string(timestamp('2024-02-03T04:05:06Z')).startsWith('2024-02-03T04:05:06')", True),
        ("timestamp('2024-02-03T04:05:06Z') - timestamp('2024-02-03T04:05:05Z') == duration('1s')", True),
        ("query.matches('^w.y')", True),
        ("index > 1 ? 'many' : 'few'", "many"),
        ("-9223372036854775808", -(2**63)),
        ("1 - -1 - 1", 1),
        ("2 * (3 + 4) - 10 / (4 - 2)", 9),
        ("10 - (4 - 3)", 9),
        ("1e3", 1000.0),
    ],
)
def test_cel(text: str, value: object) -> None:
    found = evaluate(f"${{{text}}}")
    assert found == value
    assert type(found) is type(value)
    assert json.dumps(found) == json.dumps(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("${tasks.my-task.output}", "write tasks['my-task']"),
        ("${1 + tasks.step-2.output.x}", "write tasks['step-2']"),
        ("${tasks.check-in.output}", "write tasks['check-in']"),
        ("${tasks.2nd.output}", "write tasks['2nd']"),
        ("${tasks[query].output}", "not computed"),
        ("${tasks.map(t, t)}", "not computed"),
        ("${size(tasks)}", "not computed"),
        ("${tasks.a.result}", "a task has phase, output, error, errors"),
        ("${foo.bar}", "unknown variable 'foo'; in scope: context, index, input"),
        ("${inptu.x}", "did you mean input?"),
        ("${[1].map(x, y)}", "unknown variable 'y'"),
        ("${substr(query)}", "did you mean substring()?"),
        ("${query.first()}", "write x[0]"),
        ("${size(query, 1)}", "size() does not take 2 arguments"),
        ("${query.contains()}", "contains() does not take 1 arguments"),
        ("${[1].map(x)}", "map() takes 2 or 3 arguments"),
        ("${[1].map(x.y, x)}", "must be a plain name"),
        ("${has(query)}", "has() takes one field"),
        ("${1 +}", "at character 4"),
        ("${(query}", "expected ')', but the expression ends"),
        ("${query query}", "but found 'query'"),
        ("${'a}", "unterminated string"),
        ("${a ? }", "expected a value, but the expression ends"),
        ("${}", "the expression is empty"),
        ("${query # 1}", "unexpected character '#'"),
        ("${a.?b}", "found '?'"),
        ("${query.in}", "['in']"),
        ("${1 + 'a'}", "int + string"),
        ("${index + (1 + 2.5)}", "CEL does not mix int and double"),
        ("${1 / 0}", "division by zero"),
        ("${query.matches('[')}", "not a valid regex"),
        ("${int('x')}", "invalid digit"),
        ("${9223372036854775808}", "outside int64"),
        ("${1e999}", "too large for a double"),
        ("${{1: 2}}", "must be strings"),
        ("${{'a': 1, 'a': 2}}", "twice"),
        ("${input.x[-1]}", "count from 0"),
        ("${[1].map(x, [1].map(y, [1].map(z, z)))}", "macros may nest 2 deep"),
        ("${" + "(" * 40 + "1" + ")" * 40 + "}", "nested more than 32 deep"),
        ("${" + "index + " * 200 + "1}", "more than 128 operations"),
        ("${'" + "é" * 2048 + "'}", "may be 4096 bytes long"),
        ("${a.b.Message{}}", "messages"),
    ],
)
def test_mistakes_are_found_before_a_run(text: str, part: str) -> None:
    assert part in refused(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${tasks.a.output.nope}", "tasks.a.output has no field 'nope'; it has: n, none, s, x"),
        ("${tasks.a.output.x[9]}", "tasks.a.output.x[9] is out of range: the list has 2 items"),
        ("${tasks.a.output.x.y}", "tasks.a.output.x is a list: its index must be an int, not field 'y'"),
        ("${tasks.a.output.s[0]}", "tasks.a.output.s is a string: it has no items"),
        ("${tasks.a.error.type}", "tasks.a.error is null: it has no field 'type'"),
        ("${tasks.skipped.output.x}", "tasks.skipped has no output, it is Skipped; guard with has(tasks.skipped.output)"),
        ("${tasks.gone.output}", "tasks has no 'gone': only dependencies of this task are in scope"),
        ("${context.x}", "context has no value here"),
        ("${session.x}", "session has no field 'x'; it is empty"),
        ("${input.items[index + 5].t}", "input.items[7] is out of range: the list has 4 items"),
        ("${input.items.map(i, i.nope)}", "i has no field 'nope'; it has: a, t"),
        ("${tasks.a.output.n + 1.5}", "CEL does not mix int and double: convert with double(x) or int(x)"),
        ("${'n: ' + index}", "string + int: CEL does not convert: write string(x)"),
        ("${index + 9223372036854775807}", "the result is outside int64"),
        ("${index / (index - 2)}", "division by zero"),
        ("${query ? 1 : 2}", "query must be a bool, but is a string"),
        ("${index && true}", "index must be a bool, but is an int"),
        ("${input.items.filter(i, i.a)}", "filter() needs a bool for each item, not an int"),
        ("${index.map(i, i)}", "map() walks a list or a map, not an int"),
        ("${has(query.x)}", "has(query.x): query is a string, not a map"),
        ("${has(session.x.y)}", "session has no field 'x'"),
        ("${1 in index}", "'in' looks into a list or a map, not into an int"),
        ("${-query}", "'-' takes a number, not a string"),
        ("${int(query)}", "int(query): string parse error"),
        ("${string([index])}", "string() does not take a list"),
        ("${query.charAt(9)}", "charAt(): index 9 is out of range: the text has 4 characters"),
        ("${query.substring(3, 2)}", "substring(): start 3 is not between 0 and the end, 2"),
        ("${input.items.slice(1, 9)}", "slice(): [1, 9) is out of range: the list has 4 items"),
        ("${substring(index, 1)}", "substring() takes a string there, not an int"),
    ],
)
def test_failures_name_what_is_wrong(text: str, message: str) -> None:
    assert message in fails(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("${timestamp(run)}", "is a timestamp, which is not JSON: use string(…)"),
        ("${duration('1s')}", "use string(…)"),
        ("${bytes('a')}", "use string(…)"),
        ("${type(1)}", "use string(…)"),
        ("${[b'a']}", "use string(…)"),
        ("${{'a': {'b': duration('1s')}}}", ".a.b is timedelta"),
        ("${1.0 / 0.0}", "is inf"),
        ("${18446744073709551615u}", "outside int64"),
        ("at ${timestamp(run)}", "use string(…)"),
    ],
)
def test_a_result_that_is_not_json_is_invalid_output(text: str, part: str) -> None:
    template = compile_template(text, path="p", roots=ROOTS)
    with pytest.raises(ExpressionError) as caught:
        template.evaluate({"run": "2024-01-01T00:00:00Z"})
    assert caught.value.type == "InvalidOutput"
    assert part in str(caught.value)


def test_other_errors_are_invalid_input() -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate("${input.nope}")
    assert caught.value.type == "InvalidInput"


@pytest.mark.parametrize(
    "text",
    [
        "many.map(x, many.map(y, x))",
        "few.map(x, many.map(y, 1))",
        "few.map(x, few.map(y, long.nested))",
        "hundred.map(x, hundred).flatten().map(x, hundred).flatten()",
        "[1].map(x, few)" + ".map(x, [x, x])" * 40,
        "[text]" + ".map(x, x + x)" * 40,
        "[few]" + ".map(x, [[[[[[[[x]]]]]]]])" * 20,
        "text.replace('x', text)",
        "hundred.map(x, string(x)).join(text)",
        "text.split('')",
        "hundred.map(x, text + text)",
        "lists.range(size(text))",
    ],
)
def test_what_would_cost_too_much_is_refused(text: str) -> None:
    variables = {
        "many": list(range(400)),
        "few": [1, 2],
        "hundred": list(range(100)),
        "text": "x" * 200_000,
        "long": {"nested": {"list": [0] * 317}},
    }
    with pytest.raises(ExpressionError, match="expression too costly"):
        compile_expression(f"${{{text}}}", path="p", roots=tuple(variables)).evaluate(variables)


def test_long_lists_are_walked_in_time_linear_in_them() -> None:
    items = [{"a": i} for i in range(10_000)]
    template = compile_expression("${items.filter(i, i.a > 10).map(i, i.a + 1)}", path="p", roots=("items",))
    assert template.evaluate({"items": items}) == list(range(12, 10_001))


def test_two_nested_lists_within_the_budget() -> None:
    template = compile_expression("${l.map(x, l.map(y, x * y)).map(r, sum(r)).sum()}", path="p", roots=("l",))
    assert template.evaluate({"l": list(range(300))}) == sum(range(300)) ** 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bool('true')", True),
        ("min([3, 1, 2]) + max(4, 5) + sum([1, 2])", 9),
        ("sum([0.5, 1.0])", 1.5),
        ("'abc'.charAt(1) + 'abc'.substring(1) + 'abc'.substring(0, 1)", "bbca"),
        ("'a-b-a'.indexOf('a', 1) + 'a-b-a'.lastIndexOf('a')", 8),
        ("'a,b'.split(',').join('+')", "a+b"),
        ("'aaa'.replace('a', 'b', 2)", "bba"),
        ("' Ab '.trim().lowerAscii() + 'b'.upperAscii()", "abB"),
        ("'ab'.reverse() + string([1, 2].reverse()[0])", "ba2"),
        ("strings.quote('a\"b')", '"a\\"b"'),
        ("[1, 1.0, true, 'a', 'a', [1], [1.0]].distinct()", [1, True, "a", [1]]),
        ("[[1, [2]], 3].flatten()", [1, [2], 3]),
        ("[[1, [2]], 3].flatten(2)", [1, 2, 3]),
        ("[1, 2, 3].slice(1, 3)", [2, 3]),
        ("['b', 'a'].sort()", ["a", "b"]),
        ("[].sort()", []),
        ("lists.range(3)", [0, 1, 2]),
        ("math.greatest(1, 3) + math.least([2, 1]) + math.abs(-4) + math.sign(-2)", 7),
        ("math.round(1.5) + math.ceil(0.2) + math.floor(0.9) + math.trunc(-0.5)", 3.0),
        ("math.sqrt(4) == 2.0 && !math.isNaN(1.0) && !math.isInf(1.0) && math.isFinite(1.0)", True),
        ("math.bitOr(1, 2) + math.bitAnd(3, 2) + math.bitXor(1, 3) + math.bitShiftLeft(1, 3)", 15),
        ("sets.contains([1, 2], [2.0]) && sets.equivalent([1], [1, 1]) && !sets.intersects([1], [true])", True),
        ("string(base64.decode(base64.encode('hé')))", "hé"),
    ],
)
def test_functions(text: str, value: object) -> None:
    found = evaluate(f"${{{text}}}")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["sum([1, 1.5])", "min([])", "sort([1, 'a'])", "[1].join(',')", "base64.decode('%')", "math.abs('a')", "bool('maybe')"],
)
def test_functions_refuse_what_they_do_not_take(text: str) -> None:
    assert text.split("(")[0].split(".")[-1] in refused(f"${{{text}}}")


def test_templates_are_shared_by_threads() -> None:
    template = compile_expression("${input.a + 1}", path="p", roots=("input",))
    found: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: found.append(template.evaluate({"input": {"a": n}}))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 9))


def test_a_variable_may_be_called_as_a_function_is() -> None:
    template = compile_expression("${size(size) + size.size()}", path="p", roots=("size",))
    assert template.evaluate({"size": [1, 2]}) == 4
