"""What a program means: its instructions carried out by plain loops over the gateware's reference
models.

Nothing here knows the graph that a program came from. Memory is bytes, vectors are cut out of it,
and `compute` of window, engines and post-processor say what happens to them.
"""

from types import SimpleNamespace

import numpy as np

from pyhw.compiler.disassemble import instructions
from pyhw.hdl.engines.l1 import L1Engine
from pyhw.hdl.engines.shift import ShiftEngine
from pyhw.hdl.engines.window import Window
from pyhw.hdl.formats import Format, ShiftCode
from pyhw.hdl.isa import INPUT, Opcode, Space, param_layout
from pyhw.hdl.moves.copy import Copy
from pyhw.hdl.packing import codes_per_word, slot
from pyhw.hdl.port import unfold
from pyhw.hdl.post.processor import PostProcessor

from .records import flat


def run_program(program, config, images, turn=0):
    """Run a turn of a program on images (N, H, W, C); return complete maps by layer."""
    source, output = program.turns[turn]
    slots = -(-len(images) // config.groups)
    assert slots * source.slot_bytes + source.base <= config.memory.scratch_bytes
    scratch = [bytearray(config.memory.scratch_bytes + 256) for _ in range(config.groups)]
    record = INPUT.decode(program.section(Space.INPUT))
    for index, image in enumerate(images):
        base = source.base + index // config.groups * source.slot_bytes
        raw = (image.astype(np.int64) & 255).astype(np.uint8).tobytes()
        for address, value in unfold.compute(record, raw, base).items():
            scratch[index % config.groups][address] = value
    found = {}
    every = list(instructions(program.section(Space.PROGRAM), config))
    assert [opcode.name for _, opcode, _ in every] == [
        *["COPY" if layer.engine == "COPY" else "COMPUTE" for layer in program.layers]
        * len(program.turns), "END"]
    taken = every[turn * len(program.layers):][:len(program.layers)]
    lists = np.frombuffer(program.section(Space.INDEX), "<u4")
    for layer, (_, opcode, made) in zip(program.layers, taken, strict=True):
        if opcode is Opcode.COPY:
            for group in scratch:
                Copy.compute(group, made, slots, lists)
        else:
            _layer(program, config, flat(made), slots, scratch)
        target = output if layer.target.name == program.output.name else layer.target
        if layer.complete:
            maps = []
            for index in range(len(images)):
                base = target.base + index // config.groups * target.slot_bytes
                raw = scratch[index % config.groups][base:base + target.slot_bytes]
                maps.append(target.decode(bytes(raw)))
            found[layer.name] = np.stack(maps)
    return found


def _positions(f, prefix, slots):
    """Yield a track's value at every position: differences added one after the other."""
    value = f[f"{prefix}_base"]
    for _ in range(slots):
        for y in range(f["n_y"]):
            for x in range(f["n_x"]):
                yield value
                last = x == f["n_x"] - 1
                if last and prefix == "in":
                    value += f["warmup"] * f["in_x"]
                value += (f[f"{prefix}_x"] if not last else f[f"{prefix}_y"]
                          if y < f["n_y"] - 1 else f[f"{prefix}_slot"])


def _words(program, config):
    raw, size = program.section(Space.WEIGHTS), config.weights.load_bytes
    return [int.from_bytes(raw[k:k + size], "little") for k in range(0, len(raw), size)]


def _steps(f):
    return [(ky, kx, chunk) for ky in range(f["n_ky"]) for kx in range(f["n_kx"])
            for chunk in range(f["n_chunks"]) for _ in range(f["n_digits"])]


def _signed(value, width):
    return value - (1 << width) if value >> (width - 1) else value


def _codes(words, f, engine, config, rows, lanes):
    """Return a step's codes as the engine sees them: rows of lanes."""
    width = config.engines[engine].code_width
    per_word = codes_per_word(config.weights.load_bits, width)
    places = [slot(k, per_word) for k in range(rows * lanes)]
    flat = [words[word] >> number * width & (1 << width) - 1 for word, number in places]
    if engine == "l1":
        # The gateware extends the sign, shifts, and flips the top bit of signed operands.
        extended = [_signed(c, width) if f["x_signed"] else c for c in flat]
        flat = [(c << f["w_shift"] & 255) ^ (128 if f["x_signed"] else 0) for c in extended]
    return [flat[r * lanes:(r + 1) * lanes] for r in range(rows)]


def _expanded(program, f, config):
    """Return the codes of a masked layer, block by block and step by step: rows of lanes."""
    assert config.engine(f["engine"]) == "shift"
    assert f["n_digits"] == 1
    assert not f["pad_words"]
    shape, zero = config.engines.get("shift"), ShiftCode(config.engines["shift"].code_width).zero
    memory = program.section(Space.PROTOTYPES)
    prototype = memory[f["proto_base"]:f["proto_base"] + f["proto_size"]]
    assert len(prototype) == f["proto_size"]
    raw = np.frombuffer(program.section(Space.WEIGHTS), np.uint8)
    bits = iter(np.unpackbits(raw, bitorder="little")[
        f["w_base"] * config.weights.load_bits + f["mask_bit"]:].tolist())
    taken, blocks = 0, []
    rows_left = f["rows"]
    for block in range(f["n_blocks"]):
        here = range(min(f["block_rows"], rows_left))
        rows_left -= len(here)
        if f["depthwise"]:
            here = range(config.depthwise.columns - 1 - f["warmup"], config.depthwise.columns)
        before, steps, tap, offset = taken, [], 0, 0
        for _, _, chunk in _steps(f):
            lanes = min(shape.lanes, f["run_bytes"] - chunk * f["chunk_bytes"])
            offsets = []
            for _ in range(lanes):
                offsets.append(offset)
                tap += 1
                level = 0 if tap % f["n_tap0"] else 1 if tap % (f["n_tap0"] * f["n_tap1"]) else 2
                offset = (offset + f[f"proto_tap{level}"]) % f["proto_size"]
            rows = [[zero] * shape.lanes for _ in range(shape.rows)]
            for number, row in enumerate(here):
                base = (f["proto_first"] + block * f["proto_block"] + number * f["proto_row"])
                for lane, at in enumerate(offsets):
                    taken += 1
                    if next(bits):
                        rows[row][lane] = prototype[(base + at) % f["proto_size"]]
            steps.append(rows)
        assert taken - before == f["last_bits" if block == f["n_blocks"] - 1 else "block_bits"]
        blocks.append(steps)
    return blocks


def _engine(engine, f, config):
    """Return rows, lanes and a function from vectors and codes to the rows' values."""
    if engine == "pool":
        def pool(vectors, _):
            return [(max if f["pool_max"] else sum)(column) for column in zip(*vectors)]
        return config.pool.lanes, config.pool.lanes, pool
    shape = config.engines[engine]
    twin = SimpleNamespace(rows=shape.rows, _code=engine == "shift"
                           and ShiftCode(shape.code_width))
    compute = L1Engine.compute if engine == "l1" else ShiftEngine.compute

    def run(vectors, codes):
        values = compute(twin, vectors, codes)
        limit = 1 << shape.acc_width
        if engine == "l1":
            assert sum(map(sum, vectors)) < limit
        else:
            assert all(-limit <= 2 * value < limit for value in values)
        return values
    return shape.rows, shape.lanes, run


def _layer(program, config, f, slots, scratch):
    engine = config.engine(f["engine"])
    rows, lanes, compute = _engine(engine, f, config)
    if f["depthwise"]:
        # No chain here: every position's taps are cut out of memory one by one.
        rows = config.depthwise.columns
    assert f["slots_from_run"]
    assert f["n_xy"] == f["n_x"] * f["n_y"]
    assert 1 <= f["burst"] <= config.burst_depth
    steps, memory = _steps(f), _words(program, config)
    step_words = f["pad_words"] + f["code_words"]
    layout = param_layout(config)
    records = program.section(Space.PARAMS)
    index = np.frombuffer(program.section(Space.INDEX), "<u4")
    tables = program.section(Space.TABLES)
    position_lists = [list(_positions(f, p, slots)) for p in ("in", "out", "res")]
    coordinates = [(y * f["iy_y"] + f["iy_start"], f["xb_start"] + x * f["xb_x"])
                   for _ in range(slots) for y in range(f["n_y"]) for x in range(f["n_x"])]
    rows_left = f["rows"]
    expanded = _expanded(program, f, config) if f["masked"] else None
    for block in range(f["n_blocks"]):
        first = f["param_base"] + block * f["block_rows"]
        here = min(rows_left, f["block_rows"])
        rows_left -= here
        pads, codes = [], []
        for step in range(len(steps)):
            base = f["w_base"] + (block * len(steps) + step) * step_words
            words = memory[base:base + step_words]
            whole = 8 * codes_per_word(config.weights.load_bits, 8)
            pad = sum((w & (1 << whole) - 1) << whole * k
                      for k, w in enumerate(words[:f["pad_words"]]))
            pads.append([pad >> 8 * k & 255 for k in range(config.read_lanes)])
            if expanded:
                codes.append(expanded[block][step])
                continue
            codes.append(None if not f["code_words"] else _codes(
                words[f["pad_words"]:], f, engine, config, rows, lanes))
        decoded = [layout.decode(records[c * layout.bytes:(c + 1) * layout.bytes])
                   for c in range(first, first + here)]
        for position, (address, out, res) in enumerate(zip(*position_lists)):
            offset = int(index[f["index_base"] + position % f["n_xy"]]) if f["index_mode"] else 0
            for group in scratch:
                place = (address + offset + block * f["block_in"], *coordinates[position])
                if f["depthwise"]:
                    values = _lanewise(f, config, engine, group, place, steps, pads, codes)
                else:
                    vectors = [_vector(f, config, engine, group, *place, step, pad)[:lanes]
                               for step, pad in zip(steps, pads)]
                    values = compute(vectors, codes)
                for row in range(here):
                    width = 1 if f["serial"] else config.post.width
                    vector, lane = divmod(row, width)
                    at = res + vector * f["res_vector"] + block * f["res_block"]
                    residual = _residual(f, group, at + lane * (1 + f["res_wide"]))
                    stored = PostProcessor.compute(config, f, decoded[row], values[row], residual,
                                                   tables)
                    at = out + vector * f["out_vector"] + block * f["out_block"] + lane
                    group[at:at + len(stored)] = stored


def _lanewise(f, config, engine, group, place, steps, pads, codes):
    """Return the sums of every lane's taps: column k - lead after the first under row k."""
    values = [0] * config.pool.lanes
    used = f["warmup"] + 1
    address, iy, xb = place
    for step, pad, rows in zip(steps, pads, codes):
        for column, weights in enumerate(rows[config.depthwise.columns
                                              - used:config.depthwise.columns]):
            x = _vector(f, config, engine, group, address + column * f["in_x"], iy,
                        xb + column * f["xb_x"], step, pad)
            for lane, code in enumerate(weights[:f["run_bytes"]]):
                if engine == "l1":
                    values[lane] += 256 - abs(x[lane] - code)
                else:
                    sign, exponent = ShiftCode(config.engines["shift"].code_width).decode(code)
                    values[lane] += sign and (x[lane] ^ -(sign < 0)) << exponent
    assert all(-1 << config.pool.acc_width - 1 <= v < 1 << config.pool.acc_width - 1
               for v in values)
    return values


def _vector(f, config, engine, group, address, iy, xb, step, pad):
    """Return the operands of one step at one position."""
    ky, kx, chunk = step
    past = chunk * f["chunk_bytes"]
    address += ky * f["ky_addr"] + kx * f["kx_addr"] + past
    address = _signed(address & 0xFFFFFF, 24)
    iy += ky * f["ky_iy"]
    xb += kx * f["kx_xb"] + past
    lanes = config.read_lanes
    raw = [group[a] if 0 <= (a := address + k) < len(group) else 0xAA for k in range(lanes)]
    inside = 0 <= iy < f["in_rows"]
    left = min(max(-xb, 0), lanes) if inside else lanes
    right = min(max(f["row_bytes"] - xb, 0), lanes)
    run = min(max(f["run_bytes"] - past, 0), lanes)
    x = Window.compute(raw, pad, left, right, run, engine == "l1", f["x_signed"], f["x_shift"])
    return x if engine == "l1" else [_signed(value, 9) for value in x]


def _residual(f, group, address):
    if not f["res"]:
        return 0
    fmt = Format(16 if f["res_wide"] else 8, bool(f["res_signed"]))
    return int.from_bytes(group[address:address + fmt.bytes], "little", signed=fmt.signed)
