"""All workers change their bundle, or none does."""

from __future__ import annotations

from service.processes.rollout import Rollout


def test_it_waits_for_everybody() -> None:
    rollout = Rollout("/new", ["a", "b"], asker="a")
    rollout.opened("a")
    rollout.opened("a")
    assert not rollout.decided
    rollout.opened("b")
    assert rollout.decided
    assert rollout.succeeds


def test_one_refusal_is_enough_and_the_first_is_told() -> None:
    rollout = Rollout("/new", ["a", "b", "c"])
    rollout.refused("b", "no room")
    rollout.refused("c", "no file")
    assert not rollout.decided
    rollout.opened("a")
    assert rollout.decided
    assert not rollout.succeeds
    assert rollout.refusal == "no room"


def test_one_that_dies_is_not_waited_for() -> None:
    rollout = Rollout("/new", ["a", "b"])
    rollout.ended("a")
    rollout.ended("a")
    rollout.opened("b")
    assert rollout.succeeds
    assert rollout.workers == ["b"]


def test_with_nobody_left_nothing_changes() -> None:
    rollout = Rollout("/new", ["a"])
    rollout.ended("a")
    assert rollout.decided
    assert not rollout.succeeds
