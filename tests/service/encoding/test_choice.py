"""What computes the model: the table, and that nothing asked for is replaced."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import Bundle, Manifest
from models.precision import Fidelity, Precision
from service.encoding.session import Choice, Device, Runtime, Wish, choose, look
from service.encoding.session.choice import WAYS, Machine
from service.settings import Settings, SettingsError

GOOD = Fidelity(
    mean_cosine=0.9999,
    worst_cosine=0.999,
    top10_overlap=0.99,
    batch_drift=1e-4,
    largest_change=1e-3,
    texts=100,
    source="s",
    runtime="r",
    processor="p",
)
BAD = GOOD.model_copy(update={"batch_drift": 0.1})
EVERYTHING = Machine(frozenset(Runtime), bfloat16=True, int8=True, cuda=True)


def manifest_with(
    tiny: Bundle, graphs: set[Precision], fidelity: dict[Precision, Fidelity]
) -> Manifest:
    files = dict.fromkeys({Precision.FLOAT32, *graphs}, "encoder.onnx")
    return tiny.manifest.model_copy(update={"graphs": files, "fidelity": fidelity})


ALL = {Precision.INT8, Precision.FLOAT16}
ALL_GOOD: dict[Precision, Fidelity] = {
    each: GOOD for each in Precision if each is not Precision.FLOAT32
}


@pytest.mark.parametrize(
    ("machine", "graphs", "fidelity", "expected"),
    [
        (EVERYTHING, ALL, ALL_GOOD, "onnxruntime float16 on cuda"),
        (EVERYTHING, ALL, {}, "onnxruntime float32 on cuda"),
        (Machine(frozenset(Runtime), True, True), ALL, ALL_GOOD, "openvino int8 on cpu"),
        (Machine(frozenset(Runtime), True, False), ALL, ALL_GOOD, "openvino bfloat16 on cpu"),
        (
            Machine(frozenset(Runtime), True, True),
            ALL,
            {**ALL_GOOD, Precision.INT8: BAD},
            "openvino bfloat16 on cpu",
        ),
        (Machine(frozenset(Runtime), True, True), ALL, {}, "openvino float32 on cpu"),
        (Machine(frozenset({Runtime.ONNXRUNTIME})), ALL, ALL_GOOD, "onnxruntime float32 on cpu"),
    ],
)
def test_auto_takes_the_fastest_that_is_here_and_faithful(
    tiny_bundle: Bundle,
    machine: Machine,
    graphs: set[Precision],
    fidelity: dict[Precision, Fidelity],
    expected: str,
) -> None:
    manifest = manifest_with(tiny_bundle, graphs, fidelity)
    assert str(choose(Wish(), machine, manifest)) == expected


@pytest.mark.parametrize(
    ("wish", "machine", "message"),
    [
        (Wish(device=Device.CUDA), Machine(frozenset(Runtime)), "no CUDA GPU is found"),
        (
            Wish(precision=Precision.BFLOAT16),
            Machine(frozenset(Runtime)),
            "no instructions for bfloat16",
        ),
        (
            Wish(precision=Precision.INT8, runtime=Runtime.OPENVINO),
            Machine(frozenset(Runtime)),
            "no instructions for int8",
        ),
        (Wish(runtime=Runtime.OPENVINO), Machine(frozenset()), "openvino is not installed"),
        (Wish(runtime=Runtime.TENSORRT), Machine(frozenset(Runtime)), "no CUDA GPU is found"),
        (
            Wish(Runtime.ONNXRUNTIME, Precision.BFLOAT16),
            EVERYTHING,
            "there is no such combination; there is .*openvino bfloat16 on cpu",
        ),
        (Wish(Runtime.OPENVINO, device=Device.CUDA), EVERYTHING, "there is no such combination"),
        (
            Wish(precision=Precision.INT8),
            Machine(frozenset({Runtime.ONNXRUNTIME})),
            "openvino is not installed",
        ),
    ],
)
def test_what_cannot_run_here_is_refused_with_the_reason(
    tiny_bundle: Bundle, wish: Wish, machine: Machine, message: str
) -> None:
    manifest = manifest_with(tiny_bundle, ALL, ALL_GOOD)
    with pytest.raises(SettingsError, match=message):
        choose(wish, machine, manifest)


def test_a_precision_without_a_graph_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(SettingsError, match="has no graph of int8, only of float32"):
        choose(Wish(precision=Precision.INT8), EVERYTHING, tiny_bundle.manifest)


_fidelities = st.dictionaries(st.sampled_from([*ALL_GOOD]), st.sampled_from([GOOD, BAD]))
_maybe = st.booleans()


@given(
    wish=st.builds(
        Wish,
        st.none() | st.sampled_from(Runtime),
        st.none() | st.sampled_from(Precision),
        st.none() | st.sampled_from(Device),
    ),
    machine=st.builds(
        Machine, st.frozensets(st.sampled_from(Runtime)), bfloat16=_maybe, int8=_maybe, cuda=_maybe
    ),
    graphs=st.sets(st.sampled_from(sorted(ALL))),
    fidelity=_fidelities,
)
def test_what_is_chosen_was_asked_for_can_run_and_is_faithful(
    tiny_bundle: Bundle,
    wish: Wish,
    machine: Machine,
    graphs: set[Precision],
    fidelity: dict[Precision, Fidelity],
) -> None:
    manifest = manifest_with(tiny_bundle, graphs, fidelity)
    try:
        choice = choose(wish, machine, manifest)
    except SettingsError:
        # float32 in an installed runtime on the CPU is never refused.
        assert wish != Wish() or not machine.runtimes & {Runtime.ONNXRUNTIME, Runtime.OPENVINO}
        return
    assert wish.runtime in (None, choice.runtime)
    assert wish.precision in (None, choice.precision)
    assert wish.device in (None, choice.device)
    assert choice.runtime in machine.runtimes
    assert choice.device is Device.CPU or machine.cuda
    assert choice.precision is not Precision.BFLOAT16 or machine.bfloat16
    assert choice.precision in (*manifest.graphs, Precision.BFLOAT16)
    if wish.precision is None and choice.precision is not Precision.FLOAT32:
        assert fidelity[choice.precision].qualifies


def test_every_way_stands_once() -> None:
    ways = [way for way, _ in WAYS]
    assert len(set(ways)) == len(ways)
    assert {way.device for way in ways} == set(Device)


def test_settings_become_a_wish() -> None:
    assert Wish.of(Settings()) == Wish()
    for runtime, precision, device in itertools.product(Runtime, Precision, Device):
        settings = Settings(runtime=str(runtime), precision=str(precision), device=str(device))
        assert Wish.of(settings) == Wish(runtime, precision, device)


def test_this_machine_has_a_runtime_and_float32_runs(tiny_bundle: Bundle) -> None:
    machine = look(Wish(device=Device.CPU))
    assert not machine.cuda
    choice = choose(Wish(device=Device.CPU), machine, tiny_bundle.manifest)
    assert choice.precision is Precision.FLOAT32
    assert choice == Choice(Device.CPU, choice.runtime, Precision.FLOAT32)
