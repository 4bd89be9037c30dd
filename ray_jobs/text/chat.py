"""Prompts and answers as the tokens of a chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import ModelError
from ray_jobs.core.dataset import Columns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Stands for what the user says while the chat template is rendered.
SAID = "(what the user says)"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's tokens, up to where the answer begins; `cut` says whether the end of its columns is left out."""

    tokens: list[int]
    cut: bool


@dataclass(frozen=True, slots=True)
class Chat:
    """Writes prompts and answers in the form that a base model was trained with.

    Attributes:
        tokenizer: Of the base model, with its chat template.
        prompt, system: As `LanguageRecipe` explains them.
        prompt_tokens: The longest prompt.
    """

    tokenizer: PreTrainedTokenizerBase
    prompt: str
    system: str | None
    prompt_tokens: int

    def prompts(self, rows: Columns, inputs: Sequence[str]) -> list[Prompt]:
        """One prompt for each row; raises ModelError for a column that is absent or holds no texts."""
        columns = [texts_of(rows, name) for name in inputs]
        before, after = self._frame()
        room = max(self.prompt_tokens - len(before) - len(after), 0)
        prompts = []
        for texts in zip(*columns, strict=True):
            said = self._plain(self.prompt.format_map(dict(zip(inputs, texts, strict=True))))
            prompts.append(Prompt([*before, *said[:room], *after], cut=len(said) > room))
        return prompts

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer, and the mark of its end."""
        return [*self._plain(text), self.end]

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        end = self.tokenizer.eos_token_id
        assert isinstance(end, int), "a base model with a chat template has a token that ends an answer"
        return end

    def read(self, tokens: Sequence[int]) -> str:
        """The text of an answer's tokens, up to the mark of its end."""
        own = list(tokens)
        return str(self.tokenizer.decode(own[: own.index(self.end)] if self.end in own else own)).strip()

    def _plain(self, text: str) -> list[int]:
        """The tokens of a text, in which the mark of a role is a text like any other."""
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def _frame(self) -> tuple[list[int], list[int]]:
        """The tokens that the chat template writes before what the user says, and behind it."""
        messages = [{"role": "user", "content": SAID}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        rendered = str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        before, _, after = rendered.partition(SAID)
        encode = self.tokenizer.encode
        return encode(before, add_special_tokens=False), encode(after, add_special_tokens=False)


def texts_of(rows: Columns, name: str) -> list[str]:
    """A column's texts, an empty one for a null."""
    column = rows.get(name)
    if column is None:
        raise ModelError(
            object=f"column {name}",
            observed="absent",
            expected="a text for each row; null where there is none",
            next_step="give it with the question, or read the training set's column",
        )
    texts = ["" if value is None or value != value else value for value in column]
    wrong = next((value for value in texts if not isinstance(value, str)), None)
    if wrong is not None:
        raise ModelError(
            object=f"column {name}",
            observed=f"a value of type {type(wrong).__name__}",
            expected="texts",
            next_step="cast it to string",
        )
    return texts
