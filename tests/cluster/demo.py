"""``make cluster-demo``: from a clone to a TaskGraph that succeeded on a real cluster, saying what it does at each step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster.__main__ import own_target
from tests.cluster.bed import cluster, space
from tests.cluster.bed.__main__ import by_hand, require_machine
from tests.cluster.bed.build import BuildFailed
from tests.cluster.bed.place import Place, place
from tests.cluster.bed.processes import NotStarted
from tests.cluster.bed.programs import ALL
from tests.cluster.target import Target

ROOT = Path(__file__).parents[2]
SYSTEM = "arklex-system"
EXAMPLE = "examples/hello"


class Demo:
    """Says what it does, does it, and shows the commands as a person would type them."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._step = 0

    def say(self, words: str) -> None:
        """Announce the next step."""
        self._step += 1
        print(f"\n[{self._step}] {words}  ({time.monotonic() - self._started:.0f} s so far)", flush=True)

    def run(self, here: Place, shown: str, target: Target, *more: str, stdin: str | None = None) -> None:
        """Run a command line of kubectl or helm on the bed; ``more`` is not shown. Raises SystemExit if it fails."""
        print(f"$ {shown}", flush=True)
        name, *words = shown.split()
        program = {"kubectl": target.kubectl, "helm": target.helm}[name]
        environment = {**os.environ, "KUBECONFIG": str(target.kubeconfig), "HOME": str(here.state)}
        command = space.inside(here, [program, *words, *more], mounts=False)
        code = subprocess.run(command, cwd=ROOT, env=environment, input=stdin, text=True, check=False).returncode
        if code != 0:
            raise SystemExit(f"that failed with exit code {code}; the cluster stays up to look at it: {by_hand(here)}")


def main() -> int:
    """Return the exit code; the cluster stays up."""
    require_machine()
    here, demo = place(), Demo()
    minutes = sum(module.minutes for module in ALL if module.missing())
    building = f"building Kubernetes, once: about {minutes:g} min on two cores; then the" if minutes else "building the"
    demo.say(f"{building} images (some 4 min the first time, seconds after an edit), and bringing a cluster up (20 s)")
    try:
        target = own_target(here)
    except (BuildFailed, NotStarted, cluster.BedBroken) as problem:
        print(problem, file=sys.stderr)
        return 1
    demo.say("installing arklex-operator with its chart, with a journal in SQLite and a Redis of its own (about 30 s)")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as values:
        json.dump(target.image_values(), values)
        values.flush()
        install = f"helm upgrade --install arklex helm/arklex --namespace {SYSTEM} --create-namespace --wait --timeout 5m"
        demo.run(here, install, target, f"--values={values.name}", "--hide-notes")
    demo.run(here, f"kubectl get pods --namespace {SYSTEM}", target)
    demo.say(f"applying {EXAMPLE}: a pool of workers that runs a Python function, and a graph of three tasks (about 15 s)")
    configmap = f"kubectl create configmap hello-handlers --from-file={EXAMPLE} --dry-run=client --output=yaml"
    print(f"$ {configmap} | kubectl apply --filename=-", flush=True)
    command = space.inside(here, [target.kubectl, f"--kubeconfig={target.kubeconfig}", *configmap.split()[1:]], mounts=False)
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = space.inside(here, [target.kubectl, f"--kubeconfig={target.kubeconfig}", "apply", "--filename=-"], mounts=False)
    subprocess.run(command, cwd=ROOT, input=made, text=True, check=True)
    demo.run(here, f"kubectl apply --filename={EXAMPLE}/hello.yaml", target)
    demo.run(here, "kubectl wait --for=condition=Completed taskgraph/hello --timeout=180s", target)
    demo.run(here, "kubectl wait --for=jsonpath={.status.readyReplicas}=2 worker/greeter --timeout=60s", target)
    demo.say("this is what it looks like")
    demo.run(here, "kubectl get taskgraphs,workers,taskgraphruns", target)
    demo.run(here, 'kubectl get taskgraph hello --output=jsonpath={.status.lastRun.output}{"\\n"}', target)
    phase = cluster.kubectl(here, "get", "taskgraph", "hello", "--output=jsonpath={.status.phase}").stdout
    print(f"\nThe cluster stays up. Look around:  {by_hand(here)} describe taskgraph hello\nThen:  make cluster-down")
    return int(phase != "Succeeded")


if __name__ == "__main__":
    sys.exit(main())
