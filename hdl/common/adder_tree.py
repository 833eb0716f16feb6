"""Pipelined adder tree."""

from amaranth.hdl import Shape, Signal

from ..formats import width_of

__all__ = ["adder_tree", "tree_latency", "tree_shape"]


def _check(count, register_every):
    if count < 1:
        raise ValueError(f"Adder tree must have at least one operand, not {count}")
    if not isinstance(register_every, int) or register_every < 0:
        raise ValueError(f"register_every must be an integer from 0, not {register_every!r}")


def tree_latency(count, register_every=1):
    """Return the cycles that `adder_tree` takes for `count` operands."""
    _check(count, register_every)
    levels = (count - 1).bit_length()
    return -(-levels // register_every) if register_every else 0


def tree_shape(shapes):
    """Return the shape of the sum that `adder_tree` makes of operands of these shapes."""
    shapes = [Shape.cast(shape) for shape in shapes]
    low = -sum(1 << (shape.width - 1) for shape in shapes if shape.signed)
    high = sum((1 << (shape.width - shape.signed)) - 1 for shape in shapes)
    if shapes[0].signed:
        return Shape(width_of(low, high), True)
    return Shape(high.bit_length(), False)


def adder_tree(m, operands, register_every=1, domain="sync"):
    """Add up any number of values.

    Pairs are added level by level; a value left over waits for the next level. Every partial
    sum is exactly as wide as its range needs, so nothing wraps.

    Parameters
    ----------
    m : Module
    operands : sequence of value-like
        At least one; all signed or all unsigned.
    register_every : int
        Levels of adders between registers. The sum is registered too. 0 leaves out all registers.
    domain : str
        Clock domain of the registers.

    Returns
    -------
    (sum, latency)
        A signal (the operand itself if there is one only), and its delay in cycles.

    Raises
    ------
    ValueError
        Without operands, or if they differ in signedness.
    """
    operands = list(operands)
    _check(len(operands), register_every)
    shapes = [operand.shape() for operand in operands]
    if len({shape.signed for shape in shapes}) > 1:
        raise ValueError("Adder tree operands must be all signed or all unsigned, not mixed")

    def bounds(shape):
        top = 1 << (shape.width - shape.signed)
        return (-top if shape.signed else 0), top - 1

    level = [(operand, bounds(shape)) for operand, shape in zip(operands, shapes)]
    is_signed = shapes[0].signed
    depth = latency = 0
    while len(level) > 1:
        depth += 1
        registered = register_every and (depth % register_every == 0 or len(level) == 2)
        target = m.d[domain] if registered else m.d.comb
        latency += bool(registered)
        above = []
        for pair in (level[i:i + 2] for i in range(0, len(level), 2)):
            low, high = (sum(bound[k] for _, bound in pair) for k in range(2))
            if len(pair) == 1 and not registered:
                above.append(pair[0])
                continue
            width = width_of(low, high) if is_signed else high.bit_length()
            partial = Signal(Shape(width, is_signed), name=f"sum{depth}", reset_less=True)
            target += partial.eq(pair[0][0] if len(pair) == 1 else pair[0][0] + pair[1][0])
            above.append((partial, (low, high)))
        level = above
    return level[0][0], latency
