"""The networks of text models, with the weights of their base models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.models.program import RecipeError
from ray_jobs.text import base_models
from ray_jobs.text.base_models import BaseModel
from ray_jobs.text.recipe import LanguageRecipe, Lora


class AnswerLoss(nn.Module):
    """A language model as training sees it: the loss of each token of the answers, and of no other token."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_SL: Tensor, positions_SL: Tensor, places_K: Tensor, targets_K: Tensor) -> Tensor:  # noqa: N803
        """Losses [K] of the tokens that `pack` names; outputs are computed at their places alone."""
        hidden = self.model.get_decoder()(  # ty: ignore[not-callable]
            input_ids=tokens_SL, position_ids=positions_SL, use_cache=False
        ).last_hidden_state
        outputs = self.model.get_output_embeddings()(hidden.flatten(0, 1)[places_K])  # ty: ignore[not-callable]
        return nn.functional.cross_entropy(outputs.float(), targets_K, reduction="none")


def network_of(base: BaseModel, adapter: Lora | None, home: Path) -> AnswerLoss:
    """A language model with new adapters if there are any; only what is trained needs a gradient.

    Raises:
        ModelError: if the base model is absent or was changed.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = base_models.prepared(base, home)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    if adapter is not None:
        from peft import LoraConfig, inject_adapter_in_model

        lora = LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=adapter.dropout, target_modules=list(adapter.modules)
        )
        model = inject_adapter_in_model(lora, model)
    return AnswerLoss(model)


def require_layers(recipe: LanguageRecipe, home: Path) -> None:
    """Raises RecipeError for an adapter of a layer that the base model lacks; the weights are not loaded."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base_models.prepared(recipe.base, home), local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layers = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if unknown := sorted(set(recipe.adapter.modules if recipe.adapter else ()) - layers):
        raise RecipeError(
            object=f"recipe of {recipe.model_name}: adapter",
            observed=f"{recipe.base} has no layer {', '.join(unknown)}",
            expected=", ".join(sorted(layers)),
            next_step="correct the modules of the adapter",
        )


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name; one that has two names under the first."""
    return {name: own.detach() for name, own in network.named_parameters() if own.requires_grad}


def fill(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Replaces the parameters that are trained; raises ValueError if the weights are not exactly those."""
    if different := trained_weights(network).keys() ^ weights.keys():
        raise ValueError(f"weights that are absent or too many: {', '.join(sorted(different)[:3])}")
    network.load_state_dict(dict(weights), strict=False)


class TextLabels(nn.Module):
    """An encoder of texts, the mean of its outputs, and a linear layer."""

    def __init__(self, encoder: nn.Module, width: int, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, labels)

    def forward(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:  # noqa: N803
        """Outputs [B, labels] of B texts; the mask says which tokens are no padding."""
        return self.head(self.means(tokens_BL, mask_BL))

    def means(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:  # noqa: N803
        """The mean [B, width] of the encoder's outputs of each text."""
        hidden = self.encoder(input_ids=tokens_BL, attention_mask=mask_BL.long()).last_hidden_state
        weights = mask_BL.to(hidden.dtype)[:, :, None]
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


class LabelsOfMeans(nn.Module):
    """The linear layer of `TextLabels` alone, for texts that its encoder has read; it has the layer's names."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, labels)

    def forward(self, means_BD: Tensor) -> Tensor:  # noqa: N803
        """Outputs [B, labels] of B texts."""
        return self.head(means_BD)


def labels_network_of(base: BaseModel, labels: int, home: Path, *, train_encoder: bool) -> TextLabels:
    """The base model's encoder with a new linear layer; raises ModelError as `network_of` does."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # else it reports the weights of the layer that is left out, as unexpected
    encoder = AutoModel.from_pretrained(
        base_models.prepared(base, home), dtype=torch.float32, local_files_only=True, add_pooling_layer=False
    )
    encoder.requires_grad_(train_encoder)
    return TextLabels(encoder, encoder.config.hidden_size, labels)


def width_of(base: BaseModel, home: Path) -> int:
    """The width of an encoder's outputs; its weights are not loaded. Raises ModelError as `network_of` does."""
    config = json.loads((base_models.prepared(base, home) / "config.json").read_text(encoding="utf-8"))
    return int(config["hidden_size"])
