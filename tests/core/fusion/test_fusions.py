"""What every fusion promises, asked of each of them and of masks that nobody would think of."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from triptych.config import PartConfig
from triptych.errors import ConfigError, UnknownNameError
from triptych.fusion.base import masked_softmax
from triptych.host import Host
from triptych.models.build import create_fusion

NAMES = ["mean", "concat", "gated", "attention", "late"]
DIM = 8
HOST = Host(installed=False)


def make(name, modalities=3, **options):
    torch.manual_seed(3)
    fusion = create_fusion(HOST, PartConfig(use=name, **options), modalities, DIM)
    with torch.no_grad():  # away from the symmetric start, where a mistake could hide
        for parameter in fusion.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return fusion.eval()


@pytest.mark.parametrize("name", NAMES)
@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3).filter(any), min_size=1, max_size=6),
    st.integers(0, 1000),
    st.sampled_from([0.0, 1.0, -50.0, 1e6, float("inf"), float("nan")]),
)
@settings(max_examples=25, deadline=None)
def test_absent_parts_change_nothing_and_weights_sum_to_one(name, present, seed, placeholder):
    fusion = make(name)
    mask = torch.tensor(present)
    vectors = torch.randn(len(mask), 3, DIM, generator=torch.Generator().manual_seed(seed))
    fused, weights = fusion(vectors, mask)
    changed, same = fusion(vectors.masked_fill(~mask.unsqueeze(-1), placeholder), mask)
    assert torch.equal(fused, changed)
    assert torch.equal(weights, same)
    assert fused.shape == (len(mask), DIM)
    assert weights.shape == mask.shape
    assert bool((weights >= 0).all())
    assert bool((weights[~mask] == 0).all())
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(mask)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("modalities", [1, 2, 3, 4, 5])
def test_any_number_of_modalities_and_every_subset(name, modalities):
    fusion = make(name, modalities)
    patterns = [p for p in itertools.product([False, True], repeat=modalities) if any(p)]
    mask = torch.tensor(patterns)
    fused, weights = fusion(torch.randn(len(mask), modalities, DIM), mask)
    assert bool(fused.isfinite().all())
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(mask)))
    alone = mask.sum(dim=1) == 1
    assert torch.equal(weights[alone], mask[alone].float())


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_its_neighbours(name):
    fusion = make(name)
    vectors = torch.randn(7, 3, DIM)
    mask = torch.tensor(list(itertools.product([False, True], repeat=3))[1:])
    together, _ = fusion(vectors, mask)
    for row in range(len(mask)):
        alone, _ = fusion(vectors[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_any_part_stays_finite(name):
    fused, weights = make(name)(torch.full((2, 3, DIM), float("nan")), torch.zeros(2, 3, dtype=torch.bool))
    assert bool(fused.isfinite().all())
    assert bool((weights == 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_absent_parts_get_none(name):
    fusion = make(name).train()
    vectors = torch.randn(4, 3, DIM, requires_grad=True)
    mask = torch.tensor([[True, False, False], [True, True, False], [False, True, True], [True, True, True]])
    fused, _ = fusion(vectors, mask)
    fused.square().sum().backward()
    assert vectors.grad is not None
    assert bool((vectors.grad[~mask] == 0).all())
    assert bool((vectors.grad[mask].abs().sum(dim=-1) > 0).all())
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in fusion.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_name_and_options_rebuild_it(name):
    fusion = make(name)
    assert fusion.name == name
    again = create_fusion(HOST, PartConfig(use=name, **fusion.options), 3, DIM).eval()
    again.load_state_dict(fusion.state_dict())
    vectors, mask = torch.randn(5, 3, DIM), torch.ones(5, 3, dtype=torch.bool)
    assert torch.equal(fusion(vectors, mask)[0], again(vectors, mask)[0])


def test_gates_and_late_start_as_the_mean():
    vectors, mask = torch.randn(4, 3, DIM), torch.tensor([[True, True, False]] * 4)
    for name in ("gated", "late"):
        fusion = create_fusion(HOST, PartConfig(use=name), 3, DIM).eval()
        _, weights = fusion(vectors, mask)
        torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5, 0.0]] * 4))


def test_late_is_an_average_of_what_each_part_says_alone():
    fusion, head = make("late"), torch.nn.Linear(DIM, 4)
    vectors, mask = torch.randn(6, 3, DIM), torch.ones(6, 3, dtype=torch.bool)
    fused, weights = fusion(vectors, mask)
    alone = torch.stack(
        [head(fusion(vectors, torch.eye(3, dtype=torch.bool)[m].expand(6, 3))[0]) for m in range(3)], dim=1
    )
    torch.testing.assert_close(head(fused), (alone * weights.unsqueeze(-1)).sum(dim=1), rtol=1e-4, atol=1e-5)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=5),
    st.data(),
)
def test_masked_softmax_is_a_distribution_over_what_is_there(scores, data):
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    weights = masked_softmax(torch.tensor(scores), mask)
    assert bool((weights >= 0).all())
    assert bool((weights[~mask] == 0).all())
    assert float(weights.sum()) == pytest.approx(1.0 if bool(mask.any()) else 0.0, abs=1e-5)


def test_wrong_options_and_names_are_refused():
    with pytest.raises(ConfigError, match="fusion: 'mean' does not take these options"):
        create_fusion(HOST, PartConfig(use="mean", layers=2), 3, DIM)
    with pytest.raises(ConfigError, match="multiple of the number of heads"):
        create_fusion(HOST, PartConfig(use="attention", heads=3), 3, DIM)
    with pytest.raises(UnknownNameError, match="Did you mean 'gated'"):
        create_fusion(HOST, PartConfig(use="gate"), 3, DIM)
