"""The `[vertical]` section of a recommendation config."""

from __future__ import annotations

from triptych.config import Section
from triptych_recommendation.content.settings import CoConsumptionSettings
from triptych_recommendation.data.settings import DataSettings
from triptych_recommendation.experiments.settings import ExperimentSettings
from triptych_recommendation.models.settings import ModelSettings
from triptych_recommendation.serving.settings import RuleSettings


class RecommendationSettings(Section):
    """All that can be set under `[vertical]`."""

    store: str | None = None  # SQLite file or postgresql://... for what comes later; None: a file under TRIPTYCH_HOME
    data: DataSettings = DataSettings()
    content: CoConsumptionSettings = CoConsumptionSettings()
    models: ModelSettings = ModelSettings()
    serving: RuleSettings = RuleSettings()
    experiments: ExperimentSettings = ExperimentSettings()
