"""Texts a second on a small transformer: whybox's KernelSHAP beside shap.Explainer(pipeline), and answers scored by teacher forcing.

    python benchmarks/transformer_speed.py [--part classifier|generation] [--threads 2] [--quick] [--out benchmarks/results]

Classifier: a BERT of 4 layers, 256 wide, with random weights and a tokenizer trained on the spot; 100 generated texts of 20 to 200 words;
200 model rows a text for both. shap explains with Partition, its default for pipelines, and calls the pipeline itself: once as it is (one
row a forward) and once with batch_size=32; it explains every tenth text, and its time is multiplied. The pure model is one pass over the
very rows that whybox sent, sorted by length in forwards of 2,048 tokens, without tokenizer. Seconds are CPU seconds of one thread, or with
--threads 2 or more those of the clock on the wall.

Generation: a Llama of 4 layers, 256 wide; a context of 500 tokens with a question, of which 50 copies lose random words; log-probability of
an answer of 20 tokens. The baseline is one forward a token a prompt. With a fixed beginning of 300 tokens in front, the cache pays as well.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _measure import conditions, save, table

import whybox as wb
from whybox.typing import Model

WORDS = [
    f"{a}{b}{c}" for a in ("ba", "do", "ke", "li", "mu", "ra", "so", "tu") for b in ("n", "r", "st", "l") for c in ("a", "e", "io", "u")
]


def texts_of(lengths: Any, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, int(n))) for n in lengths]


def tokenizer_of(texts: list[str], **special: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # few merges: about 1.3 tokens a word, as in natural text
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=150, special_tokens=names, show_progress=False))
    if special:
        backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", **special)


class Spy:
    """Notes the rows and seconds of a pipeline's or a model's calls."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.rows: list[str] = []
        self.seconds = 0.0

    def around(self, call: Any) -> Any:
        """The call, spied on."""

        def spied(*given: Any, **options: Any) -> Any:
            rows = given[-1]
            began = self.clock()
            out = call(*given, **options)
            self.seconds += self.clock() - began
            self.rows.extend(rows)
            return out

        return spied


def classifier(quick: bool, threads: int) -> tuple[list[list[str]], dict[str, Any]]:
    import shap
    import torch
    from transformers import BertConfig, BertForSequenceClassification, TextClassificationPipeline, pipeline

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter  # the CPU seconds of several threads are no throughput
    n, queries = (8, 100) if quick else (100, 200)
    texts = texts_of(np.linspace(20, 200, n), 0)
    tokenizer = tokenizer_of(texts, cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        initializer_range=0.1,
    )
    model = BertForSequenceClassification(config).eval()
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device=-1)
    table_rows, data = [], {}

    def note(name: str, seconds: float, rows: int, inside: float) -> None:
        data[name] = {"seconds": seconds, "rows": rows, "texts": n, "model_seconds": inside}
        table_rows.append([name, f"{n / seconds:.3g}", f"{rows / n:.0f}", f"{rows / seconds:.4g}", f"{seconds / inside:.2f} x"])

    whole = TextClassificationPipeline.__call__
    for name, size in (("shap Partition", 1), ("shap Partition, batch_size=32", 32)):
        few = texts[:: 1 if quick else 10]
        spy = Spy(clock)
        pipe._batch_size = size
        TextClassificationPipeline.__call__ = spy.around(whole)
        try:
            began = clock()
            shap.Explainer(pipe)(few, max_evals=queries, silent=True)
            seconds = clock() - began
        finally:
            TextClassificationPipeline.__call__ = whole
        note(name, seconds * n / len(few), len(spy.rows) * n // len(few), spy.seconds * n / len(few))
    pipe._batch_size = 1
    found = wb.as_model(pipe)
    spy = Spy(clock)
    sent = Model(**{**vars(found), "predict": spy.around(found.predict)})
    began = clock()
    e = wb.KernelSHAP(sent, space=wb.spaces.Words(), engine=wb.Engine(controls=False)).explain(texts, budget=queries, target=1, seed=0)
    seconds = clock() - began
    note("whybox KernelSHAP", seconds, e.stats.n_queries, spy.seconds)
    data["tokens"] = tokens_a_second(model, tokenizer, spy.rows, seconds, clock)
    return table_rows, data


def tokens_a_second(model: Any, tokenizer: Any, rows: list[str], seconds: float, clock: Callable[[], float]) -> dict[str, float]:
    """Tokens a second of the explanation, and of the model alone on the same rows."""
    import torch

    ids = sorted(tokenizer(rows)["input_ids"], key=len)
    count = sum(map(len, ids))
    began = clock()
    start = 0
    with torch.no_grad():
        while start < len(ids):
            stop = min(start + max(2048 // len(ids[min(start + 2048 // len(ids[start]), len(ids) - 1)]), 1), len(ids))
            width = len(ids[stop - 1])
            tokens = torch.tensor([row + [0] * (width - len(row)) for row in ids[start:stop]])
            model(input_ids=tokens, attention_mask=(tokens != 0).long())
            start = stop
    pure = clock() - began
    return {"tokens": count, "whybox": count / seconds, "pure model": count / pure}


def generation(quick: bool) -> tuple[list[list[str]], dict[str, Any]]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    (context, head, answer) = texts_of((384, 230, 16), 1)
    tokenizer = tokenizer_of(texts_of([200] * 20, 0))
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32000, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4, initializer_range=0.1
        )
    ).eval()
    prompts = [" ".join(word for word in context.split() if rng.random() < kept) for kept in np.linspace(0.4, 1.0, 50)]
    few = 2 if quick else 5
    table_rows, data = [], {}
    for name, before in (("context alone", ""), ("fixed beginning and context", head + " ")):
        template = before + "{text} question"
        scorer = wb.models.TeacherForcing(model, tokenizer, answer, template=template, per="token")
        plain = scorer._scores(scorer.tokens)
        ids = plain.encode(scorer.prompts(prompts))
        t = len(scorer.tokens)
        began = time.process_time()
        slow = np.array([[one_forward(model, row, scorer.tokens, i) for i in range(t)] for row in ids[:: len(ids) // few]])
        baseline = (time.process_time() - began) * len(ids) / len(slow)
        full, shared = (
            wb.as_model(wb.models.TeacherForcing(model, tokenizer, answer, template=template, per="token", share_prefix=s))
            for s in (False, True)
        )
        seconds = {}
        for way, scored in (("full prompts", full), ("shared beginning", shared)):
            scored.predict(prompts[:4])
            began = time.process_time()
            found = scored.predict(prompts)
            seconds[way] = time.process_time() - began
            apart = float(np.abs(found[:: len(ids) // few] - slow).max())
            data[f"{name}, {way}"] = {"baseline": baseline, "seconds": seconds[way], "apart": apart}
            mean = np.mean([len(row) for row in ids])
            table_rows.append(
                [
                    name,
                    f"{mean:.0f}",
                    str(t),
                    way,
                    f"{baseline:.3g}",
                    f"{seconds[way]:.3g}",
                    f"{baseline / seconds[way]:.1f} x",
                    f"{apart:.1g}",
                ]
            )
    return table_rows, data


def one_forward(model: Any, prompt: list[int], answer: tuple[int, ...], position: int) -> float:
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *answer[:position]]]), logits_to_keep=1).logits[0, -1]
        return float(torch.log_softmax(logits, dim=0)[answer[position]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("classifier", "generation"))
    parser.add_argument("--threads", type=int, default=1, help="of the classifier's part")
    parser.add_argument("--quick", action="store_true", help="fewer texts and queries")
    parser.add_argument("--out", help="folder for the tables")
    given = parser.parse_args()
    command = " ".join(["python benchmarks/transformer_speed.py", *sys.argv[1:]])
    where = conditions(("whybox", "shap", "torch", "transformers"), command)
    told, kept = [where.replace("one thread a process", f"{given.threads} threads") if given.threads > 1 else where], {}
    if given.part != "generation":
        rows, kept["classifier"] = classifier(given.quick, given.threads)
        speed = kept["classifier"]["tokens"]
        told.append(table(("", "texts/s", "model rows a text", "rows/s", "time over its model's"), rows))
        told.append(
            f"KernelSHAP: {speed['whybox']:.0f} tokens/s all in; the pure model on the same rows {speed['pure model']:.0f} "
            f"({speed['pure model'] / speed['whybox']:.2f} x)."
        )
    if given.part != "classifier":
        rows, kept["generation"] = generation(given.quick)
        head = ("prompts", "mean tokens", "answer tokens", "whybox", "one forward a token, s", "whybox, s", "faster", "largest difference")
        told.append(table(head, rows))
    save("transformer_speed", "\n\n".join(told), kept, given.out)


if __name__ == "__main__":
    main()
