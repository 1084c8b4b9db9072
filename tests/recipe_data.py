"""What a reader of the recipes brings along: three tab-separated files, and a small pretrained checkpoint."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = {
    "account": ("account", "password", "address", "login"),
    "card": ("card", "plastic", "pin", "chip"),
    "loan": ("loan", "credit", "interest", "mortgage"),
    "refund": ("refund", "charged", "twice", "money"),
}
FILLERS = ("please", "my", "the", "help", "with", "about", "now", "it", "is", "lost", "again", "for", "one", "i", "how")
ROWS = {"train": 160, "dev": 60, "test": 60}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts with two words of their label and one of another among fillers, and the label; no text twice."""
    chance, found = random.Random(seed), {}
    while len(found) < count:
        label = list(WORDS)[len(found) % len(WORDS)]
        misleading = chance.choice([word for other, words in WORDS.items() if other != label for word in words])
        words = [*chance.choices(FILLERS, k=5), *chance.sample(WORDS[label], 2), misleading]
        chance.shuffle(words)
        found[" ".join(words)] = label
    return list(found.items())


def write_files(folder: Path) -> None:
    """train.tsv, dev.tsv and test.tsv, with no text in two of them."""
    rows = iter(sentences(sum(ROWS.values()), seed=1))
    for name, count in ROWS.items():
        lines = [f"{text}\t{label}" for text, label in (next(rows) for _ in range(count))]
        (folder / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines, ""]), encoding="utf-8")


def write_checkpoint(folder: Path) -> None:
    """A BERT of four layers and 32 numbers a token, pretrained on other sentences with the same words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [w for ws in WORDS.values() for w in ws]
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words, *dict.fromkeys(FILLERS)]
    places = {token: place for place, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(WordPiece(places, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.pre_tokenizer = Whitespace()
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.15,
    )
    model = BertModel(config)
    _pretrain(model, tokenizer)
    model.save_pretrained(folder)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)


def _pretrain(model: BertModel, tokenizer: Tokenizer) -> None:
    texts = sentences(500, seed=2)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch([text for text, _ in texts])
    ids = torch.tensor([e.ids for e in encoded])
    mask = torch.tensor([e.attention_mask for e in encoded])
    tokenizer.no_padding()
    targets = torch.tensor([list(WORDS).index(label) for _, label in texts])
    top = torch.nn.Linear(32, len(WORDS))
    optimizer = torch.optim.AdamW([*model.parameters(), *top.parameters()], lr=2e-3)
    for _ in range(100):
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        loss = torch.nn.functional.cross_entropy(top(vectors), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
