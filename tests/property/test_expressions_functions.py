"""Our functions on strings and numbers against the library's own in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cel import stdlib
from hypothesis import given, settings
from hypothesis import strategies as st

from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.functions import FUNCTIONS

texts = st.text(alphabet='abAB-é😀 \n"\\', max_size=6)
positions = st.integers(-1, 7)
limits = st.integers(-1, 4)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63), 2**63 - 1)

CASES: dict[str, tuple[Callable[..., Any], tuple[st.SearchStrategy[Any], ...]]] = {
    "charAt": (stdlib.char_at, (texts, positions)),
    "indexOf": (stdlib.index_of, (texts, texts, positions)),
    "lastIndexOf": (stdlib.last_index_of, (texts, texts, positions)),
    "substring": (stdlib.substring, (texts, positions, positions)),
    "replace": (stdlib.replace, (texts, texts, texts, limits)),
    "split": (stdlib.split, (texts, texts, limits)),
    "lowerAscii": (stdlib.lower_ascii, (texts,)),
    "upperAscii": (stdlib.upper_ascii, (texts,)),
    "trim": (stdlib.trim, (texts,)),
    "strings.quote": (stdlib.quote, (texts,)),
    "reverse": (stdlib.reverse, (texts,)),
    "bool": (stdlib.bool_, (st.sampled_from(["true", "True", "0", "f", "yes", ""]) | st.booleans(),)),
    "slice": (stdlib.slice_, (st.lists(whole, max_size=5), positions, positions)),
    "math.sign": (stdlib.math_sign, (numbers,)),
    "math.ceil": (stdlib.math_ceil, (numbers,)),
    "math.floor": (stdlib.math_floor, (numbers,)),
    "math.round": (stdlib.math_round, (numbers,)),
    "math.trunc": (stdlib.math_trunc, (numbers,)),
    "math.sqrt": (stdlib.math_sqrt, (st.integers(0, 2**53),)),
    "math.bitAnd": (stdlib.math_bit_and, (whole, whole)),
    "math.bitOr": (stdlib.math_bit_or, (whole, whole)),
    "math.bitXor": (stdlib.math_bit_xor, (whole, whole)),
    "math.bitNot": (stdlib.math_bit_not, (whole,)),
    "math.bitShiftLeft": (stdlib.math_bit_shift_left, (whole, st.integers(-1, 70))),
    "math.bitShiftRight": (stdlib.math_bit_shift_right, (whole, st.integers(-1, 70))),
    "base64.encode": (stdlib.base64_encode, (texts,)),
    "base64.decode": (stdlib.base64_decode, (st.text(alphabet="ab=+/%", max_size=8),)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_means_what_the_library_means(name: str) -> None:
    theirs, arguments = CASES[name]

    @settings(max_examples=60, deadline=None)
    @given(st.tuples(*arguments))
    def check(args: tuple[Any, ...]) -> None:
        try:
            expected = theirs(*args)
        except (ValueError, IndexError, TypeError):
            with pytest.raises(ExpressionError):
                FUNCTIONS[name](*args)
        else:
            assert FUNCTIONS[name](*args) == expected

    check()
