"""Arithmetic of 32-bit sequence numbers (sheet §0.4; ``sq.h: sq_lt_compare``).

Above 0x80000000 the comparison wraps in a circle that starts at 0x10000, so 0xffffffff counts as -1: the aru of the
first token of a ring means "nobody lacks anything yet".
"""

U32 = 0xFFFFFFFF
_HALF = 0x80000000
_ADJUST = 0x10000


def lt(a: int, b: int) -> bool:
    """Whether sequence number ``a`` comes before ``b``."""
    if a > _HALF or b > _HALF:
        return ((a - _ADJUST) & U32) < ((b - _ADJUST) & U32)
    return a < b


def lte(a: int, b: int) -> bool:
    """Whether sequence number ``a`` comes before ``b`` or is ``b``."""
    return a == b or lt(a, b)
