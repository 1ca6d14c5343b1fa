"""A language model of a few thousand weights, made on the spot."""

from __future__ import annotations

WORDS = tuple("the food was good bad service slow great and but we i will be back not never again nice room edited text".split(" "))  # noqa: SIM905
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"


def tiny_lm(*, chat: bool = True, context: int = 256, seed: int = 0):
    """(model, tokenizer): a two-layer Llama with random weights and a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = ["<unk>", "<s>", "</s>", "[system]", "[user]", "[assistant]", *dict.fromkeys(WORDS), *"0123456789.,:<>"]
    backend = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    if chat:
        tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=context,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.7,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return model.eval(), tokenizer


def tiny_classifier(kind="bert", *, labels=2, context=128, seed=0, **config):
    """(model, tokenizer): a two-layer classifier with random weights, in eval mode."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS), *"0123456789.,"]
    backend = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    if kind != "gpt2":
        ends = [("[CLS]", 2), ("[SEP]", 3)]
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
        special |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=["input_ids", "token_type_ids", "attention_mask"], **special
    )
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
    }
    if kind == "gpt2":
        size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": context, "bos_token_id": None, "eos_token_id": None}
    name = {"bert": "Bert", "roberta": "Roberta", "gpt2": "GPT2"}[kind]
    made = getattr(transformers, f"{name}Config")(
        vocab_size=len(tokens), num_labels=labels, initializer_range=0.4, pad_token_id=0, **size, **config
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{name}ForSequenceClassification")(made)
    return model.eval(), tokenizer
