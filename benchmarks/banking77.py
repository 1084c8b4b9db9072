"""Banking77 (77 intents, official split): accuracy and training cost of our strategies against a plain Trainer."""

from __future__ import annotations

from intents import benchmark

if __name__ == "__main__":
    benchmark("banking77", "Banking77: 77 online-banking intents, 10,003 training and 3,080 test messages")
