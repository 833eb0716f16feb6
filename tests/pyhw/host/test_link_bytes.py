"""Bytes of a batch on the line, against what a conversation really sends and receives."""

import pytest

from pyhw.host import check_images, drive
from pyhw.host.link_bytes import link_bytes
from tests.pyhw.host.test_inference import CONFIG, GRAPH, IMAGES, PROGRAM, inference
from tests.support.device_model import DeviceModel

STATUS = (7 + 4 + 1, 7 + 4 + 1 + 3)


class Counted:
    def __init__(self, line):
        self.line, self.sent, self.received = line, 0, 0

    def send(self, data):
        self.sent += len(data)
        self.line.send(data)

    def receive(self, timeout_s):
        data = self.line.receive(timeout_s)
        self.received += len(data)
        return data


@pytest.mark.parametrize("batch", [PROGRAM.batch])
def test_bytes_of_a_batch_are_those_on_the_line(batch):
    line, engine = Counted(DeviceModel(CONFIG, GRAPH, PROGRAM)), inference()
    drive(engine.start(), line)
    raw = check_images(PROGRAM, IMAGES)
    drive(engine.advance(raw[:batch]), line)
    before = line.sent, line.received
    drive(engine.advance(raw[batch:2 * batch]), line)
    sent, received = line.sent - before[0], line.received - before[1]
    counted = link_bytes(PROGRAM, CONFIG)
    # The device may be asked for its status again while it runs, which is not a batch's share.
    again = (sent - counted[0]) // STATUS[0]
    assert 0 <= again <= 3
    assert (sent, received) == (counted[0] + again * STATUS[0], counted[1] + again * STATUS[1])
