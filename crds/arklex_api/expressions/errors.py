"""What can go wrong with an expression: before a run (TemplateError) and during one (ExpressionError)."""

from __future__ import annotations

from typing import Literal

from arklex_api.problems import ManifestError, Problem

ErrorType = Literal["InvalidInput", "InvalidOutput"]

REASON = "InvalidExpression"
"""The reason of every Problem that a TemplateError holds."""


class ExpressionError(ValueError):
    """An evaluation failed; the message names the expression or field, and the fix.

    ``type`` is the task error's type: InvalidInput, or InvalidOutput when the result is not JSON.
    """

    def __init__(self, message: str, type: ErrorType = "InvalidInput") -> None:
        super().__init__(message)
        self.type: ErrorType = type


class TemplateError(ManifestError):
    """A template does not compile; ``problems`` (at least one) hold paths below the one that was given."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)


class SyntaxProblem(ValueError):
    """Internal: one mistake in one expression; ``position`` counts characters from the start of the expression."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position
