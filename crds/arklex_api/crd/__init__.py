"""The CustomResourceDefinitions, made from the models: ``python -m arklex_api.crd`` writes them into ``crds/``.

No field has a ``default`` in a CRD: the models apply defaults. So stored objects stay small (etcd takes 1.5 MiB), and a newer
CRD changes no stored object, hence no digest of a graph, hence starts no run again.
"""

from __future__ import annotations

import yaml

from arklex_api.base import GROUP, VERSION, KubeModel
from arklex_api.crd.columns import KINDS, KindInfo
from arklex_api.crd.convert import Schema, convert
from arklex_api.crd.rules import OBJECT_RULES

_HEADER = "# Generated from the models in crds/arklex_api by `python -m arklex_api.crd`: change those.\n"


def generate() -> dict[str, str]:
    """File name to YAML of each CRD."""
    return {f"{info.plural}.{GROUP}.yaml": _HEADER + _dump(definition(info)) for info in KINDS}


def definition(info: KindInfo) -> Schema:
    """One CustomResourceDefinition as an object."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.render() for column in info.columns],
        "schema": {"openAPIV3Schema": root_schema(info.model)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": info.kind,
                "listKind": f"{info.kind}List",
                "plural": info.plural,
                "singular": info.kind.lower(),
                "shortNames": [info.short],
                "categories": ["arklex"],
            },
            "versions": [version],
        },
    }


def root_schema(model: type[KubeModel]) -> Schema:
    """The structural schema of a kind; of metadata only what the API server lets a schema say."""
    source = model.model_json_schema(by_alias=True)
    spec, status = (convert(source["properties"][part], source["$defs"], part) for part in ("spec", "status"))
    schema: Schema = {
        "type": "object",
        "description": source["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "maxLength": 64, "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "maxLength": 64, "description": f"{model.__name__}."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    rules = OBJECT_RULES.get(model.__name__)
    return {**schema, "x-kubernetes-validations": rules} if rules else schema


class _Dumper(yaml.SafeDumper):
    """Block style without aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _dump(document: Schema) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
