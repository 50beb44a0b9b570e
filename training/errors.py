"""What stops a training command, with a message for the person who typed it."""

from __future__ import annotations


class TrainingError(Exception):
    """A command cannot go on; the message says what came, what is allowed and what to do."""
