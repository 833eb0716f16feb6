"""Scratchpad: the activations of all groups, read as vectors from any byte address."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.links import Links
from ..common.rotate import replicate_rotated, rotate_down
from ..common.technology import Technology
from ..common.thermometer import thermometer
from ..control.stages import Stages

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
        groups, banks = self._config.groups, self._config.banks
        depth = self._config.memory.scratch_bytes // banks
        low_bits = (banks - 1).bit_length()
        row_bits = max((depth - 1).bit_length(), 1)
        advance = Signal()
        m.d.comb += advance.eq(self.i_a_enable & ~self.o_a_stall)

        def stage(value, enable, name):
            after = Signal(value.shape(), name=name, reset_less=True)
            with m.If(enable):
                m.d.sync += after.eq(value)
            return after

        def bank_rows(address):
            """Return every bank's row; banks below the start of the vector take the next."""
            row, after = address[low_bits:low_bits + row_bits], Signal(row_bits)
            m.d.comb += after.eq(row + 1)
            return [Mux(below, after, row) for below in thermometer(address[:low_bits], banks)]

        a_rows = [stage(row, advance, f"a_row{bank}")
                  for bank, row in enumerate(bank_rows(self.i_a_address))]
        a_low = [self.i_a_address[:low_bits]]
        for k in range(self.a_latency - 1):
            a_low.append(stage(a_low[-1], advance, f"a_low{k + 1}"))

        # Port B: the written bytes go to every bank, turned so that each finds its own.
        host, host_read = self.i_host.payload, Signal()
        host_here, reads_now, writes_now = Signal(), Signal(), Signal()
        w_group, r_group = Signal.like(self.i_w_group), [Signal.like(self.i_r_group)]
        w_address, r_address = Signal(24), Signal(24)
        w_count = Signal.like(self.i_w_count)
        w_data = Signal(8 * self.write_bytes)
        m.d.comb += [
            self.i_host.ready.eq(~self.i_w_enable & ~self.i_r_enable),
            host_here.eq(self.i_host.valid & self.i_host.ready),
            host_read.eq(host_here & ~host.write),
            reads_now.eq((self.i_r_enable & ~self.o_conflict) | host_read),
            writes_now.eq(self.i_w_enable | (host_here & host.write)),
            w_group.eq(host.group), w_address.eq(host.address), w_count.eq(1),
            w_data.eq(host.data), r_group[0].eq(host.group),
        ]
        with m.If(self.i_w_enable):
            m.d.comb += [w_group.eq(self.i_w_group), w_address.eq(self.i_w_address),
                         w_count.eq(self.i_w_count), w_data.eq(Cat(self.i_w_data))]
        # The host alone reads where nothing is being written.
        m.d.comb += r_address.eq(host.address if self._config.residual.exists else w_address)
        if self._config.residual.exists:
            with m.If(self.i_r_enable):
                m.d.comb += [r_group[0].eq(self.i_r_group), r_address.eq(self.i_r_address)]
        links = self._links
        reads_late, writes_now = (links.delay(m, strobe, name, reset=True) for name, strobe in (
            ("b_reads", reads_now), ("b_writes", writes_now)))
        w_group, w_count, w_data, r_group[0] = (links.delay(m, value, name) for name, value in (
            ("b_w_group", w_group), ("b_w_count", w_count), ("b_w_data", w_data),
            ("b_r_group", r_group[0])))
        # One register for both where they are one.
        both = Cat(w_address, r_address) if self._config.residual.exists else w_address
        addresses = links.delay(m, both, "b_address")
        w_address, r_address = addresses[:24], addresses[-24:]
        w_low, r_low = w_address[:low_bits], [r_address[:low_bits]]
        for k in range(self.b_latency - 1 - links.cycles):
            r_low.append(delay(m, r_low[-1], 1, f"r_low{k}"))
            r_group.append(delay(m, r_group[-1], 1, f"r_group{k}"))
        size = 1 << (self.write_bytes - 1).bit_length()
        fill = 8 * (size - self.write_bytes)
        padded = Cat(w_data, Signal(fill, name="fill")) if fill else w_data
        written = delay(m, replicate_rotated(m, padded, w_low, 1, name="w_data"), 1, "w_data")
        lanes_mask = Cat(*thermometer(w_count, self.write_bytes),
                         Const(0, banks - self.write_bytes))
        bank_mask = replicate_rotated(m, lanes_mask, w_low, 1, width=1, name="w_mask")
        mask = delay(m, bank_mask, 1, "w_mask")
        writes, reads = Signal(groups), Signal(groups)
        for group in range(groups):
            written_to = (w_group == group) if groups > 1 else 1
            read_from = (r_group[0] == group) if groups > 1 else 1
            m.d.sync += [writes[group].eq(writes_now & written_to),
                         reads[group].eq(reads_late & read_from)]
        w_rows, r_rows = bank_rows(w_address), bank_rows(r_address)
        if not self._config.residual.exists:
            w_rows = r_rows = [stage(row, 1, f"b_row{bank}") for bank, row in enumerate(w_rows)]
        elif self._shared:
            w_rows = [stage(row, 1, f"w_row{bank}") for bank, row in enumerate(w_rows)]
            r_rows = [stage(row, 1, f"r_row{bank}") for bank, row in enumerate(r_rows)]
        else:
            # One address for both halves of the port, chosen before the register.
            w_rows = r_rows = [
                stage(Mux(writes_now & bank_mask[bank], w_row, r_row), 1, f"b_row{bank}")
                for bank, (w_row, r_row) in enumerate(zip(w_rows, r_rows, strict=True))]
            # The store unit decides by this whether it goes on: it does not wait for the host.
            ahead, behind = Signal(low_bits), Signal(low_bits)
            m.d.comb += [
                ahead.eq(self.i_r_address - self.i_w_address), behind.eq(-ahead),
                self.o_conflict.eq(self.i_w_enable & ((ahead < self.i_w_count)
                                                      | (behind < self.i_r_count))),
            ]
        if self._holds:
            m.d.comb += self.o_a_stall.eq(reads.any())

        a_banks, b_banks = [], []
        for group in range(groups):
            read = reads[group]
            use_held = Signal(name=f"use_held{group}")
            if self._holds:
                with m.If(read):
                    m.d.sync += use_held.eq(1)
                with m.Elif(advance):
                    m.d.sync += use_held.eq(0)
            a_bytes, b_bytes = [], []
            for bank in range(banks):
                memory = Memory(shape=8, depth=depth, init=[], attrs={"no_rw_check": 1})
                m.submodules[f"group{group}_bank{bank}"] = memory
                write, a_port = memory.write_port(), memory.read_port()
                m.d.comb += [
                    write.addr.eq(w_rows[bank]), write.en.eq(writes[group] & mask[bank]),
                    write.data.eq(written.word_select(bank % size, 8)),
                    a_port.addr.eq(a_rows[bank]), a_port.en.eq(advance),
                ]
                a_byte = b_byte = a_port.data
                if self._shared:
                    m.d.comb += [a_port.addr.eq(Mux(read, r_rows[bank], a_rows[bank])),
                                 a_port.en.eq(advance | read)]
                if self._holds:
                    # A read of port B overwrites the memory's output: keep port A's byte.
                    held = stage(a_port.data, read & ~use_held, f"held{group}_{bank}")
                    a_byte = Mux(use_held, held, a_port.data)
                if not self._shared:
                    # The enable tells synthesis that both halves of the port take turns.
                    b_port = memory.read_port()
                    m.d.comb += [b_port.addr.eq(r_rows[bank]),
                                 b_port.en.eq(read & ~write.en)]
                    b_byte = b_port.data
                a_bytes.append(a_byte)
                b_bytes.append(b_byte)
            a_banks.append(Cat(a_bytes))
            b_banks.append(Cat(b_bytes))

        a_banks = [links.delay(m, banked, f"a{group}_read", enable=advance)
                   for group, banked in enumerate(a_banks)]
        b_banks = [links.delay(m, banked, f"b{group}_read") for group, banked in enumerate(b_banks)]
        # Block RAM is late: of many banks' bytes there is time for one stage.
        middle = low_bits - 1 if Stages(self._config).registers else low_bits // 2
        coarse, fine = list(reversed(range(middle, low_bits))), list(reversed(range(middle)))
        lanes = self._config.read_lanes
        for group in range(groups):
            half = rotate_down(m, a_banks[group], a_low[-2], coarse,
                               lanes + sum(1 << bit for bit in fine), name=f"a{group}_by")
            half = stage(half, advance, f"a{group}_half")
            vector = rotate_down(m, half, a_low[-1], fine, lanes, name=f"a{group}_by")
            m.d.comb += self.o_a_data[group].eq(stage(vector, advance, f"a{group}_vector"))

        # Port B: choose the group, then rotate; alone, the group leaves time for half of it.
        chosen = Signal(8 * banks)
        m.d.comb += chosen.eq(b_banks[0])
        for group in range(1, groups):
            with m.If(r_group[-2] == group):
                m.d.comb += chosen.eq(b_banks[group])
        before, after = (coarse, fine) if groups == 1 else ([], coarse + fine)
        half = rotate_down(m, chosen, r_low[-2], before,
                           self.read_bytes + sum(1 << bit for bit in after), name="b_by")
        vector = rotate_down(m, delay(m, half, 1, "b_half"), r_low[-1], after, self.read_bytes,
                             name="b_by")
        m.d.comb += [
            self.o_r_data.eq(delay(m, vector, 1, "b_vector")),
            self.o_r_valid.eq(delay(m, reads_now, self.b_latency, "r_valid", reset=True)),
            self.o_host_valid.eq(delay(m, host_read, self.b_latency, "host_read", reset=True)),
        ]
        return m
