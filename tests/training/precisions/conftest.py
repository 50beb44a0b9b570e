"""OpenVINO compiles models in the process of these tests."""

from tests.signal_stack import no_signal_stack_is_left

__all__ = ["no_signal_stack_is_left"]
