from __future__ import annotations

import pytest
import torch

from training.device import Device, choose
from training.errors import TrainingError


@pytest.mark.parametrize("there", [False, True])
def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose(Device.CPU) == torch.device("cpu")
    assert choose(Device.AUTO).type == ("cuda" if there else "cpu")
    if there:
        assert choose(Device.CUDA).type == "cuda"
    else:
        with pytest.raises(TrainingError, match="torch finds no CUDA device: use cpu or auto"):
            choose(Device.CUDA)
