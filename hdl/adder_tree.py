"""Pipelined adder tree."""

import itertools

from amaranth.hdl import Cat, Const, Shape, Signal

from .formats import width_of

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


def adder_tree(m, operands, register_every=1, domain="sync", *, chain=1, low=Const(0, 1)):
    """Add up any number of values.

    Pairs are added level by level; a value left over waits for the next level. Every partial
    sum is exactly as wide as its range needs, so nothing wraps, and unsigned sums of a level need
    nothing between them to share a carry chain.

    Parameters
    ----------
    m : Module
    operands : sequence of value-like
        At least one; all signed or all unsigned.
    register_every : int
        Levels of adders between registers. The sum is registered too. 0 leaves out all registers.
    domain : str
        Clock domain of the registers.
    chain : int
        Unsigned sums of a level that share a carry chain. Signed ones always have their own.
    low : Value
        A zero, for the bits above operands: Yosys takes chains apart where it sees one.

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
    if is_signed:
        chain = 1
    depth = latency = 0
    while len(level) > 1:
        depth += 1
        registered = register_every and (depth % register_every == 0 or len(level) == 2)
        target = m.d[domain] if registered else m.d.comb
        latency += bool(registered)
        above = []
        for start in range(0, len(level), 2 * chain):
            block = level[start:start + 2 * chain]
            half = (len(block) + 1) // 2
            pairs = list(zip(block[:half], block[half:]))
            limits = [(a[0] + b[0], a[1] + b[1]) for (_, a), (_, b) in pairs]
            widths = [width_of(*limit) if is_signed else limit[1].bit_length() for limit in limits]
            if pairs:
                sums = Signal(Shape(sum(widths), is_signed), name=f"sum{depth}", reset_less=True)
                left, right = pairs[0][0][0], pairs[0][1][0]
                if len(pairs) > 1:
                    left, right = (
                        Cat(Cat(pair[k][0], *[above] * (width - len(pair[k][0])))
                            for pair, width in zip(pairs, widths))
                        for k, above in ((0, low), (1, Const(0, 1))))
                target += sums.eq(left + right)
                ends = itertools.accumulate(widths)
                above += [(sums if len(pairs) == 1 else sums[end - width:end], limit)
                          for end, width, limit in zip(ends, widths, limits)]
            for value, limit in block[len(pairs):half]:
                if registered:
                    waiting = Signal(value.shape(), name=f"waiting{depth}", reset_less=True)
                    target += waiting.eq(value)
                    value = waiting
                above.append((value, limit))
        level = above
    return level[0][0], latency
