"""A board behind a pseudo-terminal: what `pyhw infer --port` opens instead of /dev/ttyUSB0."""

import os
import select
import threading
import tty


class PtyBoard:
    """Serve a device model (or silence, without one) on a pseudo-terminal, in a thread.

    Parameters
    ----------
    device : DeviceModel or None
    unplug_after : int, optional
        Frames after which both ends are closed.
    """

    def __init__(self, device, *, unplug_after=None):
        self.device = device
        self._unplug_after = unplug_after
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)  # no echo before the host has set the line
        self.port = os.ttyname(self._slave)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self._close()

    def _close(self):
        for name in ("_master", "_slave"):
            if (handle := getattr(self, name)) is not None:
                os.close(handle)
                setattr(self, name, None)

    def _serve(self):
        while not self._end.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.01)
            if self.device is None:
                continue
            if ready:
                self.device.send(os.read(self._master, 65536))
                data = self.device.work()
            else:
                data = self.device.receive(0)
            while data:
                os.write(self._master, data)
                data = self.device.work()
            if self._unplug_after is not None and self.device.frames >= self._unplug_after:
                self._close()
                return
