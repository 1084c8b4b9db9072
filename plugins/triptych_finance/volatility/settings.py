"""How the volatility model is fitted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from triptych.config import Section


class RiskSettings(Section):
    """How the volatility model is fitted."""

    level: Annotated[float, Field(ge=0.5, lt=1)] = 0.9  # how often the interval should hold what comes
    folds: Annotated[int, Field(ge=2, le=20)] = 5  # stretches of time on which strengths and weights are chosen
