"""Instances in turn, and another one where one fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from arklex_api.problems import ManifestError, Problem
from arklex_runtime.errors import (
    ArklexError,
    AuthenticationError,
    AuthorizationError,
    GraphNotFoundError,
    Overloaded,
    RateLimitExceeded,
    ValidationError,
)
from arklex_runtime.scaling.balancing import HealthChecker, LoadBalancer, ScalableOrchestrator
from arklex_runtime.scaling.client import RuntimeClient


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Request:
    task_graph: Any = "g"
    query: str = "q"


class Instance:
    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[tuple[Any, ...]] = []

    def run(self, *asked: Any) -> Any:
        self.asked.append(asked)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_instances_take_turns_past_the_unhealthy() -> None:
    clock = Clock()
    health = HealthChecker(5, 60, clock=clock)
    balancer = LoadBalancer(["a", "b", "c"], health)
    assert [balancer.get_next_healthy() for _ in range(4)] == ["a", "b", "c", "a"]
    health.mark_unhealthy("b")
    assert [balancer.get_next_healthy() for _ in range(3)] == ["c", "a", "c"]
    clock.now = 5
    assert [balancer.get_next_healthy() for _ in range(3)] == ["a", "b", "c"]
    balancer.remove_instance("a")
    balancer.add_instance("d")
    assert set(balancer.instances) == {"b", "c", "d"} == {balancer.get_next_healthy() for _ in range(3)}


def test_what_keeps_failing_is_left_alone_for_longer() -> None:
    clock = Clock()
    health = HealthChecker(5, 60, clock=clock)
    pauses = []
    for _ in range(6):
        health.mark_unhealthy("a")
        pauses.append(health.healthy_in("a"))
    assert pauses == [5, 10, 20, 40, 60, 60] and not health.is_healthy("a")
    health.mark_healthy("a")
    assert health.is_healthy("a")
    health.mark_unhealthy("a")
    assert health.healthy_in("a") == 5


def test_without_a_healthy_instance_the_caller_learns_when_to_come_again() -> None:
    health = HealthChecker(5, clock=Clock())
    with pytest.raises(Overloaded, match="there is no instance"):
        LoadBalancer().get_next_healthy()
    balancer = LoadBalancer(["a", "b"], health)
    health.mark_unhealthy("a")
    health.mark_unhealthy("b")
    with pytest.raises(Overloaded, match="none of 2") as caught:
        balancer.get_next_healthy()
    assert caught.value.retry_after == 5


def test_a_failing_instance_is_replaced_by_another() -> None:
    first, second = Instance(ConnectionError("gone")), Instance("ran", "ran again")
    scalable = ScalableOrchestrator({"instances": [first, second]})
    assert scalable.handle_request(Request()) == "ran"
    assert scalable.handle_request(Request()) == "ran again"
    assert not scalable.health_checker.is_healthy(first) and second.asked == [("g", "q", None)] * 2


def test_attempts_are_bounded() -> None:
    instances = [Instance(OSError(str(n))) for n in range(5)]
    with pytest.raises(OSError, match="2"):
        ScalableOrchestrator({"instances": instances}).handle_request(Request())
    assert [len(each.asked) for each in instances] == [1, 1, 1, 0, 0]
    with pytest.raises(Overloaded):
        ScalableOrchestrator({"instances": [Instance(OSError("x"))]}).handle_request(Request())


@pytest.mark.parametrize(
    "refusal",
    [ValidationError("bad query"), AuthorizationError("no"), ManifestError([Problem("spec", "X", "bad")]), TypeError("x")],
)
def test_the_requests_own_fault_is_not_tried_elsewhere(refusal: Exception) -> None:
    first, second = Instance(refusal), Instance("ran")
    scalable = ScalableOrchestrator({"instances": [first, second]})
    with pytest.raises(type(refusal)):
        scalable.handle_request(Request())
    assert scalable.health_checker.is_healthy(first) and not second.asked


class Handler(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}
    asked: ClassVar[list[tuple[str, Any, str | None]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append((self.path, body, self.headers["X-API-Key"]))
        status, answer = type(self).answers[self.path.split("/")[-2]]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def runtime() -> Iterator[tuple[str, type[Handler]]]:
    class Own(Handler):
        asked: ClassVar[list[tuple[str, Any, str | None]]] = []
        answers: ClassVar[dict[str, tuple[int, bytes]]] = {
            "ok": (200, b'{"phase": "Succeeded"}'),
            "absent": (404, b'{"detail": "no graph absent"}'),
            "bad": (422, b'{"title": "bad input"}'),
            "who": (401, b"{}"),
            "no": (403, b"{}"),
            "much": (429, b"{}"),
            "down": (503, b"{}"),
            "rubbish": (200, b"<html>"),
            "list": (200, b"[]"),
        }

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/base/", Own
    server.shutdown()
    server.server_close()
    thread.join()


def test_base_urls_are_instances_too(runtime: tuple[str, type[Handler]]) -> None:
    url, handler = runtime
    scalable = ScalableOrchestrator({"instances": ["http://127.0.0.1:9", url], "api_key": "k"})
    assert scalable.handle_request(Request("ok")) == {"phase": "Succeeded"}
    assert handler.asked == [("/base/v1/graphs/ok/runs?wait=true", {"query": "q", "context": None}, "k")]


@pytest.mark.parametrize(
    ("graph", "error"),
    [
        ("absent", GraphNotFoundError),
        ("bad", ValidationError),
        ("who", AuthenticationError),
        ("no", AuthorizationError),
        ("much", RateLimitExceeded),
        ("down", Overloaded),
        ("rubbish", ConnectionError),
        ("list", ConnectionError),
    ],
)
def test_answers_become_errors(runtime: tuple[str, type[Handler]], graph: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        RuntimeClient(runtime[0]).run(graph, "q")
    if isinstance(caught.value, ArklexError) and caught.value.retryable:
        assert getattr(caught.value, "retry_after", None) == 7.0


def test_what_is_no_url_is_refused() -> None:
    for url in ("ftp://a", "http://", "a"):
        with pytest.raises(ValueError, match="is not an http"):
            RuntimeClient(url)
