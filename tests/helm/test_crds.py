"""The CRDs in the chart are those of crds/, installed, upgraded and kept with it."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.helm.charts import Object, render

CRDS = Path(__file__).parents[2] / "crds"


def _crds(*arguments: str) -> list[Object]:
    return [found for found in render(*arguments) if found["kind"] == "CustomResourceDefinition"]


def test_rendered_they_differ_in_labels_and_annotations_only() -> None:
    for found in _crds():
        original = yaml.safe_load((CRDS / f"{found['metadata']['name']}.yaml").read_text())
        assert found["metadata"].pop("labels") and found["metadata"].pop("annotations")
        assert found == original


def test_they_outlive_the_release_unless_told_otherwise() -> None:
    assert [found["metadata"]["annotations"] for found in _crds()] == [{"helm.sh/resource-policy": "keep"}] * 3
    assert all("annotations" not in found["metadata"] for found in _crds("--set=crds.keep=false"))


def test_they_can_be_left_out() -> None:
    assert not _crds("--set=crds.enabled=false")
    assert not _crds("--set=cluster.enabled=false,watchNamespaces={team-a}")
