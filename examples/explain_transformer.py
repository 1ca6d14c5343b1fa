"""A small transformer, trained on the spot to tell a guest's rating, explained word by word: texts of all lengths in full forwards."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import whybox as wb

LABELS = ("bad", "good")


def train(texts, labels, steps):
    """A BERT of 2 layers, and a word tokenizer of the texts."""
    backend = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        id2label=dict(enumerate(LABELS)),
    )
    model = BertForSequenceClassification(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    y = torch.tensor(labels)
    for step in range(steps):
        at = [(32 * step + i) % len(texts) for i in range(32)]
        batch = tokenizer([texts[i] for i in at], padding=True, return_tensors="pt")
        optimiser.zero_grad()
        model(**batch, labels=y[at]).loss.backward()
        optimiser.step()
    return model, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer training steps and fewer texts")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    data = wb.datasets.concept_reviews(1200 if quick else 3000, seed=1)
    stars = np.array([int(label) for label in data.labels])
    kept = np.flatnonzero(stars != 3)
    texts, labels = [data.texts[i] for i in kept], (stars[kept] > 3).astype(int)
    n = 4 if quick else 20
    model, tokenizer = train(texts[n:], labels[n:], 120 if quick else 600)

    classifier = wb.models.TransformersClassifier(model, tokenizer)
    e = wb.KernelSHAP(classifier, space=wb.spaces.Words()).explain(texts[:n], target="good", budget=200, seed=0)
    print(e[0].to_text())
    outside = e.stats.overhead_seconds / e.stats.total_seconds
    print(f"{n} texts: {e.stats.n_queries} queries in {e.stats.n_calls} calls; {outside:.0%} of the time outside the model")

    # the same text by its branches: sentences first, then the words of those that matter
    owen = wb.PartitionSHAP(classifier, space=wb.spaces.Words()).explain(texts[:1], target="good", budget=60, seed=0)
    print(owen[0].to_text())
    assert model.training, "the model is as it was: dropout was off only during the calls"


if __name__ == "__main__":
    main()
