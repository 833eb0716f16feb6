"""Scratchpad: the activations of all groups, read as vectors from any byte address."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.links import Links
from ..common.rotate import replicate_rotated, rotate_down
from ..common.technology import Technology
from ..common.thermometer import thermometer
from ..control.stages import Stages
from .banks import Banks

__all__ = ["HostAccess", "Scratchpad"]


class HostAccess(data.Struct):
    """One byte of a scratchpad, read or written by the host."""

    write: 1
    group: 8
    address: 24
    data: 8


class Scratchpad(wiring.Component):
    """Banked byte memories with a vector port A and an access port B.

    Byte address a of a group lies in bank ``a % banks``, row ``a // banks``. A vector that
    starts inside a row takes the next row from the banks below its start; a rotator brings
    its first byte to lane 0. All groups read the same address on port A, and port B writes one
    group and reads one group a cycle, so that addresses and port B's rotators exist once.

    Port A is read only. Port B's read and write share each bank's address, one true dual-port
    block RAM per bank: in one cycle they must use different banks. Where a block has one read and
    one write port (iCE40; see `Technology.dual_port`), port B reads through port A's; then, without
    `config.reads_in_run`, what port A has read is lost by it.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_a_address : In(24), i_a_enable : In(1)
        Byte address of the next vector; the whole of port A moves only when enabled.
    o_a_data : Out((8 x read_lanes) x groups)
        The vectors, `a_latency` enabled cycles later.
    o_a_stall : Out(1)
        `i_a_enable` has no effect in this cycle, and must be low for what runs beside port A:
        the cycle after `i_r_enable` (behind a link the one after it), where port B reads through
        port A; else never, nor without `config.reads_in_run`.
    i_w_group : In(groups), i_w_address : In(24), i_w_enable : In(1),
    i_w_count : In(range(write_bytes + 1)), i_w_data : In(8 x write_bytes)
        Port B: write the first `i_w_count` bytes from the address on. Seen by accesses that
        start in later cycles.
    i_r_group : In(groups), i_r_address : In(24), i_r_count : In(range(read_bytes + 1)),
    i_r_enable : In(1)
        Port B: read from the address on, only with `config.residual`. Bytes from `i_r_count` on
        mean nothing.
    o_conflict : Out(1)
        The bytes asked for lie in banks that the write of this cycle uses, in whatever group:
        `i_r_enable` has no effect. Does not depend on `i_r_enable`.
    o_r_valid : Out(1), o_r_data : Out(8 x read_bytes)
        The bytes, `b_latency` cycles after `i_r_enable`.
    i_host : In(stream of HostAccess), o_host_valid : Out(1)
        Port B while neither `i_w_enable` nor `i_r_enable`: bytes that the host writes or reads.
        What it reads is the first byte of `o_r_data`, in order.

    One vector, one write and one read a cycle, no back-pressure but `o_a_stall`, `o_conflict` and
    that of `i_host`. Addresses wrap at the next power of two of rows. Undefined: what is read
    beyond `scratch_bytes` (what is written there is lost), and bytes read while they are written.
    """

    def __init__(self, config):
        self._config = config
        self.write_bytes = max(4, config.post.width)
        self.read_bytes = max(1, config.residual_bytes)
        self._links = Links(config)
        self._depth = config.memory.scratch_bytes // config.banks
        self._low_bits = (config.banks - 1).bit_length()
        self._row_bits = max((self._depth - 1).bit_length(), 1)
        self._size = 1 << (self.write_bytes - 1).bit_length()
        self._shared = not Technology(config).dual_port
        self._holds = self._shared and config.reads_in_run
        # Rows, memory, a link behind it, two parts of the rotation; port B has one more link behind
        # the choice of what it does.
        late = self._links.cycles
        self.a_latency, self.b_latency = 4 + late, 4 + 2 * late
        super().__init__({
            "i_a_address": In(24), "i_a_enable": In(1), "o_a_stall": Out(1),
            "o_a_data": Out(data.ArrayLayout(data.ArrayLayout(8, config.read_lanes),
                                             config.groups)),
            "i_w_group": In(range(max(config.groups, 2))), "i_w_address": In(24),
            "i_w_enable": In(1), "i_w_count": In(range(self.write_bytes + 1)),
            "i_w_data": In(data.ArrayLayout(8, self.write_bytes)),
            "i_r_group": In(range(max(config.groups, 2))), "i_r_address": In(24),
            "i_r_enable": In(1), "i_r_count": In(range(self.read_bytes + 1)),
            "o_conflict": Out(1), "o_r_valid": Out(1),
            "i_host": In(stream.Signature(HostAccess)), "o_host_valid": Out(1),
            "o_r_data": Out(data.ArrayLayout(8, self.read_bytes)),
        })

    @staticmethod
    def compute(contents, address, count):
        """Return `count` bytes of one group's contents from an address on."""
        return contents[address:address + count]

    def elaborate(self, platform):
        m = Module()
        groups, links = self._config.groups, self._links
        advance = Signal()
        m.d.comb += advance.eq(self.i_a_enable & ~self.o_a_stall)
        a_rows = [delay(m, row, 1, f"a_row{bank}", enable=advance)
                  for bank, row in enumerate(self._rows(m, self.i_a_address))]
        a_low = [self.i_a_address[:self._low_bits]]
        for k in range(self.a_latency - 1):
            a_low.append(delay(m, a_low[-1], 1, f"a_low{k}", enable=advance))
        w_rows, r_rows, written, mask, writes, reads, r_group, r_low = self._port_b(m)
        a_banks, b_banks = [], []
        for group in range(groups):
            m.submodules[f"group{group}"] = banks = Banks(
                self._config.banks, self._depth, shared=self._shared, holds=self._holds)
            m.d.comb += [
                banks.i_a_enable.eq(advance), banks.i_read.eq(reads[group]),
                banks.i_write.eq(mask & writes[group].replicate(len(mask))),
                banks.i_data.as_value().eq(written.replicate(self._config.banks // self._size)),
                banks.i_a_rows.as_value().eq(Cat(a_rows)),
                banks.i_w_rows.as_value().eq(Cat(w_rows)),
                banks.i_r_rows.as_value().eq(Cat(r_rows)),
            ]
            a_banks.append(links.delay(m, banks.o_a.as_value(), f"a{group}_read", enable=advance))
            b_banks.append(links.delay(m, banks.o_b.as_value(), f"b{group}_read"))
        # Block RAM is late: of many banks' bytes there is time for one stage.
        low = self._low_bits
        middle = low - 1 if Stages(self._config).registers else low // 2
        coarse, fine = list(reversed(range(middle, low))), list(reversed(range(middle)))
        for group in range(groups):
            lanes = self._config.read_lanes
            half = rotate_down(m, a_banks[group], a_low[-2], coarse,
                               lanes + sum(1 << bit for bit in fine), name=f"a{group}_by")
            half = delay(m, half, 1, f"a{group}_half", enable=advance)
            vector = rotate_down(m, half, a_low[-1], fine, lanes, name=f"a{group}_by")
            m.d.comb += self.o_a_data[group].eq(
                delay(m, vector, 1, f"a{group}_vector", enable=advance))

        # Port B: choose the group, then rotate; alone, the group leaves time for half of it.
        chosen = Signal(8 * self._config.banks)
        m.d.comb += chosen.eq(b_banks[0])
        for group in range(1, groups):
            with m.If(r_group[-2] == group):
                m.d.comb += chosen.eq(b_banks[group])
        before, after = (coarse, fine) if groups == 1 else ([], coarse + fine)
        half = rotate_down(m, chosen, r_low[-2], before,
                           self.read_bytes + sum(1 << bit for bit in after), name="b_by")
        vector = rotate_down(m, delay(m, half, 1, "b_half"), r_low[-1], after, self.read_bytes,
                             name="b_by")
        m.d.comb += self.o_r_data.eq(delay(m, vector, 1, "b_vector"))
        return m

    def _rows(self, m, address):
        """Return every bank's row; banks below the start of the vector take the next."""
        row = address[self._low_bits:self._low_bits + self._row_bits]
        after = Signal(self._row_bits)
        m.d.comb += after.eq(row + 1)
        return [Mux(below, after, row)
                for below in thermometer(address[:self._low_bits], self._config.banks)]

    def _port_b(self, m):
        """Add what port B does before the memories.

        Return rows of writes and reads; the written bytes, turned so that each bank finds its own;
        banks and groups that are written, groups read; group and place of reads, by stage.
        """
        residual, links = self._config.residual.exists, self._links
        w_group, w_address, w_count, w_data, r_group, r_address, writes_now, reads_now = (
            self._accesses(m))
        reads_late, writes_now = (links.delay(m, strobe, name, reset=True) for name, strobe in (
            ("b_reads", reads_now), ("b_writes", writes_now)))
        w_group, w_count, w_data, r_group = (links.delay(m, value, name) for name, value in (
            ("b_w_group", w_group), ("b_w_count", w_count), ("b_w_data", w_data),
            ("b_r_group", r_group)))
        # One register for both where they are one.
        addresses = links.delay(m, Cat(w_address, r_address) if residual else w_address,
                                "b_address")
        w_address, r_address = addresses[:24], addresses[-24:]
        w_low, r_low, r_groups = w_address[:self._low_bits], [r_address[:self._low_bits]], [r_group]
        for k in range(self.b_latency - 1 - links.cycles):
            r_low.append(delay(m, r_low[-1], 1, f"r_low{k}"))
            r_groups.append(delay(m, r_groups[-1], 1, f"r_group{k}"))
        padded = Cat(w_data, Const(0, 8 * (self._size - self.write_bytes)))
        written = delay(m, replicate_rotated(m, padded, w_low, 1, name="w_data"), 1, "w_data")
        lanes_mask = Cat(*thermometer(w_count, self.write_bytes),
                         Const(0, self._config.banks - self.write_bytes))
        bank_mask = replicate_rotated(m, lanes_mask, w_low, 1, width=1, name="w_mask")
        mask = delay(m, bank_mask, 1, "w_mask")
        groups = self._config.groups
        writes, reads = Signal(groups), Signal(groups)
        for group in range(groups):
            m.d.sync += [writes[group].eq(writes_now & ((w_group == group) if groups > 1 else 1)),
                         reads[group].eq(reads_late & ((r_group == group) if groups > 1 else 1))]
        if self._holds:
            m.d.comb += self.o_a_stall.eq(reads.any())
        w_rows, r_rows = self._rows(m, w_address), self._rows(m, r_address)
        if not residual:
            w_rows = r_rows = [delay(m, row, 1, f"b_row{bank}") for bank, row in enumerate(w_rows)]
        elif self._shared:
            w_rows = [delay(m, row, 1, f"w_row{bank}") for bank, row in enumerate(w_rows)]
            r_rows = [delay(m, row, 1, f"r_row{bank}") for bank, row in enumerate(r_rows)]
        else:
            # One address for both halves of the port, chosen before the register.
            w_rows = r_rows = [
                delay(m, Mux(writes_now & bank_mask[bank], w_row, r_row), 1, f"b_row{bank}")
                for bank, (w_row, r_row) in enumerate(zip(w_rows, r_rows, strict=True))]
        return w_rows, r_rows, written, mask, writes, reads, r_groups, r_low

    def _accesses(self, m):
        """Choose what port B does: the store unit's accesses come before the host's."""
        host, host_read = self.i_host.payload, Signal()
        host_here, reads_now, writes_now = Signal(), Signal(), Signal()
        w_group, r_group = Signal.like(self.i_w_group), Signal.like(self.i_r_group)
        w_address, r_address = Signal(24), Signal(24)
        w_count, w_data = Signal.like(self.i_w_count), Signal(8 * self.write_bytes)
        m.d.comb += [
            self.i_host.ready.eq(~self.i_w_enable & ~self.i_r_enable),
            host_here.eq(self.i_host.valid & self.i_host.ready),
            host_read.eq(host_here & ~host.write),
            reads_now.eq((self.i_r_enable & ~self.o_conflict) | host_read),
            writes_now.eq(self.i_w_enable | (host_here & host.write)),
            w_group.eq(host.group), w_address.eq(host.address), w_count.eq(1),
            w_data.eq(host.data), r_group.eq(host.group),
            self.o_r_valid.eq(delay(m, reads_now, self.b_latency, "r_valid", reset=True)),
            self.o_host_valid.eq(delay(m, host_read, self.b_latency, "host_read", reset=True)),
        ]
        with m.If(self.i_w_enable):
            m.d.comb += [w_group.eq(self.i_w_group), w_address.eq(self.i_w_address),
                         w_count.eq(self.i_w_count), w_data.eq(Cat(self.i_w_data))]
        # The host alone reads where nothing is being written.
        m.d.comb += r_address.eq(host.address if self._config.residual.exists else w_address)
        if self._config.residual.exists:
            with m.If(self.i_r_enable):
                m.d.comb += [r_group.eq(self.i_r_group), r_address.eq(self.i_r_address)]
        if self._config.residual.exists and not self._shared:
            # The store unit decides by this whether it goes on: it does not wait for the host.
            ahead, behind = Signal(self._low_bits), Signal(self._low_bits)
            m.d.comb += [ahead.eq(self.i_r_address - self.i_w_address), behind.eq(-ahead),
                         self.o_conflict.eq(self.i_w_enable & ((ahead < self.i_w_count)
                                                               | (behind < self.i_r_count)))]
        return w_group, w_address, w_count, w_data, r_group, r_address, writes_now, reads_now
