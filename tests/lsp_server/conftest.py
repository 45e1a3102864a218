"""Hypothesis without a clock: on a busy machine a slow example is no failure."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "starling", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("starling")
