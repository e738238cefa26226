"""values.schema.json: of each rule one set of values that is taken and one that is refused, with the place in the words."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.helm.charts import CHART, Refused, helm, render

RULES = {
    "an unknown key": ("door.service.port=80", "door.servce.port=80", "servce"),
    "an unknown key of a pod": ("operator.replicas=3", "operator.replica=3", "/operator/replica"),
    "a name": ("fullnameOverride=flows", "fullnameOverride=Flows", "/fullnameOverride"),
    "a namespace": ("watchNamespaces={team-a}", "watchNamespaces={team_a}", "/watchNamespaces/0"),
    "namespaces once": ("watchNamespaces={a,b}", "watchNamespaces={a,a}", "/watchNamespaces"),
    "namespaces for a second installation": (
        "cluster.enabled=false,watchNamespaces={team-a}",
        "cluster.enabled=false",
        "/watchNamespaces",
    ),
    "one pod on SQLite": ("runtime.replicas=1", "runtime.replicas=2", "/runtime/replicas"),
    "more on PostgreSQL": (
        "runtime.replicas=2,journal.type=postgresql,journal.postgresql.existingSecret=journal",
        "runtime.replicas=0,journal.type=postgresql,journal.postgresql.existingSecret=journal",
        "/runtime/replicas",
    ),
    "PostgreSQL's Secret": (
        "journal.type=postgresql,journal.postgresql.existingSecret=journal",
        "journal.type=postgresql",
        "/journal/postgresql/existingSecret",
    ),
    "a kind of journal": ("journal.type=sqlite", "journal.type=mysql", "/journal/type"),
    "retention": ("journal.retention.failed=1h30m", "journal.retention.failed=2weeks", "/journal/retention/failed"),
    "an external Redis' URL": (
        "redis.mode=external,redis.external.url=redis://h:6379/0,redis.password.existingSecret=r",
        "redis.mode=external,redis.password.existingSecret=r",
        "/redis/external/url",
    ),
    "an external Redis' password": (
        "redis.mode=external,redis.external.url=rediss://u@h,redis.password.existingSecret=r",
        "redis.mode=external,redis.external.url=rediss://u@h",
        "/redis/password/existingSecret",
    ),
    "no password in a URL": (
        "redis.workerUrl=redis://user@h:6379/0",
        "redis.workerUrl=redis://user:secret@h:6379/0",
        "/redis/workerUrl",
    ),
    "a URL for an external Redis only": ("redis.mode=bundled", "redis.external.url=redis://h:6379/0", "/redis/external/url"),
    "no Redis Cluster": ("redis.external.cluster=false", "redis.external.cluster=true", "/redis/external/cluster"),
    "one Redis": ("redis.workerUrl=redis://h1:6379/0", "redis.workerUrl=redis://h1:6379\\,h2:6379/0", "/redis/workerUrl"),
    "access lists": ("redis.acl=off", "redis.acl=none", "/redis/acl"),
    "Redis' memory": ("redis.maxMemory=1gb", "redis.maxMemory=1GiB", "/redis/maxMemory"),
    "a pull policy": ("image.pullPolicy=Never", "image.pullPolicy=never", "/image/pullPolicy"),
    "a digest": ("images.runtime.digest=sha256:" + "0" * 64, "images.runtime.digest=0123", "/images/runtime/digest"),
    "a pinned tag": ("images.runtime.tag=0.1.0", "images.runtime.tag=latest", "/images/runtime/tag"),
    "an image's name": (
        "images.runtime.repository=r.example.com:5000/a/b",
        "images.runtime.repository=",
        "/images/runtime/repository",
    ),
    "an image by type": ("images.workers.llm.tag=1.0.0", "images.workers.agent.tag=1.0.0", "agent"),
    "no root": ("podSecurity.runAsUser=1000", "podSecurity.runAsUser=0", "/podSecurity/runAsUser"),
    "the chart's labels": ("commonLabels.team=a", "commonLabels.app\\.kubernetes\\.io/name=a", "/commonLabels"),
    "a share": ("operator.maxRolling=1", "operator.maxRolling=10", "/operator/maxRolling"),
    "a lease": ("leaseSeconds=3", "leaseSeconds=0", "/leaseSeconds"),
    "a quantity": ("redis.persistence.size=1Gi", "redis.persistence.size=1GB", "/redis/persistence/size"),
    "a network": (
        "networkPolicy.apiServerCIDRs={10.0.0.1/32}",
        "networkPolicy.apiServerCIDRs={api}",
        "/networkPolicy/apiServerCIDRs",
    ),
    "a port": ("door.service.port=443", "door.service.port=0", "/door/service/port"),
    "a service": ("door.service.type=NodePort", "door.service.type=ExternalName", "/door/service/type"),
    "how often to scrape": ("monitoring.interval=1m30s", "monitoring.interval=90", "/monitoring/interval"),
    "resources": ("hooks.resources.limits.memory=1Gi", "hooks.resources.limit.memory=1Gi", "/hooks/resources"),
    "autoscaling's bounds": (
        "journal.type=postgresql,journal.postgresql.existingSecret=j,runtime.autoscaling.minReplicas=5",
        "journal.type=postgresql,journal.postgresql.existingSecret=j,runtime.autoscaling.minReplicas=11",
        "runtime.autoscaling.minReplicas is 11, more than maxReplicas 10",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_takes_and_refuses(rule: str) -> None:
    taken, refused, words = RULES[rule]
    assert render(f"--set={taken}")
    with pytest.raises(Refused) as error:
        render(f"--set={refused}")
    assert words in str(error.value)


def test_every_value_is_in_the_schema_and_every_key_of_the_schema_has_a_value() -> None:
    """So that values.yaml documents all there is."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    pods = set(schema["$defs"]["pods"]["properties"])
    for name, part in schema["properties"].items():
        if "allOf" in part:
            assert set(part["properties"]) | pods == set(values[name]), name
        elif name not in ("global",) and "properties" in part:
            assert set(part["properties"]) == set(values[name]), name


def test_every_value_has_a_comment_above_it_or_above_its_group() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line and not line.startswith((" ", "#")) and line.endswith(":") is False and not before.startswith("#")
        and not before.startswith(("common",))
    ]  # fmt: skip
    assert bare == []


def test_the_chart_is_packaged_with_all_it_reads(tmp_path: object) -> None:
    assert "arklex-0.1.0.tgz" in helm("package", CHART, f"--destination={tmp_path}")
