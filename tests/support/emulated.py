"""An accelerator that is simulated behind a pseudo-terminal, in a thread."""

import threading
from contextlib import contextmanager

from pyhw.simulation.serial import emulate


@contextmanager
def emulated(config, **options):
    """Give the name of the port and a list that has the bench's result in the end.

    The block has to open and close the port. `options` are those of `emulate`.
    """
    port, found, failed = [], [], []
    opened = threading.Event()

    def serve():
        try:
            found.append(emulate(config, lambda name: (port.append(name), opened.set()),
                                 once=True, **options))
        except Exception as error:
            failed.append(error)
            opened.set()

    thread = threading.Thread(target=serve)
    thread.start()
    assert opened.wait(900)
    assert not failed
    yield port[0], found
    thread.join(60)
    assert not thread.is_alive()
    assert not failed
