import numpy as np
import torch

from training.student.table import TokenTable


def test_a_step_is_adams_on_the_rows_of_the_batch_and_leaves_the_others() -> None:
    start = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    table = TokenTable(start.clone())
    reference = torch.nn.Parameter(start[[1, 4]].clone())
    optimizer = torch.optim.Adam([reference], lr=0.1)
    target = torch.arange(8.0).view(2, 4)
    for _ in range(5):
        distinct, rows = table.rows(np.array([4, 1, 4]))
        assert distinct.tolist() == [1, 4]
        (rows - target).square().sum().backward()  # type: ignore[no-untyped-call]
        table.step(distinct, rows, 0.1)
        optimizer.zero_grad()
        (reference - target).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    torch.testing.assert_close(table.vectors[[1, 4]], reference.detach())
    torch.testing.assert_close(table.vectors[[0, 2, 3, 5]], start[[0, 2, 3, 5]])


def test_a_restored_table_goes_on_alike() -> None:
    def steps(table: TokenTable, numbers: range) -> None:
        for number in numbers:
            distinct, rows = table.rows(np.array([number % 3, 3]))
            rows.square().sum().backward()  # type: ignore[no-untyped-call]
            table.step(distinct, rows, 0.05)

    whole = TokenTable(torch.ones(4, 2))
    steps(whole, range(6))
    first = TokenTable(torch.ones(4, 2))
    steps(first, range(3))
    second = TokenTable(torch.zeros(4, 2))
    second.load_state_dict(first.state_dict())
    steps(second, range(3, 6))
    torch.testing.assert_close(second.vectors, whole.vectors, rtol=0, atol=0)
