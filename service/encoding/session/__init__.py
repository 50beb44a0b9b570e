"""The model, ready to run: which runtime, precision and device, and one class in front of them.

`choice` decides (a table), `machine` says what is here, `on_onnxruntime` and `on_openvino` load the
graph, `session` checks what goes in and comes out. All runtimes are held to the same checks.
"""

from service.encoding.session.choice import Choice, Device, Runtime, Wish, choose
from service.encoding.session.machine import available_cores, look
from service.encoding.session.ports import Vectors
from service.encoding.session.session import Session

__all__ = [
    "Choice",
    "Device",
    "Runtime",
    "Session",
    "Vectors",
    "Wish",
    "available_cores",
    "choose",
    "look",
]
