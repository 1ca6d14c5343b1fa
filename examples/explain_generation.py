"""Which passage, and which of its words, made a language model answer as it did? A small model learns on the spot to find a place.

First the model's own probabilities (teacher forcing), passages before words; then the same question to an endpoint that returns only text.
Without options a small server on loopback plays the endpoint. Against a real one:

    python examples/explain_generation.py --base-url https://api.openai.com/v1 --model gpt-4o-mini --api-key-env OPENAI_API_KEY
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import whybox as wb
from whybox.testing.llm_server import running

PLACES = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi")
FILLER = (
    "The road is long .",
    "It rains on the old house .",
    "Nobody saw the train .",
    "A dog sleeps under the tree .",
    "We talk about the weather .",
)
QUESTION = " Question : where is the key ? Answer :"


def story(rng, sentences):
    """Sentences about nothing, and one about the key."""
    told = [str(rng.choice(FILLER)) for _ in range(sentences)]
    place = str(rng.choice(PLACES))
    told.insert(int(rng.integers(len(told) + 1)), f"The key is in {place} .")
    return told, place


def train(steps):
    """A Llama of 2 layers that has learnt to say where the key is."""
    words = sorted({word for text in (*FILLER, "The key is in . " + QUESTION) for word in text.split()} | set(PLACES))
    tokens = ["<unk>", "</s>", *words]
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        n = int(rng.integers(1, 12))
        stories = [story(rng, n) for _ in range(32)]
        rows = [tokenizer(" ".join(told) + QUESTION + f" {place} </s>")["input_ids"] for told, place in stories]
        width = max(map(len, rows))
        ids = torch.tensor([[1] * (width - len(row)) + row for row in rows])
        read = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        labels = ids.clone()
        labels[:, :-2] = -100  # only the answer is learnt
        optimiser.zero_grad()
        model(input_ids=ids, attention_mask=read, labels=labels).loss.backward()
        optimiser.step()
    return model.eval(), tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", help="an OpenAI-compatible endpoint; without it a loopback server plays one")
    parser.add_argument("--model", default="loopback", help="the model's name at the endpoint")
    parser.add_argument("--api-key-env", help="NAME of the environment variable that holds the key")
    parser.add_argument("--quick", action="store_true", help="fewer training steps and a shorter text")
    given = parser.parse_args()
    torch.manual_seed(0)
    model, tokenizer = train(150 if given.quick else 400)
    told, place = story(np.random.default_rng(7), 12 if given.quick else 40)
    text = "\n\n".join(" ".join(told[i : i + 4]) for i in range(0, len(told), 4))

    scorer = wb.models.TeacherForcing(model, tokenizer, template="{text}" + QUESTION).answering(text)
    print(f"the model says {scorer.text!r}; the key is in {place}")
    e = wb.PartitionSHAP(scorer, space=wb.spaces.Words()).explain([text], budget=80, seed=0)
    print(e[0].to_text())
    print(f"{len(e[0].feature_names)} words, {e.stats.n_queries} prompts in {e.stats.n_calls} calls")

    with ExitStack() as stack:
        url = given.base_url or stack.enter_context(running("--find", "|".join(PLACES))).base_url
        llm = wb.llms.OpenAICompatible(url, given.model, api_key_env=given.api_key_env, budget=wb.llms.Budget(requests=200))
        game = wb.llms.AnswerSimilarity(llm, template="{text}" + QUESTION).answering(text)
        e = wb.KernelSHAP(game, space=wb.spaces.Sentences()).explain([text], budget=60, seed=0)
        print(f"the endpoint says {game.answer!r}, after {llm.spent.requests} requests, because of")
        print("  " + e[0].feature_names[int(np.argmax(e[0].values))])


if __name__ == "__main__":
    main()
