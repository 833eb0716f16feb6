"""A device in Python: it answers frames as `docs/protocol.md` says and runs by the golden executor.

It executes what was really loaded and sent: with a program that is not the right one, with an image
that did not arrive, or after a reset, results are wrong, as on a board.
"""

import random
from collections import deque
from zlib import crc32

import numpy as np

from pyhw.graph.execute import run
from pyhw.hdl.config import ISA_VERSION
from tests.support.wire import Wire, wrap

OK, UNKNOWN_COMMAND, BAD_LENGTH, NO_PROGRAM, BUSY = 0, 1, 2, 5, 6
WRONG_CONFIG, BAD_CHECKSUM, OUT_OF_RANGE, OUT_OF_ORDER = 7, 8, 9, 10
IDENTIFY, BEGIN, WRITE, COMMIT, IMAGE, RUN, STATUS, READ, RESET = range(9)
ARGUMENTS = (0, 8, 5, 4, 8, 5, 1, 7, 0)
STORED, IDLE, RUNNING = 0, 1, 2


def number(raw):
    return int.from_bytes(raw, "little")


class DeviceModel:
    """A transport with a device behind it; time passes only in `receive`.

    Parameters
    ----------
    config : Config
    graph, program
        What the device is able to run.
    seed : int
        Of what memories hold at first, and of how long a run takes.
    isa, version : int
        For tests of other gateware.
    """

    def __init__(self, config, graph, program, *, seed=0, isa=ISA_VERSION):
        self.config, self.graph, self.program, self.isa = config, graph, program, isa
        self.random = random.Random(f"device {seed}")
        self.frames = self.executed = self.resets = self.most_waiting = 0
        self.sent = self.received = self.most_behind_read = 0
        self.patience = 2
        """A run may take so many silences."""
        self._known = {}
        self._wire = Wire(config.port.max_payload)
        self._queue, self._out = deque(), deque()
        self.power_cycle()

    def power_cycle(self):
        """Lose everything, as when the board is reset."""
        self._wire.silence()
        self._queue.clear()
        self._valid = self._loading = False
        self._running, self._turn, self._results = 0, 0, []
        self._memory, self._crc = {}, 0
        self._image = None
        self._last = None
        self._scratch = [bytearray(self.random.randbytes(self.config.memory.scratch_bytes))
                         for _ in range(self.config.groups)]
        self._images = {}

    # ---- the transport ----

    def send(self, data):
        """Take bytes from the host."""
        self.sent += len(data)
        for arrived in self._wire.feed(data):
            self.frames += 1
            self._queue.append(arrived)
        self.most_waiting = max(self.most_waiting, len(self._queue))
        if any(frame.opcode == READ for frame in self._queue):
            self.most_behind_read = max(self.most_behind_read, len(self._queue))

    def receive(self, timeout_s):
        """Return bytes for the host."""
        if not self._out and not self._queue and (cut := self._wire.silence()):
            self._queue.append(cut)
        return self.work()

    def work(self):
        """Return bytes for the host, if there are any without a silence."""
        while self._queue and not self._out:
            if not self._execute(self._queue[0]):
                return b""  # the run takes longer than the host waits
            self._queue.popleft()
        if not self._out:
            return b""
        data = self._out.popleft()
        if len(data) > 1 and self.random.random() < 0.1:
            at = self.random.randrange(1, len(data))
            self._out.appendleft(data[at:])
            data = data[:at]
        self.received += len(data)
        return data

    # ---- the device ----

    def _execute(self, frame):
        """Carry out a frame; False if its answer takes longer."""
        if frame.opcode == 0xff:
            self._reply(frame, frame.payload)
            return True
        key = (frame.sequence, frame.opcode, frame.check)
        if self._last and self._last[0] == key and frame.opcode not in (IDENTIFY, STATUS, READ):
            self._reply(frame, self._last[1][:1])
            return True
        if frame.opcode == STATUS and frame.payload[:1] == b"\1" and self._running:
            self._running -= len(self._queue) < 2
            if not self._running:
                self._finish()
            if self._running and len(self._queue) < 2:
                return False
        reply = self._answer(frame.opcode, frame.payload)
        self.executed += 1
        self._last = (key, reply)
        self._reply(frame, reply)
        return True

    def _reply(self, frame, payload):
        self._out.append(wrap(frame.sequence, frame.opcode | 0x80, payload))

    def _answer(self, opcode, payload):
        if opcode > RESET:
            return bytes([UNKNOWN_COMMAND])
        exact = opcode not in (WRITE, IMAGE)
        if len(payload) < ARGUMENTS[opcode] or (exact and len(payload) != ARGUMENTS[opcode]):
            return bytes([BAD_LENGTH])
        method = (self._identify, self._begin, self._write, self._commit, self._take_image,
                  self._run, self._status, self._read, self._reset)[opcode]
        answer = method(payload)
        return answer if isinstance(answer, bytes) else bytes([answer])

    def _identify(self, payload):
        config = self.config
        return (bytes([OK]) + self.isa.to_bytes(2, "little") + config.hash
                + bytes([config.groups]) + config.port.max_payload.to_bytes(2, "little"))

    def _begin(self, payload):
        if self._running:
            return BUSY
        if payload != self.config.hash:
            return WRONG_CONFIG
        self._valid, self._loading, self._image = False, True, None
        self._memory, self._crc = {}, 0
        return OK

    def _write(self, payload):
        space, address, data = payload[0], number(payload[1:5]), payload[5:]
        if not 0 < space < 9 or space == 7:
            return OUT_OF_RANGE  # the scratchpad is only written as images here
        if self._running:
            return BUSY
        if not self._loading:
            return OUT_OF_ORDER
        self._memory[space, address] = data
        self._crc = crc32(payload, self._crc)
        return OK

    def _commit(self, payload):
        if self._running:
            return BUSY
        if not (self._loading or self._valid):
            return OUT_OF_ORDER
        loading, self._loading = self._loading, False
        if number(payload) != self._crc:
            return BAD_CHECKSUM
        if not loading:
            return OK
        self._valid = True
        self._turn = None  # where the program before stopped is of no use
        return OK

    def _take_image(self, payload):
        group, base, offset = payload[0], number(payload[1:4]), number(payload[4:8])
        if not self._valid:
            return NO_PROGRAM
        if group >= self.config.groups or base >= self.config.memory.scratch_bytes:
            return OUT_OF_RANGE
        if offset == 0:
            self._image = (group, base, bytearray())
        elif self._image is None or (group, offset) != (self._image[0], len(self._image[2])):
            return OUT_OF_ORDER
        self._image[2].extend(payload[8:])
        # Bytes that do not arrive leave those of the image before.
        old = self._images.get(self._image[:2], bytes(self.random.randbytes(1 << 12)))
        self._images[self._image[:2]] = bytes(self._image[2]) + old[len(self._image[2]):]
        return OK

    def _run(self, payload):
        if not self._valid:
            return NO_PROGRAM
        if self._running:
            return BUSY
        self._running = self.random.randint(1, self.patience)
        program = self.program
        loaded = {}
        for (space, _), data in sorted(self._memory.items()):
            loaded[space] = loaded.get(space, b"") + data
        right = {s.value: b"" for s, _, _ in program.sections}
        for space, _, data in program.sections:
            right[space.value] += data
        right = {space: data for space, data in right.items() if data}
        # All layers at once, the first time from the start, then the second time if there is one.
        assert number(payload[1:3]) == len(program.layers)
        resume = payload[0] & 1
        known = not resume or self._turn is not None
        self._turn = (self._turn + 1) % len(program.turns) if resume and known else 0
        source, target = program.turns[self._turn]
        self._results = []
        for group in range(self.config.groups):
            for slot in range(number(payload[3:5])):
                at = target.base + slot * target.slot_bytes
                image = self._images.pop((group, source.base + slot * source.slot_bytes), None)
                # Whatever was not sent is arbitrary; and what was, is overwritten by the run.
                garbage = self.random.randbytes(target.slot_bytes)
                self._scratch[group][at:at + len(garbage)] = garbage
                if image is not None and loaded == right and known:
                    self._results.append((group, at, self._golden(image)))
        return OK

    def _finish(self):
        for group, at, result in self._results:
            self._scratch[group][at:at + len(result)] = result
        self._results = []

    def _golden(self, raw):
        shape = self.program.input_shape
        raw = raw[:int(np.prod(shape))]
        if raw not in self._known:
            image = np.frombuffer(raw, np.uint8).astype(np.int64).reshape(1, *shape)
            width = int(self.program.output.fmt[1:])
            kind = f"<i{1 << (width > 8) + (width > 16)}"
            self._known[raw] = run(self.graph, image).astype(kind).tobytes()
        return self._known[raw]

    def _status(self, payload):
        state = RUNNING if self._running else IDLE if self._valid else STORED
        return bytes([OK, state, len(self.program.layers), 0])

    def _read(self, payload):
        space, address, length = payload[0], number(payload[1:5]), number(payload[5:7])
        group, address = address >> 24, address & 0xffffff
        if space not in (0, 7):
            return OUT_OF_RANGE
        if length >= self.config.port.max_payload:
            return BAD_LENGTH
        if group >= self.config.groups or address + length > self.config.memory.scratch_bytes:
            return OUT_OF_RANGE
        return bytes([OK]) + bytes(self._scratch[group][address:address + length])

    def _reset(self, payload):
        self._running, self._results = 0, []
        self.resets += 1
        return OK
