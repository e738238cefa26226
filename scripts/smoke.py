"""Does an installed wheel work, away from the repository? ``python smoke.py EXAMPLES``, run with the environment's interpreter.

The command line answers, its CRDs are there, every example lints, a graph runs and is remembered. The first failure ends it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ARKLEX = Path(sys.executable).parent / "arklex"
GRAPH = """
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: smoke}
spec:
  tasks:
  - {name: words, value: "${query.split(' ')}"}
  - {name: count, value: "${size(tasks.words.output)}"}
  output: ${tasks.count.output}
"""


def arklex(*arguments: str) -> str:
    """What the command prints. Raises CalledProcessError if it fails."""
    return subprocess.run([ARKLEX, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def require(found: object, expected: object) -> None:
    """Raises SystemExit unless both are equal."""
    if found != expected:
        raise SystemExit(f"expected {expected!r}, found {found!r}")


def main(examples: Path) -> None:
    """Run all checks in a temporary folder."""
    for package in ("arklex_api", "arklex_runtime", "arklex_operator"):
        spec = importlib.util.find_spec(package)
        where = Path(spec.origin).parent.parent.name if spec and spec.origin else None
        require(where, "site-packages")
    require(arklex("--help") != "", True)
    require(arklex("crds").count("\nkind: CustomResourceDefinition"), 3)
    for example in sorted(examples.rglob("*.yaml")):
        arklex("lint", str(example))
    with tempfile.TemporaryDirectory() as folder:
        file, database = Path(folder) / "smoke.yaml", f"{folder}/smoke.db"
        file.write_text(GRAPH)
        document = json.loads(arklex("run", str(file), "--query", "three small words", "--db", database, "--output", "json"))
        require((document["phase"], document["output"]), ("Succeeded", 3))
        require(json.loads(arklex("runs", "--db", database, "--output", "json"))[0]["run"], document["run"])
    print("the wheel works")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
