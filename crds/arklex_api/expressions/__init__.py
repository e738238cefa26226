"""CEL in ``${…}`` (semantics.md, "Expressions"): ``compile_template`` and ``compile_expression`` once, ``evaluate`` often."""

from arklex_api.expressions.errors import ExpressionError, TemplateError
from arklex_api.expressions.references import Reference
from arklex_api.expressions.template import Template, compile_expression, compile_template

__all__ = ["ExpressionError", "Reference", "Template", "TemplateError", "compile_expression", "compile_template"]
