"""Several examples in one sequence: no token attends to a token of another example, and little is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """Examples packed into S sequences of L tokens; their answers have K tokens together.

    Attributes:
        tokens: [S, L], padded with the token that the caller names.
        positions: [S, L], from 0 in every example and in every token of padding: a new 0 begins a new example, and
            attention ends there.
        places: [K], for each token of an answer the place of the token before it in the flattened sequences, whose
            output predicts it. By example, then by place.
        targets: [K], the tokens of the answers.
        examples: [K], the number of the example that each belongs to.
    """

    tokens: Tensor
    positions: Tensor
    places: Tensor
    targets: Tensor
    examples: Tensor


def pack(examples: Sequence[Sequence[int]], prompts: Sequence[int], *, length: int, padding: int) -> Packed:
    """Packs examples, the longest first, each into the first sequence that has room for it (first-fit decreasing).

    Args:
        examples: The tokens of each: its prompt, which is not empty, then its answer.
        prompts: How many tokens of each are its prompt.
        length: Of a sequence at most; an example that is longer is a sequence by itself.
        padding: The token that fills a sequence up to the longest one.
    """
    sequences: list[list[int]] = []
    room: list[int] = []
    for example in sorted(range(len(examples)), key=lambda place: -len(examples[place])):
        needed = len(examples[example])
        found = next((place for place, left in enumerate(room) if left >= needed), None)
        if found is None:
            sequences.append([])
            room.append(max(length, needed))
            found = len(room) - 1
        sequences[found].append(example)
        room[found] -= needed
    width = max((sum(len(examples[place]) for place in sequence) for sequence in sequences), default=0)
    tokens = torch.full((len(sequences), width), padding, dtype=torch.int64)
    positions = torch.zeros_like(tokens)
    places: list[Tensor] = [torch.empty(0, dtype=torch.int64)] * len(examples)
    for row, sequence in enumerate(sequences):
        begin = 0
        for example in sequence:
            end = begin + len(examples[example])
            tokens[row, begin:end] = torch.as_tensor(examples[example], dtype=torch.int64)
            positions[row, begin:end] = torch.arange(end - begin)
            places[example] = torch.arange(begin + prompts[example], end) - 1 + row * width
            begin = end
    numbers = torch.repeat_interleave(
        torch.arange(len(examples)), torch.tensor([len(own) for own in places], dtype=torch.int64)
    )
    flat = torch.cat(places) if places else torch.empty(0, dtype=torch.int64)
    return Packed(tokens, positions, flat, tokens.flatten()[flat + 1], numbers)
