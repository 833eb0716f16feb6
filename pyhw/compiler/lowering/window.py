"""What the lowering of several operations shares: windows, the pooling unit, residuals."""

from collections.abc import Mapping

from pyhw.graph.ops import MapType, Operation
from pyhw.graph.post import Post
from pyhw.hdl.config import Config

from ..maps import Map

__all__ = ["common_shape", "pool_fields", "residual_of", "window_fields"]


def residual_of(post: Post, maps: Mapping[str, Map]) -> Map | None:
    """Return the map that a post-processing adds, in either step."""
    name = post.residual or post.residual2
    return None if name is None else maps[name]


def window_fields(source: Map, shape: tuple[int, int, int], padding: tuple[int, int, int, int],
                  stride: tuple[int, int]) -> tuple[dict[str, int], int]:
    """Return position and border fields of windows over a map, and the first one's offset."""
    rows, columns, _ = shape
    top, left, _, _ = padding
    sy, sx = stride
    strides = source.strides(columns, rows, stride)
    return {
        "n_x": columns, "n_y": rows, "in_x": strides.x, "in_y": strides.y, "in_slot": strides.slot,
        "xb_start": -left * source.pixel, "xb_x": sx * source.pixel,
        "xb_y": -(columns - 1) * sx * source.pixel, "row_bytes": source.row,
        "iy_start": -top, "iy_y": sy, "iy_slot": -(rows - 1) * sy, "in_rows": source.shape[0],
    }, -top * source.row - left * source.pixel


def pool_fields(channels: int, config: Config) -> dict[str, int]:
    """Return the loops of a layer of the pooling unit, without a window."""
    rows = min(config.pool.lanes, channels)
    return {"n_digits": 1, "n_chunks": 1, "chunk_bytes": 0, "run_bytes": rows,
            "n_blocks": -(-channels // rows), "block_rows": rows, "rows": channels,
            "block_in": rows, "n_kx": 1, "n_ky": 1}


def common_shape(op: Operation, known: Mapping[str, MapType]) -> dict[str, int | str | bool]:
    """Return the fields of `LayerShape` that follow from an operation's value."""
    (height, width, channels), fmt = known[op.name].shape, known[op.name].fmt
    return {"name": op.name, "positions": height * width, "columns": width, "channels": channels,
            "serial": fmt.bytes > 1, "residual": any(post.residuals for post in op.posts)}
