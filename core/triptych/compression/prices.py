"""What computing costs: seconds of cores and GPUs to money and energy, and when it pays to compute it oneself."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.compression.records import Finite, Record, Variant, short
from triptych.config import read_toml
from triptych.errors import ConfigError

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Cost(BaseModel):
    """Money and energy of some work."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    amount: float  # in `currency`
    currency: str
    kwh: float

    def __str__(self) -> str:
        return f"{self.amount:.3g} {self.currency} ({self.kwh:.2g} kWh)"


class Prices(BaseModel):
    """Prices of one hour, assumed by the user; `configs/prices.toml` explains each."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    currency: Annotated[str, Field(min_length=1)]
    cpu_core_hour: Amount
    gpu_hour: Amount
    kwh: Amount
    electricity_included: bool = True
    cpu_core_watts: Amount
    gpu_watts: Amount
    apis: dict[str, Amount] = {}  # what others ask for a million requests

    @classmethod
    def load(cls, path: str | Path | None = None) -> Self:
        """The prices in a TOML file; without a path, the packaged examples.

        Raises `ConfigError` with every problem in the file.
        """
        if path is None:
            packaged = resources.files("triptych_configs") / "prices.toml"
            content: dict[str, Any] = tomllib.loads(packaged.read_text(encoding="utf-8"))
            name = "prices.toml"
        else:
            content, name = read_toml(Path(path)), str(path)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = [f"{name}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise ConfigError(problems) from error

    def cost(self, cpu_seconds: float, gpu_seconds: float = 0.0) -> Cost:
        """The cost of work that kept one core busy for `cpu_seconds` and one GPU for `gpu_seconds`.

        A GPU's price holds its host's, but CPU seconds are charged all the same: it is the safe side.
        """
        core_hours, gpu_hours = cpu_seconds / 3600, gpu_seconds / 3600
        kwh = (core_hours * self.cpu_core_watts + gpu_hours * self.gpu_watts) / 1000
        amount = core_hours * self.cpu_core_hour + gpu_hours * self.gpu_hour
        if not self.electricity_included:
            amount += kwh * self.kwh
        return Cost(amount=amount, currency=self.currency, kwh=kwh)

    def per_million(self, cpu_seconds: float, gpu_seconds: float = 0.0) -> Cost:
        """The cost of a million requests that take so many seconds each, on machines that are kept busy."""
        return self.cost(cpu_seconds * 1e6, gpu_seconds * 1e6)

    def describe(self) -> str:
        """One sentence that goes with every figure of money."""
        power = "electricity included" if self.electricity_included else f"{self.kwh:g} {self.currency} per kWh added"
        return (
            f"Assumed prices: {self.cpu_core_hour:g} {self.currency} per core-hour and {self.gpu_hour:g}"
            f" {self.currency} per GPU-hour, {power}, machines kept busy; edit prices.toml for your own."
        )


class BreakEven(Record):
    """From how many requests on something pays; None: it never does.

    "api": requests a month from which one core (or GPU) that is kept running costs less than the priced API.
    "compression": requests after which the saving against the parent has paid for the compression.
    """

    kind: str
    against: str  # the API, or the parent
    requests: Finite | None
    sentence: str


_HOURS_A_MONTH = 730.0


def break_even(prices: Prices, variant: Variant, parent: Variant | None = None) -> list[BreakEven]:
    """Where the variant pays: against every API in the price file, and against the parent it was made from."""
    found = [_against_api(prices, variant, name, asked) for name, asked in prices.apis.items()]
    if parent is not None and parent.name != variant.name and variant.compression_cost is not None:
        found.append(_against_parent(variant, parent, variant.compression_cost))
    return found


def _against_api(prices: Prices, variant: Variant, name: str, asked: float) -> BreakEven:
    """A machine that waits for requests is paid all the same, so few requests are cheaper at an API."""
    busy = _HOURS_A_MONTH * 3600
    on_gpu = variant.device == "cuda"
    month = prices.cost(0 if on_gpu else busy, busy if on_gpu else 0).amount
    machine = "GPU" if on_gpu else "core"
    title = f"{name} ({short(asked)} {prices.currency} per million)"
    if asked <= variant.cost_per_million:  # even a machine that is never idle is dearer
        sentence = f"Against {title}, {variant.name} never pays: it costs {short(variant.cost_per_million)} itself."
        return BreakEven(kind="api", against=name, requests=None, sentence=sentence)
    requests = month / asked * 1e6
    sentence = (
        f"Against {title}, {variant.name} pays from {short(requests)} requests a month on: one {machine} that is kept"
        f" running costs {short(month)} {prices.currency} a month"
    )
    if variant.cost_per_million > 0:
        sentence += f" and can answer {short(month / variant.cost_per_million * 1e6)}"
    return BreakEven(kind="api", against=name, requests=requests, sentence=sentence + ".")


def _against_parent(variant: Variant, parent: Variant, spent: float) -> BreakEven:
    saved = parent.cost_per_million - variant.cost_per_million
    title = f"Compressing {parent.name} to {variant.name} cost {short(spent)} {variant.currency}"
    if saved <= 0:
        sentence = f"{title}, which no saving pays back: its requests cost no less."
        return BreakEven(kind="compression", against=parent.name, requests=None, sentence=sentence)
    requests = spent / saved * 1e6
    sentence = f"{title}; it is paid back after {short(requests)} requests, by {short(saved)} saved on each million."
    return BreakEven(kind="compression", against=parent.name, requests=requests, sentence=sentence)
