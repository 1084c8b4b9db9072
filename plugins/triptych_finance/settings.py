"""The `[vertical]` section of a finance config."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from triptych.config import Section
from triptych_finance.alerts.settings import AlertSettings
from triptych_finance.language.sentences import MOST
from triptych_finance.signal.settings import SignalSettings
from triptych_finance.stream.settings import StreamSettings
from triptych_finance.volatility.settings import RiskSettings


class Settings(Section):
    """All that can be set under `[vertical]`."""

    entities: str | None = None  # a file of companies; None: the fictitious ones of the sample
    sentences: Annotated[int, Field(ge=1, le=10_000)] = MOST  # of one text that are read, from its beginning
    shown: Annotated[int, Field(ge=1)] = 3  # sentences that an answer quotes
    neighbours: Annotated[int, Field(ge=0)] = 3  # past items that an answer shows
    ocr: str = "auto"  # what reads pictures of pages: "auto", "off" or the name of a reader
    prices: str | None = None  # a file of daily prices, for the risk head; None: the sample's, with the sample
    risk: RiskSettings = RiskSettings()
    signal: SignalSettings = SignalSettings()
    alerts: AlertSettings = AlertSettings()
    stream: StreamSettings = StreamSettings()
