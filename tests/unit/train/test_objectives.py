"""The losses against plain formulas over the whole vocabulary; what training makes of them: test_train_objectives."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.engines.scoring import TopTokens
from tuning_room.train.objectives import cross_entropy, forward_divergence, reverse_divergence

WORDS = 12


def scores(seed: int, places: int, spread: float) -> Any:
    return torch.randn(places, WORDS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


def top(logits: Any, count: int) -> TopTokens:
    found = logits.log_softmax(-1).topk(count)
    return TopTokens(found.indices.int(), found.values)


def kl(first: Any, second: Any) -> Any:
    one, other = first.log_softmax(-1), second.log_softmax(-1)
    return (one.exp() * (one - other)).sum(-1)


drawn = given(st.integers(0, 999), st.integers(1, 4), st.floats(0.1, 6), st.integers(1, WORDS))


@drawn
def test_over_the_whole_vocabulary_the_divergences_are_the_textbooks(
    seed: int, places: int, spread: float, count: int
) -> None:
    student, teacher = scores(seed, places, spread), scores(seed + 1, places, spread)
    whole = top(teacher, WORDS)
    assert float(forward_divergence(student, whole)) == pytest.approx(float(kl(teacher, student).mean()), abs=1e-4)
    found = float(reverse_divergence(student, whole, clip=1e9))
    assert found == pytest.approx(float(kl(student, teacher).mean()), abs=1e-4)


@drawn
def test_a_divergence_over_fewer_tokens_is_never_more_and_never_negative(
    seed: int, places: int, spread: float, count: int
) -> None:
    student, teacher = scores(seed, places, spread), scores(seed + 1, places, spread)
    part = top(teacher, count)
    assert -1e-5 <= float(forward_divergence(student, part)) <= float(kl(teacher, student).mean()) + 1e-4
    assert -1e-4 <= float(reverse_divergence(student, part, clip=1e9)) <= float(kl(student, teacher).mean()) + 1e-3


@drawn
def test_who_predicts_as_the_teacher_does_is_no_way_off(seed: int, places: int, spread: float, count: int) -> None:
    student = scores(seed, places, spread).requires_grad_()
    same = top(student.detach(), count)
    for loss in (forward_divergence(student, same), reverse_divergence(student, same, 9.0)):
        (gradient,) = torch.autograd.grad(loss, student)
        assert float(loss) == pytest.approx(0, abs=1e-4)
        assert float(gradient.abs().max()) < 1e-3


@drawn
def test_a_step_down_the_gradient_comes_nearer(seed: int, places: int, spread: float, count: int) -> None:
    student, teacher = scores(seed, places, spread).requires_grad_(), top(scores(seed + 1, places, spread), count)
    for loss in (lambda s: forward_divergence(s, teacher), lambda s: reverse_divergence(s, teacher, 1e9)):
        (gradient,) = torch.autograd.grad(loss(student), student)
        assert float(loss(student - 1e-3 * gradient)) <= float(loss(student)) + 1e-12


def test_a_token_that_is_far_off_counts_as_the_clip_and_gives_no_gradient() -> None:
    student = torch.tensor([[9.0, 0.0, 0.0], [0.1, 0.2, 0.3]], requires_grad=True)
    teacher = TopTokens(*torch.tensor([[-9.0, 0.0, 0.0], [0.3, 0.2, 0.1]]).log_softmax(-1).sort(descending=True)[::-1])
    loss = reverse_divergence(student, teacher, clip=2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(loss) == pytest.approx((2 + float(kl(student[1], torch.tensor([0.3, 0.2, 0.1])))) / 2, abs=1e-5)
    assert gradient[0].abs().max() == 0 and gradient[1].abs().max() > 0


def test_cross_entropy_is_the_mean_over_tokens_in_nats() -> None:
    assert float(cross_entropy(torch.zeros(3, WORDS), torch.tensor([0, 5, 11]))) == pytest.approx(math.log(WORDS))
