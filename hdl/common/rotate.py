"""Rotators, built from two-way multiplexers on whole vectors."""

from amaranth.hdl import Cat, Mux, Signal

__all__ = ["replicate_rotated", "rotate_down"]


def rotate_down(m, vector, offset, bits, keep, width=8, name="rotated"):
    """Rotate elements towards index 0 and keep as many as are wanted.

    Parameters
    ----------
    m : Module
        Where the stages go.
    vector : Signal
        The elements, element 0 in the low bits.
    offset : Value
        Elements to rotate by.
    bits : sequence of int
        The bits of `offset` to look at, in this order. Largest first is cheapest: each stage
        then makes only the elements that smaller ones may still move into the result.
    width : int
        Bits of an element.
    name : str
        Start of the stages' names.
    keep : int
        Elements wanted after the last of all stages. Stages left for later (the smaller
        bits of `offset`) need ``1 << bit`` more each, to be included by the caller.

    Returns
    -------
    Signal
        `keep` elements (or all there are).
    """
    count = len(vector) // width
    for position, bit in enumerate(bits):
        step = 1 << bit
        need = min(count, keep + sum(1 << b for b in bits[position + 1:]))
        have = len(vector) // width
        both = Cat(vector, vector) if have == count else vector
        stage = Signal(need * width, name=f"{name}{bit}")
        m.d.comb += stage.eq(Mux(offset[bit], both[step * width:(step + need) * width],
                               both[:need * width]))
        vector = stage
    return vector


def replicate_rotated(m, vector, offset, copies, width=8, name="rotated"):
    """Rotate a power of two of elements away from index 0 and repeat the result.

    Element k of `vector` comes out at every index that is ``offset + k`` modulo its length.
    """
    count = len(vector) // width
    for bit in range((count - 1).bit_length()):
        step = (count - (1 << bit)) * width
        stage = Signal(len(vector), name=f"{name}{bit}")
        m.d.comb += stage.eq(Mux(offset[bit], Cat(vector[step:], vector[:step]), vector))
        vector = stage
    return Cat(vector for _ in range(copies))
