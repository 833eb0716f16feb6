"""Which layers may begin while the last results of the layer before are still on their way."""

from collections.abc import Iterator

from pyhw.hdl.isa import Opcode
from pyhw.hdl.records import Instruction

from .loop_nest import LoopNest
from .maps import Strides

__all__ = ["may_start_early"]

_SPACE = 1 << 24


def may_start_early(before: Instruction, layer: Instruction) -> bool:
    """Return whether a layer's first burst reads nothing that the last burst before it writes.

    The bursts of a run depend on its image slots, so it must be true for every number of them.

    Parameters
    ----------
    before, layer : Instruction
        One after the other.
    """
    if layer.index.index_mode:
        return False
    # A move begins when all is stored, and has no last burst.
    if any(one.control.opcode != Opcode.COMPUTE.value for one in (before, layer)):
        return False
    for slots in range(1, layer.control.n_slots + 1):
        reads = list(_reads(layer, slots))
        for start, end in _writes(before, slots):
            if any(first < end and start < last for first, last in reads):
                return False
    return True


def _reads(layer: Instruction, slots: int) -> Iterator[tuple[int, int]]:
    """Yield the bytes (from, to before) that the first burst reads and uses."""
    nest, read, window, steps = LoopNest.of(layer, slots), layer.read, layer.window, layer.steps
    strides = Strides(read.in_x, read.in_y, read.in_slot)
    for number, row, column in nest.first_burst():
        top = window.iy_start + row * window.iy_y
        left = window.xb_start + column * window.xb_x
        address = read.in_base + nest.offset(strides, number, warmup=True)
        for ky in range(steps.n_ky):
            if not 0 <= top + ky * window.ky_iy < window.in_rows:
                continue
            for kx in range(steps.n_kx):
                start = address + ky * window.ky_addr + kx * window.kx_addr
                inside = left + kx * window.kx_xb
                first = max(0, -inside)
                last = min(steps.run_bytes, window.row_bytes - inside)
                if first < last:
                    yield (start + first) % _SPACE, (start + last - 1) % _SPACE + 1


def _writes(layer: Instruction, slots: int) -> Iterator[tuple[int, int]]:
    """Yield the bytes (from, to before) that the last burst of the last block writes."""
    nest, write = LoopNest.of(layer, slots), layer.write
    strides, block = Strides(write.out_x, write.out_y, write.out_slot), nest.blocks - 1
    for number in nest.last_burst():
        start = write.out_base + block * write.out_block + nest.offset(strides, number)
        yield start, start + (nest.channels_of(block) << write.out_log_bytes)
