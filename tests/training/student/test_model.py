import torch

from training import adapters
from training.student.model import StudentConfig, StudentModel

CONFIG = StudentConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
)


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(3, 50, (4, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0
    return ids, mask


def _trained() -> StudentModel:
    torch.manual_seed(0)
    model: StudentModel = StudentModel(CONFIG).eval()
    for parameter in model.encoder.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_a_fresh_student_is_its_table() -> None:
    torch.manual_seed(0)
    model = StudentModel(CONFIG)
    ids, mask = _batch()
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(states, model.embeddings(ids), rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing_and_order_does() -> None:
    model = _trained()
    ids, mask = _batch()
    together = model(input_ids=ids, attention_mask=mask).last_hidden_state[1, :3]
    alone = model(input_ids=ids[1:2, :3]).last_hidden_state[0]
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    swapped = ids[:1].flip(1)
    before = model(input_ids=ids[:1]).last_hidden_state.mean(1)
    after = model(input_ids=swapped).last_hidden_state.mean(1)
    assert (before - after).abs().max() > 1e-3


def test_positions_count_by_their_distance_alone() -> None:
    # Rotary positions are relative: a text moved along by padding before it embeds alike.
    model = _trained()
    ids, _ = _batch()
    moved = torch.cat([torch.zeros(1, 4, dtype=torch.int64), ids[:1]], 1)
    mask = torch.cat([torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 7, dtype=torch.int64)], 1)
    plain = model(input_ids=ids[:1]).last_hidden_state
    shifted = model(input_ids=moved, attention_mask=mask).last_hidden_state[:, 4:]
    torch.testing.assert_close(shifted, plain, rtol=1e-4, atol=1e-4)


def test_a_light_token_stays_light() -> None:
    model = _trained()
    ids = torch.tensor([[5, 6]])
    heavy = model(input_ids=ids).last_hidden_state
    with torch.no_grad():
        model.embeddings.weight[5] *= 0.01
    light = model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(light[0, 0], heavy[0, 0] * 0.01, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(light[0, 1], heavy[0, 1], rtol=1e-4, atol=1e-5)


def test_an_all_zero_vector_stays_finite() -> None:
    model = _trained()
    with torch.no_grad():
        model.embeddings.weight[2] = 0
    states = model(input_ids=torch.tensor([[2, 5]])).last_hidden_state
    assert torch.isfinite(states).all()
    assert states[0, 0].abs().max() < 1e-4


def test_an_adapter_sees_and_changes_the_stream_of_every_layer() -> None:
    model = _trained()
    ids, mask = _batch()
    plain = model(input_ids=ids, attention_mask=mask).last_hidden_state
    adapters.attach(model, ["one", "two"], reduction_factor=4)
    parameters = adapters.select(model, "one", train=True)
    assert len(parameters) == 2 * 4
    for parameter in parameters:
        torch.nn.init.normal_(parameter, std=0.3)
    changed = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert (changed - plain).abs().max() > 0.01
    adapters.select(model, None)
    again = model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(again, plain, rtol=0, atol=0)
