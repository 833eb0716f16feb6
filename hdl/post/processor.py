"""Post-processor: from accumulated values to stored bytes."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.library import place
from ..contents import NOTHING
from ..formats import Format
from ..isa import param_layout
from ..records import Post, Residual
from .function_table import FunctionTable, table_write_layout
from .lane import PostLane
from .scale_step import ScaleStep
from .term_sum import TermSum

__all__ = ["PostProcessor"]


class PostProcessor(wiring.Component):
    """Scale, add, round, clamp, look up, and once more, `post_width` results a cycle.

    Lane 0 makes results of up to 32 bits, the others bytes, as only `serial` layers store
    more than a byte.

    Parameters
    ----------
    config : Config
    contents : Contents
        Of the tables, from configuration on.

    Members
    -------
    i_post : In(Post), i_adds : In(Residual), i_serial : In(1)
        What the layer does, what it adds, and whether results come one at a time. Stable from two
        cycles before its first result enters until its last has left.
    i_valid : In(1)
    i_values : In(signed(value_width) x post_width)
    i_records : In(param_layout x post_width)
        The channel of each value.
    i_residuals : In(signed(17) x post_width)
        Ignored unless the layer adds a stored map.
    i_table_write : In(table_write_layout)
        Host writes to the tables, while no layer runs.
    o_valid : Out(1)
    o_data : Out(8 x max(post_width, 4))
        Bytes to store: one per lane, or with `serial` lane 0, little endian.

    Latency `latency` cycles whatever the layer does, one vector a cycle, no back-pressure.
    """

    def __init__(self, config, contents=NOTHING):
        self._config = config
        self._contents = contents
        lanes = config.post.width
        self._record = param_layout(config).shape
        self._lanes = [PostLane(config, wide=lane == 0) for lane in range(lanes)]
        self.latency = self._lanes[0].latency + 1
        super().__init__({
            "i_post": In(Post.layout().shape), "i_adds": In(Residual.layout().shape),
            "i_serial": In(1), "i_valid": In(1),
            "i_values": In(data.ArrayLayout(signed(config.value_width), lanes)),
            "i_records": In(data.ArrayLayout(self._record, lanes)),
            "i_residuals": In(data.ArrayLayout(signed(config.residual.value_width), lanes)),
            "i_table_write": In(table_write_layout()),
            "o_valid": Out(1),
            "o_data": Out(data.ArrayLayout(8, max(lanes, 4))),
        })

    @staticmethod
    def compute(config, layer, record, value, residual=0, tables=b""):
        """Return the bytes stored for one result.

        Parameters
        ----------
        config : Config
            The accelerator.
        layer, record : dict
            Fields of an instruction and of `param_layout`, by name; missing ones are 0,
            missing terms absent.
        value : int
            What the engine accumulated.
        residual : int
            The stored map's value.
        tables : bytes
            Contents of all tables.
        """
        layout = param_layout(config).fields

        def terms(prefix, count):
            found = []
            for t in range(count):
                gone = layout[f"{prefix}{t}_exponent"].high
                exponent = record.get(f"{prefix}{t}_exponent", gone)
                sign = 1 - 2 * record.get(f"{prefix}{t}_negative", 0)
                found.append((sign * (exponent != gone), exponent))
            return found

        def field(name):
            return layer.get(name, 0)

        addend = TermSum.compute(residual, terms("r", config.residual.terms)) if field("res") else 0
        fmt = Format(field("u_width"), bool(field("u_signed")))
        result = ScaleStep.compute(value, terms("m", config.post.terms), record.get("bias", 0),
                                   record.get("shift", 0), fmt,
                                   0 if field("res_second") else addend)
        if field("table"):
            result = FunctionTable.compute(tables, field("table_index"), result & 255)
        if field("second"):
            y = result & 255
            y -= (y & 128) << 1 if field("y_signed") else 0
            fmt = Format(field("z_width"), bool(field("z_signed")))
            result = ScaleStep.compute(y, terms("n", config.post.terms), record.get("bias2", 0),
                                       record.get("shift2", 0), fmt,
                                       addend if field("res_second") else 0)
        size = 1 << field("out_log_bytes")
        return (result & ((1 << 8 * size) - 1)).to_bytes(size, "little")

    def elaborate(self, platform):
        m = Module()
        config = self._config
        results = []
        for index, lane in enumerate(self._lanes):
            m.submodules[f"lane{index}"] = place(platform, lane, index == 0)
            m.d.comb += [
                lane.i_post.eq(self.i_post), lane.i_adds.eq(self.i_adds),
                lane.i_value.eq(self.i_values[index]),
                lane.i_record.eq(self.i_records[index]),
                lane.i_residual.eq(self.i_residuals[index]),
            ]
            results.append(lane.o_result)
        if config.post.tables:
            m.submodules.tables = tables = FunctionTable(
                config.post.tables, config.post.width, self._contents)
            m.d.comb += [tables.i_table.eq(self.i_post.table_index),
                         tables.i_write.eq(self.i_table_write)]
            for index, lane in enumerate(self._lanes):
                m.d.comb += [tables.i_index[index].eq(lane.o_index),
                             lane.i_looked_up.eq(tables.o_value[index])]

        out = Signal.like(self.o_data, reset_less=True)
        for index in range(max(config.post.width, 4)):
            narrow = results[index][:8] if index < config.post.width else 0
            wide = results[0][8 * index:8 * index + 8] if index < 4 else narrow
            m.d.sync += out[index].eq(Mux(self.i_serial, wide, narrow))
        m.d.comb += self.o_data.eq(out)

        m.d.comb += self.o_valid.eq(delay(m, self.i_valid, self.latency, "valid", reset=True))
        return m
