"""A fine-tuned language model: the base model and what was trained of it, saved and loaded as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from pipelines import settings
from pipelines.models.answers import Task, Text
from pipelines.models.program import Evaluation
from ray_jobs.core import model_folder
from ray_jobs.core.dataset import Columns
from ray_jobs.text import base_models, metrics_text
from ray_jobs.text.base_models import BaseModel
from ray_jobs.text.chat import Chat, Prompt
from ray_jobs.text.metrics_text import Answers
from ray_jobs.text.networks import AnswerLoss, fill, network_of, trained_weights
from ray_jobs.text.packing import Packed, pack
from ray_jobs.text.recipe import LanguageRecipe, Lora

FORMAT = "goldpath.causal_lm.v1"
#: Prompts that are answered together where answers are compared.
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Said:
    """What a saved model knows of its recipe, in the words of `LanguageRecipe`."""

    label: str
    inputs: tuple[str, ...]
    prompt: str
    system: str | None
    adapter: Lora | None
    sequence_tokens: int
    answer_tokens: int
    compared_answers: int

    @classmethod
    def of(cls, recipe: LanguageRecipe) -> Said:
        values: dict[str, Any] = {each.name: getattr(recipe, each.name) for each in fields(cls)}
        return cls(**values)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Said:
        adapter = state["adapter"]
        own: dict[str, Any] = {**adapter, "modules": tuple(adapter["modules"])} if adapter else {}
        lora = Lora(**own) if adapter else None
        values: dict[str, Any] = {**state, "inputs": tuple(state["inputs"]), "adapter": lora}
        return cls(**values)


class LanguageModel:
    """Writes a text for each row."""

    task: Task = "text"

    def __init__(self, *, base: BaseModel, said: Said, network: AnswerLoss, home: Path) -> None:
        self.base, self.said, self.network = base, said, network.eval()
        self.chat = chat_of(base, said, home)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a prediction needs."""
        return self.said.inputs

    def answer(self, rows: Columns) -> Sequence[Text]:
        """One answer for each row, each computed by itself; raises ModelError for a column that holds no texts."""
        prompts = self.chat.prompts(rows, self.inputs)
        return [Text(*self._write([prompt.tokens])) for prompt in prompts]

    def predict(self, rows: Columns) -> Answers:
        """The losses of the known answers, and answers to some of the rows; raises ModelError as `answer` does.

        Answers that are written together may differ from those of `answer` where two tokens are almost equally
        probable.
        """
        prompts = self.chat.prompts(rows, self.inputs)
        labels = [str(label) for label in cast(Sequence[Any], rows[self.said.label])]
        chosen = np.unique(np.linspace(0, len(prompts) - 1, min(self.said.compared_answers, len(prompts))).astype(int))
        written: list[str | None] = [None] * len(prompts)
        # Prompts of about the same length together: the shorter ones are padded.
        order = sorted(chosen.tolist(), key=lambda place: len(prompts[place].tokens))
        for start in range(0, len(order), AT_ONCE):
            places = order[start : start + AT_ONCE]
            for place, text in zip(places, self._write([prompts[place].tokens for place in places]), strict=True):
                written[place] = text
        losses, tokens = self._losses(prompts, labels)
        columns = [[str(value or "") for value in cast(Sequence[Any], rows[name])] for name in self.inputs]
        questions = tuple("\n".join(texts) for texts in zip(*columns, strict=True))
        cut = np.array([prompt.cut for prompt in prompts], dtype=np.bool_)
        return Answers(questions, tuple(written), losses, tokens, cut)

    def evaluate(self, labels: Any, predictions: Answers) -> Evaluation:
        """Metrics and figures of answers."""
        return metrics_text.evaluate(labels, predictions)

    def save(self, folder: Path) -> None:
        """Writes what was trained, and the base model's name and checksums."""
        config = {"format": FORMAT, "base": asdict(self.base), "recipe": asdict(self.said)}
        model_folder.write(folder, trained_weights(self.network), config)

    @torch.inference_mode()
    def _write(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """The most probable continuation of each prompt, token by token."""
        width = max(map(len, prompts))
        end = self.chat.end
        tokens = torch.tensor([[end] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        device = next(self.network.parameters()).device
        written = self.network.model.generate(  # ty: ignore[not-callable]
            tokens.to(device), attention_mask=mask.to(device), max_new_tokens=self.said.answer_tokens, do_sample=False,
            eos_token_id=end, pad_token_id=end,
        )  # fmt: skip
        return [self.chat.read(own) for own in written[:, width:].tolist()]

    @torch.inference_mode()
    def _losses(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> tuple[Any, Any]:
        """[rows] each: the known answers' losses, and their numbers of tokens."""
        losses, tokens = np.zeros(len(labels)), np.zeros(len(labels))
        device = next(self.network.parameters()).device
        for start in range(0, len(labels), AT_ONCE):
            asked = [prompt.tokens for prompt in prompts[start : start + AT_ONCE]]
            answers = [self.chat.answer(label) for label in labels[start : start + AT_ONCE]]
            whole = [prompt + answer for prompt, answer in zip(asked, answers, strict=True)]
            packed = pack(whole, [len(prompt) for prompt in asked], length=self.said.sequence_tokens, padding=0)
            own = self.network(*(part.to(device) for part in inputs_of(packed))).double().cpu().numpy()
            np.add.at(losses, packed.examples.numpy() + start, own)
            tokens[start : start + AT_ONCE] = [len(answer) for answer in answers]
        return losses, tokens


def inputs_of(packed: Packed) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `AnswerLoss` takes."""
    return packed.tokens, packed.positions, packed.places, packed.targets


def chat_of(base: BaseModel, said: Said, home: Path) -> Chat:
    """The chat of a model; raises ModelError if the base model is absent or was changed."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(base_models.prepared(base, home), local_files_only=True)
    return Chat(tokenizer, said.prompt, said.system, said.sequence_tokens - said.answer_tokens)


def load(folder: Path) -> LanguageModel:
    """Reads a model that `save` wrote.

    Raises:
        ModelError: if one of its files was changed, or if the base model is absent or was changed.
    """
    with model_folder.reading(folder, FORMAT) as saved:
        base, said = BaseModel(**saved.config["base"]), Said.from_json(saved.config["recipe"])
        home = settings.get().root
        network = network_of(base, said.adapter, home)
        fill(network, saved.weights)
        return LanguageModel(base=base, said=said, network=network, home=home)
