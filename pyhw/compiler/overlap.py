"""Which layers may begin while the last results of the layer before are still on their way."""

from collections.abc import Iterator

from .maps import stride_offset

__all__ = ["may_start_early"]

_SPACE = 1 << 24


def may_start_early(before: dict[str, int], layer: dict[str, int]) -> bool:
    """Return whether a layer's first burst reads nothing that the last burst before it writes.

    The bursts of a run depend on its image slots, so it must be true for every number of them.

    Parameters
    ----------
    before, layer : dict
        Fields of two LAYER instructions, one after the other; fields left out are 0.
    """
    if layer.get("index_mode"):
        return False
    for slots in range(1, layer["n_slots"] + 1):
        reads = list(_reads(layer, slots))
        for start, end in _writes(before, slots):
            if any(first < end and start < last for first, last in reads):
                return False
    return True


def _reads(layer: dict[str, int], slots: int) -> Iterator[tuple[int, int]]:
    """Yield the bytes (from, to before) that the first burst reads and uses."""
    warmup, columns = layer.get("warmup", 0), layer["n_x"]
    positions = min(layer["burst"], layer["n_xy"] * slots)
    for place in range(positions + positions // columns * warmup):
        row, column = divmod(place, columns + warmup)
        top = layer["iy_start"] + row % layer["n_y"] * layer["iy_y"]
        left = layer["xb_start"] + column * layer["xb_x"]
        address = layer["in_base"] + stride_offset(layer, "in", place, warmup)
        for ky in range(layer["n_ky"]):
            if not 0 <= top + ky * layer.get("ky_iy", 0) < layer["in_rows"]:
                continue
            for kx in range(layer["n_kx"]):
                start = address + ky * layer.get("ky_addr", 0) + kx * layer.get("kx_addr", 0)
                inside = left + kx * layer.get("kx_xb", 0)
                first = max(0, -inside)
                last = min(layer["run_bytes"], layer["row_bytes"] - inside)
                if first < last:
                    yield (start + first) % _SPACE, (start + last - 1) % _SPACE + 1


def _writes(layer: dict[str, int], slots: int) -> Iterator[tuple[int, int]]:
    """Yield the bytes (from, to before) that the last burst of the last block writes."""
    places = layer["n_xy"] * slots
    channels = layer["rows"] - (layer["n_blocks"] - 1) * layer["block_rows"]
    base = layer["out_base"] + (layer["n_blocks"] - 1) * layer["out_block"]
    for place in range((places - 1) // layer["burst"] * layer["burst"], places):
        start = base + stride_offset(layer, "out", place)
        yield start, start + (channels << layer["out_log_bytes"])
