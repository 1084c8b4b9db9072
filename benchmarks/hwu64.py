"""HWU64 (64 intents, fold 1): accuracy and training cost of our strategies against a plain Trainer."""

from __future__ import annotations

from intents import benchmark

if __name__ == "__main__":
    benchmark("hwu64", "HWU64: 64 home-assistant intents, 9,960 training and 1,076 test messages")
