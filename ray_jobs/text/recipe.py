"""The configurations of the text programs; a function of the domain returns one. Imports no heavy library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

from pipelines.models.answers import Task
from pipelines.models.program import Holds
from ray_jobs.core.recipe import Checks, TrainingRecipe
from ray_jobs.text.base_models import MINILM, SMOLLM2, BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685), which are trained in place of the base model's weights.

    Attributes:
        rank: Of the two matrices whose product is added to a weight matrix.
        alpha: The product is multiplied by alpha / rank.
        dropout: Share of an adapter's inputs that a training step drops.
        modules: The names of the layers that get one.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    modules: tuple[str, ...] = ("q_proj", "v_proj")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRecipe(TrainingRecipe):
    """Supervised fine-tuning of a language model on pairs of a prompt and its answer, the label.

    Attributes:
        task: Always "text".
        base: The model that training begins with; it has a chat template.
        prompt: What the user says, with the names of the table's columns in braces: "Summarize:\\n{text}". A null is
            an empty text.
        system: What the system says before; None for what the chat template says.
        adapter: The adapters that are trained; None to train all weights.
        sequence_tokens: A batch's examples are packed into sequences of at most so many tokens, or of one example. A
            longer prompt loses the end of its columns.
        answer_tokens: The longest answer, in training and in prediction.
        compared_answers: Rows of a comparison for which answers are written, spread evenly over them. The loss is
            measured on every row.
        learning_rate, weight_decay, batch_size, epochs: As in every recipe, with defaults for adapters.
    """

    task: Task = "text"
    base: BaseModel = SMOLLM2
    prompt: str
    system: str | None = None
    adapter: Lora | None = field(default_factory=Lora)
    sequence_tokens: int = 512
    answer_tokens: int = 64
    compared_answers: int = 100
    epochs: int = 1
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    maximum_gradient_norm: float | None = 1.0

    def checks(self) -> Checks:
        """As every recipe's; and those of the prompt, the lengths and the adapters."""
        lora = self.adapter
        return {
            **TrainingRecipe.checks(self),
            "task": (self.task == "text", "text"),
            "prompt": (
                bool(self.inputs) and all(name.isidentifier() for name in self.inputs),
                "one column or more in braces, without any format; {{ and }} for braces",
            ),
            "label": (self.label not in self.inputs, "no column of the prompt: it is what is answered"),
            "answer_tokens": (
                0 < self.answer_tokens < self.sequence_tokens,
                "1 or more, and less than sequence_tokens",
            ),
            "compared_answers": (self.compared_answers > 0, "1 or more"),
            "adapter": (
                lora is None or (lora.rank > 0 and 0 <= lora.dropout < 1 and bool(lora.modules)),
                "a rank of 1 or more, a dropout below 1 and the name of a layer; or None",
            ),
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns in the prompt's braces, each once."""
        try:
            fields = [parts[1:] for parts in Formatter().parse(self.prompt) if parts[1] is not None]
        except ValueError:  # a single brace
            return ()
        plain = all(not form and not conversion for _, form, conversion in fields)
        return tuple(dict.fromkeys(str(name) for name, *_ in fields)) if plain else ()

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The inputs, and the label: a comparison measures the loss of the answers that it holds."""
        return (*self.inputs, self.label)

    @property
    def columns(self) -> Mapping[str, Holds]:
        """The columns that training and comparison read, and what each holds."""
        return {**self.selects_by, **dict.fromkeys(self.columns_read, "text")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRecipe(TrainingRecipe):
    """Which label a text has: an encoder of texts with a linear layer on the mean of its outputs.

    Attributes:
        task: Always "multiclass".
        base: The encoder that training begins with.
        texts: The columns whose texts are read, one below the other; nulls are left out.
        train_encoder: Whether the encoder's weights are trained too, or those of the linear layer alone. Then the
            encoder reads each text once, before the workers start, and a pass over the rows takes no time.
        text_tokens: A longer text loses its end.
        learning_rate, weight_decay, batch_size, epochs: As in every recipe, with defaults for a trained encoder.
    """

    task: Task = "multiclass"
    base: BaseModel = MINILM
    texts: tuple[str, ...]
    train_encoder: bool = True
    text_tokens: int = 256
    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    maximum_gradient_norm: float | None = 1.0

    def checks(self) -> Checks:
        """As every recipe's; and those of the texts."""
        names = self.texts
        return {
            **TrainingRecipe.checks(self),
            "task": (self.task == "multiclass", "multiclass"),
            "texts": (bool(names) and len(set(names)) == len(names), "one column or more, none of them twice"),
            "label": (self.label not in names, "no column of the texts: it is what is predicted"),
            "text_tokens": (self.text_tokens > 2, "3 or more: a text's first and last token are marks"),
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of texts."""
        return self.texts

    @property
    def columns(self) -> Mapping[str, Holds]:
        """The columns that training and comparison read, and what each holds."""
        return {**self.selects_by, **dict.fromkeys((*self.texts, self.label), "text")}
