"""SmolLM2 through the training loop, against a plain loop of transformers and peft on the same batches.

It learns to sum up the functions of Python's standard library: the source, and the first line of its docstring. Each
side is a process of its own on the same rows in the same order. Where there is a GPU, it also trains all weights,
compiled, and by FSDP2, and model FLOPs utilization is measured against the dense bf16 rate of NVIDIA's data sheet.

`python -m bench.train_language --base FOLDER` takes the architecture and tokenizer of a folder in the layout of
transformers; if the folder holds no weights, they are random, which changes no speed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import json
import pickle
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.pairs import Row
from bench.train_language_side import Case, Speed
from pipelines.models.program import Fold
from pipelines.settings import PROJECT, Settings
from ray_jobs.text.base_models import SMOLLM2, WEIGHTS_FILE, BaseModel, in_folder, prepared
from ray_jobs.text.recipe import LanguageRecipe


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained: rows, rows of a step, tokens of a sequence, and how often each side is measured."""

    rows: int
    batch: int
    sequence_tokens: int
    rounds: int


CPU, GPU = Size(88, 8, 256, 2), Size(16_000, 320, 1_024, 1)
#: On a GPU; the last one writes four checkpoints while it trains.
CASES = (
    Case("ours", "lora", "bf16", GPU.batch),
    Case("ours", "lora", "bf16, compiled", GPU.batch),
    Case("ours", "whole", "bf16", GPU.batch),
    Case("ours", "whole", "bf16, compiled, FSDP2", GPU.batch),
    Case("ours", "whole", "bf16, compiled", GPU.batch, epochs=4, every=50),
)


def measure(settings: Settings, base: Path | None = None) -> list[Row]:
    """Trains by adapters and, on a GPU, all weights; each case in a process of its own."""
    import torch

    size = GPU if torch.cuda.is_available() else CPU
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(settings, folder, base, size)
        rows = [_against_plain(folder, size, peer) for peer in ("packed", "padded")]
        if size is GPU:
            rows += [row(case, process(folder, case)) for case in CASES]
        return rows


def row(case: Case, speed: Speed) -> Row:
    """What one case on a GPU measured."""
    mfu = "" if speed.mfu is None else f", MFU {speed.mfu:.1%}"
    waits = f"waiting for rows {speed.waited:.1%}, for {case.epochs} checkpoints {speed.blocked:.1%}"
    figures = f"{speed.tokens_a_second:,.0f} tokens a second{mfu}, {speed.memory:.1f} GB"
    return Row(f"SmolLM2-135M, {case.adapter}, {case.scale}, {speed.accelerator}", figures, "", None, waits)


def _against_plain(folder: Path, size: Size, peer: str) -> Row:
    """Adapters, ours against the plain loop with the same packed sequences, or with padded ones."""
    scale = "bf16" if size is GPU else "fp32"
    # The plain loop computes outputs for all tokens, padding among them: with larger batches it runs out of memory.
    batch = GPU.batch // 4 if (size, peer) == (GPU, "padded") else size.batch
    pairs = [
        tuple(process(folder, Case(side, "lora", scale, batch)) for side in ("ours", peer)) for _ in range(size.rounds)
    ]
    ratio = statistics.median(ours.tokens_a_second / plain.tokens_a_second for ours, plain in pairs)
    a, b = (statistics.median(pair[side].tokens_a_second for pair in pairs) for side in (0, 1))
    ours, plain = pairs[0]
    different = abs(ours.first_loss / plain.first_loss - 1)
    assert different < 0.02, f"first losses of {ours.first_loss} and {plain.first_loss}"
    name = f"SmolLM2-135M, LoRA, {scale}, {ours.accelerator}: tokens a second / transformers + peft, {peer} (aim 1.0)"
    note = f"{batch} rows a step; {ours.memory:.1f} and {plain.memory:.1f} GB; first losses differ by {different:.1%}"
    return Row(name, f"{a:,.0f}", f"{b:,.0f}", ratio, note)


def _base(settings: Settings, folder: Path, given: Path | None) -> BaseModel:
    """SmolLM2 of the package; or a folder's, with random weights if it holds none."""
    if given is None:
        prepared(SMOLLM2, settings.root)
        return SMOLLM2
    from transformers import AutoConfig, AutoModelForCausalLM

    target = folder / "base"
    shutil.copytree(given, target)
    if not (target / WEIGHTS_FILE).exists():
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(target)).save_pretrained(target)
    return in_folder(target, name=given.name, licence="unknown")


def _recipe(base: BaseModel, size: Size) -> LanguageRecipe:
    return LanguageRecipe(
        model_name="functions", label="summary", row_key="function", base=base,
        prompt="Say in one sentence what this Python function does.\n\n{body}",
        sequence_tokens=size.sequence_tokens, answer_tokens=96, batch_size=size.batch, epochs=1,
        train_window=Fold("fold", ("train",), holdout=("holdout",)), gate_window=Fold("fold", ("gate",)),
    )  # fmt: skip


def write(settings: Settings, folder: Path, base: Path | None, size: Size) -> None:
    """Writes the table, its shards, and the recipe for the processes."""
    import pyarrow as pa
    from deltalake import write_deltalake

    from ray_jobs.core import shard_writer
    from ray_jobs.core.dataset import DatasetVersion
    from ray_jobs.text.causal_lm import CausalLm

    functions = list(itertools.islice(_functions(), size.rows))
    chosen = [functions[number % len(functions)] for number in range(size.rows + 8)]
    folds = ["holdout"] * 8 + ["train"] * size.rows
    rows = [
        {"function": f"f{number:06d}", "body": body, "summary": summary, "fold": fold}
        for number, ((body, summary), fold) in enumerate(zip(chosen, folds, strict=True))
    ]
    write_deltalake(str(folder / "table"), pa.Table.from_pylist(rows))
    recipe, table = _recipe(_base(settings, folder, base), size), DatasetVersion(str(folder / "table"), 0)
    program = CausalLm(recipe, settings.root, None)
    for part in ("fit", "holdout"):
        shard_writer.write(program, table, recipe, part, folder / part)
    (folder / "recipe.pickle").write_bytes(pickle.dumps((recipe, settings.root)))


def _functions() -> Iterator[tuple[str, str]]:
    """Sources of functions of Python's standard library, of up to 1,000 characters, and what sums each up."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "test" in path.parts or "site-packages" in path.parts or "idlelib" in path.parts:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        with contextlib.suppress(SyntaxError):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef) and (said := ast.get_docstring(node)):
                    summary = said.partition("\n")[0]
                    source = ast.get_source_segment(text, node) or ""
                    body = source.replace(summary, "", 1)[:1_000]
                    if 20 <= len(summary) <= 80 and summary.isascii() and len(body) > 60:
                        yield body, summary


def process(folder: Path, case: Case) -> Speed:
    """Measures a case in a process of its own."""
    command = [sys.executable, "-m", "bench.train_language_side", str(folder), json.dumps(asdict(case))]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-3000:]}")
    return Speed(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    from pipelines import settings

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="a folder with config.json and a tokenizer")
    for line in measure(settings.get(), parser.parse_args().base):
        print(line, flush=True)
