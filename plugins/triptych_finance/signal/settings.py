"""What can be set about the signal."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from triptych.config import Section

WEEK_HOURS = 168


class DriftSettings(Section):
    """How drift of the inputs is looked for."""

    false_reports_per_year: Annotated[float, Field(gt=0)] = 0.05  # of each source, all features together
    window_hours: Annotated[int, Field(ge=1)] = WEEK_HOURS  # one sample of the test
    min_items: Annotated[int, Field(ge=1)] = 20  # a window with fewer says nothing about scores and vectors


class DuplicateSettings(Section):
    """When two texts are one."""

    threshold: Annotated[float, Field(gt=0.5, le=1)] = 0.95  # cosine from which on two texts may say the same
    window_hours: Annotated[int, Field(ge=1)] = WEEK_HOURS  # how long a text is remembered


class SignalSettings(Section):
    """The index, its alarms and their budget."""

    half_life_hours: Annotated[float, Field(gt=0)] = 48.0  # after which news counts half
    prior: Annotated[float, Field(gt=0)] = 4.0  # weight of neutral news that is always there: little news moves little
    bucket_hours: Annotated[int, Field(ge=1)] = 24  # the index is read once in so many hours
    lateness_hours: Annotated[float, Field(ge=0)] = 6.0  # a bucket stays open so long for late news
    budget_per_week: Annotated[float, Field(gt=0)] = 0.5  # false alarms per entity
    warmup_buckets: Annotated[int, Field(ge=2)] = 14  # an entity's first buckets, which cannot alarm
    refractory_hours: Annotated[float, Field(ge=0)] = 96.0  # after an alarm the entity opens none for so long
    learning_rate: Annotated[float, Field(gt=0)] = 1.0  # bits by which one alarm raises the threshold
    lending: Annotated[float, Field(ge=0, le=1)] = 0.1  # share by which unspent budget raises that of others
    window: Annotated[int, Field(ge=20)] = 120  # buckets with news that an entity is compared with
    pooled_weight: Annotated[float, Field(ge=0)] = 20.0  # buckets that the other entities' news counts for
    drift: DriftSettings = DriftSettings()
    duplicates: DuplicateSettings = DuplicateSettings()

    @property
    def refractory_buckets(self) -> int:
        """From the last bucket of an alarm to the first that may open another; 2 at least, so that there is a gap."""
        return max(2, int(-(-self.refractory_hours // self.bucket_hours)))

    @property
    def rate(self) -> float:
        """The budget in alarms per bucket."""
        return self.budget_per_week * self.bucket_hours / WEEK_HOURS

    @model_validator(mode="after")
    def _budget_can_be_spent(self) -> Self:
        most = 0.75 / self.refractory_buckets / self.bucket_hours * WEEK_HOURS
        if self.budget_per_week > most:
            raise ValueError(
                f"a budget of {self.budget_per_week} a week cannot be spent where alarms are "
                f"{self.refractory_buckets} buckets of {self.bucket_hours} hours apart; at most {most:.2f}, "
                "or a shorter refractory_hours or bucket_hours"
            )
        return self
