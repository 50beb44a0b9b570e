"""Two real processes over gloo against one process with their joined batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from tests.training.objectives.slow import normal
from training.gradcache import cached_backward
from training.objectives.chunked import chunked_info_nce
from training.objectives.contrastive import Direction, info_nce
from training.objectives.cosine import cosines
from training.objectives.gather import average_gradients, gather, processes
from training.objectives.soft import soft_contrastive

PROCESSES = 2
ROWS = 3  # pairs of each process
LEFT, RIGHT = (torch.tensor(normal(seed, PROCESSES * ROWS, 4)) for seed in (0, 1))
LABELS = torch.softmax(torch.tensor(normal(2, PROCESSES * ROWS, PROCESSES * ROWS)), 1)

Objective = Callable[[Tensor, Tensor], Tensor]
OBJECTIVES: dict[str, Objective] = {
    "info_nce": lambda left, right: info_nce(left, right, 0.1, Direction.SYMMETRIC),
    "chunked": lambda left, right: chunked_info_nce(left, right, 0.1, Direction.SYMMETRIC),
    "soft": lambda left, right: soft_contrastive(left, right, LABELS, 0.1),
}


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def gradients(model: nn.Module) -> list[Tensor]:
    return [each.grad for each in model.parameters() if each.grad is not None]


def own(batch: Tensor) -> Tensor:
    start = distributed.get_rank() * ROWS
    return batch[start : start + ROWS]


def plainly(model: nn.Module, objective: Objective) -> Tensor:
    """DDP averages the gradients."""
    parallel = DistributedDataParallel(model)
    left, right = parallel(torch.cat([own(LEFT), own(RIGHT)])).chunk(2)
    loss = objective(gather(left), gather(right))
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def cached(model: nn.Module, objective: Objective) -> Tensor:
    """GradCache in chunks of two texts; the gradients are averaged once, at the end."""

    def joined(vectors: Tensor) -> Tensor:
        left, right = vectors.chunk(2)
        return objective(gather(left), gather(right))

    loss = cached_backward(model, torch.split(torch.cat([own(LEFT), own(RIGHT)]), 2), joined)
    average_gradients(model.parameters())
    return loss


def each_its_rows(model: nn.Module) -> Tensor:
    """Every process ranks only its own rows among all: the joined loss is their mean."""
    left, right = model(own(LEFT)), gather(model(own(RIGHT)))
    place = torch.arange(ROWS) + distributed.get_rank() * ROWS
    loss = nn.functional.cross_entropy(cosines(left, right) / 0.1, place)
    loss.backward()  # type: ignore[no-untyped-call]
    average_gradients(model.parameters())
    return loss.detach()


def uneven() -> str:
    try:
        gather(torch.ones(1 + distributed.get_rank(), 2))
    except ValueError as error:
        return str(error)
    return "was not refused"


def sparse_gradients() -> list[Any]:
    """One parameter that both have a gradient for, one that process 1 has, and one that none."""
    both, one, none = (nn.Parameter(torch.ones(2)) for _ in range(3))
    rank = distributed.get_rank()
    both.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 1:
        one.grad = torch.tensor([4.0, 6.0])
    average_gradients([both, one, none])
    return [None if each.grad is None else each.grad.tolist() for each in (both, one, none)]


def work(rank: int, folder: str) -> None:
    """What one process does; its findings go to a file."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=60),
    )
    found: dict[str, Any] = {"processes": processes(), "uneven": uneven()}
    for name, objective in OBJECTIVES.items():
        for way in (plainly, cached):
            model = encoder()
            loss = way(model, objective)
            found[f"{name} {way.__name__}"] = (loss, gradients(model))
    model = encoder()
    found["each its rows"] = (each_its_rows(model), gradients(model))
    found["gathered"] = gather(own(LEFT))
    found["sparse"] = sparse_gradients()
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.barrier()
    # DistributedDataParallel keeps gloo's threads alive past destroy_process_group, and one that
    # wants the interpreter while it ends aborts the process, once in a hundred runs.
    os._exit(0)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process found."""
    folder = tmp_path_factory.mktemp("processes")
    spawn(work, (str(folder),), nprocs=PROCESSES)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


@pytest.mark.parametrize("way", ["plainly", "cached"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_those_of_one_process_with_the_joined_batch(
    found: list[dict[str, Any]], name: str, way: str
) -> None:
    model = encoder()
    expected = OBJECTIVES[name](model(LEFT), model(RIGHT))
    expected.backward()  # type: ignore[no-untyped-call]
    assert len(gradients(model)) == 4
    for each in found:
        loss, ours = each[f"{name} {way}"]
        assert loss.item() == pytest.approx(expected.item())
        for one, other in zip(ours, gradients(model), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
            assert other.abs().max() > 1e-3


def test_an_objective_may_be_parted_among_the_processes(found: list[dict[str, Any]]) -> None:
    model = encoder()
    expected = info_nce(model(LEFT), model(RIGHT), 0.1)
    expected.backward()  # type: ignore[no-untyped-call]
    losses = [each["each its rows"][0].item() for each in found]
    assert sum(losses) / PROCESSES == pytest.approx(expected.item())
    for each in found:
        for one, other in zip(each["each its rows"][1], gradients(model), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_rows_stand_in_the_order_of_the_processes(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["processes"] == PROCESSES
        assert torch.equal(each["gathered"], LEFT)


def test_uneven_rows_are_refused_by_all(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["uneven"] == ("processes gather [1, 2] rows; give each the same number of rows")


def test_a_missing_gradient_counts_as_zero(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["sparse"] == [[1.5, 3.0], [2.0, 3.0], None]


def test_one_process_alone_keeps_what_it_has() -> None:
    assert processes() == 1
    assert gather(LEFT) is LEFT
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    average_gradients([parameter])
    assert parameter.grad.tolist() == [1, 1]
