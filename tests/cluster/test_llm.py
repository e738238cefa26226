"""A pool of llm workers on a real model, together with a custom one: the model runs here, the workers in pods."""

from __future__ import annotations

import base64

import pytest

from tests.cluster.kube import Kube, graph, step, worker
from tests.cluster.release import Release
from tests.cluster.target import Target

KEY = "sk-canary-0815"
LABELS = ["greeting", "complaint"]


@pytest.mark.model
def test_a_model_and_a_function_share_a_graph(release: Release, space: Kube, target: Target, model_url: str) -> None:
    space.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "model"},
            "data": {"apiKey": base64.b64encode(KEY.encode()).decode()},
        }
    )
    assistant = worker(
        "assistant",
        type="llm",
        llm={
            "provider": "openai",
            "model": "smollm2",
            "baseUrl": model_url,
            "apiKeySecretRef": {"name": "model", "key": "apiKey"},
        },
        egress=[{"cidr": f"{target.address}/32"}],
    )
    del assistant["spec"]["config"]
    tasks = [
        step("write", "generate", worker="assistant", given={"prompt": "Say hello to Ada.", "maxTokens": 24}, timeout="120s"),
        step("sort", "classify", "write", worker="assistant", given={"text": "${tasks.write.output.text}", "labels": LABELS}),
        step("keep", "echo", given={"label": "${tasks.sort.output.label}"}),
    ]
    output = {"label": "${tasks.keep.output.label}", "tokens": "${tasks.write.output.usage.outputTokens}"}
    space.apply(worker("probe"), assistant, graph("talk", tasks, output=output, run={}))
    status = space.until_phase("taskgraph", "talk", ["Succeeded", "Failed"])
    assert status["phase"] == "Succeeded", status
    (run,) = space.all("taskgraphruns")
    document = release.document(space.namespace, run["status"]["runId"])
    assert document["output"]["label"] in LABELS and document["output"]["tokens"] > 0
    assert KEY not in str(document) and KEY not in space("get", "workers,pods,deployments", "--output=yaml")
