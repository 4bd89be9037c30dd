"""Packing: every token keeps its place and its example, and sees no other example."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ray_jobs.text.base_models import BaseModel
from ray_jobs.text.networks import network_of
from ray_jobs.text.packing import Packed, pack
from ray_jobs.text.recipe import Lora
from tests.ray_jobs import process_group

EXAMPLES = st.lists(
    st.lists(st.integers(3, 99), min_size=2, max_size=30).flatmap(
        lambda tokens: st.tuples(st.just(tokens), st.integers(1, len(tokens)))
    ),
    max_size=12,
)


@given(examples=EXAMPLES, length=st.integers(1, 40))
def test_every_example_is_whole_in_one_sequence_and_each_answer_token_is_predicted_by_the_one_before(
    examples: list[tuple[list[int], int]], length: int
) -> None:
    tokens, prompts = [own for own, _ in examples], [prompt for _, prompt in examples]
    packed = pack(tokens, prompts, length=length, padding=0)
    flat, positions = packed.tokens.flatten().tolist(), packed.positions.flatten().tolist()
    assert sorted(token for token in flat if token) == sorted(token for own in tokens for token in own)
    assert packed.tokens.shape[1] <= max([length, *map(len, tokens)])
    answers = [(place, token) for place, (own, prompt) in enumerate(examples) for token in own[prompt:]]
    assert list(zip(packed.examples.tolist(), packed.targets.tolist(), strict=True)) == answers
    for place, (example, target) in zip(packed.places.tolist(), answers, strict=True):
        begin = place - positions[place]
        whole = tokens[example]
        assert flat[begin : begin + len(whole)] == whole
        assert positions[begin : begin + len(whole)] == list(range(len(whole)))
        assert flat[place + 1] == target


def test_few_sequences_hold_many_short_examples() -> None:
    packed = pack([[1] * size for size in (9, 1, 5, 5, 3, 7)], [1, 1, 1, 1, 1, 1], length=10, padding=0)
    assert packed.tokens.shape == (3, 10)
    assert pack([[5] * 12, [6, 6]], [1, 1], length=4, padding=0).tokens.shape == (2, 12)


@pytest.mark.parametrize("adapter", [None, Lora(rank=2)], ids=["whole", "lora"])
def test_packed_examples_have_the_losses_and_gradients_of_examples_by_themselves(
    tiny_llama: BaseModel, tmp_path: Path, adapter: Lora | None
) -> None:
    torch.manual_seed(0)
    device = process_group.device()
    network = network_of(tiny_llama, adapter, tmp_path).double().to(device)
    tokens = [torch.randint(3, 300, (size,)).tolist() for size in (5, 17, 9, 4, 12)]
    prompts = [2, 10, 8, 1, 3]
    packed = pack(tokens, prompts, length=30, padding=0)
    assert len(packed.tokens) < len(tokens)
    together = _losses(network, packed, device)
    alone = []
    for own, prompt in zip(tokens, prompts, strict=True):
        alone.append(_losses(network, pack([own], [prompt], length=1, padding=0), device))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-6)
    trained = [own for own in network.parameters() if own.requires_grad]
    one, other = (torch.autograd.grad(losses.sum(), trained) for losses in (together, torch.cat(alone)))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def _losses(network: torch.nn.Module, packed: Packed, device: torch.device) -> torch.Tensor:
    tensors = (packed.tokens, packed.positions, packed.places, packed.targets)
    return network(*(tensor.to(device) for tensor in tensors))
