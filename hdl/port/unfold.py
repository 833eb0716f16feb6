"""Images to the scratchpad, with kernel rows folded into channels."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.thermometer import above
from ..isa import INPUT

__all__ = ["Unfold", "compute", "unfold_members"]


def compute(record, image, base=0):
    """Return what the unfold unit writes for an image.

    Parameters
    ----------
    record : dict
        Fields of an `INPUT` record, as `pyhw.hdl.isa.input_record` makes them.
    image : bytes
        Rows of pixels of channels.
    base : int
        Scratchpad address of the map.

    Returns
    -------
    dict of int to int
        Byte by address.
    """
    stride, fold, channels = record["stride"], record["fold"], record["channels"]
    row_values, written = record["row_values"], {}
    pads = [record.get(f"pad_value{c}", 0) for c in range(4)] + [0] * 252
    pad_row = [pads[i % channels] for i in range(row_values)]
    for row in range((record["out_rows"] - 1) * stride + fold):
        y = row - record["pad"]
        inside = 0 <= y < record["rows"]
        values = image[y * row_values:(y + 1) * row_values] if inside else pad_row
        for ky in range(row % stride, fold, stride):
            oy = (row - ky) // stride
            if not 0 <= oy < record["out_rows"]:
                continue
            for i, value in enumerate(values):
                x, c = divmod(i, channels)
                address = (base + oy * record["row_step"] + x * record["pixel_step"]
                           + ky * channels + c)
                written[address % (1 << 24)] = value
    return written


def unfold_members():
    """Return the ports of what brings images to the scratchpad (see `Unfold`)."""
    return {
        "i_record": In(INPUT.shape),
        "i_start": In(data.StructLayout({"strobe": 1, "base": 24})),
        "i": In(stream.Signature(8)),
        "o": Out(stream.Signature(data.StructLayout({"address": 24, "data": 8}))),
        "o_busy": Out(1),
    }


class _Phase(enum.Enum, shape=2):
    ABOVE = 0
    IMAGE = 1
    BELOW = 2


class Unfold(wiring.Component):
    """Write every byte of an image to its places in the folded map.

    Padding rows are counted with the image rows: row ``Y = y + pad`` is kernel row ``rem`` of map
    row ``q`` with ``(q, rem) = divmod(Y, stride)``, kernel row ``rem + stride`` of map row
    ``q - 1`` and so on. Walking down the image, q and rem and the address of the first copy are
    kept by additions; the next copies are ``copy_step`` apart. In the last map row ``rem`` does
    not wrap: when it reaches ``fold``, the map is complete, and the rest of the image is dropped.

    Members
    -------
    i_record : In(INPUT.shape)
        How to fold; must hold from the start to the end of an image.
    i_start : In({strobe, base})
        Begin an image (in any state).
    i : stream of 8 bits
        The image's bytes. A byte that is written k times takes max(1, k) cycles; one more cycle
        passes at the end of a row. Padding rows above follow the start, those below the last
        byte.
    o : stream of {address, data}
        Writes to the scratchpad of the image's group. Addresses at or beyond
        ``config.scratch_bytes`` are left out.
    o_busy : Out(1)
        Something is left to do without another byte of the image. High from the cycle after a
        start or a byte, if there is.
    """

    def __init__(self, config):
        self._config = config
        super().__init__(unfold_members())

    def elaborate(self, platform):
        m = Module()
        record = self.i_record
        address_width = self._config.unfold_width
        sides = {name: self._config.bits_of(f"input.{name}")
                 for name in ("channels", "out_rows", "row_values")}
        # Kernel rows go up to fold + stride, rows of padding are counted like those of the image.
        fold, stride, pad_rows, rows = (self._config.range_of(f"input.{name}")[1]
                                        for name in ("fold", "stride", "pad", "rows"))
        kernel_width = (fold + stride).bit_length()

        copying, address, byte, next_ky, oy, accept = self._copies(m, fold, stride)

        # The row: its place in the map, the address of its first copy, what kind it is.
        row = Signal(sides["out_rows"], reset_less=True)
        rem = Signal(kernel_width, reset_less=True)
        base = Signal(address_width, reset_less=True)
        first = Signal(address_width, reset_less=True)
        phase = Signal(_Phase)
        rows_left = Signal(max(pad_rows, rows).bit_length(), reset_less=True)
        # Known a cycle ahead: it is a kernel row, the last of its map row, of the last map row.
        wanted, last_rem, last_row, wrap = (Signal(name=name) for name in
                                            ("wanted", "last_rem", "last_row", "wrap"))
        next_first = Signal(address_width)
        m.d.comb += [
            wrap.eq(last_rem & ~last_row),
            next_first.eq(Mux(wrap, base, first) + Mux(wrap, record.row_step, record.channels)),
        ]
        with m.If(self.i_start.strobe):
            m.d.comb += next_first.eq(self.i_start.base)

        # The value: column and channel.
        put = Signal()
        cursor = Signal(address_width, reset_less=True)
        channel = Signal(sides["channels"], reset_less=True)
        values_left = Signal(sides["row_values"], reset_less=True)
        last_channel = Signal()
        pads = Array([record.pad_value0, record.pad_value1, record.pad_value2, record.pad_value3])
        pad = Mux(channel < len(pads), pads[channel[:2]], 0)
        m.d.comb += last_channel.eq(channel + 1 >= record.channels)
        with m.If(put):
            m.d.sync += [
                values_left.eq(values_left - 1),
                channel.eq(Mux(last_channel, 0, channel + 1)),
                cursor.eq(cursor + 1
                          + Mux(last_channel, record.pixel_step - record.channels, 0)),
            ]
            with m.If(wanted):
                m.d.sync += [copying.eq(1), address.eq(cursor), oy.eq(row),
                             next_ky.eq(rem + record.stride),
                             byte.eq(Mux(phase == _Phase.IMAGE, self.i.payload, pad))]

        start = self.i_start.strobe

        def enter(kernel_row):
            m.d.sync += [rem.eq(kernel_row), wanted.eq(kernel_row < record.fold),
                         last_rem.eq(kernel_row + 1 >= record.stride)]

        def restart():
            with m.If(start):
                m.next = "TURN"

        with m.FSM():
            with m.State("REST"):  # more bytes than the image has are dropped
                m.d.comb += [self.i.ready.eq(~start), self.o_busy.eq(copying)]
                restart()
            with m.State("TURN"):
                m.d.comb += self.o_busy.eq(1)
                m.d.sync += [rows_left.eq(rows_left - 1), channel.eq(0), cursor.eq(first),
                             values_left.eq(record.row_values)]
                m.next = "ROW"
                with m.Switch(phase):
                    with m.Case(_Phase.ABOVE):
                        with m.If(rows_left == 0):
                            m.d.sync += [phase.eq(_Phase.IMAGE), rows_left.eq(record.rows)]
                            m.next = "TURN"
                    with m.Case(_Phase.IMAGE):
                        with m.If(rows_left == 0):
                            m.d.sync += phase.eq(_Phase.BELOW)
                            m.next = "TURN"
                    with m.Case(_Phase.BELOW):
                        with m.If(last_row & ~wanted):
                            m.next = "REST"
                restart()
            with m.State("ROW"):
                with m.If(phase == _Phase.IMAGE):
                    m.d.comb += [self.i.ready.eq(accept & ~start),
                                 put.eq(self.i.valid & accept),
                                 self.o_busy.eq(copying)]
                with m.Else():
                    m.d.comb += [put.eq(accept), self.o_busy.eq(1)]
                with m.If(put & ~above(values_left, 1)):
                    m.next = "NEXT"
                restart()
            with m.State("NEXT"):
                m.d.comb += self.o_busy.eq(1)
                m.d.sync += first.eq(next_first)
                with m.If(wrap):
                    m.d.sync += [base.eq(next_first), row.eq(row + 1),
                                 last_row.eq(row + 2 >= record.out_rows)]
                    enter(0)
                with m.Elif(wanted | ~last_row):
                    enter(rem + 1)
                m.next = "TURN"
                restart()
        with m.If(start):
            m.d.sync += [
                copying.eq(0), phase.eq(_Phase.ABOVE), rows_left.eq(record.pad), row.eq(0),
                last_row.eq(record.out_rows <= 1), base.eq(next_first), first.eq(next_first),
            ]
            enter(0)
        return m

    def _copies(self, m, fold, stride):
        """Add the copies of one byte: kernel row ky of map row oy, then ky + stride of oy - 1 ...

        Return what a byte sets, the first that some are left, and whether the next may come.
        """
        record = self.i_record
        copying = Signal()
        address = Signal(self._config.unfold_width, reset_less=True)
        byte = Signal(8, reset_less=True)
        next_ky = Signal((fold + stride).bit_length(), reset_less=True)
        oy = Signal(self._config.bits_of("input.out_rows"), reset_less=True)
        more, step, accept, inside = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            inside.eq(~above(address, self._config.memory.scratch_bytes - 1)),
            self.o.valid.eq(copying & inside),
            self.o.payload.address.eq(address),
            self.o.payload.data.eq(byte),
            more.eq((next_ky < record.fold) & (oy != 0)),
            step.eq(copying & (self.o.ready | ~inside)),
            accept.eq(~copying | (step & ~more)),
        ]
        with m.If(step):
            m.d.sync += [copying.eq(more), address.eq(address + record.copy_step),
                         next_ky.eq(next_ky + record.stride), oy.eq(oy - 1)]
        return copying, address, byte, next_ky, oy, accept
