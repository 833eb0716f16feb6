"""The rules of post-processing records, a part of `pyhw.graph.verify`."""

from pyhw.hdl.formats import BIAS_WIDTH, MAX_EXPONENT, MAX_SHIFT, Format

from .ops import MapType, Operation
from .post import Post, Step, token_step
from .rules import check_terms, require

__all__ = ["MAX_TERMS", "check_post"]

MAX_TERMS = 4
"""Most signed powers of two in a multiplier."""


def check_post(op: Operation, post: Post, types: dict[str, MapType]) -> None:
    """Check the steps, the table and the residuals of an operation."""
    _check_step(op, "first", post.first, post.residual, types)
    if post.token is not None:
        _check_token(op, post, types)
    if post.second is not None:
        _check_step(op, "second", post.second, post.residual2, types)
        require(
            op,
            post.y_format.width <= 8,
            f"the second step must read at most 8 bits, not {post.y_format}",
        )
        require(
            op,
            post.second.fmt.width <= 16,
            f"the second step must store at most 16 bits, not {post.second.fmt}",
        )
    else:
        require(op, post.residual2 is None, "residual2 must come with a second step")
    if post.table is not None and post.table_format is not None:
        fmt = post.table_format
        require(
            op, post.first.fmt.width <= 8, f"a table must read at most 8 bits, not {post.first.fmt}"
        )
        require(op, fmt.width <= 8, f"a table must store at most 8 bits, not {fmt}")
        require(
            op,
            fmt.min <= post.table.min() and post.table.max() <= fmt.max,
            f"table values must be in the table's format {fmt}, "
            f"not {post.table.min()} to {post.table.max()}",
        )


def _check_token(op: Operation, post: Post, types: dict[str, MapType]) -> None:
    """Check the records of tokens, and that they take the first step's place."""
    assert post.token is not None
    height, width, channels = types[op.name].shape
    given = types[post.token]
    require(op, given.records is not None,
            f"token must name records of tokens (Stats), not the map {post.token!r}")  # fmt: skip
    assert given.records is not None
    heads = given.records.heads
    require(op, channels % heads == 0,
            f"the {channels} channels must fall into the {heads} heads of {post.token!r}")
    require(op, given.shape[0] * given.shape[1] == height * width,
            f"{post.token!r} must have a record for each of the {height}x{width} positions, "
            f"not {given.shape[0]}x{given.shape[1]}")  # fmt: skip
    require(op, post.residual is None, "the first step must add nothing where m is the token's")
    require(op, post.first == token_step(channels, post.first.fmt),
            "the first step's own m must be 1, B and S 0 where they are the token's")  # fmt: skip


def _check_step(
    op: Operation, which: str, step: Step, residual: str | None, types: dict[str, MapType]
) -> None:
    """Check one step and what it adds."""
    shape = types[op.name].shape
    what = f"the {which} step's"
    require(
        op,
        step.channels == shape[2],
        f"{what} channels must be the {shape[2]} of the map, not {step.channels}",
    )
    limit = Format(BIAS_WIDTH, True)
    require(
        op,
        limit.min <= step.bias.min() and step.bias.max() <= limit.max,
        f"{what} bias must fit {BIAS_WIDTH} bits",
    )
    require(
        op,
        step.shift.min() >= 0 and step.shift.max() <= MAX_SHIFT,
        f"{what} shift must be from 0 to {MAX_SHIFT}",
    )
    require(
        op,
        1 <= step.m_sign.shape[0] <= MAX_TERMS,
        f"{what} m must have 1 to {MAX_TERMS} terms, not {step.m_sign.shape[0]}",
    )
    check_terms(op, f"{what} m", step.m_sign, step.m_exponent, MAX_EXPONENT)
    require(
        op,
        (step.r_sign is None) == (residual is None),
        f"{what} r must be given if and only if it has a residual",
    )
    if residual is None or step.r_sign is None or step.r_exponent is None:
        return
    require(
        op,
        1 <= step.r_sign.shape[0] <= MAX_TERMS,
        f"{what} r must have 1 to {MAX_TERMS} terms, not {step.r_sign.shape[0]}",
    )
    check_terms(op, f"{what} r", step.r_sign, step.r_exponent, MAX_EXPONENT)
    require(
        op,
        types[residual].shape == shape,
        f"residual {residual!r} must have the shape {shape}, not {types[residual].shape}",
    )
    require(
        op,
        2 <= types[residual].fmt.width <= 16,
        f"residual {residual!r} must be 2 to 16 bits wide, not {types[residual].fmt}",
    )
