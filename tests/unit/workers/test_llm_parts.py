"""The parts of the llm worker that need no model: providers, keys, schemas, labels."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_api.problems import ManifestError
from arklex_api.worker import Worker
from arklex_runtime.errors import TaskError
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.workers import WorkerServices, build_worker
from arklex_runtime.workers.llm.build import build_llm
from arklex_runtime.workers.llm.labels import read_label
from arklex_runtime.workers.llm.source import ModelSource
from arklex_runtime.workers.llm.structured import shape_of


def manifest(config: dict[str, Any] | None = None, **llm: Any) -> Worker:
    spec = {"type": "llm", "llm": {"model": "m", **llm}, "config": config or {}}
    return Worker.model_validate(
        {"apiVersion": "arklex.ai/v1alpha1", "kind": "Worker", "metadata": {"name": "w"}, "spec": spec}
    )


def services(**environ: str) -> WorkerServices:
    return WorkerServices(SecretResolver({"keys": {"k": "from-document"}}, environ=environ))


REF = {"apiKeySecretRef": {"name": "keys", "key": "k"}}
URL = {"baseUrl": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize(
    ("llm", "environ", "key", "compatible"),
    [
        ({"provider": "openai"}, {"OPENAI_API_KEY": "usual"}, "usual", False),
        ({"provider": "openai", **REF}, {"OPENAI_API_KEY": "usual"}, "from-document", False),
        ({"provider": "openai", **URL}, {"OPENAI_API_KEY": "usual"}, None, True),
        ({"provider": "openai", **URL, **REF}, {}, "from-document", True),
        ({"provider": "my-gateway", **URL}, {}, None, True),
        ({"provider": "openai-chat"}, {"OPENAI_API_KEY": "usual"}, "usual", False),
        ({"provider": "ollama"}, {}, None, False),
    ],
)
def test_the_key_is_found_and_goes_only_where_it_belongs(
    llm: dict[str, Any], environ: dict[str, str], key: str | None, compatible: bool
) -> None:
    given = manifest(**llm).spec.llm
    assert given is not None
    source = build_llm(given, {}, services(**environ))._source
    assert (source.api_key, source.compatible) == (key, compatible)
    assert source.output_mode == ("native" if compatible else "auto")
    assert not key or key not in repr(source)


@pytest.mark.parametrize(
    ("llm", "config", "path", "words"),
    [
        ({"provider": "opnai"}, {}, "spec.llm.provider", "use one of anthropic, bedrock"),
        ({"provider": "mistral"}, {}, "spec.llm.provider", "pydantic-ai-slim[mistral]"),
        ({"provider": "openai"}, {}, "spec.llm.apiKeySecretRef", "give apiKeySecretRef, or set OPENAI_API_KEY"),
        (
            {"provider": "openai", "apiKeySecretRef": {"name": "x", "key": "y"}},
            {},
            "spec.llm.apiKeySecretRef",
            "ARKLEX_SECRET_X_Y",
        ),
        ({"provider": "openai", **URL}, {"outputMode": "yaml"}, "spec.config.outputMode", "none of native, tool"),
    ],
)
def test_a_model_that_cannot_work_is_refused_with_its_field(
    llm: dict[str, Any], config: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        build_worker(manifest(config, **llm), services())
    (problem,) = caught.value.problems
    assert problem.path == path and words in problem.message


def test_the_source_names_itself_without_its_key() -> None:
    source = ModelSource("openai", "gpt", api_key="canary")
    assert source.name == "openai:gpt" and "canary" not in repr(source)


def test_schemas_of_objects_stay_and_others_are_wrapped_with_their_definitions_at_the_root() -> None:
    plain = shape_of({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    assert plain.unwrap({"n": 1}) == {"n": 1} and plain.problem({"n": 1}) is None
    assert "answer" in (plain.problem({}) or "")
    wrapped = shape_of({"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {"type": "string"}}})
    assert wrapped.schema["$defs"] and wrapped.unwrap({"value": ["a"]}) == ["a"]
    assert wrapped.problem({"value": ["a"]}) is None and "answer.value[0]" in (wrapped.problem({"value": [1]}) or "")
    with pytest.raises(TaskError, match=r"with\.schema"):
        shape_of({"type": "objekt"})


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("bug", "bug"),
        (' "Bug". ', "bug"),
        ("**billing**", "billing"),
        ("I think it is a bug.", "bug"),
        ("The label is: Bug Report", "bug report"),
        ("bug or billing", None),
        ("debugging", None),
        ("", None),
        ("none of them", None),
        ("C++", "c++"),
        ("it says c++ here", "c++"),
        ("übung", "Übung"),
    ],
)
def test_a_label_is_read_out_of_text(text: str, label: str | None) -> None:
    assert read_label(text, ["billing", "bug", "bug report", "c++", "Übung"]) == label


def test_labels_that_differ_in_case_only_are_read_exactly() -> None:
    assert read_label("Bug", ["bug", "Bug"]) == "Bug" and read_label("BUG", ["bug", "Bug"]) is None
