"""Images to the scratchpad, with kernel rows folded into channels."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .isa import INPUT

__all__ = ["Unfold", "compute"]


def compute(record, image, base=0):
    """Return what the unfold unit writes for an image.

    Parameters
    ----------
    record : dict
        Fields of an `INPUT` record, as `hdl.isa.input_record` makes them.
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
        self._scratch_bytes = config.scratch_bytes
        super().__init__({
            "i_record": In(INPUT.shape),
            "i_start": In(data.StructLayout({"strobe": 1, "base": 24})),
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(data.StructLayout({"address": 24, "data": 8}))),
            "o_busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        record = self.i_record

        # Copies of one byte.
        address = Signal(24, reset_less=True)
        byte = Signal(8, reset_less=True)
        kernel_row = Signal(9, reset_less=True)
        rows_above = Signal(16, reset_less=True)
        copying, accept, put = Signal(), Signal(), Signal()
        next_row = Signal(10)
        outside = Signal()
        m.d.comb += [
            outside.eq(address >= self._scratch_bytes),
            self.o.valid.eq(copying & ~outside),
            self.o.payload.address.eq(address),
            self.o.payload.data.eq(byte),
            next_row.eq(kernel_row + record.stride),
        ]
        more = Signal()
        m.d.comb += more.eq((next_row < record.fold) & (rows_above != 0))
        step = Signal()
        m.d.comb += [step.eq(copying & (self.o.ready | outside)),
                     accept.eq(~copying | (step & ~more))]

        # Rows and values.
        first = Signal(24, reset_less=True)  # of this row: address of its first copy
        base = Signal(24, reset_less=True)  # of the map row that its first copies belong to
        cursor = Signal(24, reset_less=True)
        row, rem = Signal(16, reset_less=True), Signal(9, reset_less=True)
        channel, value = Signal(8, reset_less=True), Signal(16, reset_less=True)
        left = Signal(16, reset_less=True)  # rows of padding or image
        wanted, last_value, last_channel = Signal(), Signal(), Signal()
        pads = Array([record.pad_value0, record.pad_value1, record.pad_value2, record.pad_value3])
        m.d.comb += [
            wanted.eq(rem < record.fold),
            last_value.eq(value + 1 >= record.row_values),
            last_channel.eq(channel + 1 >= record.channels),
        ]
        last_row, padding, image = Signal(), Signal(), Signal()
        m.d.comb += last_row.eq(row + 1 >= record.out_rows)

        with m.If(put):
            m.d.sync += [channel.eq(channel + 1), cursor.eq(cursor + 1), value.eq(value + 1)]
            with m.If(last_channel):
                m.d.sync += [channel.eq(0),
                             cursor.eq(cursor + (record.pixel_step - record.channels + 1)[:24])]

        # One row after the other: padding above, image, padding below.
        end_of_row = Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
            for name in ("ABOVE", "IMAGE", "BELOW"):
                with m.State(name):
                    if name == "IMAGE":
                        m.d.comb += [self.i.ready.eq(accept), put.eq(self.i.valid & accept)]
                    else:
                        m.d.comb += [padding.eq(1), put.eq(accept)]
                    with m.If(put & last_value):
                        m.next = f"{name}-ROW"
                with m.State(f"{name}-ROW"):
                    m.d.comb += [end_of_row.eq(1), padding.eq(1)]
                    m.next = name
        return m
