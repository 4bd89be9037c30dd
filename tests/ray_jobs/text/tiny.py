"""Base models of the same kinds as the packages', with few random weights and a tokenizer of a few words."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ray_jobs.text import base_models
from ray_jobs.text.base_models import BaseModel

WORDS = [
    "Say the colour of: the sky is blue", "grass is green", "coal is black", "snow is white", "<|system|>user assistant",
    "a long text about nothing but words", "the answer is one of blue green black white",
]  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def language_model(folder: Path) -> BaseModel:
    """A Llama of 2 layers with a chat template, as SmolLM2 has one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|pad|>", "<|start|>", "<|end|>"]
    tokenizer.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|start|>", pad_token="<|pad|>",
        chat_template=TEMPLATE,
    )  # fmt: skip
    fast.save_pretrained(folder)
    torch.manual_seed(7)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, initializer_range=0.2,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )
    ).save_pretrained(folder)  # fmt: skip
    return base_models.in_folder(folder, name="tiny-llama", licence="Apache-2.0")


def encoder(folder: Path) -> BaseModel:
    """A BERT of 2 layers, as MiniLM is one."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(WORDS, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(7)
    BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=64, initializer_range=0.2,
        )
    ).save_pretrained(folder)  # fmt: skip
    return base_models.in_folder(folder, name="tiny-bert", licence="Apache-2.0")
