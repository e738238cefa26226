"""Renders the chart with the real helm. ``python -m tests.helm.charts`` writes the golden files anew."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.cluster.bed.programs import program

Object: TypeAlias = dict[str, Any]

CHART = Path(__file__).parents[2] / "helm" / "arklex"
CASES = Path(__file__).parent / "cases"
GOLDEN = Path(__file__).parent / "golden"
NAMESPACE = "arklex-system"
EVERYWHERE = {
    "app.kubernetes.io/name": "arklex",
    "app.kubernetes.io/instance": "arklex",
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/part-of": "arklex",
}
"""Labels of every object of the release arklex."""


class Refused(Exception):
    """Helm renders nothing; its words."""


def helm(*arguments: str | Path) -> str:
    """Run helm; return what it prints. Raises Refused."""
    command = [str(program("helm")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def render(*arguments: str | Path, release: str = "arklex", namespace: str = NAMESPACE) -> list[Object]:
    """All objects of the chart, hooks and tests included."""
    text = helm("template", release, CHART, f"--namespace={namespace}", *arguments)
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def case(name: str) -> list[Object]:
    """The objects with the values of ``cases/<name>.yaml``."""
    return render(f"--values={CASES / f'{name}.yaml'}")


def cases() -> list[str]:
    """The names of all cases, the default one first."""
    return sorted((path.stem for path in CASES.glob("*.yaml")), key=lambda name: (name != "default", name))


def key(found: Object) -> str:
    """What tells an object from others: kind, namespace, name."""
    metadata = found["metadata"]
    return f"{found['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def by_key(objects: list[Object]) -> dict[str, Object]:
    """The objects by key; every key once."""
    keyed = {key(found): found for found in objects}
    assert len(keyed) == len(objects), "two objects of one name"
    return keyed


def one(objects: list[Object], kind: str, name: str) -> Object:
    """The only object of this kind and name."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pod_specs(objects: list[Object]) -> dict[str, Object]:
    """The spec of every pod that the objects lead to, by the object's key."""
    found = {}
    for each in objects:
        if each["kind"] == "Pod":
            found[key(each)] = each["spec"]
        elif "template" in each.get("spec", {}):
            found[key(each)] = each["spec"]["template"]["spec"]
    return found


def golden(name: str) -> str:
    """What ``golden/<name>.yaml`` should hold: all objects but CRDs; of another case than the default, what differs."""
    objects = _without_crds(case(name))
    if name == "default":
        return _dump(objects.values())
    usual = _without_crds(case("default"))
    absent = sorted(set(usual) - set(objects))
    return _dump([{"absent": absent}, *(found for at, found in objects.items() if usual.get(at) != found)])


def _without_crds(objects: list[Object]) -> dict[str, Object]:
    return dict(sorted((at, found) for at, found in by_key(objects).items() if found["kind"] != "CustomResourceDefinition"))


def _dump(documents: Any) -> str:
    text: str = yaml.safe_dump_all(map(_short, documents), width=128, default_flow_style=None, allow_unicode=True)
    return text


def _short(found: Object) -> Object:
    """Without the labels that every object has (a test holds them)."""
    if "metadata" not in found:
        return found
    labels = {
        name: value
        for name, value in found["metadata"]["labels"].items()
        if name not in EVERYWHERE and not name.endswith(("/version", "/chart"))
    }
    return {**found, "metadata": {**found["metadata"], "labels": labels}}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in cases():
        (GOLDEN / f"{each}.yaml").write_text(golden(each), encoding="utf-8")
