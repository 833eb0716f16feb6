"""The host's side of the accelerator's byte port (``docs/protocol.md``)."""

from .device import Device, Transport
from .frames import Decoder, Frame, encode
from .inference import Inference, check_images
from .link import DeviceError, Receive, Request, Send, drive, drive_async
from .protocol import Identity, Protocol

__all__ = [
    "Decoder",
    "Device",
    "DeviceError",
    "Frame",
    "Identity",
    "Inference",
    "Protocol",
    "Receive",
    "Request",
    "Send",
    "Transport",
    "check_images",
    "drive",
    "drive_async",
    "encode",
]
